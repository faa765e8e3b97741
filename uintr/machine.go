package uintr

// Memory is the linear address space that is current on a CPU. la is canonical in the current paging mode and
// [la, la+n) lies within one 4 KiB page. The view aliases guest memory, is n bytes long, 8-byte aligned if la is, and
// stays valid until the method of State that asked for it returns. What the guest may not touch is a *Fault
// (mostly PageFault); another error is a failure of the engine, and either leaves State and Registers as they were.
type Memory interface {
	// Supervisor makes an implicit supervisor access, whatever the CPL (`uintr.md §1.7`): error codes say supervisor, and
	// under SMAP a user page refuses it whatever RFLAGS.AC.
	Supervisor(la uint64, n int, write bool) ([]byte, error)

	// Data makes an access of the program's own, with the rights of the current CPL: the delivered frame, UIRET's pops.
	Data(la uint64, n int, write bool) ([]byte, error)
}

// Registers is what user interrupts read and change of a CPU.
type Registers interface {
	Context() Context
	SetContext(Context)
	Mode() Mode
}

// Context is the part of the register state that delivery, UIRET and TESTUI change. RIP is that of the current
// instruction in an instruction, and of the next one at an instruction boundary.
type Context struct{ RIP, RSP, RFLAGS uint64 }

// Mode is what a CPU's behaviour depends on.
type Mode struct {
	CPL           uint8
	UINTR         bool  // CR4.UINTR
	LongMode      bool  // IA32_EFER.LMA
	Code64        bool  // CS.L
	MovSS         bool  // events are blocked by MOV SS or POP SS
	LinearBits    uint8 // linear-address width of the current paging mode: 48 or 57
	MaxLinearBits uint8 // linear-address width of the processor
}

// instructions reports whether the five instructions exist in the mode, `uintr.md §1.6`.
func (m Mode) instructions() bool { return m.UINTR && m.LongMode && m.Code64 }

// canonical reports whether address bits 63 to bits-1 are all the same.
func canonical(la uint64, bits uint8) bool {
	shift := 64 - bits
	return uint64(int64(la<<shift)>>shift) == la
}
