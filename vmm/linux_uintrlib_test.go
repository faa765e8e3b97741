package vmm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/guests"
	"gvmm/vcpu"
)

const uintrLibraryInit = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox --install -s /bin
export PATH=/programs:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
/programs/echo
insmod /uintr.ko
for p in %s; do $p || echo "FAIL $p $?"; done
echo "warnings $(dmesg | grep -c -e WARNING -e BUG -e Oops -e 'Call Trace' -e 'stall' -e segfault)"
poweroff -f
`

// uintrLibraryPrograms are the library's tests and the programs that use it.
func uintrLibraryPrograms(t *testing.T) []string {
	t.Helper()
	out := t.TempDir()
	tests, err := guests.BuildUserLibrary(out, guests.UserTests)
	if errors.Is(err, guests.ErrToolchain) {
		t.Skip(err)
	}
	require.NoError(t, err)
	programs, err := guests.BuildUserPrograms(out)
	require.NoError(t, err)
	return append(programs, tests...)
}

// The library works over the driver, by the processor's instructions and without them.
func TestLinuxProgramsUseTheUserInterruptLibrary(t *testing.T) {
	kernel, headers := os.Getenv(linuxEnv), os.Getenv(headersEnv)
	if kernel == "" {
		t.Skip("no kernel in ", linuxEnv)
	}
	if headers == "" {
		t.Skip("no kernel headers in ", headersEnv)
	}
	programs := uintrLibraryPrograms(t)
	a, _ := newArchive(t, nil)
	a.file(t, "uintr.ko", filepath.Join(buildUintr(t, headers), "uintr.ko"))
	a.add("programs", archiveDirectory, nil)
	var paths []string
	for _, p := range programs {
		paths = append(paths, "/programs/"+filepath.Base(p))
		a.file(t, paths[len(paths)-1][1:], p)
	}
	initrd := a.write(t, fmt.Sprintf(uintrLibraryInit, strings.Join(paths, " ")))
	for _, way := range []struct {
		name   string
		native bool
		cpus   int
	}{{"native", true, 1}, {"native", true, 2}, {"resident", false, 2}} {
		t.Run(fmt.Sprintf("%s, %d processors", way.name, way.cpus), func(t *testing.T) {
			var out bytes.Buffer
			m := newMachine(t, Config{
				Image: kernel, Initrd: initrd, Command: "console=ttyS0 cryptomgr.notests panic=-1", Memory: 512 * MiB, CPUs: way.cpus,
				Accel: vcpu.AccelSoft, UINTR: way.native, Serial: &out, Posted: true,
			})
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
			defer cancel()
			status, err := m.Run(ctx)
			require.NoError(t, err, out.String())
			require.Zero(t, status)
			_, text, _ := strings.Cut(out.String(), "Run /init")
			require.NotContains(t, text, "FAIL")
			for _, want := range []string{
				"echo: this kernel has no user interrupts: load the driver", "Success\r\n", " doorbells\r\n",
				"ok receiver\r\n", "ok channel\r\n", "ok mux\r\n", "ok ring\r\n", "warnings 0\r\n",
			} {
				require.Contains(t, text, want)
			}
		})
	}
}
