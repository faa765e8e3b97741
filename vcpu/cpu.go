package vcpu

import (
	"errors"
	"sync/atomic"
)

// ErrGuest wraps what ends a virtual processor for good: a triple fault, an
// instruction that the host's KVM cannot run.
var ErrGuest = errors.New("vcpu: the guest cannot go on")

// A CPU is one virtual processor.
type CPU interface {
	// Run runs the processor on the calling goroutine, exits served by h, until
	// stop is set and seen. It returns an error wrapping ErrGuest if the guest
	// cannot go on.
	Run(h Handler, stop *atomic.Bool) error

	// Kick makes Run look at stop soon. It may be called from any goroutine.
	Kick()

	// Exits adds this processor's user-space exits to e. It may be called while
	// the processor runs.
	Exits(e *Exits)

	// Statistics returns the engine's own counters by name, such as KVM's.
	Statistics() (map[string]uint64, error)

	Close() error
}

// A Handler serves exits. Several processors call it at once; p is only valid
// during the call, holds 1 to 8 bytes, and a read sets all of them.
type Handler interface {
	PortRead(port uint16, p []byte)
	PortWrite(port uint16, p []byte)
	MemoryRead(addr uint64, p []byte)
	MemoryWrite(addr uint64, p []byte)

	// ReadMSR and WriteMSR serve the MSRs that the engine does not know;
	// false is #GP(0).
	ReadMSR(cpu int, msr uint32) (value uint64, ok bool)
	WriteMSR(cpu int, msr uint32, value uint64) (ok bool)
}
