package soft

import (
	"fmt"
	"unsafe"

	"gvmm/vcpu/soft/jit"
)

// stateOffset is where the state pointer of translated code points in a CPU: the registers are in reach
// of a byte's displacement, and its low bits are what jit wants if the CPU's are 0, as any large
// object's are.
const stateOffset = 64 + jit.StateAlignment

// statePointer is the pointer to the processor's state that translated code uses. The Go
// runtime does not move objects of the heap, and translated code is entered from the
// goroutine that keeps this one alive.
func (c *CPU) statePointer() unsafe.Pointer { return unsafe.Add(unsafe.Pointer(c), stateOffset) }

// newTranslator makes a translator for this processor's state.
func (c *CPU) newTranslator(size int) (*jit.Translator, error) {
	if uintptr(unsafe.Pointer(c))%64 != 0 {
		return nil, fmt.Errorf("%w: the processor's state is not aligned", jit.ErrHost)
	}
	at := func(offset uintptr) int32 { return int32(offset) - stateOffset }
	return jit.New(jit.Layout{
		Registers: at(unsafe.Offsetof(c.r)),
		Vectors:   at(unsafe.Offsetof(c.xmm)),
		Bases:     at(unsafe.Offsetof(c.bases)),
		Pending:   at(unsafe.Offsetof(c.pending)),
		Control:   at(unsafe.Offsetof(c.control)),
		MXCSR:     at(unsafe.Offsetof(c.mxcsr)),
		TLBRead:   int32(unsafe.Offsetof(tlbEntry{}.read)),
		TLBWrite:  int32(unsafe.Offsetof(tlbEntry{}.write)),
		TLBHost:   int32(unsafe.Offsetof(tlbEntry{}.hostPage)),
	}, size)
}

// tableOffset is the TLB's table of a unit, from the state pointer.
func (c *CPU) tableOffset(key unitKey) int32 {
	return int32(unsafe.Offsetof(c.tlbs)+uintptr(key&3)*unsafe.Sizeof(tlb{})) - stateOffset
}
