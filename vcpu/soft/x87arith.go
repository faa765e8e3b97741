package soft

import (
	"gvmm/vcpu/soft/decode"
	"gvmm/vcpu/soft/float"
)

// x87Source reads the memory operand of arithmetic: a single or double, or where
// integer is set a word or doubleword.
func (c *CPU) x87Source(in *decode.Inst, integer bool) (float.Num, bool) {
	v, ok := c.load(in, in.MSize)
	switch {
	case !ok:
		return float.Num{}, false
	case integer:
		return float.NumInt(int64(signed(v, in.MSize))), true
	case in.MSize == 4:
		return float.Num32(uint32(v)), true
	}
	return float.Num64(v), true
}

// x87Arith executes FADD, FSUB, FMUL and FDIV in all their forms.
func (c *CPU) x87Arith(in *decode.Inst) bool {
	f := &c.fpu
	e := f.env()
	var a, b float.Num // destination and source
	var dst uint8
	empty := false
	if in.Prefix&decode.Mem != 0 {
		integer := false
		switch in.Op {
		case decode.FIADD, decode.FISUB, decode.FISUBR, decode.FIMUL, decode.FIDIV, decode.FIDIVR:
			integer = true
		}
		var ok bool
		if b, ok = c.x87Source(in, integer); !ok {
			return false
		}
		a, empty = f.st(0).Num(), f.empty(0)
	} else {
		src := in.RM
		if in.Form == decode.FormMR {
			dst, src = in.RM, 0
		}
		a, b = f.st(dst).Num(), f.st(src).Num()
		empty = f.empty(dst) || f.empty(src)
	}
	r := float.Indefinite80
	pop := false
	if empty {
		underflow(&e)
	}
	switch in.Op {
	case decode.FADDP, decode.FSUBP, decode.FSUBRP, decode.FMULP, decode.FDIVP, decode.FDIVRP:
		pop = true
	}
	if !empty {
		switch in.Op {
		case decode.FADD, decode.FADDP, decode.FIADD:
			r = e.Add(a, b)
		case decode.FMUL, decode.FMULP, decode.FIMUL:
			r = e.Mul(a, b)
		case decode.FSUB, decode.FSUBP, decode.FISUB:
			r = e.Sub(a, b)
		case decode.FSUBR, decode.FSUBRP, decode.FISUBR:
			r = e.Sub(b, a)
		case decode.FDIV, decode.FDIVP, decode.FIDIV:
			r = e.Div(a, b)
		default:
			r = e.Div(b, a)
		}
	}
	if f.report(&e) {
		return true
	}
	f.setST(dst, r)
	if pop {
		f.pop()
	}
	return true
}

// comparisons tells of each comparison from FCOM on what it is.
var comparisons = [...]struct {
	pops              uint8
	integer, quiet, i bool // i: the outcome goes to RFLAGS
}{
	0:                            {},
	decode.FCOMP - decode.FCOM:   {pops: 1},
	decode.FCOMPP - decode.FCOM:  {pops: 2},
	decode.FICOM - decode.FCOM:   {integer: true},
	decode.FICOMP - decode.FCOM:  {integer: true, pops: 1},
	decode.FUCOM - decode.FCOM:   {quiet: true},
	decode.FUCOMP - decode.FCOM:  {quiet: true, pops: 1},
	decode.FUCOMPP - decode.FCOM: {quiet: true, pops: 2},
	decode.FCOMI - decode.FCOM:   {i: true},
	decode.FCOMIP - decode.FCOM:  {i: true, pops: 1},
	decode.FUCOMI - decode.FCOM:  {i: true, quiet: true},
	decode.FUCOMIP - decode.FCOM: {i: true, quiet: true, pops: 1},
}

// The outcomes of a comparison as condition codes and as flags, by float.Order.
var (
	orderCodes = [4]uint16{float.Less: swC0, float.Equal: swC3, float.Unordered: swC0 | swC2 | swC3}
	orderFlags = [4]uint64{float.Less: flagCF, float.Equal: flagZF, float.Unordered: flagCF | flagPF | flagZF}
)

// x87Compare executes FCOM, FUCOM, FICOM, FCOMI and FUCOMI.
func (c *CPU) x87Compare(in *decode.Inst) bool {
	f := &c.fpu
	e := f.env()
	k := &comparisons[in.Op-decode.FCOM]
	var b float.Num
	empty := f.empty(0)
	if in.Prefix&decode.Mem != 0 {
		var ok bool
		if b, ok = c.x87Source(in, k.integer); !ok {
			return false
		}
	} else {
		b = f.st(in.RM).Num()
		empty = empty || f.empty(in.RM)
	}
	o := float.Unordered
	if empty {
		underflow(&e)
	} else {
		o = e.Compare(f.st(0).Num(), b, !k.quiet)
	}
	stop := f.report(&e)
	if k.i {
		c.setArith(orderFlags[o&3])
	} else {
		f.codes(orderCodes[o&3])
	}
	if stop {
		return true
	}
	for range k.pops {
		f.pop()
	}
	return true
}
