package float

import "math"

const (
	indefinite64 = 0xFFF8 << 48
	quiet64      = 1 << 51
	inf64        = 0x7FF << 52
)

// native reports whether the machine's own arithmetic on normal numbers does what e
// asks: rounding to nearest, with nothing left to record.
func (e *Env) native() bool { return e.Rounding == Nearest && e.Flags&Inexact != 0 }

// normal64 reports a normal number or zero.
func normal64(v uint64) bool { return v>>52&0x7FF-1 < 0x7FE || v<<1 == 0 }

// safe64 reports a normal number that did not come about by underflow.
func safe64(v uint64) bool { return v>>52&0x7FF-2 < 0x7FD }

// in64 unpacks an operand of SSE.
func (e *Env) in64(v uint64) Num {
	n := Num64(v)
	if n.denorm && e.DAZ {
		return Num{kind: kind{class: zero, neg: n.neg}}
	}
	return n
}

// pack64 rounds and encodes a result.
func (e *Env) pack64(r raw) uint64 {
	var sign uint64
	if r.neg {
		sign = 1 << 63
	}
	switch r.class {
	case zero, signaling:
		return sign
	case infinite:
		return sign | inf64
	case quiet:
		return indefinite64
	}
	man, exp := e.round(double, r)
	if man>>63 == 0 {
		return sign | man>>11
	}
	return sign | uint64(exp+1023)<<52 | man<<1>>12
}

// nan64 gives the result of an operation with a NaN among its operands: the first
// one, quiet (SDM 1 §4.8.3.5).
func (e *Env) nan64(a, b uint64, x, y Num) uint64 {
	if x.class == signaling || y.class == signaling {
		e.raise(Invalid)
	}
	if x.isNaN() {
		return a | quiet64
	}
	return b | quiet64
}

// Add64 adds.
func (e *Env) Add64(a, b uint64) uint64 {
	if e.native() && normal64(a) && normal64(b) {
		r := math.Float64bits(math.Float64frombits(a) + math.Float64frombits(b))
		if normal64(r) {
			return r
		}
	}
	x, y := e.in64(a), e.in64(b)
	if x.isNaN() || y.isNaN() {
		return e.nan64(a, b, x, y)
	}
	return e.pack64(e.add(x, y))
}

// Sub64 subtracts b from a.
func (e *Env) Sub64(a, b uint64) uint64 {
	if e.native() && normal64(a) && normal64(b) {
		r := math.Float64bits(math.Float64frombits(a) - math.Float64frombits(b))
		if normal64(r) {
			return r
		}
	}
	x, y := e.in64(a), e.in64(b)
	if x.isNaN() || y.isNaN() {
		return e.nan64(a, b, x, y)
	}
	y.neg = !y.neg
	return e.pack64(e.add(x, y))
}

// Mul64 multiplies.
func (e *Env) Mul64(a, b uint64) uint64 {
	if e.native() && normal64(a) && normal64(b) {
		r := math.Float64bits(math.Float64frombits(a) * math.Float64frombits(b))
		if safe64(r) || r<<1 == 0 && (a<<1 == 0 || b<<1 == 0) {
			return r
		}
	}
	x, y := e.in64(a), e.in64(b)
	if x.isNaN() || y.isNaN() {
		return e.nan64(a, b, x, y)
	}
	return e.pack64(e.mul(x, y))
}

// Div64 divides a by b.
func (e *Env) Div64(a, b uint64) uint64 {
	if e.native() && normal64(a) && normal64(b) && b<<1 != 0 {
		r := math.Float64bits(math.Float64frombits(a) / math.Float64frombits(b))
		if safe64(r) || a<<1 == 0 {
			return r
		}
	}
	x, y := e.in64(a), e.in64(b)
	if x.isNaN() || y.isNaN() {
		return e.nan64(a, b, x, y)
	}
	return e.pack64(e.div(x, y))
}

// Sqrt64 takes the square root.
func (e *Env) Sqrt64(a uint64) uint64 {
	if e.native() && normal64(a) && a>>63 == 0 {
		return math.Float64bits(math.Sqrt(math.Float64frombits(a)))
	}
	x := e.in64(a)
	if x.isNaN() {
		return e.nan64(a, a, x, x)
	}
	return e.pack64(e.sqrt(x))
}

// Compare64 compares. Any NaN raises Invalid if signals is set, else only a
// signaling one does.
func (e *Env) Compare64(a, b uint64, signals bool) Order {
	if normal64(a) && normal64(b) {
		x, y := math.Float64frombits(a), math.Float64frombits(b)
		switch {
		case x < y:
			return Less
		case x > y:
			return Greater
		}
		return Equal
	}
	return e.compare(e.in64(a), e.in64(b), signals)
}

// Min64 gives a if it is less than b, else b: b for zeros of either sign and where
// one is a NaN, which raises Invalid.
func (e *Env) Min64(a, b uint64) uint64 { return e.pick64(a, b, Less) }

// Max64 gives a if it is greater than b, else b.
func (e *Env) Max64(a, b uint64) uint64 { return e.pick64(a, b, Greater) }

func (e *Env) pick64(a, b uint64, o Order) uint64 {
	r := b
	if e.Compare64(a, b, true) == o {
		r = a
	}
	if e.DAZ && r>>52&0x7FF == 0 {
		r &= 1 << 63
	}
	return r
}

// RoundToInt64 rounds to an integer in the given mode. Inexact is not raised if
// quietly is set.
func (e *Env) RoundToInt64(a uint64, rc Rounding, quietly bool) uint64 {
	x := e.in64(a)
	switch {
	case x.isNaN():
		return e.nan64(a, a, x, x)
	case x.class == zero:
		return a & (1 << 63)
	case x.class == infinite || x.exp >= 52:
		return a
	}
	n, inexact, _ := rc.integer(x)
	if inexact && !quietly {
		e.Flags |= Inexact
	}
	r := math.Float64bits(float64(n))
	return r | a&(1<<63)
}
