package guests

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Targets of guests/lib/user, which stand in folders of these names.
const (
	UserTests = "tests" // test programs, static, for a guest with user interrupts
	UserModel = "model" // the same over a model in software, for any machine
)

// BuildUserLibrary makes libuintr-user.a, of guests/lib/user, in the folder out, and the
// targets' programs in folders below it; it returns the programs' paths.
func BuildUserLibrary(out string, targets ...string) ([]string, error) {
	if err := makeUserLibrary(context.Background(), folder(), out, targets...); err != nil {
		return nil, err
	}
	var programs []string
	for _, t := range targets {
		// The pattern is well-formed, the only thing that could be wrong.
		found, _ := filepath.Glob(filepath.Join(out, t, "*"))
		programs = append(programs, found...)
	}
	return programs, nil
}

// makeUserLibrary makes it of the sources in the folder root.
func makeUserLibrary(ctx context.Context, root, out string, targets ...string) error {
	for _, tool := range []string{"make", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w: %w", ErrToolchain, err)
		}
	}
	building.Lock()
	defer building.Unlock()
	cmd := exec.CommandContext(ctx, "make", append([]string{"-s", "-C", filepath.Join(root, "lib", "user"), "OUT=" + out, "all"}, targets...)...)
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MFLAGS=", "MAKELEVEL=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(ctx.Err(), fmt.Errorf("guests: building the library for user interrupts: %w\n%s", err, text))
	}
	return nil
}

// Programs of guests/linux/programs that use user interrupts.
const (
	Sample = "sample" // Intel's system calls and the compiler's intrinsics, nothing else
	Echo   = "echo"   // rings of libuintr-user.a between two processes
)

// BuildUserPrograms makes Sample and Echo in the folder out, static, with the library that
// BuildUserLibrary made there, and returns their paths.
func BuildUserPrograms(out string) ([]string, error) {
	var paths []string
	for _, p := range []string{Sample, Echo} {
		path := filepath.Join(out, p)
		if err := compileLinux(context.Background(), folder(), out, p, path); err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}
