package image

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/guests"
)

// addHeaders makes packages with which "compiling" the driver is to copy a module.
func (r *repository) addHeaders(t *testing.T, recipe string) {
	t.Helper()
	src := "usr/src/linux-headers-" + testKernel + "/"
	module := filepath.Join(t.TempDir(), "uintr.o")
	cmd := exec.Command("gcc", "-x", "c", "-c", "-o", module, "-")
	cmd.Stdin = strings.NewReader(`const char info[] __attribute__((section(".modinfo"))) = "depends=virtio\0license=GPL";`)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	data, err := os.ReadFile(module)
	require.NoError(t, err)
	r.add(t, "linux-headers-"+testKernel, "6.9-1", map[string][]byte{src + "Makefile": []byte("modules:\n\t" + recipe + "\n"), src + "stub": data})
	r.add(t, "linux-headers-6.9.0-1-common", "6.9-1", map[string][]byte{"usr/src/common": []byte("x")})
	r.add(t, "linux-kbuild-6.9", "6.9-1", map[string][]byte{"usr/lib/kbuild": []byte("x")})
}

func requireCompiler(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"gcc", "make", "strip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
}

func TestAnImageWithUserInterruptsHasDriverProgramsAndSources(t *testing.T) {
	requireCompiler(t)
	r := newRepository(t)
	r.addHeaders(t, "cp $(CURDIR)/stub $(M)/uintr.ko")
	o := options(t)
	o.UINTR = true
	first := mustBuild(t, o)
	require.Len(t, first.Manifest.Headers, 3)
	require.Len(t, first.Manifest.Packages, 2, "headers are not put into the image")
	require.Contains(t, first.Manifest.Tools, "gcc")
	require.Empty(t, inImage(t, o.Output, "/usr/src/common"))

	base := "/usr/lib/modules/" + testKernel + "/"
	require.Contains(t, inImage(t, o.Output, base+"extra/uintr.ko"), "license=GPL")
	require.Contains(t, inImage(t, o.Output, base+"modules.dep"), "extra/uintr.ko: kernel/virtio/virtio.ko\n")
	require.Equal(t, "uintr\n", inImage(t, o.Output, "/etc/modules-load.d/uintr.conf"))
	require.Contains(t, inImage(t, o.Output, "/boot/loader/entries/gvmm.conf"), " pti=off\n")
	for _, name := range guests.LinuxPrograms() {
		require.Contains(t, inImage(t, o.Output, "/etc/motd"), name)
		require.True(t, strings.HasPrefix(inImage(t, o.Output, "/usr/local/bin/"+name), "\x7fELF"), name)
		source := inImage(t, o.Output, "/root/uintr/linux/programs/"+name+".c")
		require.Equal(t, sum([]byte(source)), first.Manifest.Files["root/uintr/linux/programs/"+name+".c"])
	}
	require.Contains(t, inImage(t, o.Output, "/root/uintr/linux/uintr/Kbuild"), "uintr.o")
	require.Contains(t, inImage(t, o.Output, "/root/uintr/lib/user/uintr_user.h"), "UINTR_USER_H")
	checkFilesystem(t, o)

	require.True(t, mustBuild(t, o).Reused)
	o.UINTR = false
	require.False(t, mustBuild(t, o).Reused, "other inputs")
	require.Empty(t, inImage(t, o.Output, base+"extra/uintr.ko"))
}

func TestADriverThatDoesNotCompileIsOneSentence(t *testing.T) {
	requireCompiler(t)
	r := newRepository(t)
	r.addHeaders(t, "@echo 'main.c:7: error: no such thing' >&2; exit 1")
	o := options(t)
	o.UINTR = true
	require.NoError(t, os.MkdirAll(filepath.Dir(o.Output), 0o755))
	_, err := Build(context.Background(), o)
	require.ErrorContains(t, err, "compiling the driver of user interrupts for Linux "+testKernel+": main.c:7: error: no such thing")
	require.NotContains(t, err.Error(), "\n")
	require.Empty(t, files(t, filepath.Dir(o.Output)))
}

func TestAHostWithoutACompilerIsToldWhatToInstall(t *testing.T) {
	r := newRepository(t)
	path := filepath.Join(t.TempDir(), "bin")
	require.NoError(t, os.Mkdir(path, 0o755))
	for _, name := range []string{"dpkg-deb", "mke2fs", "debugfs", "sh", "cat"} {
		at, err := tool(name)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(at, filepath.Join(path, name)))
	}
	t.Setenv("PATH", filepath.Join(r.dir, "bin")+":"+path)
	o := options(t)
	o.UINTR = true
	_, err := Build(context.Background(), o)
	require.ErrorIs(t, err, ErrHost)
	require.ErrorContains(t, err, "gcc, to compile the driver of user interrupts and its programs; install gcc, make and libc6-dev")
}
