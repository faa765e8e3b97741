package vcpu

import (
	"fmt"

	"gvmm/uintr/spec"
)

// Exit is one exit as a trace shows it: what it was for, the address of a port,
// physical memory or MSR, the size of the access in bytes, and what was read or
// written.
type Exit struct {
	Cause   Cause
	Addr    uint64
	Size    int // 0 where there is no access
	Value   uint64
	Refused bool // an MSR that does not exist, or does not take the value: #GP(0)
}

// UserStep is a step of a user interrupt as a trace shows it, and tells what its
// value is.
type UserStep string

// The steps. The instructions are named as the manual has them; SENDUIPI has its
// operand as value, the others none.
const (
	UserSend     UserStep = "SENDUIPI"
	UserNotify   UserStep = "notify"   // a notification was identified: its vector, UINV
	UserRequests UserStep = "requests" // it was processed: UIRR
	UserDeliver  UserStep = "deliver"  // a user interrupt was delivered: its vector
	UserMessage  UserStep = "message"  // the remapping unit sent an interrupt: its vector
)

// msrNames are the user-interrupt MSRs from spec.MSRRR on.
var msrNames = [...]UserStep{
	"IA32_UINTR_RR", "IA32_UINTR_HANDLER", "IA32_UINTR_STACKADJUST", "IA32_UINTR_MISC", "IA32_UINTR_PD", "IA32_UINTR_TT",
}

// UserMSR is the step of writing a user-interrupt MSR: what was written.
func UserMSR(msr uint32) UserStep {
	if i := msr - spec.MSRRR; i < uint32(len(msrNames)) {
		return msrNames[i]
	}
	return UserStep(fmt.Sprintf("MSR %#x", msr))
}
