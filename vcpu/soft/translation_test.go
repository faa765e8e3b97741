package soft

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu"
)

// testJIT is what the tests' processors run by: GVMM_JIT=on runs all tests by translations, from each block's first run on.
var testJIT = func() vcpu.JIT {
	if os.Getenv("GVMM_JIT") == "on" {
		return vcpu.JITOn
	}
	return vcpu.JITOff
}()

// newTestCPU adds a processor that runs by testJIT.
func newTestCPU(m *Machine, config CPUConfig) (*CPU, error) {
	config.JIT = testJIT
	c, err := m.NewCPU(config)
	if err == nil && c.translation != nil {
		c.translation.hot = 0
	}
	return c, err
}

func TestLoopsRunTheSameTranslated(t *testing.T) {
	code := assemble(t, "testdata/loops.S")
	for i, name := range loopNames {
		plain, fast := loopCPU(t, code, i, 5000), loopCPU(t, code, i, 5000)
		require.NoError(t, fast.startTranslating(vcpu.JITOn))
		finish(t, plain)
		finish(t, fast)
		require.Equal(t, plain.r[:16], fast.r[:16], name)
		require.Equal(t, plain.RFLAGS(), fast.RFLAGS(), name)
		require.Equal(t, plain.Retired(), fast.Retired(), name)
		t.Logf("%s: %d of %d instructions", name, fast.native, fast.Retired())
	}
}
