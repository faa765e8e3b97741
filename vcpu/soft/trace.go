package soft

import (
	"gvmm/vcpu"
	"gvmm/vcpu/soft/decode"
)

// Tracer sees what a processor does. A nil Tracer costs nothing; one that wants
// instructions has them executed one by one. Its methods are called on the
// processor's goroutine, and may ask the processor for its registers.
type Tracer interface {
	// Instructions reports that Instruction and Retired want to be called.
	Instructions() bool
	// Instruction is about to be executed at linear address la.
	Instruction(c *CPU, la uint64, in *decode.Inst)
	// Retired follows when it has been executed, or did one round of its repetitions.
	// It does not follow if the instruction faulted.
	Retired(c *CPU)
	// Exit left for the VMM, or would have on the host that is modelled.
	Exit(c *CPU, e vcpu.Exit)
	// Interrupt was acknowledged from the local APIC.
	Interrupt(c *CPU, vector uint8)
	// Event was delivered through the IDT.
	Event(c *CPU, e Event)
	// User is a step of a user interrupt.
	User(c *CPU, what vcpu.UserStep, value uint64)
}

// Event is an exception or interrupt.
type Event struct {
	Vector    uint8
	Exception bool   // not an interrupt, nor INT n
	Handler   uint64 // RIP, at the CPL that it begins with
	HasCode   bool
	Code      uint32
}

func (c *CPU) traceInstruction(in *decode.Inst) {
	if t := c.config.Trace; t != nil && t.Instructions() {
		t.Instruction(c, c.here(), in)
	}
}

func (c *CPU) traceRetired() {
	if t := c.config.Trace; t != nil && t.Instructions() {
		t.Retired(c)
	}
}

func (c *CPU) traceExit(cause vcpu.Cause, addr uint64, size int, value uint64) {
	if t := c.config.Trace; t != nil {
		t.Exit(c, vcpu.Exit{Cause: cause, Addr: addr, Size: size, Value: value})
	}
}

// traceMSR is an exit for an MSR that the engine does not know.
func (c *CPU) traceMSR(cause vcpu.Cause, msr uint32, value uint64, ok bool) {
	if t := c.config.Trace; t != nil {
		t.Exit(c, vcpu.Exit{Cause: cause, Addr: uint64(msr), Size: 8, Value: value, Refused: !ok})
	}
}

func (c *CPU) traceInterrupt(vector uint8) {
	if t := c.config.Trace; t != nil {
		t.Interrupt(c, vector)
	}
}

func (c *CPU) traceEvent(e event) {
	if t := c.config.Trace; t != nil {
		exception := e.kind != eventInterrupt && e.kind != eventNMI && e.kind != eventSoft
		t.Event(c, Event{Vector: e.vector, Exception: exception, Handler: c.next, HasCode: e.hasCode, Code: e.code})
	}
}

func (c *CPU) traceUser(what vcpu.UserStep, value uint64) {
	if t := c.config.Trace; t != nil {
		t.User(c, what, value)
	}
}

// ID is the processor's number.
func (c *CPU) ID() uint32 { return c.id }

// General returns a general-purpose register, 0 to 15.
func (c *CPU) General(i int) uint64 { return c.r[i&15] }

// RIP is the offset in CS of the instruction under way, and between instructions of the next one.
func (c *CPU) RIP() uint64 { return c.rip }

// CPL is the current privilege level.
func (c *CPU) CPL() uint8 { return c.cpl }

// Mode is the width that the current code segment decodes with.
func (c *CPU) Mode() decode.Mode { return c.mode }

// CR2 is the address of the last page fault.
func (c *CPU) CR2() uint64 { return c.cr2 }
