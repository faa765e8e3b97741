package float

import "math/bits"

// class is the kind of an unpacked value.
type class uint8

// The classes, of which those from quiet on are no numbers.
const (
	zero class = iota
	finite
	infinite
	quiet
	signaling
	unsupported
)

// kind is what Num and raw have beside a significand. They nest it because the
// compiler keeps structs of up to four fields in registers.
type kind struct {
	exp    int32
	class  class
	neg    bool
	denorm bool // the encoding was denormal
}

// Num is an operand, unpacked. Where it is finite its value is man * 2^(exp-63),
// with bit 63 of man set. A NaN's significand is left-aligned in man.
type Num struct {
	man uint64
	kind
}

// isNaN reports a NaN or an unsupported encoding.
func (n *Num) isNaN() bool { return n.class >= quiet }

// normalize makes a denormal significand of an encoding with the given exponent a
// finite Num.
func normalize(neg bool, exp int32, man uint64) Num {
	if man == 0 {
		return Num{kind: kind{class: zero, neg: neg}}
	}
	s := bits.LeadingZeros64(man)
	return Num{man: man << s, kind: kind{exp: exp - int32(s), class: finite, neg: neg, denorm: true}}
}

// Num64 unpacks a binary64.
func Num64(v uint64) Num {
	neg := v>>63 != 0
	man := v << 11
	switch e := int32(v >> 52 & 0x7FF); e {
	case 0:
		return normalize(neg, -1022, man&^(1<<63))
	case 0x7FF:
		return special(neg, man|1<<63)
	default:
		return Num{man: man | 1<<63, kind: kind{exp: e - 1023, class: finite, neg: neg}}
	}
}

// Num32 unpacks a binary32.
func Num32(v uint32) Num {
	neg := v>>31 != 0
	man := uint64(v) << 40
	switch e := int32(v >> 23 & 0xFF); e {
	case 0:
		return normalize(neg, -126, man&^(1<<63))
	case 0xFF:
		return special(neg, man|1<<63)
	default:
		return Num{man: man | 1<<63, kind: kind{exp: e - 127, class: finite, neg: neg}}
	}
}

// NumInt gives an integer operand.
func NumInt(v int64) Num {
	u := uint64(v)
	if v < 0 {
		u = -u
	}
	n := normalize(v < 0, 63, u)
	n.denorm = false
	return n
}

// special gives the infinity or NaN with a significand that has the integer bit.
func special(neg bool, man uint64) Num {
	c := infinite
	if man<<1 != 0 {
		c = signaling
		if man>>62&1 != 0 {
			c = quiet
		}
	}
	return Num{man: man, kind: kind{class: c, neg: neg}}
}

// raw is a result before it is rounded: zero, infinite, quiet for the indefinite, or
// finite with the value hi:lo * 2^(exp-127), of which the last bit of lo is sticky.
// Where an unmasked exception ended the operation class is signaling: no result.
type raw struct {
	hi, lo uint64
	kind
}

// exact gives the raw result that is a Num which is no NaN.
func exact(n Num) raw {
	return raw{hi: n.man, kind: kind{exp: n.exp, class: n.class, neg: n.neg}}
}

// stopped is the absence of a result, invalid the indefinite one.
var stopped = raw{kind: kind{class: signaling}}

// invalid raises Invalid and gives the indefinite, or nothing where it is unmasked.
func (e *Env) invalid() raw {
	if e.raise(Invalid) {
		return stopped
	}
	return raw{kind: kind{class: quiet}}
}
