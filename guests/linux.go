package guests

import (
	"fmt"
	"os/exec"
	"path/filepath"
)

// Programs of guests/linux/programs.
const (
	VFIOBlk = "vfioblk" // drives a disk through vfio-pci
	Kexec   = "kexec"   // runs another kernel in this one's place
)

// BuildLinux makes a program of guests/linux/programs in the folder out, a static executable for any Linux, and returns its path.
func BuildLinux(out, program string) (string, error) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrToolchain, err)
	}
	path := filepath.Join(out, program)
	cmd := exec.Command(gcc, "-static", "-O2", "-Wall", "-Wextra", "-Werror", "-o", path, filepath.Join(folder(), "linux", "programs", program+".c"))
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("guests: building %s: %w\n%s", program, err, text)
	}
	return path, nil
}
