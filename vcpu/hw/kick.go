package hw

import (
	"math/bits"

	"gvmm/kvm"
	"gvmm/uintr"
	"gvmm/vcpu"
)

// The kick: a notification that takes the processor out of the guest, does the
// architecture's work in the VMM and rewrites the registers. It needs no gate, costs
// a signal and two trips through the kernel, and is what the ways are measured
// against.

// KickNotify has the processor take a notification by a kick. It may be called
// from any goroutine; CPUConfig.Kick must be set.
func (c *CPU) KickNotify(vector uint8) {
	c.notified.Store(uint32(vector))
	c.Kick()
}

// takeKick is called on the processor's goroutine after KVM_RUN was interrupted.
// Where the program cannot be entered, the notification goes the ordinary way.
func (c *CPU) takeKick() {
	vector := uint8(c.notified.Swap(0))
	if vector == 0 {
		return
	}
	if !c.enterProgram(vector) {
		c.config.Kick(c.config.ID, vector)
	}
}

// enterProgram processes a notification and delivers what it brought. It is false
// if the processor is in its kernel or its microcode, or if the guest would fault:
// then its own microcode shall.
func (c *CPU) enterProgram(vector uint8) bool {
	s, g := c.run.SRegs(), c.run.Regs()
	if c.block == nil || s.CS.Selector&3 != 3 || int64(g.RIP) < 0 {
		return false
	}
	mem, r := linear{c.memory, s.CR3}, &syncRegisters{sregs: s, regs: g}
	state := c.block.State()
	if !state.Identify(r, vector) {
		return false
	}
	c.traceUser(vcpu.UserNotify, uint64(vector))
	if state.ProcessNotification(mem, r) != nil {
		return false
	}
	requests := state.UIRR
	c.traceUser(vcpu.UserRequests, requests)
	delivered, err := state.Deliver(mem, r)
	c.setState(state)
	if delivered {
		c.traceUser(vcpu.UserDeliver, uint64(bits.Len64(requests)-1))
		c.run.SetDirtyRegs(kvm.SyncRegs)
	}
	return err == nil
}

// syncRegisters are the registers in the run page.
type syncRegisters struct {
	sregs *kvm.SRegs
	regs  *kvm.Regs
}

var _ uintr.Registers = (*syncRegisters)(nil)

// Context implements uintr.Registers.
func (r *syncRegisters) Context() uintr.Context {
	return uintr.Context{RIP: r.regs.RIP, RSP: r.regs.RSP, RFLAGS: r.regs.RFLAGS}
}

// SetContext implements uintr.Registers.
func (r *syncRegisters) SetContext(c uintr.Context) {
	r.regs.RIP, r.regs.RSP, r.regs.RFLAGS = c.RIP, c.RSP, c.RFLAGS
}

// Mode implements uintr.Registers. CR4.UINTR is the block's to model: a processor
// without a block gets no kick.
func (r *syncRegisters) Mode() uintr.Mode {
	const lma = 1 << 10
	return uintr.Mode{
		CPL: uint8(r.sregs.CS.Selector & 3), UINTR: true, LongMode: r.sregs.EFER&lma != 0, Code64: r.sregs.CS.L != 0,
		LinearBits: 48, MaxLinearBits: 48,
	}
}
