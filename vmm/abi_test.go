package vmm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/guests"
)

func TestGuestsUseTheSamePortsAndMSRs(t *testing.T) {
	abi, err := guests.ABI()
	require.NoError(t, err)
	for name, ours := range map[string]uint64{
		"GVMM_PORT_COM1": portCOM1, "GVMM_PORT_EXIT": portExit, "GVMM_MSR_LATENCY": msrLatency,
	} {
		theirs, ok := abi[name]
		require.True(t, ok, "abi.h lacks %s", name)
		require.Equal(t, theirs, ours, name)
	}
}
