package soft

import "gvmm/vcpu/soft/decode"

const dr6BS = 1 << 14

func (c *CPU) system(in *decode.Inst) bool { return c.ud() }

// deliver takes an event at an instruction boundary.
func (c *CPU) deliver(e event) error { return nil }

// deliverFault delivers c.fault.
func (c *CPU) deliverFault() {}

// powerOn is the state at RESET.
func (c *CPU) powerOn() {}

// init is INIT.
func (c *CPU) init() {}

// startUp is a start-up interrupt.
func (c *CPU) startUp(vector uint8) {}

// breakpoint reports an instruction breakpoint at c.rip: c.fault is set.
func (c *CPU) breakpoint() bool { return false }

// watch looks for a data breakpoint.
func (c *CPU) watch(la uint64, n uint8, write bool) {}
