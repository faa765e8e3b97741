package float

// F80 is a double extended value: a significand with its integer bit, and in SE the
// sign (bit 15) and the biased exponent, as FSTP stores them.
type F80 struct {
	Man uint64
	SE  uint16
}

// Values of x87 registers.
var (
	Indefinite80 = F80{Man: 3 << 62, SE: 0xFFFF}
	One80        = F80{Man: 1 << 63, SE: 0x3FFF}
)

const bias80 = 16383

// Class is what FXAM finds.
type Class uint8

// The classes, with C3, C2 and C0 as bits 2, 1 and 0.
const (
	ClassUnsupported Class = 0
	ClassNaN         Class = 1
	ClassNormal      Class = 2
	ClassInfinity    Class = 3
	ClassZero        Class = 4
	ClassDenormal    Class = 6
)

// Neg reports the sign bit.
func (f F80) Neg() bool { return f.SE>>15 != 0 }

// Num unpacks f.
func (f F80) Num() Num {
	neg := f.Neg()
	switch e := int32(f.SE & 0x7FFF); {
	case e == 0:
		return normalize(neg, 1-bias80, f.Man)
	case f.Man>>63 == 0:
		return Num{man: f.Man, kind: kind{class: unsupported, neg: neg}}
	case e == 0x7FFF:
		return special(neg, f.Man)
	default:
		return Num{man: f.Man, kind: kind{exp: e - bias80, class: finite, neg: neg}}
	}
}

// Class classifies f. A pseudo-denormal is a denormal.
func (f F80) Class() Class {
	n := f.Num()
	switch n.class {
	case zero:
		return ClassZero
	case finite:
		if n.denorm {
			return ClassDenormal
		}
		return ClassNormal
	case infinite:
		return ClassInfinity
	case unsupported:
		return ClassUnsupported
	}
	return ClassNaN
}

// encode80 gives the F80 with a sign.
func encode80(neg bool, se uint16, man uint64) F80 {
	if neg {
		se |= 1 << 15
	}
	return F80{Man: man, SE: se}
}

// pack80 rounds and encodes a result with all bits of precision.
func (e *Env) pack80(r raw) F80 { return e.packPC(r, 64) }

// packPC rounds a result to prec bits, of which the exponent's range is extended,
// and encodes it.
func (e *Env) packPC(r raw, prec uint8) F80 {
	switch r.class {
	case zero, signaling:
		return encode80(r.neg, 0, 0)
	case infinite:
		return encode80(r.neg, 0x7FFF, 1<<63)
	case quiet:
		return Indefinite80
	}
	f := extended
	f.prec = int32(prec)
	man, exp := e.round(f, r)
	if man>>63 == 0 {
		return encode80(r.neg, 0, man)
	}
	return encode80(r.neg, uint16(exp+bias80), man)
}

// encode gives the F80 of a Num that is no NaN and in range: a normal number even
// where a denormal would do cannot occur, since only F80s have that range.
func (n Num) encode() F80 {
	switch n.class {
	case zero:
		return encode80(n.neg, 0, 0)
	case infinite:
		return encode80(n.neg, 0x7FFF, 1<<63)
	case finite:
		if d := 1 - bias80 - n.exp; d > 0 {
			return encode80(n.neg, 0, n.man>>uint(d))
		}
		return encode80(n.neg, uint16(n.exp+bias80), n.man)
	}
	return encode80(n.neg, 0x7FFF, n.man|1<<62)
}

// nan80 gives the result of an x87 operation with a NaN among its operands (SDM 1
// §4.8.3.5): the one quiet NaN, else the larger significand, the positive one of
// equals. Unsupported encodings give the indefinite.
func (e *Env) nan80(a, b Num) F80 {
	if a.class == unsupported || b.class == unsupported {
		e.raise(Invalid)
		return Indefinite80
	}
	if a.class == signaling || b.class == signaling {
		e.raise(Invalid)
	}
	switch {
	case !b.isNaN():
		return a.encode()
	case !a.isNaN():
		return b.encode()
	case a.class == quiet && b.class == signaling:
		return a.encode()
	case a.class == signaling && b.class == quiet:
		return b.encode()
	case a.man > b.man, a.man == b.man && !a.neg:
		return a.encode()
	}
	return b.encode()
}
