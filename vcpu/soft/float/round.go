package float

// format describes a binary format: its precision, its least and greatest exponents,
// and the bias adjustment for an unmasked overflow or underflow. Formats that are
// not x87's registers have none: there the destination stays unchanged.
type format struct {
	prec       int32
	emin, emax int32
	wrap       int32
}

var (
	single   = format{prec: 24, emin: -126, emax: 127}
	double   = format{prec: 53, emin: -1022, emax: 1023}
	extended = format{prec: 64, emin: -16382, emax: 16383, wrap: 24576}
)

// increments reports whether a magnitude with the fraction frac (in units of 2^-64 of
// the last place, its last bit sticky) rounds up.
func (rc Rounding) increments(neg, odd bool, frac uint64) bool {
	switch rc {
	case Nearest:
		return frac > 1<<63 || frac == 1<<63 && odd
	case Down:
		return frac != 0 && neg
	case Up:
		return frac != 0 && !neg
	}
	return false
}

// quantize rounds hi:lo to prec bits. A carry out leaves man 1<<63 and carry true.
func (rc Rounding) quantize(neg bool, hi, lo uint64, prec int32) (man uint64, up, exact, carry bool) {
	s := uint(64 - prec)
	frac := lo
	if s != 0 {
		frac = hi << (64 - s)
		if lo != 0 {
			frac |= 1
		}
	}
	man = hi >> s
	if frac == 0 {
		return hi, false, true, false
	}
	if up = rc.increments(neg, man&1 != 0, frac); up {
		man++
		if man<<s == 0 {
			return 1 << 63, true, false, true
		}
	}
	return man << s, up, false, false
}

// round rounds a finite r to f, and raises and records what that brings. It gives
// the significand with its leading bit in bit 63 and the exponent, f.emin with that
// bit clear for a denormal, f.emax+1 for infinity. An unmasked overflow or underflow
// is inexact only if the result with unbounded exponent is; it gives that result,
// wrapped, or where the format has no wrap none of meaning.
func (e *Env) round(f format, r raw) (man uint64, exp int32) {
	man, up, exact, carry := e.Rounding.quantize(r.neg, r.hi, r.lo, f.prec)
	exp = r.exp
	if carry {
		exp++
	}
	if exp < f.emin { // tiny after rounding (SDM 1 §4.9.1.5)
		switch {
		case e.Masks&Underflow == 0:
			e.Flags |= Underflow
			if f.wrap == 0 {
				return e.done(0, 0, false, exact)
			}
			exp += f.wrap
			if exp >= f.emin {
				return e.done(man, exp, up, exact)
			}
			// FSCALE and the logarithms can be too small to wrap, or too large.
			e.Flags |= Inexact
			return 0, f.emin
		case e.FTZ:
			e.Flags |= Underflow | Inexact
			return 0, f.emin
		}
		hi, lo := shiftRight(r.hi, r.lo, uint32(f.emin-r.exp))
		man, up, exact, _ = e.Rounding.quantize(r.neg, hi, lo, f.prec)
		if !exact {
			e.Flags |= Underflow
		}
		return e.done(man, f.emin, up, exact)
	}
	if r.exp < f.emin {
		// Rounding at the format's last place makes it f.emin's power of two, too.
		hi, lo := shiftRight(r.hi, r.lo, uint32(f.emin-r.exp))
		man, up, exact, _ = e.Rounding.quantize(r.neg, hi, lo, f.prec)
		return e.done(man, f.emin, up, exact)
	}
	if exp > f.emax {
		e.Flags |= Overflow
		if e.Masks&Overflow == 0 {
			if f.wrap == 0 {
				return e.done(0, 0, false, exact)
			}
			if exp -= f.wrap; exp <= f.emax {
				return e.done(man, exp, up, exact)
			}
			return e.done(1<<63, f.emax+1, true, false)
		}
		up = e.Rounding == Nearest || e.Rounding == Up && !r.neg || e.Rounding == Down && r.neg
		if up {
			return e.done(1<<63, f.emax+1, true, false)
		}
		return e.done(^uint64(0)<<uint(64-f.prec), f.emax, false, false)
	}
	return e.done(man, exp, up, exact)
}

// done records how a result was rounded.
func (e *Env) done(man uint64, exp int32, up, exact bool) (uint64, int32) {
	e.C1 = up
	if !exact {
		e.Flags |= Inexact
	}
	return man, exp
}

// shiftRight shifts hi:lo right by n, with what falls out in the last, sticky bit.
func shiftRight(hi, lo uint64, n uint32) (uint64, uint64) {
	if n >= 64 {
		hi, lo = 0, sticky(hi, lo != 0)
		if n -= 64; n >= 64 {
			return 0, sticky(0, lo != 0)
		}
	}
	out := lo<<(63-n)<<1 != 0
	return hi >> n, sticky(lo>>n|hi<<(63-n)<<1, out)
}

// sticky sets the last bit of v if b.
func sticky(v uint64, b bool) uint64 {
	if b {
		v |= 1
	}
	return v
}
