package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/u-root/u-root/pkg/cpio"
)

const testKernel = "6.9.0-1-cloud-amd64"

// repository is a stand-in for apt and its archive: programs first on PATH, and packages.
type repository struct {
	dir  string
	list map[string]string // the --print-uris line of each package, by name
}

// newRepository has a kernel with a few modules, and a busybox that lists two applets.
func newRepository(t *testing.T) *repository {
	t.Helper()
	if _, err := host(); err != nil {
		t.Skip(err)
	}
	r := &repository{dir: t.TempDir(), list: make(map[string]string)}
	modules := "lib/modules/" + testKernel + "/"
	kernel := map[string][]byte{
		"boot/vmlinuz-" + testKernel:            []byte("a kernel"),
		modules + "modules.builtin":             []byte("kernel/fs/ext4/ext4.ko\n"),
		modules + "kernel/virtio/virtio.ko":     moduleFile(t, "depends="),
		modules + "kernel/virtio/virtio_pci.ko": moduleFile(t, "depends=virtio", "alias=pci:v00001AF4d*"),
		modules + "kernel/block/virtio_blk.ko":  moduleFile(t, "depends=virtio", "alias=virtio:d00000002v*"),
		modules + "kernel/sound/unneeded.ko":    moduleFile(t, "depends="),
		"usr/share/doc/linux/copyright":         []byte("dropped"),
		"usr/share/linux/a file with spaces":    []byte("kept"),
	}
	r.add(t, "linux-image-"+testKernel, "6.9-1", kernel)
	r.add(t, "busybox-static", "1:1.0", map[string][]byte{"bin/busybox": []byte("#!/bin/sh\necho bin/sh; echo sbin/init; echo linuxrc\n")})
	bin := filepath.Join(r.dir, "bin")
	require.NoError(t, os.Mkdir(bin, 0o755))
	program := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\nR="+r.dir+"\n"+text), 0o755))
	}
	program("apt-cache", `case " $* " in
*" linux-headers-"*) echo 'Depends: linux-headers-6.9.0-1-common (= 6.9-1), linux-kbuild-6.9 (>= 6.9-1), linux-compiler-gcc-12-x86' ;;
*) echo 'Depends: linux-image-`+testKernel+` (= 6.9-1)' ;;
esac
`)
	program("apt-get", `echo "$@" >>$R/log
case " $* " in
*" install "*) cat $R/installed ;;
*" --print-uris "*) for p; do [ ! -e "$R/${p%%=*}.uri" ] || cat "$R/${p%%=*}.uri"; done ;;
*) [ ! -e $R/slow ] || { touch $R/started; exec sleep 60; }
   for p; do [ ! -e "$R/${p%%=*}.uri" ] || cp $R/"${p%%=*}"_*.deb .; done ;;
esac
`)
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	return r
}

// add makes a package and lists it.
func (r *repository) add(t *testing.T, name, version string, files map[string][]byte) {
	t.Helper()
	dir := t.TempDir()
	write := func(path string, data []byte) {
		path = filepath.Join(dir, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, data, 0o755))
	}
	for path, data := range files {
		write(path, data)
	}
	write("DEBIAN/control", fmt.Appendf(nil, "Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: x <x@example.org>\nDescription: x\n", name, version))
	file := strings.ReplaceAll(fmt.Sprintf("%s_%s_amd64.deb", name, version), ":", "%3a")
	cmd := exec.Command("dpkg-deb", "--root-owner-group", "-Znone", "-b", dir, filepath.Join(r.dir, file))
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	data, err := os.ReadFile(filepath.Join(r.dir, file))
	require.NoError(t, err)
	line := fmt.Sprintf("'http://host/%s' %s %d SHA256:%s\n", file, file, len(data), sum(data))
	require.NoError(t, os.WriteFile(filepath.Join(r.dir, name+".uri"), []byte(line), 0o644))
	r.list[name] = line
}

func (r *repository) touch(t *testing.T, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o644))
}

// options are of a small image.
func options(t *testing.T) Options {
	dir := t.TempDir()
	return Options{Output: filepath.Join(dir, "out", "guest.img"), Cache: filepath.Join(dir, "cache"), Size: 64 << 20}
}

func mustBuild(t *testing.T, o Options) *Result {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(o.Output), 0o755))
	r, err := Build(context.Background(), o)
	require.NoError(t, err)
	return r
}

// inImage is a file's content in an image, by debugfs.
func inImage(t *testing.T, image, path string) string {
	t.Helper()
	debugfs, err := tool("debugfs")
	require.NoError(t, err)
	cmd := exec.Command(debugfs, "-R", "cat \""+path+"\"", fmt.Sprintf("%s?offset=%d", image, gap))
	out, err := cmd.Output()
	require.NoError(t, err)
	return string(out)
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestBuildMakesABootableDisk(t *testing.T) {
	newRepository(t)
	o := options(t)
	o.CommandLine = "ro quiet"
	r := mustBuild(t, o)
	require.False(t, r.Reused)
	require.Positive(t, r.Downloaded)
	require.Less(t, r.Allocated, o.Size, "sparse")
	require.Equal(t, []string{"guest.img", "guest.img" + ManifestSuffix}, files(t, filepath.Dir(o.Output)))
	require.Len(t, files(t, o.Cache), 2, "two packages, and nothing that was staged")

	entry := inImage(t, o.Output, "/boot/loader/entries/gvmm.conf")
	require.Contains(t, entry, "linux /boot/vmlinuz-"+testKernel+"\ninitrd /boot/initrd.img-"+testKernel+"\n")
	require.Contains(t, entry, "options root=UUID="+r.Manifest.Filesystem+" ro quiet\n")
	require.Equal(t, "a kernel", inImage(t, o.Output, "/boot/vmlinuz-"+testKernel))
	require.Equal(t, "kept", inImage(t, o.Output, "/usr/share/linux/a file with spaces"))
	require.Empty(t, inImage(t, o.Output, "/usr/share/doc/linux/copyright"))
	require.Contains(t, inImage(t, o.Output, "/usr/lib/modules/"+testKernel+"/modules.dep"), "kernel/block/virtio_blk.ko: kernel/virtio/virtio.ko\n")

	m, err := ReadManifest(o.Output)
	require.NoError(t, err)
	require.Equal(t, r.Manifest, m)
	beside, err := os.ReadFile(o.Output + ManifestSuffix)
	require.NoError(t, err)
	require.Equal(t, string(beside), inImage(t, o.Output, "/"+ManifestPath))
	checkFilesystem(t, o)
}

// checkFilesystem has e2fsck judge the partition.
func checkFilesystem(t *testing.T, o Options) {
	t.Helper()
	e2fsck, err := tool("e2fsck")
	require.NoError(t, err)
	disk, err := os.ReadFile(o.Output)
	require.NoError(t, err)
	part := filepath.Join(t.TempDir(), "part")
	require.NoError(t, os.WriteFile(part, disk[gap:len(disk)-gap], 0o600))
	out, err := exec.Command(e2fsck, "-fn", part).CombinedOutput()
	require.NoError(t, err, string(out))
}

func TestInitialRAMDiskHasTheDriversAndTheirDependencies(t *testing.T) {
	newRepository(t)
	o := options(t)
	mustBuild(t, o)
	records, err := cpio.ReadAllRecords(cpio.Newc.Reader(strings.NewReader(inImage(t, o.Output, "/boot/initrd.img-"+testKernel))))
	require.NoError(t, err)
	names := make(map[string]bool)
	for _, r := range records {
		names[r.Name] = true
	}
	base := "lib/modules/" + testKernel + "/"
	for _, name := range []string{"init", "bin/busybox", "bin/sh", "bin/gvmm-exit", "dev/console", base + "modules.dep", base + "modules.alias",
		base + "kernel/virtio/virtio.ko", base + "kernel/virtio/virtio_pci.ko", base + "kernel/block/virtio_blk.ko"} {
		require.True(t, names[name], name)
	}
	require.False(t, names[base+"kernel/sound/unneeded.ko"])
}

func TestSameInputsMakeTheSameBytes(t *testing.T) {
	newRepository(t)
	one, two := options(t), options(t)
	mustBuild(t, one)
	mustBuild(t, two)
	a, err := os.ReadFile(one.Output)
	require.NoError(t, err)
	b, err := os.ReadFile(two.Output)
	require.NoError(t, err)
	require.True(t, bytes.Equal(a, b))
}

func TestASecondBuildReusesWhatIsThere(t *testing.T) {
	r := newRepository(t)
	o := options(t)
	first := mustBuild(t, o)
	before, err := os.Stat(o.Output)
	require.NoError(t, err)
	second := mustBuild(t, o)
	require.True(t, second.Reused)
	require.False(t, second.Used)
	require.Equal(t, first.Manifest, second.Manifest)
	after, err := os.Stat(o.Output)
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after), "the image is left alone")

	o.CommandLine = "rw"
	third := mustBuild(t, o)
	require.False(t, third.Reused, "other inputs")
	require.Zero(t, third.Downloaded, "the same packages")
	log, err := os.ReadFile(filepath.Join(r.dir, "log"))
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(log), "Status-Fd"), "one download")
}

func TestADamagedDownloadIsFetchedAgain(t *testing.T) {
	newRepository(t)
	o := options(t)
	mustBuild(t, o)
	deb := filepath.Join(o.Cache, files(t, o.Cache)[0])
	require.NoError(t, os.Truncate(deb, 10))
	o.Force = true
	require.Positive(t, mustBuild(t, o).Downloaded)
}

func TestADownloadThatIsNotWhatAptPromisedIsRefused(t *testing.T) {
	r := newRepository(t)
	r.touch(t, "busybox-static.uri", strings.Replace(r.list["busybox-static"], "SHA256:", "SHA256:00", 1))
	o := options(t)
	require.NoError(t, os.MkdirAll(filepath.Dir(o.Output), 0o755))
	_, err := Build(context.Background(), o)
	require.ErrorContains(t, err, "no SHA-256")
	line := r.list["busybox-static"]
	r.touch(t, "busybox-static.uri", line[:len(line)-3]+"00\n")
	_, err = Build(context.Background(), o)
	require.ErrorContains(t, err, "is not what apt said")
}

func TestPackagesAskedForComeWithWhatTheyDependOn(t *testing.T) {
	r := newRepository(t)
	r.add(t, "tool", "2", map[string][]byte{"usr/bin/tool": []byte("the tool")})
	r.add(t, "libtool", "3", map[string][]byte{"lib/x86_64-linux-gnu/libtool.so": []byte("its library")})
	r.touch(t, "installed", strings.ReplaceAll(r.list["libtool"]+r.list["tool"], "SHA256", "MD5Sum"))
	o := options(t)
	o.Packages = []string{"tool"}
	require.Len(t, mustBuild(t, o).Manifest.Packages, 4)
	require.Equal(t, "its library", inImage(t, o.Output, "/usr/lib/x86_64-linux-gnu/libtool.so"))
}

func TestAFileThatWasNotMadeHereIsNotOverwritten(t *testing.T) {
	newRepository(t)
	o := options(t)
	require.NoError(t, os.MkdirAll(filepath.Dir(o.Output), 0o755))
	require.NoError(t, os.WriteFile(o.Output, []byte("precious"), 0o644))
	_, err := Build(context.Background(), o)
	require.ErrorIs(t, err, ErrExists)
	data, err := os.ReadFile(o.Output)
	require.NoError(t, err)
	require.Equal(t, "precious", string(data))
	o.Force = true
	mustBuild(t, o)
	o.Output = filepath.Dir(o.Output)
	_, err = Build(context.Background(), o)
	require.ErrorIs(t, err, ErrExists, "a folder is never replaced")
}

func TestAnImageThatAGuestUsedIsKept(t *testing.T) {
	newRepository(t)
	o := options(t)
	mustBuild(t, o)
	debugfs, err := tool("debugfs")
	require.NoError(t, err)
	require.NoError(t, exec.Command(debugfs, "-w", "-R", "set_super_value mtime 20260101", fmt.Sprintf("%s?offset=%d", o.Output, gap)).Run())
	r := mustBuild(t, o)
	require.True(t, r.Reused && r.Used)
	o.CommandLine = "other"
	_, err = Build(context.Background(), o)
	require.ErrorIs(t, err, ErrExists)
	require.ErrorContains(t, err, "--force replaces it")
}

func TestAnInterruptedBuildLeavesNothing(t *testing.T) {
	r := newRepository(t)
	o := options(t)
	mustBuild(t, o)
	was, err := os.ReadFile(o.Output)
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(o.Cache))
	o.CommandLine = "other"
	for _, stage := range []string{"downloading", "unpacking", "writing the file system"} {
		t.Run(stage, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			o := o
			o.Progress = func(s string, _, _ int) {
				if s == stage {
					cancel()
				}
			}
			if stage == "downloading" {
				r.touch(t, "slow", "")
				defer os.Remove(filepath.Join(r.dir, "slow"))
				go func() {
					for ctx.Err() == nil {
						if _, err := os.Stat(filepath.Join(r.dir, "started")); err == nil {
							cancel()
						}
					}
				}()
			}
			_, err := Build(ctx, o)
			require.True(t, errors.Is(err, context.Canceled), "%v", err)
			require.Equal(t, []string{"guest.img", "guest.img" + ManifestSuffix}, files(t, filepath.Dir(o.Output)))
			for _, name := range files(t, o.Cache) {
				require.True(t, strings.HasSuffix(name, ".deb"), name)
			}
			is, err := os.ReadFile(o.Output)
			require.NoError(t, err)
			require.True(t, bytes.Equal(was, is))
		})
	}
}

func TestWhatAKilledBuildLeftIsSweptAway(t *testing.T) {
	cache := t.TempDir()
	for name, age := range map[string]time.Duration{"build-old": 25 * time.Hour, "build-new": time.Hour, "x_1_all.deb": 25 * time.Hour} {
		path := filepath.Join(cache, name)
		require.NoError(t, os.Mkdir(path, 0o755))
		require.NoError(t, os.Chtimes(path, time.Time{}, time.Now().Add(-age)))
	}
	sweep(cache)
	require.Equal(t, []string{"build-new", "x_1_all.deb"}, files(t, cache))
}

func TestAnOutputWithoutAFolderIsRefusedBeforeAnythingIsDownloaded(t *testing.T) {
	newRepository(t)
	o := options(t)
	_, err := Build(context.Background(), o)
	require.ErrorIs(t, err, ErrOption)
	require.Empty(t, files(t, o.Cache))
}

func TestOptionsThatCannotBeBuiltAreRefused(t *testing.T) {
	for name, o := range map[string]Options{
		"no output":                             {},
		"a flavour":                             {Output: "x", Flavour: "vanilla"},
		"a small disk":                          {Output: "x", Size: 1 << 20},
		"half a MiB":                            {Output: "x", Size: 64<<20 + 512},
		"an apt option":                         {Output: "x", Packages: []string{"-oDir=/"}},
		"a package's URL":                       {Output: "x", Packages: []string{"../x.deb"}},
		"two lines":                             {Output: "x", CommandLine: "a\nb"},
		"a name that debugfs takes for options": {Output: "x?offset=1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Build(context.Background(), o)
			require.ErrorIs(t, err, ErrOption)
		})
	}
}

func TestFilesThatDoNotFitAreRefusedWithWhatTheyNeed(t *testing.T) {
	r := newRepository(t)
	r.add(t, "busybox-static", "1:1.0", map[string][]byte{"bin/busybox": []byte("#!/bin/sh\n"), "big": make([]byte, 60<<20)})
	o := options(t)
	require.NoError(t, os.MkdirAll(filepath.Dir(o.Output), 0o755))
	_, err := Build(context.Background(), o)
	require.ErrorIs(t, err, errSpace)
	require.ErrorContains(t, err, "MiB")
	require.Empty(t, files(t, filepath.Dir(o.Output)))
}
