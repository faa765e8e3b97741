package hw

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/guests"
)

func TestGuestsSeeTheSameBlockAndLeaves(t *testing.T) {
	abi, err := guests.ABI()
	require.NoError(t, err)
	leaves := DiscoveryLeaves(WayDirect, true, 1, 2, 3)
	for name, ours := range map[string]uint64{
		"UC_UIRR": offUIRR, "UC_UIF": offUIF, "UC_HANDLER": offHandler, "UC_STACKADJUST": offStackAdjust,
		"UC_MISC": offMisc, "UC_PD": offPD, "UC_TT": offTT, "UC_CONTROL": offControl,
		"UC_ADJUST_AND": offAdjustAnd, "UC_ADJUST_SUB": offAdjustSub,
		"UC_FACE_HANDLER": offFaceHandler, "UC_FACE_AND": offFaceAnd, "UC_FACE_SUB": offFaceSub,
		"GVMM_PAGE": blockPage, "GVMM_MSR_BLOCK": msrBlock,
		"GVMM_WAY_NONE": uint64(WayNone), "GVMM_WAY_NATIVE": uint64(WayNative),
		"GVMM_WAY_DIRECT": uint64(WayDirect), "GVMM_WAY_RESIDENT": uint64(WayResident),
		"GVMM_LEAF_SIGNATURE": uint64(leaves[0].Function), "GVMM_LEAF_UINTR": uint64(leaves[1].Function),
		"GVMM_SIGNATURE_EBX": uint64(leaves[0].EBX), "GVMM_SIGNATURE_ECX": uint64(leaves[0].ECX),
		"GVMM_SIGNATURE_EDX": uint64(leaves[0].EDX),
	} {
		theirs, ok := abi[name]
		require.True(t, ok, "abi.h lacks %s", name)
		require.Equal(t, theirs, ours, name)
	}
	require.EqualValues(t, abi["GVMM_WAY_DIRECT"]|abi["GVMM_FLAG_POSTED"], leaves[1].EAX)
}
