// Package guests builds the guest images of this folder for tests and
// benchmarks: bare is a freestanding kernel with one user program, lib the
// microcode and headers that guests include.
//
// Building needs make and gcc; ErrToolchain says when they are missing.
package guests

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"sync"
)

// ErrToolchain is a host without make or gcc.
var ErrToolchain = errors.New("guests: building an image needs make and gcc")

// Images of guests/bare.
const (
	Main   = "guest"  // reads its disk, the main job
	IPI    = "ipi"    // SENDUIPI between processors
	Cases  = "cases"  // runs the table of uintr/uintrtest
	Misuse = "misuse" // does everything wrong
	UIPI   = "uipi"   // times SENDUIPI
	Loops  = "loops"  // times loops, on any machine
	System = "system" // kernel code only: what a machine does, test by test
	Legacy = "legacy" // the same outside long mode, started by multiboot
)

// one build at a time: images share make's output folder.
var building sync.Mutex

// Build makes an image of guests/bare in the folder out, unless it is there and
// no source is newer, and returns its path.
func Build(out, image string) (string, error) {
	for _, tool := range []string{"make", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("%w: %w", ErrToolchain, err)
		}
	}
	path := filepath.Join(out, image+".img")
	building.Lock()
	defer building.Unlock()
	cmd := exec.Command("make", "-s", "-C", filepath.Join(folder(), "bare"), "OUT="+out, path)
	// A make above this one must not lend its flags or its job server.
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MFLAGS=", "MAKELEVEL=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("guests: building %s: %w\n%s", image, err, text)
	}
	return path, nil
}

var define = regexp.MustCompile(`(?m)^#define\s+(\w+)\s+(0x[0-9a-f]+|[0-9]+)\b`)

// ABI reads the numbers that lib/abi.h defines, for tests that compare the two
// halves of what guests and the VMM agree on.
func ABI() (map[string]uint64, error) {
	text, err := os.ReadFile(filepath.Join(folder(), "lib", "abi.h"))
	if err != nil {
		return nil, fmt.Errorf("guests: %w", err)
	}
	abi := make(map[string]uint64)
	for _, m := range define.FindAllStringSubmatch(string(text), -1) {
		if abi[m[1]], err = strconv.ParseUint(m[2], 0, 64); err != nil {
			return nil, fmt.Errorf("guests: abi.h: %s: %w", m[1], err)
		}
	}
	return abi, nil
}

// folder is where this package's sources are.
func folder() string {
	_, self, _, _ := runtime.Caller(0)
	return filepath.Dir(self)
}
