package float

import "math/bits"

// Rem takes the remainder of a and b with the quotient truncated (FPREM). Where the
// exponents differ by 64 or more it only reduces a, by 32 to 63 bits, and partial is
// set; else quot has the low three bits of the quotient's magnitude.
func (e *Env) Rem(a, b Num) (r F80, quot uint8, partial bool) { return e.rem(a, b, false) }

// RemNearest is Rem with the quotient rounded to nearest even (FPREM1).
func (e *Env) RemNearest(a, b Num) (r F80, quot uint8, partial bool) { return e.rem(a, b, true) }

func (e *Env) rem(a, b Num, nearest bool) (F80, uint8, bool) {
	e.C1 = false
	switch {
	case a.isNaN() || b.isNaN():
		return e.nan80(a, b), 0, false
	case a.class == infinite || b.class == zero:
		return e.pack80(e.invalid()), 0, false
	case e.before(a, b):
		return F80{}, 0, false
	case a.class == zero || b.class == infinite:
		return e.pack80(exact(a)), 0, false
	}
	d := a.exp - b.exp
	if d >= 64 {
		n := 32 + d%32
		_, m := bits.Div64(a.man>>(64-n), a.man<<n, b.man)
		return e.remainder(a.neg, b.exp+d-n, 0, m), 0, true
	}
	if d < -1 || d < 0 && !nearest {
		return e.pack80(exact(a)), 0, false
	}
	// The remainder is rh:rl in units of 2^(b.exp-64), one bit below b's last.
	var q, rh, rl uint64
	if d < 0 {
		rh, rl = 0, a.man
	} else {
		var m uint64
		hi, lo := uint64(0), a.man
		if d > 0 {
			hi, lo = a.man>>(64-d), a.man<<d
		}
		q, m = bits.Div64(hi, lo, b.man)
		rh, rl = m>>63, m<<1
	}
	neg := a.neg
	if nearest {
		// Compare with half of b, which is b.man in these units.
		if rh != 0 || rl > b.man || rl == b.man && q&1 != 0 {
			q++
			var c uint64
			rl, c = bits.Sub64(b.man<<1, rl, 0)
			rh = b.man>>63 - rh - c
			neg = !neg
		}
	}
	r := e.remainder(neg, b.exp-1, rh, rl)
	if rh|rl == 0 {
		r = encode80(a.neg, 0, 0)
	}
	return r, uint8(q & 7), false
}

// remainder encodes the exact value rh:rl * 2^(exp-63).
func (e *Env) remainder(neg bool, exp int32, rh, rl uint64) F80 {
	r := raw{hi: rh, lo: rl, kind: kind{exp: exp + 64, class: finite, neg: neg}}
	if rh|rl == 0 {
		r.class = zero
		return e.pack80(r)
	}
	return e.pack80(r.normalize())
}
