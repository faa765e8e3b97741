package soft

import (
	"math/bits"

	"gvmm/uintr"
	"gvmm/vcpu"
	"gvmm/vcpu/soft/decode"
)

// registers is what package uintr reads and changes of a processor.
type registers struct{ c *CPU }

var _ uintr.Registers = registers{}

// Context implements uintr.Registers.
func (r registers) Context() uintr.Context {
	return uintr.Context{RIP: r.c.rip, RSP: r.c.r[rsp], RFLAGS: r.c.RFLAGS()}
}

// SetContext implements uintr.Registers.
func (r registers) SetContext(x uintr.Context) {
	c := r.c
	c.next, c.r[rsp] = x.RIP, x.RSP
	c.setRFLAGS(x.RFLAGS, ^uint64(0))
	c.updateStep()
}

// Mode implements uintr.Registers. Field by field: a composite would be copied by wider words than it was stored by,
// and wait for those stores.
func (r registers) Mode() (m uintr.Mode) {
	c := r.c
	m.CPL = c.cpl
	m.UINTR = c.cr4&cr4UINTR != 0
	m.LongMode = c.long()
	m.Code64 = c.mode == decode.Mode64
	m.MovSS = c.shadow&shadowMovSS != 0
	m.LinearBits, m.MaxLinearBits = 48, linearBits
	if c.cr4&cr4LA57 != 0 {
		m.LinearBits = 57
	}
	return m
}

// linearBits is the width of linear addresses that CPUID shows.
const linearBits = 57

// linearMemory is the address space that is current on a processor.
type linearMemory struct{ c *CPU }

var _ uintr.Memory = linearMemory{}

// errDevice is a UPID or frame that is not in RAM. The architecture leaves open
// what happens; here it is #GP(0).
var errDevice = &uintr.Fault{Vector: uintr.VectorGP}

// Supervisor implements uintr.Memory.
func (m linearMemory) Supervisor(la uint64, n int, write bool) ([]byte, error) {
	return m.c.view(la, n, accessSystem, write)
}

// Data implements uintr.Memory.
func (m linearMemory) Data(la uint64, n int, write bool) ([]byte, error) {
	return m.c.view(la, n, 0, write)
}

// view gives n bytes of one page at la: by the TLB if it holds the page for this access.
func (c *CPU) view(la uint64, n int, a access, write bool) ([]byte, error) {
	t := c.tlb
	if a&accessSystem != 0 {
		t = &c.tlbs[tlbKernel]
	}
	e := &t[la>>12&(tlbSize-1)]
	if page := la &^ 0xfff; write && e.write == page || !write && e.read == page {
		return e.bytes(la&0xfff, n), nil // no code there: a page that is written directly holds none
	}
	return c.viewSlow(la, n, a, write)
}

func (c *CPU) viewSlow(la uint64, n int, a access, write bool) ([]byte, error) {
	if write {
		a |= accessWrite
	}
	c.watchDebug(la, uint64(n), write)
	pa, ok := c.translate(la, a)
	if !ok {
		c.uintrFault = uintr.Fault{Vector: c.fault.vector, ErrorCode: c.fault.code, Address: c.fault.address}
		return nil, &c.uintrFault
	}
	host, ok := c.machine.host(pa)
	if !ok {
		return nil, errDevice
	}
	if write {
		c.viewed[c.views&3] = pa &^ 7
		c.views++
	}
	return host.bytes(pa&0xfff, n), nil
}

// settle tells the owners of code pages what went through writable views, and
// turns the outcome into the engine's terms.
func (c *CPU) settle(err error) bool {
	for i := range min(c.views, len(c.viewed)) {
		c.wrote(c.viewed[i], 32)
	}
	c.views = 0
	if err == nil {
		return true
	}
	f, ok := err.(*uintr.Fault)
	if !ok {
		return c.gp0()
	}
	c.fault = fault{vector: f.Vector, hasCode: f.Vector != uintr.VectorUD, code: f.ErrorCode, address: f.Address}
	return false
}

// user executes SENDUIPI, UIRET, TESTUI, CLUI and STUI.
func (c *CPU) user(in *decode.Inst) bool {
	if !c.config.UINTR {
		return c.ud()
	}
	r := registers{c}
	var operand uint64
	if in.Op == decode.SENDUIPI {
		operand = c.r[in.RM&15]
	}
	c.traceUser(vcpu.UserStep(in.Op.String()), operand)
	var err error
	switch in.Op {
	case decode.SENDUIPI:
		var n uintr.Notification
		var send bool
		n, send, err = c.uintr.SENDUIPI(linearMemory{c}, r, c.r[in.RM&15])
		if !c.settle(err) {
			return false
		}
		if send {
			c.stats.notified.Add(1)
			c.apic.Notify(n.Vector, n.Destination(c.apic.X2APIC()))
			c.lookAPIC()
		}
		return true
	case decode.UIRET:
		err = c.uintr.UIRET(linearMemory{c}, r)
		c.monitor.armed = false
	case decode.TESTUI:
		err = c.uintr.TESTUI(r)
		next := c.rip + uint64(in.Len)
		if err == nil {
			c.next = next
		}
	case decode.CLUI:
		err = c.uintr.CLUI(r)
	case decode.STUI:
		err = c.uintr.STUI(r)
	}
	if !c.settle(err) {
		return false
	}
	c.lookUser()
	return true
}

// lookUser has the next boundary look whether a user interrupt is deliverable.
// Whatever may make one so calls it: UIRR, UIF, CPL, CS.
func (c *CPU) lookUser() {
	if c.uintr.UIRR != 0 {
		c.pending.Or(pendingUser)
	}
}

// notification processes an acknowledged vector that is UINV: no IDT, and a
// halted processor goes on halting.
func (c *CPU) notification() {
	c.apic.EOI()
	c.lookAPIC()
	c.stats.notifications.Add(1)
	c.traceUser(vcpu.UserNotify, uint64(c.uintr.UINV))
	if !c.settle(c.uintr.ProcessNotification(linearMemory{c}, registers{c})) {
		c.except()
		return
	}
	c.traceUser(vcpu.UserRequests, c.uintr.UIRR)
	c.lookUser()
}

// userInterrupt delivers a user interrupt if it is deliverable now. If it is not, what
// makes it so calls lookUser.
func (c *CPU) userInterrupt() (took bool, err error) {
	if c.uintr.UIRR == 0 {
		return false, nil
	}
	vector := uint64(bits.Len64(c.uintr.UIRR) - 1)
	if c.sys.wait.active && c.uintr.Deliverable(registers{c}) {
		c.leaveWait()
	}
	c.next = c.rip
	took, err = c.uintr.Deliver(linearMemory{c}, registers{c})
	if !c.settle(err) {
		c.except()
		return true, nil
	}
	if took {
		c.rip = c.next
		c.stats.delivered.Add(1)
		c.traceUser(vcpu.UserDeliver, vector)
	}
	return took, nil
}
