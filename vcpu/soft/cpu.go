package soft

import (
	"sync/atomic"
	"time"

	"gvmm/uintr"
	"gvmm/vcpu"
	"gvmm/vcpu/soft/decode"
	"gvmm/vcpu/soft/float"
	"gvmm/vcpu/soft/jit"
	"gvmm/vcpu/soft/simd"
)

// General-purpose registers as the encoding numbers them.
const (
	rax = iota
	rcx
	rdx
	rbx
	rsp
	rbp
	rsi
	rdi
	r8
	r9
	r10
	r11
)

// Segment registers; LDTR and TR beside the six of the encoding.
const (
	es   = decode.ES
	cs   = decode.CS
	ss   = decode.SS
	ds   = decode.DS
	fs   = decode.FS
	gs   = decode.GS
	ldtr = decode.GS + 1
	tr   = decode.GS + 2
)

// Signals to a processor: bits of CPU.pending.
const (
	pendingInterrupt uint32 = 1 << iota // the local APIC has something
	pendingNMI
	pendingINIT
	pendingSIPI
	pendingStop   // Kick
	pendingCode   // other processors' code pages: CPU.inbox
	pendingUser   // a user interrupt may be deliverable at this boundary
	pendingTimer  // a device's timer has another deadline
	pendingShadow // CPU.shadow is set
	pendingStep   // instructions are executed one by one
	pendingDebug  // a debugger's step, or a watchpoint that was met
)

// table is GDTR or IDTR.
type table struct {
	base  uint64
	limit uint16
}

// CPU is one processor. Its exported methods but Run may be called from any
// goroutine.
type CPU struct {
	// r holds the general-purpose registers, then r[16], always 0, and r[17], where the block under way began. No more is
	// used, but any index of 8 bits is valid and needs no check.
	r [256]uint64

	// The last instruction's arithmetic flags, not yet computed: see flags.go.
	flagKind    uint8
	flagR       uint64    // result, zero-extended
	flagB       uint64    // second source, or what else the kind needs
	flagsBefore lazyFlags // where the kind is classOver

	tlb  *tlb // of the current privilege
	mode decode.Mode
	cpl  uint8
	flat bool // 64-bit mode, or CS, SS, DS and ES are flat: the fast paths may be used

	// smc is set when an instruction wrote code: the block under way may be stale.
	smc bool
	// shadow blocks what it names at the next boundary, until one instruction has run.
	shadow shadow

	pending atomic.Uint32
	ignore  uint32 // pending bits that have to wait: cleared by what may end that

	ripMask uint64 // 32 bits but in 64-bit mode

	rip  uint64 // of the instruction under way, and between instructions the next one's
	next uint64 // where execution goes after the instruction under way

	rflags uint64 // all but the arithmetic flags: those six bits are 0 here
	bases  [8]uint64
	seg    [8]segment
	gdtr   table
	idtr   table

	cr0, cr2, cr3, cr4 uint64
	efer               uint64
	xcr0               uint64
	dr                 [4]uint64
	dr6, dr7           uint64
	msr                msrs
	sys                systemState

	fault fault // what the instruction under way raised

	integerState
	fpu    x87State
	xmm    [16]simd.Vec
	mxcsr  uint32
	vector vectorState
	image  [imageSize]byte // of state in memory, and of 10-byte operands

	uintr      uintr.State
	uintrFault uintr.Fault
	viewed     [4]uint64 // physical addresses of writable views that package uintr was given
	views      int

	apic    LocalAPIC
	handler vcpu.Handler
	machine *Machine
	id      uint32
	config  CPUConfig

	halted   bool // HLT or MWAIT: nothing runs until an interrupt
	waitSIPI bool // after INIT, and at power-on but for processor 0
	nmiMask  bool // between an NMI and its IRET
	monitor  monitor
	debug    *debugger

	tlbs [tlbTables]tlb
	flush
	cache   blocks
	inbox   inbox
	buffer  [8]byte   // of an access that is not one load or store
	ordered uint32    // see order
	pdptes  [4]uint64 // of PAE paging, as CR3 was loaded

	budget int64  // instructions until the run loop looks at the clock
	limit  uint64 // instructions retired when the budget is used up

	exits    vcpu.Exits
	stats    counters
	wake     chan struct{}
	timer    *time.Timer
	sleeping atomic.Bool   // nothing runs until wake
	idle     bool          // where time is virtual: halted since the last slice
	shutdown bool          // a triple fault
	trap     uint64        // DR6 bits of breakpoints that the instruction under way met
	sipi     atomic.Uint32 // vector of the last start-up interrupt

	translation *translation // nil: the interpreter alone
	control     jit.Control  // of translated code
	journal     *journal     // of what is written the slow way, or nil
	native      int64        // instructions that it executed
	raised      bool         // an exception since translated was entered: who schedules is asked
}

// x87State is the x87 and MMX state: physical registers, the top of stack in status
// bits 13:11.
type x87State struct {
	reg                  [8]float.F80
	control, status, tag uint16 // tag: one bit a register, set if NOT empty
	ip, dp               uint64
	cs, ds               uint16
	opcode               uint16
}

// shadow is what the instruction before blocks at this boundary.
type shadow uint8

const (
	shadowSTI   shadow = 1 << iota // maskable interrupts, for one instruction
	shadowMovSS                    // those, debug traps and user interrupts
)

// monitor is the range that MONITOR armed.
type monitor struct {
	armed bool
	addr  uint64 // physical, of the line
	value uint64 // at its start, when it was armed
}
