package vcpu

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/guests/guesttest"
)

func TestGuestsFindUserInterruptsByTheSameLeaves(t *testing.T) {
	leaves := DiscoveryLeaves(WayDirect, true, 1, 2, 3)
	guesttest.RequireABI(t, map[string]uint64{
		"GVMM_WAY_NONE": uint64(WayNone), "GVMM_WAY_NATIVE": uint64(WayNative),
		"GVMM_WAY_DIRECT": uint64(WayDirect), "GVMM_WAY_RESIDENT": uint64(WayResident),
		"GVMM_LEAF_SIGNATURE": uint64(leaves[0].Function), "GVMM_LEAF_UINTR": uint64(leaves[1].Function),
		"GVMM_SIGNATURE_EBX": uint64(leaves[0].EBX), "GVMM_SIGNATURE_ECX": uint64(leaves[0].ECX),
		"GVMM_SIGNATURE_EDX": uint64(leaves[0].EDX), "GVMM_FLAG_POSTED": flagPosted,
	})
	require.Equal(t, uint32(WayDirect)|flagPosted, leaves[1].EAX)
}
