package hw

import (
	"testing"

	"gvmm/guests/guesttest"
)

func TestGuestsSeeTheSameBlock(t *testing.T) {
	guesttest.RequireABI(t, map[string]uint64{
		"UC_UIRR": offUIRR, "UC_UIF": offUIF, "UC_HANDLER": offHandler, "UC_STACKADJUST": offStackAdjust,
		"UC_MISC": offMisc, "UC_PD": offPD, "UC_TT": offTT, "UC_CONTROL": offControl,
		"UC_ADJUST_AND": offAdjustAnd, "UC_ADJUST_SUB": offAdjustSub,
		"UC_FACE_HANDLER": offFaceHandler, "UC_FACE_AND": offFaceAnd, "UC_FACE_SUB": offFaceSub,
		"GVMM_PAGE": blockPage, "GVMM_MSR_BLOCK": msrBlock,
	})
}
