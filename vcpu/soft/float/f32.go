package float

import "math"

const (
	indefinite32 = 0xFFC00000
	quiet32      = 1 << 22
	inf32        = 0xFF << 23
)

// normal32 reports a normal number or zero.
func normal32(v uint32) bool { return v>>23&0xFF-1 < 0xFE || v<<1 == 0 }

// safe32 reports a normal number that did not come about by underflow.
func safe32(v uint32) bool { return v>>23&0xFF-2 < 0xFD }

// in32 unpacks an operand of SSE.
func (e *Env) in32(v uint32) Num {
	n := Num32(v)
	if n.denorm && e.DAZ {
		return Num{kind: kind{class: zero, neg: n.neg}}
	}
	return n
}

// pack32 rounds and encodes a result.
func (e *Env) pack32(r raw) uint32 {
	var sign uint32
	if r.neg {
		sign = 1 << 31
	}
	switch r.class {
	case zero, signaling:
		return sign
	case infinite:
		return sign | inf32
	case quiet:
		return indefinite32
	}
	man, exp := e.round(single, r)
	if man>>63 == 0 {
		return sign | uint32(man>>40)
	}
	return sign | uint32(exp+127)<<23 | uint32(man<<1>>41)
}

// nan32 gives the result of an operation with a NaN among its operands: the first
// one, quiet (SDM 1 §4.8.3.5).
func (e *Env) nan32(a, b uint32, x, y Num) uint32 {
	if x.class == signaling || y.class == signaling {
		e.raise(Invalid)
	}
	if x.isNaN() {
		return a | quiet32
	}
	return b | quiet32
}

// Add32 adds.
func (e *Env) Add32(a, b uint32) uint32 {
	if e.native() && normal32(a) && normal32(b) {
		r := math.Float32bits(math.Float32frombits(a) + math.Float32frombits(b))
		if normal32(r) {
			return r
		}
	}
	x, y := e.in32(a), e.in32(b)
	if x.isNaN() || y.isNaN() {
		return e.nan32(a, b, x, y)
	}
	return e.pack32(e.add(x, y))
}

// Sub32 subtracts b from a.
func (e *Env) Sub32(a, b uint32) uint32 {
	if e.native() && normal32(a) && normal32(b) {
		r := math.Float32bits(math.Float32frombits(a) - math.Float32frombits(b))
		if normal32(r) {
			return r
		}
	}
	x, y := e.in32(a), e.in32(b)
	if x.isNaN() || y.isNaN() {
		return e.nan32(a, b, x, y)
	}
	y.neg = !y.neg
	return e.pack32(e.add(x, y))
}

// Mul32 multiplies.
func (e *Env) Mul32(a, b uint32) uint32 {
	if e.native() && normal32(a) && normal32(b) {
		r := math.Float32bits(math.Float32frombits(a) * math.Float32frombits(b))
		if safe32(r) || r<<1 == 0 && (a<<1 == 0 || b<<1 == 0) {
			return r
		}
	}
	x, y := e.in32(a), e.in32(b)
	if x.isNaN() || y.isNaN() {
		return e.nan32(a, b, x, y)
	}
	return e.pack32(e.mul(x, y))
}

// Div32 divides a by b.
func (e *Env) Div32(a, b uint32) uint32 {
	if e.native() && normal32(a) && normal32(b) && b<<1 != 0 {
		r := math.Float32bits(math.Float32frombits(a) / math.Float32frombits(b))
		if safe32(r) || a<<1 == 0 {
			return r
		}
	}
	x, y := e.in32(a), e.in32(b)
	if x.isNaN() || y.isNaN() {
		return e.nan32(a, b, x, y)
	}
	return e.pack32(e.div(x, y))
}

// Sqrt32 takes the square root.
func (e *Env) Sqrt32(a uint32) uint32 {
	if e.native() && normal32(a) && a>>31 == 0 {
		return math.Float32bits(float32(math.Sqrt(float64(math.Float32frombits(a)))))
	}
	x := e.in32(a)
	if x.isNaN() {
		return e.nan32(a, a, x, x)
	}
	return e.pack32(e.sqrt(x))
}

// Compare32 compares. Any NaN raises Invalid if signals is set, else only a
// signaling one does.
func (e *Env) Compare32(a, b uint32, signals bool) Order {
	if normal32(a) && normal32(b) {
		x, y := math.Float32frombits(a), math.Float32frombits(b)
		switch {
		case x < y:
			return Less
		case x > y:
			return Greater
		}
		return Equal
	}
	return e.compare(e.in32(a), e.in32(b), signals)
}

// Min32 gives a if it is less than b, else b: b for zeros of either sign and where
// one is a NaN, which raises Invalid.
func (e *Env) Min32(a, b uint32) uint32 { return e.pick32(a, b, Less) }

// Max32 gives a if it is greater than b, else b.
func (e *Env) Max32(a, b uint32) uint32 { return e.pick32(a, b, Greater) }

func (e *Env) pick32(a, b uint32, o Order) uint32 {
	r := b
	if e.Compare32(a, b, true) == o {
		r = a
	}
	if e.DAZ && r>>23&0xFF == 0 {
		r &= 1 << 31
	}
	return r
}

// RoundToInt32 rounds to an integer in the given mode. Inexact is not raised if
// quietly is set.
func (e *Env) RoundToInt32(a uint32, rc Rounding, quietly bool) uint32 {
	x := e.in32(a)
	switch {
	case x.isNaN():
		return e.nan32(a, a, x, x)
	case x.class == zero:
		return a & (1 << 31)
	case x.class == infinite || x.exp >= 23:
		return a
	}
	n, inexact, _ := rc.integer(x)
	if inexact && !quietly {
		e.Flags |= Inexact
	}
	r := math.Float32bits(float32(n))
	return r | a&(1<<31)
}
