package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"gvmm/guests"
)

// What Options.UINTR adds, by its place in the image.
const (
	sourcesPath  = "root/uintr" // sources of driver and programs
	programsPath = "usr/local/bin"
	driverName   = "uintr"
	// uintrCommandLine follows root= in the boot entry: user interrupts want the kernel's memory mapped while a
	// program runs.
	uintrCommandLine = defaultCommandLine + " pti=off"
)

const uintrMotd = `User interrupts: the driver is loaded, and programs that use them are in /` + programsPath + `:
%s
Their sources, and the driver's, are in /` + sourcesPath + `.
`

// uintrInputs notes what driver and programs are made from: sources, compiler, C library, and
// the kernel's headers, which are not put into the image.
func (b *build) uintrInputs(ctx context.Context) error {
	sources := guests.LinuxSources()
	err := fs.WalkDir(sources, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b.own[sourcesPath+"/"+path], err = fs.ReadFile(sources, path)
		return err
	})
	if err != nil {
		return err
	}
	b.own["etc/modules-load.d/uintr.conf"] = []byte(driverName + "\n")
	b.own["etc/motd"] = append(b.own["etc/motd"], fmt.Sprintf(uintrMotd, strings.Join(guests.LinuxPrograms(), " "))...)
	for _, t := range []struct{ name, version string }{{"gcc", "--version"}, {"make", "--version"}, {"ld", "--version"}, {"getconf", "GNU_LIBC_VERSION"}} {
		path, err := tool(t.name)
		if err != nil {
			return fmt.Errorf("%w: %s, to compile the driver of user interrupts and its programs; install gcc, make and libc6-dev", ErrHost, t.name)
		}
		out, err := command(ctx, path, t.version).Output()
		if err != nil {
			return fmt.Errorf("image: %s: %w", t.name, err)
		}
		b.manifest.Tools[t.name] = firstLine(string(out))
	}
	b.manifest.Headers, err = b.apt.headers(ctx, b.manifest.Kernel, b.manifest.Packages)
	return err
}

var headersDepend = regexp.MustCompile(`\b(linux-headers-[0-9][a-z0-9.+~-]*-common|linux-kbuild-[0-9][a-z0-9.+~-]*)\b`)

// headers finds what modules for a kernel are built with.
func (a *apt) headers(ctx context.Context, kernel string, packages []Package) ([]Package, error) {
	version := ""
	for _, p := range packages {
		if p.Name == "linux-image-"+kernel {
			version = p.Version
		}
	}
	first := "linux-headers-" + kernel + "=" + version
	text, err := a.run(ctx, "apt-cache", "show", "--no-all-versions", first)
	if err != nil {
		return nil, err
	}
	depends := ""
	for line := range strings.Lines(string(text)) {
		if d, ok := strings.CutPrefix(line, "Depends:"); ok {
			depends = d
			break
		}
	}
	want := append([]string{first}, headersDepend.FindAllString(depends, -1)...)
	if len(want) != 3 {
		return nil, fmt.Errorf("image: apt-cache: linux-headers-%s does not depend on common headers and kbuild: %q", kernel, strings.TrimSpace(depends))
	}
	return a.list(ctx, want)
}

// compile puts the driver and the programs into the tree.
func (b *build) compile(ctx context.Context, dir string) error {
	programs := guests.LinuxPrograms()
	all := len(programs) + 1
	b.Progress("compiling", 0, all)
	source := filepath.Join(dir, "uintr")
	for path, data := range b.own {
		if name, ours := strings.CutPrefix(path, sourcesPath+"/"); ours {
			file := filepath.Join(source, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(file, data, 0o644); err != nil {
				return err
			}
		}
	}
	if err := b.compileDriver(ctx, dir, source); err != nil {
		return err
	}
	paths, err := guests.CompileLinux(ctx, source, filepath.Join(dir, "programs"), programs, func(n int) { b.Progress("compiling", n+1, all) })
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	for name, path := range paths {
		if err := b.install(programsPath+"/"+name, 0o755, path); err != nil {
			return err
		}
	}
	b.Progress("compiling", all, all)
	return nil
}

func (b *build) install(path string, mode fs.FileMode, file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	return b.tree.put(path, &entry{mode: mode, file: file, size: info.Size()})
}

// compileDriver builds the module out of the kernel's tree, of which there are only the headers.
func (b *build) compileDriver(ctx context.Context, dir, source string) error {
	headers := filepath.Join(dir, "headers")
	for _, p := range b.manifest.Headers {
		if out, err := command(ctx, "dpkg-deb", "-x", filepath.Join(b.apt.cache, p.File), headers).CombinedOutput(); err != nil {
			return errors.Join(ctx.Err(), fmt.Errorf("image: dpkg-deb: %s: %w", firstLine(string(out)), err))
		}
	}
	driver := filepath.Join(source, "linux", "uintr")
	cmd := command(ctx, "make", "-s", "-C", driver, "KDIR="+filepath.Join(headers, "usr/src/linux-headers-"+b.manifest.Kernel), "module")
	// Paths of this host do not get into the module; and a make above this one must not lend its flags or its job server.
	cmd.Env = append(cmd.Env, "KCFLAGS=-ffile-prefix-map="+driver+"=/"+sourcesPath+"/linux/uintr", "MAKEFLAGS=", "MFLAGS=", "MAKELEVEL=")
	out, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("image: compiling the driver of user interrupts for Linux %s: %s: %w", b.manifest.Kernel, complaint(out), err)
	}
	module := filepath.Join(driver, driverName+".ko")
	if out, err := command(ctx, "strip", "--strip-debug", module).CombinedOutput(); err != nil {
		return errors.Join(ctx.Err(), fmt.Errorf("image: strip: %s: %w", firstLine(string(out)), err))
	}
	return b.install("usr/lib/modules/"+b.manifest.Kernel+"/extra/"+driverName+".ko", 0o644, module)
}

// complaint is the first line of a compiler's output that tells of an error.
func complaint(out []byte) string {
	for line := range bytes.Lines(out) {
		if bytes.Contains(line, []byte("error")) || bytes.Contains(line, []byte("Error")) {
			return string(bytes.TrimSpace(line))
		}
	}
	return firstLine(string(out))
}
