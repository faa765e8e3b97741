package hw

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"gvmm/kvm"
	"gvmm/uintr"
	"gvmm/vcpu"
)

// ErrDebug is what this host's KVM cannot do for a debugger.
var ErrDebug = errors.New("hw: debugging")

var _ vcpu.Debuggable = (*CPU)(nil)

// debugRegisters is how many breakpoints and watchpoints KVM takes: DR0 to DR3.
const debugRegisters = 4

// hostDebug is what a processor stops for.
type hostDebug struct {
	vcpu.Debug
	slots [debugRegisters]vcpu.Watch // DR0 to DR3: Size 0 is a breakpoint, as beyond are unused ones
	used  int
	over  bool // one step, to leave the breakpoint at RIP
}

// SetDebug implements vcpu.Debuggable.
func (c *CPU) SetDebug(d *vcpu.Debug) error {
	if d == nil {
		if c.debug == nil {
			return nil
		}
		c.debug = nil
		return c.vcpu.SetGuestDebug(&kvm.GuestDebug{})
	}
	h := &hostDebug{Debug: *d}
	for _, la := range d.Breaks {
		if err := h.add(vcpu.Watch{Addr: la}); err != nil {
			return err
		}
	}
	for _, w := range d.Watches {
		if err := h.watch(w); err != nil {
			return err
		}
	}
	if d.Resume && !d.Step {
		la, err := c.here()
		if err != nil {
			return err
		}
		h.over = la == d.ResumeAt
	}
	if err := h.apply(c.vcpu); err != nil {
		return err
	}
	c.debug = h
	return nil
}

func (h *hostDebug) add(w vcpu.Watch) error {
	if h.used == debugRegisters {
		return fmt.Errorf("%w: KVM has %d breakpoints and watchpoints, DR0 to DR3; --accel soft has any number", ErrDebug, debugRegisters)
	}
	h.slots[h.used] = w
	h.used++
	return nil
}

// watch cuts a range into aligned parts of 1, 2, 4 or 8 bytes.
func (h *hostDebug) watch(w vcpu.Watch) error {
	if w.Size > 8*debugRegisters {
		return fmt.Errorf("%w: KVM watches at most %d bytes", ErrDebug, 8*debugRegisters)
	}
	for w.Size > 0 {
		n := uint64(8)
		for n > w.Size || w.Addr&(n-1) != 0 {
			n /= 2
		}
		part := w
		part.Size = n
		if err := h.add(part); err != nil {
			return err
		}
		w.Addr, w.Size = w.Addr+n, w.Size-n
	}
	return nil
}

// apply hands the processor to KVM's guest debugging.
func (h *hostDebug) apply(v *kvm.VCPU) error {
	g := kvm.GuestDebug{Control: kvm.GuestDebugEnable}
	if h.Step || h.over {
		g.Control |= kvm.GuestDebugSingleStep
	}
	if h.used > 0 && !h.over {
		g.Control |= kvm.GuestDebugUseHWBP
		g.DebugReg[7] = 1 << 10
		for i, w := range h.slots[:h.used] {
			g.DebugReg[i] = w.Addr
			bits := uint64(0)
			if w.Size > 0 {
				bits = [...]uint64{1: 0, 2: 1, 4: 3, 8: 2}[w.Size]<<2 | 1
				if w.Read {
					bits |= 2 // there is none for reads alone
				}
			}
			g.DebugReg[7] |= 1<<(2*i) | bits<<(16+4*i)
		}
	}
	if err := v.SetGuestDebug(&g); err != nil {
		return fmt.Errorf("%w: %w", ErrDebug, err)
	}
	return nil
}

// here is the linear address of RIP.
func (c *CPU) here() (uint64, error) {
	var g kvm.Regs
	var s kvm.SRegs
	if err := errors.Join(c.settle(), c.vcpu.GetRegs(&g), c.vcpu.GetSRegs(&s)); err != nil {
		return 0, err
	}
	if s.CS.L != 0 {
		return g.RIP, nil
	}
	return (g.RIP + s.CS.Base) & 0xffffffff, nil
}

// trapped serves KVM_EXIT_DEBUG.
func (c *CPU) trapped() error {
	x, h := c.run.Debug(), c.debug
	if h == nil {
		return nil
	}
	for i, w := range h.slots[:h.used] {
		if x.DR6>>i&1 == 0 || h.over {
			continue
		}
		if w.Size == 0 {
			return &vcpu.Trap{Kind: vcpu.TrapBreak, Addr: x.PC}
		}
		return &vcpu.Trap{Kind: vcpu.TrapWatch, Addr: w.Addr, Watch: w}
	}
	if h.over {
		h.over = false
		return h.apply(c.vcpu)
	}
	return &vcpu.Trap{Kind: vcpu.TrapStep, Addr: x.PC}
}

// settle completes an exit that user space has answered and KVM has not looked at.
func (c *CPU) settle() error {
	if !c.answered {
		return nil
	}
	c.run.SetImmediateExit(true)
	err := c.vcpu.Run()
	c.run.SetImmediateExit(false)
	c.answered = false
	if err != nil && err != unix.EINTR {
		return fmt.Errorf("hw: completing an exit of vCPU %d: %w", c.config.ID, err)
	}
	return nil
}

// fpAt are offsets into an XSAVE image.
const (
	fpSTAt   = 32
	fpXMMAt  = 160
	fpMXCSR  = 24
	fpHeader = 512
)

// Registers implements vcpu.Debuggable.
func (c *CPU) Registers(r *vcpu.Registers) error {
	if err := c.settle(); err != nil {
		return err
	}
	var g kvm.Regs
	var s kvm.SRegs
	image := make([]byte, c.vcpu.XSAVESize())
	if err := errors.Join(c.vcpu.GetRegs(&g), c.vcpu.GetSRegs(&s), c.vcpu.GetXSAVE(image)); err != nil {
		return err
	}
	*r = vcpu.Registers{
		General: [16]uint64{g.RAX, g.RCX, g.RDX, g.RBX, g.RSP, g.RBP, g.RSI, g.RDI, g.R8, g.R9, g.R10, g.R11, g.R12, g.R13, g.R14, g.R15},
		RIP:     g.RIP, RFLAGS: g.RFLAGS,
		Selectors: [6]uint16{s.ES.Selector, s.CS.Selector, s.SS.Selector, s.DS.Selector, s.FS.Selector, s.GS.Selector},
		FSBase:    s.FS.Base, GSBase: s.GS.Base,
		CR0: s.CR0, CR2: s.CR2, CR3: s.CR3, CR4: s.CR4, CR8: s.CR8, EFER: s.EFER,
		MXCSR: binary.LittleEndian.Uint32(image[fpMXCSR:]),
	}
	base := []kvm.MSREntry{{Index: msrKernelGSBase}}
	if n, err := c.vcpu.GetMSRs(base); err == nil && n == 1 {
		r.KernelGSBase = base[0].Data
	}
	le := binary.LittleEndian
	r.X87 = vcpu.X87{
		Control: le.Uint16(image), Status: le.Uint16(image[2:]), Tag: image[4], Opcode: le.Uint16(image[6:]),
		Instruction: le.Uint64(image[8:]), Data: le.Uint64(image[16:]),
	}
	for i := range r.X87.ST {
		copy(r.X87.ST[i][:], image[fpSTAt+16*i:])
	}
	for i := range r.XMM {
		copy(r.XMM[i][:], image[fpXMMAt+16*i:])
	}
	return nil
}

const msrKernelGSBase = 0xc0000102

// SetRegisters implements vcpu.Debuggable.
func (c *CPU) SetRegisters(r *vcpu.Registers) error {
	var now vcpu.Registers
	if err := c.Registers(&now); err != nil {
		return err
	}
	if err := r.CheckFixed(&now); err != nil {
		return err
	}
	x := &r.General
	g := kvm.Regs{
		RAX: x[0], RCX: x[1], RDX: x[2], RBX: x[3], RSP: x[4], RBP: x[5], RSI: x[6], RDI: x[7],
		R8: x[8], R9: x[9], R10: x[10], R11: x[11], R12: x[12], R13: x[13], R14: x[14], R15: x[15],
		RIP: r.RIP, RFLAGS: r.RFLAGS,
	}
	if err := c.vcpu.SetRegs(&g); err != nil {
		return err
	}
	if r.FSBase != now.FSBase || r.GSBase != now.GSBase {
		var s kvm.SRegs
		if err := c.vcpu.GetSRegs(&s); err != nil {
			return err
		}
		s.FS.Base, s.GS.Base = r.FSBase, r.GSBase
		if err := c.vcpu.SetSRegs(&s); err != nil {
			return err
		}
	}
	if r.KernelGSBase != now.KernelGSBase {
		if _, err := c.vcpu.SetMSRs([]kvm.MSREntry{{Index: msrKernelGSBase, Data: r.KernelGSBase}}); err != nil {
			return err
		}
	}
	if r.X87 == now.X87 && r.XMM == now.XMM && r.MXCSR == now.MXCSR {
		return nil
	}
	return c.setFP(r)
}

func (c *CPU) setFP(r *vcpu.Registers) error {
	image := make([]byte, c.vcpu.XSAVESize())
	if err := c.vcpu.GetXSAVE(image); err != nil {
		return err
	}
	le := binary.LittleEndian
	le.PutUint16(image, r.X87.Control)
	le.PutUint16(image[2:], r.X87.Status)
	image[4] = r.X87.Tag
	le.PutUint16(image[6:], r.X87.Opcode)
	le.PutUint64(image[8:], r.X87.Instruction)
	le.PutUint64(image[16:], r.X87.Data)
	le.PutUint32(image[fpMXCSR:], r.MXCSR&0xffff)
	for i := range r.X87.ST {
		copy(image[fpSTAt+16*i:], r.X87.ST[i][:])
	}
	for i := range r.XMM {
		copy(image[fpXMMAt+16*i:], r.XMM[i][:])
	}
	image[fpHeader] |= 3 // XSTATE_BV: x87 and SSE are not in their initial state
	return c.vcpu.SetXSAVE(image)
}

// UserInterrupts implements vcpu.Debuggable.
func (c *CPU) UserInterrupts() uintr.State { return c.state() }

// ReadLinear implements vcpu.Debuggable.
func (c *CPU) ReadLinear(la uint64, p []byte) int {
	return c.debugAccess(la, len(p), func(host []byte, from int) { copy(p[from:], host) })
}

// WriteLinear implements vcpu.Debuggable.
func (c *CPU) WriteLinear(la uint64, p []byte) int {
	return c.debugAccess(la, len(p), func(host []byte, from int) { copy(host, p[from:]) })
}

func (c *CPU) debugAccess(la uint64, n int, f func(host []byte, from int)) int {
	var s kvm.SRegs
	if c.vcpu.GetSRegs(&s) != nil {
		return 0
	}
	for done := 0; done < n; {
		pa, ok := c.walk(&s, la+uint64(done))
		if !ok {
			return done
		}
		part := min(n-done, int(4096-pa&0xfff))
		host, err := c.memory.View(pa, uint64(part))
		if err != nil {
			return done
		}
		f(host, done)
		done += part
	}
	return n
}

// walk finds the physical address of la in any paging mode (SDM 3 §4), and marks
// nothing accessed.
func (c *CPU) walk(s *kvm.SRegs, la uint64) (pa uint64, ok bool) {
	const (
		pg, pae, pse, la57, lma = 1 << 31, 1 << 5, 1 << 4, 1 << 12, 1 << 10
	)
	level, entry, table := 4, uint64(8), s.CR3&entryAddress
	switch {
	case s.EFER&lma == 0:
		la &= 0xffffffff
		switch {
		case s.CR0&pg == 0:
			return la, true
		case s.CR4&pae == 0:
			level, entry, table = 2, 4, s.CR3&0xfffff000
		default:
			level, table = 3, s.CR3&0xffffffe0
		}
	case s.CR4&la57 != 0:
		level = 5
	}
	width := uint64(9)
	if entry == 4 {
		width = 10
	}
	if top := 12 + width*uint64(level); s.EFER&lma != 0 && uint64(int64(la<<(64-top))>>(64-top)) != la {
		return 0, false
	}
	for ; ; level-- {
		shift := 12 + width*uint64(level-1)
		b, err := c.memory.View(table+la>>shift&(1<<width-1)*entry, entry)
		if err != nil {
			return 0, false
		}
		e := uint64(binary.LittleEndian.Uint32(b))
		if entry == 8 {
			e = binary.LittleEndian.Uint64(b)
		}
		if e&entryPresent == 0 {
			return 0, false
		}
		in := uint64(1)<<shift - 1
		switch {
		case level == 1:
			return e&entryAddress | la&in, true
		case e&entryLarge == 0 || level > 3 || level == 3 && s.EFER&lma == 0 || entry == 4 && s.CR4&pse == 0:
		case entry == 4:
			return e&0xffc00000 | e>>13&0xff<<32 | la&in, true
		default:
			return e&entryAddress&^in | la&in, true
		}
		table = e & entryAddress
	}
}
