package guests

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// The library's queues against a disk that the test plays, honest and hostile, under sanitizers.
func TestStorageQueues(t *testing.T) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no gcc on PATH: ", err)
	}
	library := filepath.Join(folder(), "lib", "storage")
	program := filepath.Join(t.TempDir(), "rings")
	args := []string{"-g", "-O1", "-Wall", "-Wextra", "-Werror", "-muintr", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-o", program, filepath.Join(library, "tests", "rings.c")}
	for _, source := range []string{"queue", "split", "packed", "wait", "memory", "error", "posted"} {
		args = append(args, filepath.Join(library, source+".c"))
	}
	out, err := exec.Command(gcc, args...).CombinedOutput()
	require.NoError(t, err, string(out))
	for seed := range 4 {
		out, err := exec.Command(program, strconv.Itoa(seed)).CombinedOutput()
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), "PASS rings\n")
	}
}

// An image has the sources alone: they must be all that a program is made from.
func TestLinuxProgramsAreMadeFromTheirSources(t *testing.T) {
	for _, tool := range []string{"make", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("no ", tool, " on PATH: ", err)
		}
	}
	root := t.TempDir()
	require.NoError(t, os.CopyFS(root, LinuxSources()))
	paths, err := CompileLinux(context.Background(), root, t.TempDir(), []string{VFIOBlk}, func(int) {})
	require.NoError(t, err)
	require.FileExists(t, paths[VFIOBlk])
}
