package float

// The operations here clear C1 and set it where they round up. Where Raised holds one
// of Before after them there is no result; what they return then has no meaning.

// Add adds, at the precision of e.
func (e *Env) Add(a, b Num) F80 {
	e.C1 = false
	if a.isNaN() || b.isNaN() {
		return e.nan80(a, b)
	}
	return e.packPC(e.add(a, b), e.Precision)
}

// Sub subtracts b from a, at the precision of e.
func (e *Env) Sub(a, b Num) F80 {
	e.C1 = false
	if a.isNaN() || b.isNaN() {
		return e.nan80(a, b)
	}
	b.neg = !b.neg
	return e.packPC(e.add(a, b), e.Precision)
}

// Mul multiplies, at the precision of e.
func (e *Env) Mul(a, b Num) F80 {
	e.C1 = false
	if a.isNaN() || b.isNaN() {
		return e.nan80(a, b)
	}
	return e.packPC(e.mul(a, b), e.Precision)
}

// Div divides a by b, at the precision of e.
func (e *Env) Div(a, b Num) F80 {
	e.C1 = false
	if a.isNaN() || b.isNaN() {
		return e.nan80(a, b)
	}
	return e.packPC(e.div(a, b), e.Precision)
}

// Sqrt takes the square root, at the precision of e.
func (e *Env) Sqrt(a Num) F80 {
	e.C1 = false
	if a.isNaN() {
		return e.nan80(a, a)
	}
	return e.packPC(e.sqrt(a), e.Precision)
}

// Compare compares. Any NaN raises Invalid if signals is set (FCOM, FCOMI), else only
// a signaling or unsupported one does (FUCOM, FUCOMI).
func (e *Env) Compare(a, b Num, signals bool) Order {
	e.C1 = false
	return e.compare(a, b, signals)
}

// RoundInt rounds to an integer in the mode of e (FRNDINT).
func (e *Env) RoundInt(a Num) F80 {
	e.C1 = false
	if a.isNaN() {
		return e.nan80(a, a)
	}
	if e.denormal(a.denorm) || a.class != finite || a.exp >= 63 {
		return a.encode()
	}
	n, inexact, up := e.Rounding.integer(a)
	if inexact {
		e.C1 = up
		e.raise(Inexact)
	}
	r := normalize(a.neg, 63, n)
	return r.encode()
}

// Scale gives a * 2^b, b truncated to an integer (FSCALE).
func (e *Env) Scale(a, b Num) F80 {
	e.C1 = false
	if a.isNaN() || b.isNaN() {
		return e.nan80(a, b)
	}
	if a.class == infinite && b.class == infinite && b.neg || a.class == zero && b.class == infinite && !b.neg {
		return e.pack80(e.invalid())
	}
	if e.before(a, b) {
		return F80{}
	}
	r := exact(a)
	switch {
	case b.class == infinite && b.neg:
		r.class = zero
	case b.class == infinite:
		r.class = infinite
	case b.class == finite && a.class == finite:
		n := int32(1 << 16) // beyond every exponent, adjusted or not
		if b.exp < 16 {
			m, _, _ := Zero.integer(b)
			n = int32(m)
		}
		if b.neg {
			n = -n
		}
		r.exp += n
	}
	return e.pack80(r)
}

// Extract splits a into exponent and significand (FXTRACT). Zero raises DivZero.
func (e *Env) Extract(a Num) (exp, man F80) {
	e.C1 = false
	switch {
	case a.isNaN():
		r := e.nan80(a, a)
		return r, r
	case a.class == zero:
		e.raise(DivZero)
		return Num{kind: kind{class: infinite, neg: true}}.encode(), a.encode()
	case a.class == infinite:
		return Num{kind: kind{class: infinite}}.encode(), a.encode()
	}
	e.denormal(a.denorm)
	m := a
	m.exp = 0
	return NumInt(int64(a.exp)).encode(), m.encode()
}
