package hw

import "gvmm/vcpu"

func (c *CPU) trace(e vcpu.Exit) {
	if c.config.Exit != nil {
		c.config.Exit(c.config.ID, e)
	}
}

// traceAccess is an exit for a port or for memory.
func (c *CPU) traceAccess(cause vcpu.Cause, addr uint64, p []byte) {
	if c.config.Exit == nil {
		return
	}
	e := vcpu.Exit{Cause: cause, Addr: addr, Size: len(p)}
	for i, b := range p {
		e.Value |= uint64(b) << (8 * i)
	}
	c.config.Exit(c.config.ID, e)
}

func (c *CPU) traceUser(what vcpu.UserStep, value uint64) {
	if c.config.User != nil {
		c.config.User(c.config.ID, what, value)
	}
}
