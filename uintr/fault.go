package uintr

import (
	"errors"
	"fmt"
)

// Exception vectors that user interrupts raise.
const (
	VectorUD = 6
	VectorSS = 12
	VectorGP = 13
	VectorPF = 14
)

// Bits of a page fault's error code.
const (
	PFPresent = 1 << 0
	PFWrite   = 1 << 1
	PFUser    = 1 << 2
)

// Fault is an exception for the guest. It is shared: do not change it. EXT is never set (`uintr.md §1.8`).
type Fault struct {
	Vector    uint8
	ErrorCode uint32 // 0 for #UD, which pushes none
	Address   uint64 // CR2, for #PF
}

// PageFault is the #PF that a Memory returns: la is the first byte that could not be accessed, code the PF* bits.
func PageFault(la uint64, code uint32) *Fault {
	return &Fault{Vector: VectorPF, ErrorCode: code, Address: la}
}

// Error implements error.
func (f *Fault) Error() string {
	return fmt.Sprintf("uintr: guest exception %d, error code %#x, address %#x", f.Vector, f.ErrorCode, f.Address)
}

var (
	faultUD = &Fault{Vector: VectorUD}
	faultSS = &Fault{Vector: VectorSS}
	faultGP = &Fault{Vector: VectorGP}
)

// ErrView is an engine's mistake: a Memory returned a view of the wrong length.
var ErrView = errors.New("uintr: memory view of the wrong length")
