package hw

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/guests/guesttest"
)

func TestGuestsSeeTheSameBlockAndLeaves(t *testing.T) {
	leaves := DiscoveryLeaves(WayDirect, true, 1, 2, 3)
	guesttest.RequireABI(t, map[string]uint64{
		"UC_UIRR": offUIRR, "UC_UIF": offUIF, "UC_HANDLER": offHandler, "UC_STACKADJUST": offStackAdjust,
		"UC_MISC": offMisc, "UC_PD": offPD, "UC_TT": offTT, "UC_CONTROL": offControl,
		"UC_ADJUST_AND": offAdjustAnd, "UC_ADJUST_SUB": offAdjustSub,
		"UC_FACE_HANDLER": offFaceHandler, "UC_FACE_AND": offFaceAnd, "UC_FACE_SUB": offFaceSub,
		"GVMM_PAGE": blockPage, "GVMM_MSR_BLOCK": msrBlock,
		"GVMM_WAY_NONE": uint64(WayNone), "GVMM_WAY_NATIVE": uint64(WayNative),
		"GVMM_WAY_DIRECT": uint64(WayDirect), "GVMM_WAY_RESIDENT": uint64(WayResident),
		"GVMM_LEAF_SIGNATURE": uint64(leaves[0].Function), "GVMM_LEAF_UINTR": uint64(leaves[1].Function),
		"GVMM_SIGNATURE_EBX": uint64(leaves[0].EBX), "GVMM_SIGNATURE_ECX": uint64(leaves[0].ECX),
		"GVMM_SIGNATURE_EDX": uint64(leaves[0].EDX), "GVMM_FLAG_POSTED": flagPosted,
	})
	require.EqualValues(t, uint32(WayDirect)|flagPosted, leaves[1].EAX)
}
