package soft

import (
	"gvmm/vcpu/soft/decode"
	"gvmm/vcpu/soft/float"
)

// x87Function executes what works on ST0 and ST1 alone.
func (c *CPU) x87Function(in *decode.Inst) bool {
	f := &c.fpu
	e := f.env()
	switch in.Op {
	case decode.FNOP:
	case decode.FINCSTP:
		f.status &^= swC1
		f.rotate(1)
	case decode.FDECSTP:
		f.status &^= swC1
		f.rotate(7)
	case decode.FXAM:
		f.examine()
	case decode.FTST:
		o := float.Unordered
		if f.empty(0) {
			underflow(&e)
		} else {
			o = e.Compare(f.st(0).Num(), float.Num{}, true)
		}
		f.report(&e)
		f.codes(orderCodes[o&3])
	case decode.FLD1:
		f.push(&e, float.One80)
	case decode.FLDL2T:
		f.push(&e, e.Log2T())
	case decode.FLDL2E:
		f.push(&e, e.Log2E())
	case decode.FLDPI:
		f.push(&e, e.Pi())
	case decode.FLDLG2:
		f.push(&e, e.Lg2())
	case decode.FLDLN2:
		f.push(&e, e.Ln2())
	case decode.FLDZ:
		f.push(&e, float.F80{})
	case decode.FYL2X, decode.FYL2XP1, decode.FPATAN:
		f.binary(in.Op, &e)
	case decode.FPREM, decode.FPREM1, decode.FSCALE:
		f.second(in.Op, &e)
	case decode.FPTAN, decode.FSINCOS, decode.FXTRACT:
		f.split(in.Op, &e)
	default:
		f.unary(in.Op, &e)
	}
	return true
}

// examine is FXAM.
func (f *x87State) examine() {
	v := f.st(0)
	class := uint16(v.Class())
	if f.empty(0) {
		class = 5
	}
	f.codes(class&1<<8 | class&2<<9 | class&4<<12)
	f.status &^= swC1
	if v.Neg() {
		f.status |= swC1
	}
}

// unary replaces ST0 by a function of it.
func (f *x87State) unary(op decode.Op, e *float.Env) {
	v := f.st(0)
	n := v.Num()
	r := float.Indefinite80
	partial := false
	switch {
	case f.empty(0):
		underflow(e)
	case op == decode.FCHS:
		r = float.F80{Man: v.Man, SE: v.SE ^ 1<<15}
	case op == decode.FABS:
		r = float.F80{Man: v.Man, SE: v.SE &^ (1 << 15)}
	case op == decode.FSQRT:
		r = e.Sqrt(n)
	case op == decode.FRNDINT:
		r = e.RoundInt(n)
	case op == decode.F2XM1:
		r = e.Exp2m1(n)
	case op == decode.FSIN:
		r, partial = e.Sin(n)
	default:
		r, partial = e.Cos(n)
	}
	stop := f.report(e)
	if op == decode.FSIN || op == decode.FCOS {
		f.partial(partial)
	}
	if !stop && !partial {
		f.setST(0, r)
	}
}

// partial sets C2.
func (f *x87State) partial(b bool) {
	f.status &^= swC2
	if b {
		f.status |= swC2
	}
}

// binary replaces ST1 by a function of ST1 and ST0, and pops.
func (f *x87State) binary(op decode.Op, e *float.Env) {
	x, y := f.st(0).Num(), f.st(1).Num()
	r := float.Indefinite80
	switch {
	case f.empty(0) || f.empty(1):
		underflow(e)
	case op == decode.FYL2X:
		r = e.Log2(y, x)
	case op == decode.FYL2XP1:
		r = e.Log2p1(y, x)
	default:
		r = e.Atan(y, x)
	}
	if !f.report(e) {
		f.setST(1, r)
		f.pop()
	}
}

// second replaces ST0 by a function of ST0 and ST1.
func (f *x87State) second(op decode.Op, e *float.Env) {
	a, b := f.st(0).Num(), f.st(1).Num()
	r := float.Indefinite80
	var quot uint8
	partial := false
	switch {
	case f.empty(0) || f.empty(1):
		underflow(e)
	case op == decode.FSCALE:
		r = e.Scale(a, b)
	case op == decode.FPREM:
		r, quot, partial = e.Rem(a, b)
	default:
		r, quot, partial = e.RemNearest(a, b)
	}
	stop := f.report(e)
	if op != decode.FSCALE {
		f.partial(partial)
		if !stop && r.Class() != float.ClassNaN {
			q := uint16(quot)
			f.status = f.status&^(swC0|swC3) | q&4<<6 | q&1<<9 | q&2<<13
		}
	}
	if !stop {
		f.setST(0, r)
	}
}

// split replaces ST0 by one result and pushes another.
func (f *x87State) split(op decode.Op, e *float.Env) {
	n := f.st(0).Num()
	r, s := float.Indefinite80, float.Indefinite80
	partial := false
	switch {
	case f.empty(0):
		underflow(e)
	case !f.empty(7):
		underflow(e)
		e.C1 = true
	case op == decode.FXTRACT:
		r, s = e.Extract(n)
	case op == decode.FSINCOS:
		r, s, partial = e.SinCos(n)
	default:
		if r, partial = e.Tan(n); r.Class() == float.ClassNaN {
			s = r
		} else {
			s = float.One80
		}
	}
	stop := f.report(e)
	if op != decode.FXTRACT {
		f.partial(partial)
	}
	if stop || partial {
		return
	}
	f.setST(0, r)
	f.rotate(7)
	f.setST(0, s)
}
