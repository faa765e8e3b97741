package guests

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// userLibrary builds the library and targets, or skips where there is no compiler.
func userLibrary(t *testing.T, out string, targets ...string) []string {
	t.Helper()
	programs, err := BuildUserLibrary(out, targets...)
	if errors.Is(err, ErrToolchain) {
		t.Skip(err)
	}
	require.NoError(t, err)
	return programs
}

// run is a program's output; a test that fails says so by its status.
func run(t *testing.T, path string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	text, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	require.NoError(t, err, string(text))
	return string(text)
}

func TestUserLibraryOverAModelOfTheProcessor(t *testing.T) {
	programs := userLibrary(t, t.TempDir(), UserModel)
	require.Len(t, programs, 5)
	for _, p := range programs {
		name := filepath.Base(p)
		t.Run(name, func(t *testing.T) {
			require.Contains(t, run(t, p), "ok "+name+"\n")
		})
	}
}

func TestUserProgramsSayThatThereAreNoUserInterrupts(t *testing.T) {
	out := t.TempDir()
	userLibrary(t, out)
	paths, err := BuildUserPrograms(out)
	require.NoError(t, err)
	require.Len(t, paths, 2)
	text, err := exec.Command(paths[1]).CombinedOutput()
	if err == nil {
		t.Skip("this kernel has user interrupts")
	}
	require.Contains(t, string(text), "this kernel has no user interrupts: load the driver")
}
