package soft

import (
	"gvmm/vcpu"
	"gvmm/vcpu/soft/decode"
)

// Tracer sees what a processor does. A nil Tracer costs nothing; one that wants
// instructions has them executed one by one. Its methods are called on the
// processor's goroutine.
type Tracer interface {
	// Instructions reports that Instruction wants to be called.
	Instructions() bool
	// Instruction is about to be executed at linear address la.
	Instruction(c *CPU, la uint64, in *decode.Inst)
	// Exit left for the VMM: addr is a port, physical address or MSR.
	Exit(c *CPU, cause vcpu.Cause, addr, value uint64)
	// Interrupt was acknowledged from the local APIC.
	Interrupt(c *CPU, vector uint8)
	// Event was delivered through the IDT.
	Event(c *CPU, vector uint8, code uint32)
	// User is a step of a user interrupt: what is the instruction, "notify" or "deliver"; vector where it has one.
	User(c *CPU, what string, value uint64)
}

func (c *CPU) traceInstruction(in *decode.Inst) {
	if t := c.config.Trace; t != nil && t.Instructions() {
		t.Instruction(c, c.rip, in)
	}
}

func (c *CPU) traceExit(cause vcpu.Cause, addr, value uint64) {
	if t := c.config.Trace; t != nil {
		t.Exit(c, cause, addr, value)
	}
}

func (c *CPU) traceInterrupt(vector uint8) {
	if t := c.config.Trace; t != nil {
		t.Interrupt(c, vector)
	}
}

func (c *CPU) traceEvent(vector uint8, code uint32) {
	if t := c.config.Trace; t != nil {
		t.Event(c, vector, code)
	}
}

func (c *CPU) traceUser(what string, value uint64) {
	if t := c.config.Trace; t != nil {
		t.User(c, what, value)
	}
}
