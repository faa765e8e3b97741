package uintrtest

import (
	"errors"
	"fmt"

	"gvmm/uintr"
	"gvmm/uintr/spec"
)

const (
	linearBits = 48
	upidStride = spec.UPIDSize
)

// cpu is a CPU at CPL 3 in 64-bit mode with 4-level paging: the smallest engine of package uintr.
type cpu struct {
	context uintr.Context
	state   uintr.State
	memory  FlatMemory
	result  Result
}

func (c *cpu) Context() uintr.Context       { return c.context }
func (c *cpu) SetContext(ctx uintr.Context) { c.context = ctx }

func (c *cpu) Mode() uintr.Mode {
	return uintr.Mode{
		CPL: 3, UINTR: true, LongMode: true, Code64: true,
		LinearBits: linearBits, MaxLinearBits: linearBits,
	}
}

// Run carries out a case with package uintr, its addresses those of FlatBases. An error is a failure of the engine.
func Run(c Case) (Result, error) {
	cpu := newCPU(&c)
	if err := cpu.event(&c); err != nil {
		if err := cpu.fault(err); err != nil {
			return Result{}, fmt.Errorf("uintrtest: %s: %w", c.Name, err)
		}
	}
	return cpu.finish(), nil
}

func newCPU(c *Case) *cpu {
	b := &FlatBases
	v := b.Values(c.Before, c.Op)
	p := &cpu{
		context: uintr.Context{
			RIP:    b.Op[c.Op],
			RSP:    b.Resolve(c.RSP, c.Op),
			RFLAGS: c.RFLAGS | RFLAGSFixed,
		},
		state: uintr.State{
			UIRR: v.UIRR, UIF: v.UIF != 0, Handler: v.Handler, StackAdjust: v.StackAdjust, UINV: uint8(v.UINV),
			UPIDAddr: v.UPIDAddr, UITTAddr: v.UITTAddr, UITTSize: v.UITTSize,
		},
	}
	p.memory.Map(b.UPIDArray, false)
	p.memory.Map(b.UITTArray, false)
	p.memory.Map(b.StackTop-2*pageSize, true)
	p.memory.Map(b.StackTop-pageSize, true)
	for i, u := range c.UPID {
		p.memory.write(b.UPIDArray+uint64(i)*upidStride, words(u.Low, u.PIR))
	}
	for i, e := range c.UITT {
		p.memory.write(b.UITTArray+uint64(i)*spec.UITTEntrySize, words(e.Low, b.Resolve(e.High, c.Op)))
	}
	if c.Flags&FlagPlaceFrame != 0 {
		f := c.Frame
		p.memory.write(p.context.RSP, words(b.Resolve(f.RIP, c.Op), f.RFLAGS, b.Resolve(f.RSP, c.Op)))
	}
	return p
}

// event is the case's operation and what follows it.
func (p *cpu) event(c *Case) error {
	var err error
	switch c.Op {
	case SendUIPI:
		err = p.send(c)
	case TestUI:
		err = p.state.TESTUI(p)
	case CLUI:
		err = p.state.CLUI(p)
	case STUI:
		err = p.state.STUI(p)
	case UIRET:
		err = p.state.UIRET(&p.memory, p)
	}
	if err != nil {
		return err
	}
	if c.Op != UIRET {
		p.context.RIP = FlatBases.After[c.Op]
	}
	if err := p.arrive(c); err != nil {
		return err
	}
	p.result.Delivered, err = p.state.Deliver(&p.memory, p)
	return err
}

func (p *cpu) send(c *Case) error {
	n, sent, err := p.state.SENDUIPI(&p.memory, p, c.Operand)
	if sent {
		p.result.IPI = IPI{Sent: true, Vector: uint32(n.Vector), NDST: n.NDST}
	}
	return err
}

// arrive takes the interrupt of the case, if there is one.
func (p *cpu) arrive(c *Case) error {
	vector := c.Vector
	switch {
	case c.Op == Notify:
	case c.Flags&FlagLoopback != 0 && p.result.IPI.Sent:
		vector = uint8(p.result.IPI.Vector)
	default:
		return nil
	}
	if !p.state.Identify(p, vector) {
		return nil
	}
	p.result.Identified = true
	return p.state.ProcessNotification(&p.memory, p)
}

// fault records an exception; it returns what is none.
func (p *cpu) fault(err error) error {
	var f *uintr.Fault
	if !errors.As(err, &f) {
		return err
	}
	p.result.FaultVector, p.result.FaultError, p.result.FaultAddress = uint32(f.Vector), f.ErrorCode, f.Address
	return nil
}

func (p *cpu) finish() Result {
	r, s := &p.result, &p.state
	r.Done = true
	r.After = Values{
		UIRR: s.UIRR, Handler: s.Handler, StackAdjust: s.StackAdjust, UPIDAddr: s.UPIDAddr, UITTAddr: s.UITTAddr,
		UINV: uint32(s.UINV), UITTSize: s.UITTSize,
	}
	if s.UIF {
		r.After.UIF = 1
	}
	for i := range r.UPID {
		u := spec.UPID(p.peek(FlatBases.UPIDArray+uint64(i)*upidStride, spec.UPIDBytes))
		r.UPID[i] = UPID{Low: u.Low(), PIR: u.PIR()}
	}
	if r.Delivered {
		for i := range r.Frame {
			r.Frame[i] = le.Uint64(p.peek(p.context.RSP+8*uint64(i), 8))
		}
	}
	r.RIP, r.RSP, r.RFLAGS = p.context.RIP, p.context.RSP, p.context.RFLAGS
	return *r
}

// peek is a view of memory that is known to be present.
func (p *cpu) peek(la uint64, n int) []byte {
	view, err := p.memory.Supervisor(la, n, false)
	if err != nil {
		panic("uintrtest: " + err.Error())
	}
	return view
}

func words(v ...uint64) []byte {
	var p []byte
	for _, w := range v {
		p = le.AppendUint64(p, w)
	}
	return p
}
