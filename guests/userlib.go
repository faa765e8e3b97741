package guests

import (
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
	for _, tool := range []string{"make", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrToolchain, err)
		}
	}
	building.Lock()
	defer building.Unlock()
	cmd := exec.Command("make", append([]string{"-s", "-C", filepath.Join(folder(), "lib", "user"), "OUT=" + out, "all"}, targets...)...)
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MFLAGS=", "MAKELEVEL=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("guests: building the library for user interrupts: %w\n%s", err, text)
	}
	var programs []string
	for _, t := range targets {
		// The pattern is well-formed, the only thing that could be wrong.
		found, _ := filepath.Glob(filepath.Join(out, t, "*"))
		programs = append(programs, found...)
	}
	return programs, nil
}

// Programs of guests/linux/programs that use user interrupts.
const (
	Sample = "sample" // Intel's system calls and the compiler's intrinsics, nothing else
	Echo   = "echo"   // rings of libuintr-user.a between two processes
)

// BuildUserPrograms makes Sample and Echo in the folder out, static, with the library that
// BuildUserLibrary made there, and returns their paths.
func BuildUserPrograms(out string) ([]string, error) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrToolchain, err)
	}
	flags := []string{"-O2", "-Wall", "-Wextra", "-Werror", "-muintr", "-static", "-pthread"}
	programs := []struct {
		name string
		args []string // before and after the source
		libs []string
	}{
		// gcc's interrupt functions use general registers only.
		{Sample, []string{"-mgeneral-regs-only", "-minline-all-stringops"}, nil},
		{Echo, []string{"-I", filepath.Join(folder(), "lib", "user")}, []string{filepath.Join(out, "libuintr-user.a")}},
	}
	var paths []string
	for _, p := range programs {
		path := filepath.Join(out, p.name)
		args := append(append([]string{}, flags...), p.args...)
		args = append(append(args, "-o", path, filepath.Join(folder(), "linux", "programs", p.name+".c")), p.libs...)
		if text, err := exec.Command(gcc, args...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("guests: building %s: %w\n%s", p.name, err, text)
		}
		paths = append(paths, path)
	}
	return paths, nil
}
