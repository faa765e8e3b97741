package guests

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// small is how little a program can measure: these arguments have it do all that it does, in short.
var small = map[string][]string{"ipc": {"messages=1"}, "wake": {"samples=1"}, "flip": {"samples=1"}, "rings": {"requests=130"}, "storm": {"items=200"}}

func TestLinuxPrograms(t *testing.T) {
	programs := LinuxPrograms()
	require.Contains(t, programs, "aio")
	paths, err := CompileLinux(t.Context(), folder(), t.TempDir(), programs, func(int) {})
	require.NoError(t, err)
	require.Len(t, paths, len(programs))

	t.Run("experiments refuse options that they do not know", func(t *testing.T) {
		for _, argument := range []string{"round=1", "rounds", "rounds=", "rounds=0", "rounds=1x", "rounds=99999999999999999999"} {
			out, err := exec.CommandContext(t.Context(), paths["flip"], argument).CombinedOutput()
			require.Error(t, err, argument)
			require.Contains(t, string(out), argument)
		}
	})
	// They judge what arrives themselves. Here they do so with what any kernel has.
	for program, arguments := range small {
		t.Run(program+" loses nothing on this kernel", func(t *testing.T) {
			if testing.Short() {
				t.Skip("threads that spin")
			}
			out, err := exec.CommandContext(t.Context(), paths[program], append(arguments, "rounds=1")...).CombinedOutput()
			if strings.Contains(string(out), "a CPU each") || strings.Contains(string(out), "want two CPUs") {
				t.Skip(string(out))
			}
			require.NoError(t, err, string(out))
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			require.Regexp(t, `^gvmm-bench \{"end":\d+\}$`, lines[len(lines)-1])
		})
	}
}
