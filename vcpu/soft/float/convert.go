package float

import "math"

// integer rounds a finite x, |x| < 2^64, to an integer's magnitude.
func (rc Rounding) integer(x Num) (n uint64, inexact, up bool) {
	var frac uint64
	switch {
	case x.exp >= 63:
		return x.man, false, false
	case x.exp >= 0:
		n, frac = x.man>>uint(63-x.exp), x.man<<uint(x.exp+1)
	case x.exp == -1:
		frac = x.man
	default:
		frac = 1
	}
	if up = rc.increments(x.neg, n&1 != 0, frac); up {
		n++
	}
	return n, frac != 0, up
}

// toInt converts x to a signed integer of the given width in bits. What does not fit
// raises Invalid and gives the integer indefinite, the least integer.
func (e *Env) toInt(x Num, width uint, rc Rounding) int64 {
	indefinite := int64(-1) << (width - 1)
	if x.class == zero {
		return 0
	}
	if x.class != finite || x.exp > 63 {
		e.raise(Invalid)
		return indefinite
	}
	n, inexact, up := rc.integer(x)
	limit := uint64(1) << (width - 1)
	if n > limit || n == limit && !x.neg {
		e.raise(Invalid)
		return indefinite
	}
	if inexact {
		e.C1 = up
		e.raise(Inexact)
	}
	if x.neg {
		return -int64(n)
	}
	return int64(n)
}

// ToInt32From64 converts to a 32-bit integer in the given mode.
func (e *Env) ToInt32From64(a uint64, rc Rounding) int32 { return int32(e.toInt(e.in64(a), 32, rc)) }

// ToInt64From64 converts to a 64-bit integer in the given mode.
func (e *Env) ToInt64From64(a uint64, rc Rounding) int64 { return e.toInt(e.in64(a), 64, rc) }

// ToInt32From32 converts to a 32-bit integer in the given mode.
func (e *Env) ToInt32From32(a uint32, rc Rounding) int32 { return int32(e.toInt(e.in32(a), 32, rc)) }

// ToInt64From32 converts to a 64-bit integer in the given mode.
func (e *Env) ToInt64From32(a uint32, rc Rounding) int64 { return e.toInt(e.in32(a), 64, rc) }

// To64FromInt converts an integer.
func (e *Env) To64FromInt(v int64) uint64 {
	if v == int64(int32(v)) {
		return math.Float64bits(float64(v))
	}
	return e.pack64(exact(NumInt(v)))
}

// To32FromInt converts an integer.
func (e *Env) To32FromInt(v int64) uint32 { return e.pack32(exact(NumInt(v))) }

// To64From32 converts a binary32, exactly.
func (e *Env) To64From32(a uint32) uint64 {
	if normal32(a) {
		return math.Float64bits(float64(math.Float32frombits(a)))
	}
	x := e.in32(a)
	if x.isNaN() {
		a = e.nan32(a, a, x, x)
		return uint64(a>>31)<<63 | inf64 | uint64(a&(1<<23-1))<<29
	}
	if e.denormal(x.denorm) {
		return 0
	}
	return e.pack64(exact(x))
}

// To32From64 rounds a binary64.
func (e *Env) To32From64(a uint64) uint32 {
	if e.native() && normal64(a) {
		r := math.Float32bits(float32(math.Float64frombits(a)))
		if safe32(r) || a<<1 == 0 {
			return r
		}
	}
	x := e.in64(a)
	if x.isNaN() {
		a = e.nan64(a, a, x, x)
		return uint32(a>>63)<<31 | inf32 | uint32(a>>29)&(1<<23-1)
	}
	if e.denormal(x.denorm) {
		return 0
	}
	return e.pack32(exact(x))
}

// Load64 loads a binary64 as FLD m64fp does.
func (e *Env) Load64(v uint64) F80 { return e.load(Num64(v)) }

// Load32 loads a binary32 as FLD m32fp does.
func (e *Env) Load32(v uint32) F80 { return e.load(Num32(v)) }

// LoadInt loads an integer as FILD does.
func (e *Env) LoadInt(v int64) F80 { return e.load(NumInt(v)) }

func (e *Env) load(n Num) F80 {
	e.C1 = false
	if n.class == signaling {
		e.raise(Invalid)
	}
	e.denormal(n.denorm)
	return n.encode()
}

// Store64 rounds to a binary64. Where Raised holds anything but Inexact there is
// nothing to store.
func (e *Env) Store64(a Num) uint64 {
	e.C1 = false
	if a.isNaN() {
		r := e.nan80(a, a)
		return uint64(r.SE>>15)<<63 | inf64 | r.Man<<1>>12
	}
	old := e.Flags
	r := e.pack64(exact(a))
	e.stored(old)
	return r
}

// Store32 rounds to a binary32, as Store64.
func (e *Env) Store32(a Num) uint32 {
	e.C1 = false
	if a.isNaN() {
		r := e.nan80(a, a)
		return uint32(r.SE>>15)<<31 | inf32 | uint32(r.Man<<1>>41)
	}
	old := e.Flags
	r := e.pack32(exact(a))
	e.stored(old)
	return r
}

// stored takes back Inexact where an unmasked overflow or underflow prevents the
// store that would be inexact.
func (e *Env) stored(old Flags) {
	if e.Raised()&(Overflow|Underflow) != 0 {
		e.Flags &^= Inexact &^ old
	}
}

// StoreInt rounds to an integer of 16, 32 or 64 bits in the given mode, as FIST and
// FISTTP do. Where Raised holds Invalid there is nothing to store.
func (e *Env) StoreInt(a Num, width uint, rc Rounding) int64 {
	e.C1 = false
	return e.toInt(a, width, rc)
}
