package float

import "math/bits"

// The unit reduces arguments by pi rounded to 66 bits (SDM 1 §8.3.8), here in units
// of 2^-65 as pi/2.
const (
	halfPiHi = 3
	halfPiLo = 0x243F6A8885A308D3
)

// trig prepares an argument: it reports !ok where r is the result already, or the
// argument is 2^63 and more, for which partial is set and r is the argument.
func (e *Env) trig(a Num) (r F80, partial, ok bool) {
	e.C1 = false
	switch {
	case a.isNaN():
		return e.nan80(a, a), false, false
	case a.class == infinite:
		return e.pack80(e.invalid()), false, false
	case a.class == finite && a.exp >= 63:
		return a.encode(), true, false
	case e.denormal(a.denorm):
		return F80{}, false, false
	}
	return F80{}, false, true
}

// reduce gives a as q*pi/2 + r, |r| <= pi/4, for finite |a| < 2^63; q modulo 4.
func reduce(a Num) (q uint64, r wide) {
	if a.exp < -2 {
		return 0, a.wide()
	}
	// In units of 2^-65 the argument is an integer of up to 128 bits. Divide it bit
	// by bit.
	var hi, lo uint64
	rh, rl := uint64(0), a.man
	for n := a.exp + 2; ; n-- {
		if rh > halfPiHi || rh == halfPiHi && rl >= halfPiLo {
			var b uint64
			lo, b = bits.Sub64(rl, halfPiLo, 0)
			hi, _ = bits.Sub64(rh, halfPiHi, b)
			rh, rl = hi, lo
			q |= 1
		}
		if n == 0 {
			break
		}
		rh, rl, q = rh<<1|rl>>63, rl<<1, q<<1
	}
	neg := a.neg
	if th, tl := rh<<1|rl>>63, rl<<1; th > halfPiHi || th == halfPiHi && tl > halfPiLo {
		var b uint64
		rl, b = bits.Sub64(halfPiLo, rl, 0)
		rh, _ = bits.Sub64(halfPiHi, rh, b)
		q++
		neg = !neg
	}
	if a.neg {
		q = -q
	}
	return q & 3, wide{rh, rl, 62, neg}.normalize()
}

// sine and cosine of |r| <= pi/4.
func sine(r wide) wide   { return r.mul(series(inverseFactorials[:], 1, 2, r.mul(r).negate())) }
func cosine(r wide) wide { return series(inverseFactorials[:], 0, 2, r.mul(r).negate()) }

// sincos gives the sine and the cosine of finite |a| < 2^63.
func sincos(a Num) (sin, cos wide) {
	q, r := reduce(a)
	sin, cos = sine(r), cosine(r)
	if q&1 != 0 {
		sin, cos = cos, sin.negate()
	}
	if q&2 != 0 {
		sin, cos = sin.negate(), cos.negate()
	}
	return sin, cos
}

// Sin takes the sine (FSIN). Where |a| >= 2^63 the result is a and partial is set, for
// C2.
func (e *Env) Sin(a Num) (r F80, partial bool) {
	r, partial, ok := e.trig(a)
	switch {
	case !ok:
	case a.class == zero:
		r = a.encode()
	default:
		sin, _ := sincos(a)
		r = e.pack80(sin.inexact())
	}
	return r, partial
}

// Cos takes the cosine (FCOS), as Sin.
func (e *Env) Cos(a Num) (r F80, partial bool) {
	r, partial, ok := e.trig(a)
	switch {
	case !ok:
	case a.class == zero:
		r = One80
	default:
		_, cos := sincos(a)
		r = e.pack80(cos.inexact())
	}
	return r, partial
}

// SinCos takes both (FSINCOS), as Sin; sin is what replaces the argument, and cos is
// pushed unless partial is set.
func (e *Env) SinCos(a Num) (sin, cos F80, partial bool) {
	r, partial, ok := e.trig(a)
	switch {
	case !ok:
		return r, r, partial
	case a.class == zero:
		return a.encode(), One80, false
	}
	s, c := sincos(a)
	cos = e.pack80(c.inexact())
	sin = e.pack80(s.inexact())
	return sin, cos, false
}

// Tan takes the tangent (FPTAN), as Sin. The caller pushes 1.0, or a NaN's copy,
// unless partial is set.
func (e *Env) Tan(a Num) (r F80, partial bool) {
	r, partial, ok := e.trig(a)
	switch {
	case !ok:
	case a.class == zero:
		r = a.encode()
	default:
		sin, cos := sincos(a)
		r = e.pack80(sin.div(cos).inexact())
	}
	return r, partial
}

// Atan takes the angle of the point (x, y) (FPATAN).
func (e *Env) Atan(y, x Num) F80 {
	e.C1 = false
	if y.isNaN() || x.isNaN() {
		return e.nan80(x, y)
	}
	if e.before(x, y) {
		return F80{}
	}
	var angle wide
	switch {
	case y.class == infinite && x.class == infinite:
		angle = wpi.twice(-2)
	case y.class == infinite || x.class == zero && y.class != zero:
		angle = wpi.twice(-1)
	case y.class == zero || x.class == infinite:
		if !x.neg {
			return encode80(y.neg, 0, 0)
		}
	default:
		angle = atan(y.wide().abs(), x.wide().abs())
	}
	if x.neg && !(x.class == zero && y.class != zero) && !(y.class == infinite && x.class != infinite) {
		angle = wpi.sub(angle)
	}
	angle.neg = y.neg
	return e.pack80(angle.inexact())
}

// atan gives the angle of a point in the first quadrant.
func atan(y, x wide) wide {
	if x.less(y) {
		return wpi.twice(-1).sub(atan(x, y))
	}
	t := y.div(x)
	k := 0 // the nearest eighth
	if t.exp >= -5 {
		k = int((t.hi>>uint(-t.exp)>>59 + 1) >> 1)
	}
	if k == 0 {
		return t.mul(arc(t))
	}
	c := whole(uint64(k)).twice(-3)
	r := t.sub(c).div(t.mul(c).add(whole(1)))
	return atans[k-1].add(r.mul(arc(r)))
}

// arc gives atan(r)/r for |r| <= 1/16.
func arc(r wide) wide { return series(inverseOdds[:], 0, 1, r.mul(r).negate()) }
