package vcpu

import "fmt"

// A Way is how user interrupts reach a guest. Its values are those of
// GVMM_WAY_* in guests/lib/abi.h.
type Way uint8

// The ways.
const (
	WayNone     Way = 0 // no user interrupts
	WayNative   Way = 1 // the processor has them
	WayDirect   Way = 2 // over KVM: microcode at CPL 3 behind the guest's gates
	WayResident Way = 3 // over KVM: microcode at CPL 0
)

// String is the way's name on the command line and in reports.
func (w Way) String() string {
	switch w {
	case WayNone:
		return "none"
	case WayNative:
		return "native"
	case WayDirect:
		return "direct"
	case WayResident:
		return "resident"
	}
	return fmt.Sprintf("way %d", uint8(w))
}
