package vcpu

import (
	"fmt"

	"gvmm/uintr"
)

// Debuggable is a CPU that a debugger can look into. Its methods are called while
// Run does not run.
type Debuggable interface {
	CPU

	Registers(r *Registers) error
	// SetRegisters sets what differs from Registers. Selectors, CR0 to CR8 and EFER
	// cannot be set: it is an error, and nothing was set, if one of them differs.
	SetRegisters(r *Registers) error

	// ReadLinear reads RAM through the page tables that are current, whatever they
	// allow, and changes nothing that the guest can see. It returns how many bytes
	// there were before the first that is not mapped or no RAM. WriteLinear writes.
	ReadLinear(la uint64, p []byte) int
	WriteLinear(la uint64, p []byte) int

	// UserInterrupts is the user-interrupt state.
	UserInterrupts() uintr.State

	// SetDebug says what Run returns a *Trap for from now on; nil is no debugger. It
	// fails if there is more than the engine can look for.
	SetDebug(d *Debug) error
}

// Debug is what Run of a Debuggable stops for.
type Debug struct {
	Step    bool     // one instruction, or entering a handler; interrupts have to wait, but for a processor that halts
	Breaks  []uint64 // linear addresses of instructions, ascending; it stops before one is executed
	Watches []Watch  // it stops behind the instruction
	// Resume executes the instruction at RIP, if that is linear address ResumeAt, even though a breakpoint is there.
	Resume   bool
	ResumeAt uint64
}

// Watch is a range of linear addresses and the accesses that count.
type Watch struct {
	Addr, Size  uint64
	Read, Write bool
}

// TrapKind is why a processor stopped for a debugger.
type TrapKind uint8

// The kinds.
const (
	TrapStep TrapKind = iota
	TrapBreak
	TrapWatch
)

// Trap is what Run returns when a processor stopped for a debugger.
type Trap struct {
	Kind  TrapKind
	Addr  uint64 // of the breakpoint, or that the access began at
	Watch Watch  // TrapWatch: the one that was met
}

// Error implements error.
func (t *Trap) Error() string {
	return fmt.Sprintf("vcpu: stopped for a debugger (%s at %#x)", [...]string{"step", "breakpoint", "watchpoint"}[t.Kind], t.Addr)
}

// Registers is what a debugger sees of a processor.
type Registers struct {
	General     [16]uint64 // as encodings number them: RAX RCX RDX RBX RSP RBP RSI RDI R8 to R15
	RIP, RFLAGS uint64
	Selectors   [6]uint16 // as encodings number them: ES CS SS DS FS GS

	FSBase, GSBase, KernelGSBase  uint64
	CR0, CR2, CR3, CR4, CR8, EFER uint64

	X87   X87
	XMM   [16][16]byte
	MXCSR uint32
}

// X87 is the state of the x87 unit.
type X87 struct {
	ST                      [8][10]byte // ST(0) first
	Control, Status         uint16
	Tag                     uint8 // as FXSAVE has it: a bit a physical register, 1 if it is not empty
	Opcode                  uint16
	Instruction, Data       uint64
	InstructionSel, DataSel uint16
}

// sameFixed reports that nothing differs that SetRegisters cannot set.
func (r *Registers) sameFixed(o *Registers) bool {
	return r.Selectors == o.Selectors && r.CR0 == o.CR0 && r.CR2 == o.CR2 && r.CR3 == o.CR3 && r.CR4 == o.CR4 && r.CR8 == o.CR8 && r.EFER == o.EFER
}

// ErrFixed is a debugger that sets a selector, a control register or EFER.
var ErrFixed = fmt.Errorf("vcpu: a debugger cannot set selectors, control registers or EFER")

// CheckFixed returns ErrFixed if r differs from now in what SetRegisters cannot set.
func (r *Registers) CheckFixed(now *Registers) error {
	if !r.sameFixed(now) {
		return ErrFixed
	}
	return nil
}
