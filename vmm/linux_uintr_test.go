package vmm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu"
)

// headersEnv names the headers that guests/linux/uintr is built with: a directory
// linux-headers-VERSION of the kernel in GVMM_LINUX, its common half beside it.
const headersEnv = "GVMM_LINUX_HEADERS"

// uintrTests are the programs of guests/linux/uintr/tests with what each prints at its end.
var uintrTests = []struct{ command, want string }{
	{"sample", "Success\r\n"},
	{"errors", "PASS errors\r\n"},
	{"processes", "PASS processes\r\n"},
	{"receive", "PASS receive\r\n"},
	{"misuse", "PASS misuse\r\n"},
	{"stress 3", "PASS stress\r\n"},
}

const uintrInit = linuxMounts + `echo "meltdown $(cat /sys/devices/system/cpu/vulnerabilities/meltdown)"
errors absent
insmod /uintr.ko
echo "resident $(cat /sys/module/uintr/parameters/resident)"
misuse hold & sleep 1
rmmod uintr 2>/dev/null || echo "in use: stays"
kill $!
%s
echo "uptime $(cat /proc/uptime)"
rmmod uintr && echo "unloaded"
errors absent
echo "uptime $(cat /proc/uptime)"
insmod /uintr.ko && sample && rmmod uintr && echo "loaded again"
echo "warnings $(dmesg | grep -c -e WARNING -e BUG -e Oops -e 'Call Trace' -e 'stall')"
poweroff -f
`

// buildUintr builds the driver and its tests apart from their sources.
func buildUintr(t *testing.T, headers string) string {
	t.Helper()
	for _, tool := range []string{"make", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("no ", tool, " on PATH: ", err)
		}
	}
	headers, err := filepath.Abs(headers)
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "uintr")
	require.NoError(t, os.CopyFS(dir, os.DirFS("../guests/linux/uintr")))
	build := exec.Command("make", "-C", dir, "KDIR="+headers, "module", "tests")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	require.NotContains(t, string(out), "warning:")
	return dir
}

// uintrInitrd is an initial RAM disk with the driver, its tests, and what init makes of the commands that are asked for.
func uintrInitrd(t *testing.T, dir, init string) string {
	t.Helper()
	a, _ := newArchive(t, nil)
	a.file(t, "uintr.ko", filepath.Join(dir, "uintr.ko"))
	programs, err := filepath.Glob(filepath.Join(dir, "tests/bin/*"))
	require.NoError(t, err)
	for _, p := range programs {
		a.file(t, "bin/"+filepath.Base(p), p)
	}
	return a.write(t, init)
}

// The driver gives a stock kernel the system calls, by the processor's instructions where it has
// them and by their #UD where not.
func TestLinuxDriverGivesUserInterrupts(t *testing.T) {
	kernel, headers := os.Getenv(linuxEnv), os.Getenv(headersEnv)
	if kernel == "" {
		t.Skip("no kernel in ", linuxEnv)
	}
	if headers == "" {
		t.Skip("no kernel headers in ", headersEnv)
	}
	var commands []string
	for _, test := range uintrTests {
		commands = append(commands, test.command)
	}
	initrd := uintrInitrd(t, buildUintr(t, headers), fmt.Sprintf(uintrInit, strings.Join(commands, "\n")))
	for _, native := range []bool{true, false} {
		for _, cpus := range []int{1, 4} {
			name, resident := "native", "N"
			if !native {
				name, resident = "resident", "Y"
			}
			t.Run(fmt.Sprintf("%s, %d processors", name, cpus), func(t *testing.T) {
				var out bytes.Buffer
				m := newMachine(t, Config{
					Image: kernel, Initrd: initrd, Command: "console=ttyS0 cryptomgr.notests panic=-1", Memory: 512 * MiB, CPUs: cpus,
					Accel: vcpu.AccelSoft, UINTR: native, Serial: &out, Posted: true,
				})
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
				defer cancel()
				status, err := m.Run(ctx)
				require.NoError(t, err, out.String())
				require.Zero(t, status)
				text := out.String()
				_, text, _ = strings.Cut(text, "Run /init")
				require.NotContains(t, text, "FAIL")
				for _, test := range uintrTests {
					require.Contains(t, text, test.want)
				}
				for _, want := range []string{"meltdown Not affected", "resident " + resident, "in use: stays", "unloaded", "loaded again", "warnings 0"} {
					require.Contains(t, text, want+"\r\n")
				}
				require.Equal(t, 2, strings.Count(text, "PASS errors absent"), text)
			})
		}
	}
}
