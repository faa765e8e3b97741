package uintrtest

import "fmt"

const (
	vectorPF = 14

	// RF is not comparable where a case ends: the next instruction clears it, and a fault sets it in what it pushes.
	rflagsEndMask = 0x3F_FFFF &^ (1 << 16)
)

// Wanted is the result that a case must have where bases says things are.
func (c *Case) Wanted(bases Bases) Result {
	w := &c.Want
	r := Result{
		Done:        true,
		Delivered:   w.Delivered,
		After:       bases.Values(w.After, c.Op),
		UPID:        w.UPID,
		FaultVector: w.Fault.Vector,
		FaultError:  w.Fault.ErrorCode,
		IPI:         w.IPI,
		Identified:  w.Identified,
		RIP:         bases.Resolve(w.RIP, c.Op),
		RSP:         bases.Resolve(w.RSP, c.Op),
		RFLAGS:      w.RFLAGS,
	}
	if w.Fault.Vector == vectorPF {
		r.FaultAddress = bases.Resolve(w.Fault.Address, c.Op)
	}
	if w.Delivered {
		f := w.Frame
		r.Frame = [4]uint64{f.Vector, bases.Resolve(f.RIP, c.Op), f.RFLAGS, bases.Resolve(f.RSP, c.Op)}
	}
	return r
}

// Compare lists the differences between what a case must have and what was seen, one sentence each; nil if there are
// none.
func Compare(c Case, bases Bases, got Result) []string {
	if !got.Done {
		return []string{"no result"}
	}
	want := c.Wanted(bases)
	var d differences
	d.check("delivered", want.Delivered, got.Delivered)
	d.check("fault vector", want.FaultVector, got.FaultVector)
	d.check("fault error code", want.FaultError, got.FaultError)
	if want.FaultVector == vectorPF {
		d.hex("fault address", want.FaultAddress, got.FaultAddress)
	}
	d.check("notification", want.IPI, got.IPI)
	d.check("identified", want.Identified, got.Identified)
	d.state(want.After, got.After)
	for i := range want.UPID {
		d.hex(fmt.Sprintf("UPID %d control", i), want.UPID[i].Low, got.UPID[i].Low)
		d.hex(fmt.Sprintf("UPID %d PIR", i), want.UPID[i].PIR, got.UPID[i].PIR)
	}
	if want.Delivered && got.Delivered {
		for i, name := range [...]string{"vector", "RIP", "RFLAGS", "RSP"} {
			d.hex("frame "+name, want.Frame[i], got.Frame[i])
		}
	}
	d.hex("RIP", want.RIP, got.RIP)
	d.hex("RSP", want.RSP, got.RSP)
	d.hex("RFLAGS", want.RFLAGS&rflagsEndMask, got.RFLAGS&rflagsEndMask)
	return d
}

type differences []string

func (d *differences) check(what string, want, got any) {
	if want != got {
		*d = append(*d, fmt.Sprintf("%s: want %+v, got %+v", what, want, got))
	}
}

func (d *differences) hex(what string, want, got uint64) {
	if want != got {
		*d = append(*d, fmt.Sprintf("%s: want %#x, got %#x", what, want, got))
	}
}

func (d *differences) state(want, got Values) {
	d.hex("UIRR", want.UIRR, got.UIRR)
	d.check("UIF", want.UIF, got.UIF)
	d.hex("UIHANDLER", want.Handler, got.Handler)
	d.hex("UISTACKADJUST", want.StackAdjust, got.StackAdjust)
	d.hex("UPIDADDR", want.UPIDAddr, got.UPIDAddr)
	d.hex("UITTADDR", want.UITTAddr, got.UITTAddr)
	d.hex("UINV", uint64(want.UINV), uint64(got.UINV))
	d.hex("UITTSZ", uint64(want.UITTSize), uint64(got.UITTSize))
}
