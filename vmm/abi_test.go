package vmm

import (
	"testing"

	"gvmm/guests/guesttest"
)

func TestGuestsUseTheSamePortsAndMSRs(t *testing.T) {
	guesttest.RequireABI(t, map[string]uint64{
		"GVMM_PORT_COM1": portCOM1, "GVMM_PORT_EXIT": portExit, "GVMM_MSR_LATENCY": msrLatency,
	})
}
