package float

// BCD is a packed decimal of 18 digits as FBLD and FBSTP have it in memory: the
// digits' pairs from the lowest, and the sign in the last byte's bit 7.
type BCD [10]byte

const maxBCD = 1e18

// LoadBCD gives the value of b, exactly. Digits beyond 9 count for what they are.
func (e *Env) LoadBCD(b BCD) F80 {
	e.C1 = false
	var v uint64
	for i := 8; i >= 0; i-- {
		v = v*100 + uint64(b[i]>>4)*10 + uint64(b[i]&0xF)
	}
	n := normalize(b[9]>>7 != 0, 63, v)
	return n.encode()
}

// StoreBCD rounds a to an integer of 18 digits. What does not fit raises Invalid and
// gives the packed indefinite.
func (e *Env) StoreBCD(a Num) BCD {
	e.C1 = false
	var n uint64
	ok, inexact, up := a.class <= finite && a.exp < 63, false, false
	if ok && a.class == finite {
		n, inexact, up = e.Rounding.integer(a)
	}
	if !ok || n >= maxBCD {
		e.raise(Invalid)
		return BCD{7: 0xC0, 8: 0xFF, 9: 0xFF}
	}
	if inexact {
		e.C1 = up
		e.raise(Inexact)
	}
	var b BCD
	for i := range 9 {
		b[i] = byte(n%10 | n/10%10<<4)
		n /= 100
	}
	if a.neg {
		b[9] = 0x80
	}
	return b
}
