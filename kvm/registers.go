package kvm

// Regs are the general registers (struct kvm_regs).
type Regs struct {
	RAX, RBX, RCX, RDX uint64
	RSI, RDI, RSP, RBP uint64
	R8, R9, R10, R11   uint64
	R12, R13, R14, R15 uint64
	RIP, RFLAGS        uint64
}

// Segment is a segment register with its hidden part (struct kvm_segment).
type Segment struct {
	Base     uint64
	Limit    uint32 // bytes, whatever G says
	Selector uint16
	Type     uint8
	Present  uint8
	DPL      uint8
	DB       uint8
	S        uint8
	L        uint8
	G        uint8
	AVL      uint8
	Unusable uint8
	_        uint8
}

// DTable is GDTR or IDTR (struct kvm_dtable).
type DTable struct {
	Base  uint64
	Limit uint16
	_     [3]uint16
}

// SRegs are segment, control and system registers (struct kvm_sregs).
type SRegs struct {
	CS, DS, ES, FS, GS, SS Segment
	TR, LDT                Segment
	GDT, IDT               DTable
	CR0, CR2, CR3, CR4     uint64
	CR8                    uint64
	EFER                   uint64
	APICBase               uint64
	// InterruptBitmap has at most one bit set: the external interrupt that was
	// accepted but not yet delivered.
	InterruptBitmap [kvmNRInterrupts / 64]uint64
}

// DebugRegs are DR0-3, DR6 and DR7 (struct kvm_debugregs).
type DebugRegs struct {
	DB    [4]uint64
	DR6   uint64
	DR7   uint64
	Flags uint64 // 0
	_     [9]uint64
}

// FPU is x87 and SSE state (struct kvm_fpu).
type FPU struct {
	FPR        [8][16]byte
	FCW        uint16
	FSW        uint16
	FTWX       uint8 // abridged, as FXSAVE has it
	_          uint8
	LastOpcode uint16
	LastIP     uint64
	LastDP     uint64
	XMM        [16][16]byte
	MXCSR      uint32
	_          uint32
}

// XCR is one extended control register (struct kvm_xcr).
type XCR struct {
	XCR   uint32
	_     uint32
	Value uint64
}

// XCRS are the extended control registers (struct kvm_xcrs): the first NrXCRs
// of XCRs.
type XCRS struct {
	NrXCRs uint32
	Flags  uint32 // 0
	XCRs   [kvmMaxXCRS]XCR
	_      [16]uint64
}

// VCPUEvents are events underway: what was injected, what waits, what is
// blocked (struct kvm_vcpu_events). Flags are EventValid bits.
type VCPUEvents struct {
	Exception struct {
		Injected     uint8
		Nr           uint8
		HasErrorCode uint8
		Pending      uint8
		ErrorCode    uint32
	}
	Interrupt struct {
		Injected uint8
		Nr       uint8
		Soft     uint8
		Shadow   uint8 // ShadowIntMovSS, ShadowIntSTI
	}
	NMI struct {
		Injected uint8
		Pending  uint8
		Masked   uint8
		_        uint8
	}
	SIPIVector uint32
	Flags      uint32
	SMI        struct {
		SMM          uint8
		Pending      uint8
		SMMInsideNMI uint8
		LatchedInit  uint8
	}
	TripleFaultPending  uint8
	_                   [26]uint8
	ExceptionHasPayload uint8
	ExceptionPayload    uint64
}
