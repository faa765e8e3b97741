package float

// Constants to 128 bits; the tests compute them anew.
var (
	wpi     = wide{exp: 1, hi: 0xC90FDAA22168C234, lo: 0xC4C6628B80DC1CD1}
	wln2    = wide{exp: -1, hi: 0xB17217F7D1CF79AB, lo: 0xC9E3B39803F2F6AF}
	wlog2e  = wide{exp: 0, hi: 0xB8AA3B295C17F0BB, lo: 0xBE87FED0691D3E89}
	wlog2t  = wide{exp: 1, hi: 0xD49A784BCD1B8AFE, lo: 0x492BF6FF4DAFDB4D}
	wlog102 = wide{exp: -2, hi: 0x9A209A84FBCFF798, lo: 0x8F8959AC0B7C9178}
)

// atans are the arc tangents of k/8, k from 1.
var atans = [8]wide{
	{exp: -4, hi: 0xFEADD4D5617B6E32, lo: 0xC897989F3E888EF8},
	{exp: -3, hi: 0xFADBAFC96406EB15, lo: 0x6DC79EF5F7A217E6},
	{exp: -2, hi: 0xB7B0CA0F26F78473, lo: 0x8AA32122DCFE4483},
	{exp: -2, hi: 0xED63382B0DDA7B45, lo: 0x6FE445ECBC3A8D03},
	{exp: -1, hi: 0x8F005D5EF7F59F9B, lo: 0x5C835E1665C43748},
	{exp: -1, hi: 0xA4BC7D1934F70924, lo: 0x19A87F2A457DAC9F},
	{exp: -1, hi: 0xB8053E2BC2319E73, lo: 0xCB2DA55210A4443D},
	{exp: -1, hi: 0xC90FDAA22168C234, lo: 0xC4C6628B80DC1CD1},
}

// Series are polynomials in rising powers, long enough for the ranges they serve.
var (
	inverseFactorials = factorials() // 1/n!
	inverseOdds       = odds()       // 1/(2n+1)
)

func factorials() (t [28]wide) {
	t[0] = whole(1)
	for i := 1; i < len(t); i++ {
		t[i] = t[i-1].div(whole(uint64(i)))
	}
	return t
}

func odds() (t [20]wide) {
	for i := range t {
		t[i] = whole(1).div(whole(uint64(2*i + 1)))
	}
	return t
}

// constant rounds c in the mode of e. Loading a constant raises nothing.
func (e *Env) constant(c wide) F80 {
	e.C1 = false
	man, _, _, carry := e.Rounding.quantize(false, c.hi, c.lo, 64)
	if carry {
		c.exp++
	}
	return encode80(false, uint16(c.exp+bias80), man)
}

// Pi loads pi (FLDPI).
func (e *Env) Pi() F80 { return e.constant(wpi) }

// Ln2 loads the natural logarithm of 2 (FLDLN2).
func (e *Env) Ln2() F80 { return e.constant(wln2) }

// Log2E loads the binary logarithm of e (FLDL2E).
func (e *Env) Log2E() F80 { return e.constant(wlog2e) }

// Log2T loads the binary logarithm of 10 (FLDL2T).
func (e *Env) Log2T() F80 { return e.constant(wlog2t) }

// Lg2 loads the decimal logarithm of 2 (FLDLG2).
func (e *Env) Lg2() F80 { return e.constant(wlog102) }
