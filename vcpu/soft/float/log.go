package float

// Exp2m1 gives 2^a - 1 for -1 <= a <= 1 (F2XM1), and a itself beyond, where nothing
// is defined. It raises Inexact for all finite operands but zero.
func (e *Env) Exp2m1(a Num) F80 {
	e.C1 = false
	switch {
	case a.isNaN():
		return e.nan80(a, a)
	case a.class == infinite && a.neg:
		return encode80(true, One80.SE, One80.Man)
	case e.denormal(a.denorm):
		return F80{}
	case a.class != finite:
		return a.encode()
	case a.exp >= 0:
		if a.exp == 0 && a.man == 1<<63 && a.neg {
			a.exp = -1
		}
		e.raise(Inexact)
		return a.encode()
	}
	y := a.wide().mul(wln2)
	return e.pack80(y.mul(series(inverseFactorials[:], 1, 1, y)).inexact())
}

// log2 gives the binary logarithm of a > 0, and whether it is an integer.
func log2(a wide) (r wide, integer bool) {
	n := a.exp
	a.exp = 0
	if a.hi == 1<<63 && a.lo == 0 {
		return NumInt(int64(n)).wide(), true
	}
	if a.hi > 0xB504F333F9DE6484 { // sqrt 2
		a.exp--
		n++
	}
	r = ratio(a.sub(whole(1)), a.add(whole(1)))
	if n != 0 {
		r = r.add(NumInt(int64(n)).wide())
	}
	return r, false
}

// ratio gives log2((1+s)/(1-s)) for s = p/q, |s| < 0.1716.
func ratio(p, q wide) wide {
	s := p.div(q)
	return s.mul(series(inverseOdds[:], 0, 1, s.mul(s))).mul(wlog2e).twice(1)
}

// Log2 gives y * log2(x) (FYL2X).
func (e *Env) Log2(y, x Num) F80 {
	e.C1 = false
	if y.isNaN() || x.isNaN() {
		return e.nan80(x, y)
	}
	one := x.class == finite && x.exp == 0 && x.man == 1<<63
	below := x.class == zero || x.class == finite && x.exp < 0
	switch {
	case x.neg && x.class != zero,
		x.class == zero && y.class == zero,
		x.class == infinite && y.class == zero,
		one && y.class == infinite:
		return e.pack80(e.invalid())
	case x.class == zero && y.class == finite:
		if e.raise(DivZero) {
			return F80{}
		}
		return encode80(!y.neg, 0x7FFF, 1<<63)
	case e.before(x, y):
		return F80{}
	case y.class == infinite || x.class == infinite || x.class == zero:
		return encode80(y.neg != below, 0x7FFF, 1<<63)
	case y.class == zero || one:
		return encode80(y.neg != below, 0, 0)
	}
	l, integer := log2(x.wide())
	r := l.mul(y.wide())
	if integer {
		// Exact it may be, but no unit looks.
		v := e.pack80(raw{hi: r.hi, lo: r.lo, kind: kind{exp: r.exp, class: finite, neg: r.neg}})
		e.raise(Inexact)
		if v.SE&0x7FFF == 0 {
			e.raise(Underflow)
		}
		return v
	}
	return e.pack80(r.inexact())
}

// Log2p1 gives y * log2(x+1) for |x| <= 1 - sqrt(2)/2 (FYL2XP1). Beyond that range,
// where nothing is defined, it goes on above -1, and from there down gives x.
func (e *Env) Log2p1(y, x Num) F80 {
	e.C1 = false
	if y.isNaN() || x.isNaN() {
		return e.nan80(x, y)
	}
	neg := y.neg != x.neg
	switch {
	case x.class == infinite && x.neg,
		x.class == zero && y.class == infinite,
		x.class == infinite && y.class == zero:
		return e.pack80(e.invalid())
	case e.before(x, y):
		return F80{}
	case y.class == infinite || x.class == infinite:
		return encode80(neg, 0x7FFF, 1<<63)
	case y.class == zero || x.class == zero:
		return encode80(neg, 0, 0)
	case x.neg && x.exp >= 0:
		e.raise(Inexact)
		return x.encode()
	}
	var l wide
	w := x.wide()
	if x.exp < -2 {
		l = ratio(w, w.add(whole(2)))
	} else {
		l, _ = log2(w.add(whole(1)))
	}
	return e.pack80(l.mul(y.wide()).inexact())
}
