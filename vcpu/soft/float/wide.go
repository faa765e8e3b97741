package float

import "math/bits"

// wide is a number of 128 bits, hi:lo * 2^(exp-127), with bit 63 of hi set or all
// clear for zero. Its operations truncate: their results err by a few units of
// 2^-127, which leaves the transcendental functions some 60 bits to spare.
type wide struct {
	hi, lo uint64
	exp    int32
	neg    bool
}

// whole gives an integer, 0 < v.
func whole(v uint64) wide {
	s := bits.LeadingZeros64(v)
	return wide{hi: v << s, exp: int32(63 - s)}
}

// wide gives a finite Num.
func (n Num) wide() wide { return wide{hi: n.man, exp: n.exp, neg: n.neg} }

// inexact gives a result that is not exactly a.
func (a wide) inexact() raw {
	return raw{hi: a.hi, lo: a.lo | 1, kind: kind{exp: a.exp, class: finite, neg: a.neg}}
}

func (a wide) isZero() bool { return a.hi == 0 }

func (a wide) negate() wide {
	a.neg = !a.neg
	return a
}

func (a wide) abs() wide {
	a.neg = false
	return a
}

// twice gives a * 2^n.
func (a wide) twice(n int32) wide {
	a.exp += n
	return a
}

// mul gives a * b.
func (a wide) mul(b wide) wide {
	if a.isZero() || b.isZero() {
		return wide{}
	}
	hi, lo := bits.Mul64(a.hi, b.hi)
	x, _ := bits.Mul64(a.hi, b.lo)
	y, _ := bits.Mul64(a.lo, b.hi)
	var c uint64
	lo, c = bits.Add64(lo, x, 0)
	hi += c
	lo, c = bits.Add64(lo, y, 0)
	hi += c
	return wide{hi, lo, a.exp + b.exp + 1, a.neg != b.neg}.normalize()
}

// normalize shifts a left until bit 63 of hi is set.
func (a wide) normalize() wide {
	if a.hi == 0 {
		if a.lo == 0 {
			return wide{}
		}
		a.hi, a.lo = a.lo, 0
		a.exp -= 64
	}
	if n := bits.LeadingZeros64(a.hi); n != 0 {
		a.hi = a.hi<<n | a.lo>>(64-n)
		a.lo <<= n
		a.exp -= int32(n)
	}
	return a
}

// add gives a + b.
func (a wide) add(b wide) wide {
	switch {
	case a.isZero():
		return b
	case b.isZero():
		return a
	}
	if a.less(b) {
		a, b = b, a
	}
	hi, lo := shiftRight(b.hi, b.lo, uint32(a.exp-b.exp))
	var c uint64
	if a.neg != b.neg {
		a.lo, c = bits.Sub64(a.lo, lo, 0)
		a.hi, _ = bits.Sub64(a.hi, hi, c)
		return a.normalize()
	}
	a.lo, c = bits.Add64(a.lo, lo, 0)
	if a.hi, c = bits.Add64(a.hi, hi, c); c != 0 {
		a.lo = a.lo>>1 | a.hi<<63
		a.hi = a.hi>>1 | 1<<63
		a.exp++
	}
	return a
}

// sub gives a - b.
func (a wide) sub(b wide) wide { return a.add(b.negate()) }

// less compares magnitudes of numbers other than zero.
func (a wide) less(b wide) bool {
	switch {
	case a.exp != b.exp:
		return a.exp < b.exp
	case a.hi != b.hi:
		return a.hi < b.hi
	}
	return a.lo < b.lo
}

// div gives a / b; b is not zero.
func (a wide) div(b wide) wide {
	if a.isZero() {
		return a
	}
	r := wide{exp: a.exp - b.exp, neg: a.neg != b.neg}
	// The dividend u2:u1:u0:0 must be below the divisor's power.
	u2, u1, u0 := a.hi, a.lo, uint64(0)
	if a.hi > b.hi || a.hi == b.hi && a.lo >= b.lo {
		u2, u1, u0 = a.hi>>1, a.lo>>1|a.hi<<63, a.lo<<63
	} else {
		r.exp--
	}
	r.hi, u2, u1 = divide(u2, u1, u0, b.hi, b.lo)
	r.lo, _, _ = divide(u2, u1, 0, b.hi, b.lo)
	return r.normalize()
}

// divide gives the quotient and remainder of u2:u1:u0 by d1:d0, of which bit 63 of d1
// is set and u2:u1 < d1:d0.
func divide(u2, u1, u0, d1, d0 uint64) (q, r1, r0 uint64) {
	q = ^uint64(0)
	if u2 < d1 {
		q, _ = bits.Div64(u2, u1, d1)
	}
	// q is at most two too large.
	for range 3 {
		ph, pl := bits.Mul64(q, d0)
		mh, ml := bits.Mul64(q, d1)
		var c uint64
		ml, c = bits.Add64(ml, ph, 0)
		mh += c
		var b uint64
		r0, b = bits.Sub64(u0, pl, 0)
		r1, b = bits.Sub64(u1, ml, b)
		if _, b = bits.Sub64(u2, mh, b); b == 0 {
			break
		}
		q--
	}
	return q, r1, r0
}

// series gives the sum of c[i]*x^i over every step-th coefficient from first, up to
// where terms no longer matter for |x| <= 2^x.exp+1.
func series(c []wide, first, step int, x wide) wide {
	// A term is below 2^((x.exp+1)*i): 96 bits are enough.
	last := first + (len(c)-1-first)/step*step
	if x.isZero() {
		return c[first]
	}
	if x.exp < -1 {
		// Two terms at least: they tell on which side of the first the sum lies.
		if n := max(1, int(96/-(x.exp+1))); first+n*step < last {
			last = first + n*step
		}
	}
	s := c[last]
	for i := last - step; i >= first; i -= step {
		s = s.mul(x).add(c[i])
	}
	return s
}
