package guests

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Programs of guests/linux/programs.
const (
	VFIOBlk = "vfioblk" // drives a disk through vfio-pci
	Kexec   = "kexec"   // runs another kernel in this one's place
)

// libraries are the folders of lib whose sources a program is linked with, besides the library for user interrupts.
var libraries = map[string][]string{VFIOBlk: {"storage"}}

//go:embed linux/programs/*.c linux/programs/*.h
//go:embed linux/uintr/*.c linux/uintr/*.h linux/uintr/*.S linux/uintr/Kbuild linux/uintr/Makefile linux/uintr/tests/*.c linux/uintr/tests/*.h
//go:embed lib/*.h lib/user/*.c lib/user/*.h lib/user/*.S lib/user/Makefile lib/storage/*.c lib/storage/*.h
var sources embed.FS

// LinuxSources are what Linux guests with user interrupts get: the driver, in linux/uintr, the programs, in
// linux/programs, and the programs' library, in lib/user.
func LinuxSources() fs.FS { return sources }

// LinuxPrograms are the names of the programs among them.
func LinuxPrograms() []string {
	// The pattern is well-formed, the only thing that could be wrong.
	files, _ := fs.Glob(sources, "linux/programs/*.c")
	for i, f := range files {
		files[i] = strings.TrimSuffix(path.Base(f), ".c")
	}
	return files
}

// compilerFlags are gcc's for programs of Linux guests, which are static: they run whatever a guest's C library is.
var compilerFlags = []string{"-std=gnu11", "-static", "-O2", "-Wall", "-Wextra", "-Werror", "-muintr", "-pthread"}

// generalRegistersOnly are programs in which gcc itself is to make handlers of all functions.
var generalRegistersOnly = map[string]bool{Sample: true}

// CompileLinux makes the programs of the sources in the folder root, and returns the path of each. They run on any
// Linux, with or without user interrupts. tell is called before each.
func CompileLinux(ctx context.Context, root, out string, programs []string, tell func(n int)) (map[string]string, error) {
	library := filepath.Join(out, "user")
	if err := makeUserLibrary(ctx, root, library); err != nil {
		return nil, err
	}
	paths := make(map[string]string)
	for i, p := range programs {
		tell(i)
		paths[p] = filepath.Join(out, p)
		if err := compileLinux(ctx, root, library, p, paths[p]); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// compileLinux makes one program, with the library that is in a folder.
func compileLinux(ctx context.Context, root, library, program, out string) error {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrToolchain, err)
	}
	flags := slices.Clone(compilerFlags)
	if generalRegistersOnly[program] {
		flags = append(flags, "-mgeneral-regs-only", "-minline-all-stringops")
	}
	flags = append(flags, "-I", filepath.Join(root, "lib", "user"), "-o", out, filepath.Join(root, "linux", "programs", program+".c"))
	for _, l := range libraries[program] {
		sources, err := filepath.Glob(filepath.Join(root, "lib", l, "*.c"))
		if err != nil {
			return fmt.Errorf("guests: compiling %s: %w", program, err)
		}
		flags = append(flags, sources...)
	}
	flags = append(flags, filepath.Join(library, "libuintr-user.a"))
	cmd := exec.CommandContext(ctx, gcc, flags...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	text, err := cmd.CombinedOutput()
	if err != nil {
		return errors.Join(ctx.Err(), fmt.Errorf("guests: compiling %s: %w\n%s", program, err, text))
	}
	return nil
}

// BuildLinux makes a program of guests/linux/programs in the folder out, and returns its path.
func BuildLinux(out, program string) (string, error) {
	paths, err := CompileLinux(context.Background(), folder(), out, []string{program}, func(int) {})
	return paths[program], err
}
