package uintr

import (
	"math/bits"

	"gvmm/uintr/spec"
)

// State is the user-interrupt state of one virtual CPU, `uintr.md §1.2`. The zero value is its reset state. One goroutine
// uses it at a time; other CPUs and devices meet it only in the UPID.
type State struct {
	UIRR        uint64 // requests recognised, bit v for vector v
	UIF         bool
	Handler     uint64 // UIHANDLER, a linear address
	StackAdjust uint64 // UISTACKADJUST; bit 0 selects load mode
	UINV        uint8  // the vector taken as notification; 0 for none
	UPIDAddr    uint64 // linear address, as in IA32_UINTR_PD
	UITTAddr    uint64 // linear address and the SENDUIPI enable in bit 0, as in IA32_UINTR_TT
	UITTSize    uint32 // the highest valid index
}

// Pending reports whether a user interrupt is recognised, `uintr.md §1.8`.
func (s *State) Pending() bool { return s.UIRR != 0 }

// Deliverable reports whether the next instruction boundary delivers a user interrupt, `uintr.md §1.8`. RFLAGS.IF and the
// shadow of STI do not matter.
//
// It is also the rule for waking: TPAUSE and UMWAIT at CPL 3 end if it holds. HLT runs at CPL 0, where it never does: a
// CPU halted when a notification came goes back to HLT after ProcessNotification.
func (s *State) Deliverable(r Registers) bool {
	return s.UIRR != 0 && s.UIF && deliverable(r.Mode())
}

func deliverable(m Mode) bool {
	return m.instructions() && m.CPL == 3 && !m.MovSS
}

// vector is UIRRV, the highest request. Precondition: there is one.
func (s *State) vector() int { return bits.Len64(s.UIRR) - 1 }

func (s *State) sendEnabled() bool { return s.UITTAddr&spec.TTEnable != 0 }
