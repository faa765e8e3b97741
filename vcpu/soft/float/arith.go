package float

import (
	"math"
	"math/bits"
)

// before checks the operands of an operation that is not invalid for them, none of
// them NaN: it raises Denormal, and reports whether the operation ends there.
func (e *Env) before(a, b Num) bool { return e.denormal(a.denorm || b.denorm) }

// add adds two numbers; neither is a NaN.
func (e *Env) add(a, b Num) raw {
	if a.class == infinite && b.class == infinite && a.neg != b.neg {
		return e.invalid()
	}
	if e.before(a, b) {
		return stopped
	}
	switch {
	case a.class == infinite:
		return exact(a)
	case b.class == infinite:
		return exact(b)
	case a.class == zero && b.class == zero:
		if a.neg != b.neg {
			a.neg = e.Rounding == Down
		}
		return exact(a)
	case a.class == zero:
		return exact(b)
	case b.class == zero:
		return exact(a)
	}
	if a.exp < b.exp || a.exp == b.exp && a.man < b.man {
		a, b = b, a
	}
	hi, lo := shiftRight(b.man, 0, uint32(a.exp-b.exp))
	r := raw{kind: kind{exp: a.exp, class: finite, neg: a.neg}}
	var c uint64
	if a.neg == b.neg {
		if r.hi, c = bits.Add64(a.man, hi, 0); c != 0 {
			lo = sticky(lo>>1|r.hi<<63, lo&1 != 0)
			r.hi = r.hi>>1 | 1<<63
			r.exp++
		}
		r.lo = lo
		return r
	}
	r.lo, c = bits.Sub64(0, lo, 0)
	r.hi, _ = bits.Sub64(a.man, hi, c)
	if r.hi|r.lo == 0 {
		return raw{kind: kind{class: zero, neg: e.Rounding == Down}}
	}
	return r.normalize()
}

// normalize shifts a finite r left until bit 63 of hi is set. The bits that are
// shifted into a sticky last bit's place are only right if there is none, or few.
func (r raw) normalize() raw {
	if r.hi == 0 {
		r.hi, r.lo = r.lo, 0
		r.exp -= 64
	}
	if n := bits.LeadingZeros64(r.hi); n != 0 {
		r.hi = r.hi<<n | r.lo>>(64-n)
		r.lo <<= n
		r.exp -= int32(n)
	}
	return r
}

// mul multiplies two numbers.
func (e *Env) mul(a, b Num) raw {
	neg := a.neg != b.neg
	if a.class == infinite && b.class == zero || a.class == zero && b.class == infinite {
		return e.invalid()
	}
	if e.before(a, b) {
		return stopped
	}
	switch {
	case a.class == infinite || b.class == infinite:
		return raw{kind: kind{class: infinite, neg: neg}}
	case a.class == zero || b.class == zero:
		return raw{kind: kind{class: zero, neg: neg}}
	}
	r := raw{kind: kind{exp: a.exp + b.exp + 1, class: finite, neg: neg}}
	r.hi, r.lo = bits.Mul64(a.man, b.man)
	return r.normalize()
}

// div divides a by b. A denormal dividend of zero raises DivZero alone.
func (e *Env) div(a, b Num) raw {
	neg := a.neg != b.neg
	switch {
	case a.class == infinite && b.class == infinite, a.class == zero && b.class == zero:
		return e.invalid()
	case b.class == zero && a.class == finite:
		if e.raise(DivZero) {
			return stopped
		}
		return raw{kind: kind{class: infinite, neg: neg}}
	}
	if e.before(a, b) {
		return stopped
	}
	switch {
	case a.class == infinite:
		return raw{kind: kind{class: infinite, neg: neg}}
	case a.class == zero || b.class == infinite:
		return raw{kind: kind{class: zero, neg: neg}}
	}
	r := raw{kind: kind{exp: a.exp - b.exp, class: finite, neg: neg}}
	hi, lo := a.man, uint64(0)
	if a.man >= b.man {
		hi, lo = a.man>>1, a.man<<63
	} else {
		r.exp--
	}
	var rem uint64
	r.hi, rem = bits.Div64(hi, lo, b.man)
	r.lo, rem = bits.Div64(rem, 0, b.man)
	r.lo = sticky(r.lo, rem != 0)
	return r
}

// sqrt takes the square root. That of a denormal below zero raises Invalid alone.
func (e *Env) sqrt(a Num) raw {
	if a.neg && a.class != zero {
		return e.invalid()
	}
	if e.denormal(a.denorm) {
		return stopped
	}
	if a.class != finite {
		return exact(a)
	}
	// The radicand hi:0 has an even exponent and its root 64 bits.
	hi, lo, exp := a.man, uint64(0), a.exp
	if exp&1 == 0 {
		hi, lo = hi>>1, hi<<63
	}
	root, over := isqrt(hi, lo)
	return raw{hi: root, lo: over, kind: kind{exp: exp >> 1, class: finite}}
}

// isqrt gives the root of hi:lo, hi >= 1<<62, rounded down, and in frac 0 for an exact
// root, 1 for a fraction below one half, and more than 1<<63 for one above.
func isqrt(hi, lo uint64) (root, frac uint64) {
	// The float estimate is good to 2^-52 or so; one Newton step leaves an error of
	// a few units at most.
	est := math.Sqrt(float64(hi)) * (1 << 32)
	s := ^uint64(0)
	if est < 1<<64 {
		s = uint64(est)
	}
	if s > hi {
		q, _ := bits.Div64(hi, lo, s)
		sum, c := bits.Add64(s, q, 0)
		s = sum>>1 | c<<63
	}
	var rh, rl uint64
	for {
		sh, sl := bits.Mul64(s, s)
		var b uint64
		rl, b = bits.Sub64(lo, sl, 0)
		if rh, b = bits.Sub64(hi, sh, b); b == 0 {
			break
		}
		s--
	}
	// The remainder must not exceed twice the root.
	for rh > 1 || rh == 1 && rl > s<<1 || rh == 0 && s>>63 == 0 && rl > s<<1 {
		var b uint64
		rl, b = bits.Sub64(rl, s<<1, 0)
		rh, _ = bits.Sub64(rh, s>>63, b)
		rl, b = bits.Sub64(rl, 1, 0)
		rh -= b
		s++
	}
	switch {
	case rh == 0 && rl == 0:
		return s, 0
	case rh == 0 && rl <= s:
		return s, 1
	}
	return s, 1<<63 | 1
}

// compare orders two operands. Any NaN is invalid if signals, else only a signaling
// one.
func (e *Env) compare(a, b Num, signals bool) Order {
	if a.isNaN() || b.isNaN() {
		if signals || a.class > quiet || b.class > quiet {
			e.raise(Invalid)
		}
		return Unordered
	}
	e.before(a, b)
	switch {
	case a.class == zero && b.class == zero:
		return Equal
	case a.class == zero:
		return ordered(!b.neg)
	case b.class == zero || a.neg != b.neg:
		return ordered(a.neg)
	}
	o := magnitude(a, b)
	if a.neg {
		o = Greater - o
	}
	return o
}

// ordered gives Less or Greater.
func ordered(less bool) Order {
	if less {
		return Less
	}
	return Greater
}

// magnitude orders two operands, neither zero nor NaN, without their signs.
func magnitude(a, b Num) Order {
	switch {
	case a.class != b.class:
		return ordered(b.class == infinite)
	case a.class == infinite:
		return Equal
	case a.exp != b.exp:
		return ordered(a.exp < b.exp)
	case a.man != b.man:
		return ordered(a.man < b.man)
	}
	return Equal
}
