package image

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"strings"

	"gvmm/guests/linux"
)

// defaultCommandLine follows root= in the boot entry.
const defaultCommandLine = "rw console=ttyS0"

// Folders that the start-up wants, besides those of merge.
var folders = []struct {
	path string
	mode fs.FileMode
}{
	{"boot", 0o755}, {"dev", 0o755}, {"etc/gvmm", 0o755}, {"home", 0o755}, {"mnt", 0o755}, {"proc", 0o555}, {"root", 0o700},
	{"run", 0o755}, {"srv", 0o755}, {"sys", 0o555}, {"tmp", fs.ModeSticky | 0o777}, {"usr/local/bin", 0o755}, {"usr/local/sbin", 0o755},
	{"var/lib", 0o755}, {"var/log", 0o755}, {"var/tmp", fs.ModeSticky | 0o777},
}

// own are the files that guests/linux adds, by path.
func own() (map[string][]byte, error) {
	root, err := linux.Root()
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{"usr/bin/gvmm-exit": linux.ExitProgram()}
	err = fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files[path], err = fs.ReadFile(root, path)
		return err
	})
	return files, err
}

// fromPackage tells which of a package's files an image has: not its documentation.
func fromPackage(name string) bool {
	for _, dropped := range []string{"usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/lintian", "usr/share/locale", "usr/share/bug"} {
		if name == dropped || strings.HasPrefix(name, dropped+"/") {
			return false
		}
	}
	return true
}

// root puts everything into the tree: the packages, whose installation scripts are not run,
// then what is ours, then what derives from both.
func (b *build) root(ctx context.Context, s *staging) error {
	if err := b.tree.merge(); err != nil {
		return err
	}
	for i, p := range b.manifest.Packages {
		b.Progress("unpacking", i, len(b.manifest.Packages))
		if err := s.unpack(ctx, b.tree, b.apt.cache+"/"+p.File, fromPackage); err != nil {
			return err
		}
	}
	b.Progress("unpacking", len(b.manifest.Packages), len(b.manifest.Packages))
	b.settle()
	for _, f := range folders {
		if err := b.tree.mkdir(f.path, f.mode); err != nil {
			return err
		}
		b.tree.entries[f.path].mode = fs.ModeDir | f.mode
	}
	for path, data := range b.own {
		mode := fs.FileMode(0o644)
		if bytes.HasPrefix(data, []byte("#!")) || bytes.HasPrefix(data, []byte("\x7fELF")) {
			mode = 0o755
		}
		if err := b.tree.write(path, mode, data); err != nil {
			return err
		}
	}
	if err := b.tree.symlink("etc/resolv.conf", "/run/resolv.conf"); err != nil {
		return err
	}
	if b.UINTR {
		if err := b.compile(ctx, s.dir); err != nil {
			return err
		}
	}
	if err := b.applets(ctx); err != nil {
		return err
	}
	return b.boot()
}

// settle fixes the time of what has none of its own: SOURCE_DATE_EPOCH, else the newest
// file of the packages.
func (b *build) settle() {
	t := b.tree
	if b.manifest.Epoch != nil {
		t.epoch = *b.manifest.Epoch
	} else {
		for _, e := range t.entries {
			if e.mtime.After(t.epoch) {
				t.epoch = e.mtime
			}
		}
	}
	for _, e := range t.entries {
		if e.mtime.IsZero() || e.mtime.After(t.epoch) {
			e.mtime = t.epoch
		}
	}
}

// applets gives busybox the names of its programs, where no package has one of that name.
func (b *build) applets(ctx context.Context) error {
	busybox, err := b.tree.place("bin/busybox")
	if err != nil {
		return err
	}
	e := b.tree.entries[busybox]
	if e == nil {
		return fmt.Errorf("%w: busybox-static has no bin/busybox", errTree)
	}
	list, err := b.runFile(ctx, e.file, "--list-full")
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(list)) {
		if name == "linuxrc" || b.tree.has(name) {
			continue
		}
		if err := b.tree.symlink(name, "/usr/bin/busybox"); err != nil {
			return err
		}
	}
	return nil
}

// boot adds the initial RAM disk and the boot loader's entry (Boot Loader Specification,
// type 1). Paths are the file system's.
func (b *build) boot() error {
	kernel := b.manifest.Kernel
	m, err := index(b.tree, kernel)
	if err != nil {
		return err
	}
	ram, err := initramfs(b.tree, kernel, m)
	if err != nil {
		return err
	}
	if !b.tree.has("boot/vmlinuz-" + kernel) {
		return fmt.Errorf("%w: the kernel's package has no boot/vmlinuz-%s", errTree, kernel)
	}
	if err := b.tree.write("boot/initrd.img-"+kernel, 0o644, ram); err != nil {
		return err
	}
	text := fmt.Sprintf("title %s for gvmm\nversion %s\nlinux /boot/vmlinuz-%s\ninitrd /boot/initrd.img-%s\noptions root=UUID=%s %s\n",
		b.manifest.Distribution, kernel, kernel, kernel, b.manifest.Filesystem, b.manifest.CommandLine)
	if err := b.tree.write("boot/loader/entries/gvmm.conf", 0o644, []byte(text)); err != nil {
		return err
	}
	manifest, err := b.manifest.text()
	if err != nil {
		return err
	}
	return b.tree.write(ManifestPath, 0o644, manifest)
}
