package image

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu"
	"gvmm/vmm"
)

// imageEnv has the test below build a real image, for which apt may download packages.
const imageEnv = "GVMM_IMAGE"

// A guest is an image taken apart, to be booted by its parts.
type guest struct{ kernel, initrd, disk, options string }

func realGuest(t *testing.T) guest {
	t.Helper()
	if os.Getenv(imageEnv) == "" {
		t.Skip(imageEnv, " is not set: an image is built from downloads and booted")
	}
	dir := t.TempDir()
	g := guest{kernel: filepath.Join(dir, "kernel"), initrd: filepath.Join(dir, "initrd"), disk: filepath.Join(dir, "guest.img")}
	r, err := Build(t.Context(), Options{Output: g.disk})
	require.NoError(t, err)
	checkFilesystem(t, Options{Output: g.disk})
	for path, file := range map[string]string{g.kernel: "/boot/vmlinuz-", g.initrd: "/boot/initrd.img-"} {
		require.NoError(t, os.WriteFile(path, []byte(inImage(t, g.disk, file+r.Manifest.Kernel)), 0o600))
	}
	_, g.options, _ = strings.Cut(inImage(t, g.disk, "/boot/loader/entries/gvmm.conf"), "options ")
	g.options = strings.TrimSpace(g.options) + " cryptomgr.notests"
	return g
}

// boot runs the guest on the software CPU until it ends, or until it prints what is
// waited for.
func (g *guest) boot(t *testing.T, options, until string) (status int, output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	out := &watched{until: until, seen: cancel}
	m, err := vmm.New(vmm.Config{
		Image: g.kernel, Initrd: g.initrd, Command: g.options + " " + options, Memory: 512 * vmm.MiB, CPUs: 1,
		Accel: vcpu.AccelSoft, Serial: out, Disks: []vmm.Disk{{Path: g.disk}},
	})
	require.NoError(t, err)
	defer m.Close()
	status, err = m.Run(ctx)
	if until == "" || !strings.Contains(out.String(), until) {
		require.NoError(t, err, out.String())
	}
	return status, out.String()
}

// watched is output that calls a function once it has a text in it.
type watched struct {
	bytes.Buffer
	until string
	seen  func()
}

func (w *watched) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if w.until != "" && strings.Contains(w.String(), w.until) {
		w.seen()
	}
	return n, err
}

func TestImageBootsRunsACommandAndEndsWithItsStatus(t *testing.T) {
	g := realGuest(t)
	for _, c := range []struct {
		name, options, until string
		status               int
		want                 []string
	}{
		{"status 0", `gvmm.run="uname -a; cat /proc/1/comm; touch /kept; sync"`, "", 0, []string{"Linux gvmm ", "init"}},
		{"another status", "gvmm.run='test -e /kept && exit 5'", "", 11, nil},
		{"a root that is not there", "root=LABEL=none rootdelay=1 gvmm.run=true", "", 255, []string{"no disk is root='LABEL=none'; there are: vda vda1"}},
		{"a shell", "", "root@gvmm:~# ", 0, []string{"gvmm guest:"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, out := g.boot(t, c.options, c.until)
			for _, want := range append(c.want, c.until) {
				require.True(t, strings.Contains(out, want), "no %q in %s", want, out)
			}
			if c.until == "" {
				require.Equal(t, c.status, status)
			}
			for line := range strings.Lines(out) {
				for _, bad := range []string{"Call Trace", "BUG:", "EXT4-fs error", "sh: ", "not found"} {
					require.NotContains(t, line, bad)
				}
			}
		})
	}
}
