package guests

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Programs of guests/linux/programs.
const VFIOBlk = "vfioblk" // drives a disk through vfio-pci

//go:embed linux/programs/*.c linux/programs/*.h
//go:embed linux/uintr/*.c linux/uintr/*.h linux/uintr/*.S linux/uintr/Kbuild linux/uintr/Makefile linux/uintr/tests/*.c linux/uintr/tests/*.h
var sources embed.FS

// LinuxSources are the driver, in uintr, and the programs, in programs, that Linux guests with user interrupts get.
func LinuxSources() (fs.FS, error) { return fs.Sub(sources, "linux") }

// LinuxPrograms are the names of the programs among sources.
func LinuxPrograms(sources fs.FS) (names []string, err error) {
	files, err := fs.Glob(sources, "programs/*.c")
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".c"))
	}
	return names, err
}

// CompilerFlags are gcc's for programs of Linux guests, which are static: they run whatever a guest's C library is.
var CompilerFlags = []string{"-std=gnu11", "-static", "-O2", "-Wall", "-Wextra", "-Werror", "-muintr", "-pthread"}

// CompileLinux makes a program of the file source, for any Linux with or without user interrupts.
func CompileLinux(ctx context.Context, source, out string) error {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrToolchain, err)
	}
	cmd := exec.CommandContext(ctx, gcc, append(CompilerFlags, "-o", out, source)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	text, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, new(*exec.ExitError)):
		return fmt.Errorf("guests: compiling %s: %w\n%s", filepath.Base(source), err, text)
	}
	return err
}

// BuildLinux makes a program of guests/linux/programs in the folder out, and returns its path.
func BuildLinux(out, program string) (string, error) {
	path := filepath.Join(out, program)
	return path, CompileLinux(context.Background(), filepath.Join(folder(), "linux", "programs", program+".c"), path)
}
