package soft

import (
	"math/bits"

	"gvmm/vcpu/soft/decode"
)

// multiply executes MUL and IMUL. CF and OF say that the product needs its upper
// half.
func (c *CPU) multiply(in *decode.Inst) bool {
	n := in.Size
	b, ok := c.readRM(in)
	if !ok {
		return false
	}
	a := c.get(rax, n)
	switch in.Form {
	case decode.FormRM:
		a = c.get(in.Reg, n)
	case decode.FormRMI:
		a = in.Imm & sizeMask(n)
	}
	var high, low uint64
	var wide bool
	if in.Op == decode.MUL {
		high, low = product(n, a, b)
		wide = high != 0
	} else {
		high, low = signedProduct(n, a, b)
		wide = high != uint64(int64(signed(low, n))>>63)&sizeMask(n)
	}
	switch {
	case in.Form != decode.FormM:
		c.set(in.Reg, n, low)
	case n == 1:
		c.set(rax, 2, high<<8|low)
	default:
		c.set(rax, n, low)
		c.set(rdx, n, high)
	}
	c.setProduct(wide)
	return true
}

// setProduct sets the flags of a multiplication: CF and OF if the product is wide.
// The others are undefined; here they stay.
func (c *CPU) setProduct(wide bool) {
	if wide {
		c.override(flagCF|flagOF, flagCF|flagOF)
	} else {
		c.override(flagCF|flagOF, 0)
	}
}

// product multiplies two values of n bytes.
func product(n uint8, a, b uint64) (high, low uint64) {
	if n == 8 {
		return bits.Mul64(a, b)
	}
	p := a * b
	return p >> (8 * n), p & sizeMask(n)
}

func signedProduct(n uint8, a, b uint64) (high, low uint64) {
	x, y := signed(a, n), signed(b, n)
	if n == 8 {
		high, low = bits.Mul64(x, y)
		return high - x&uint64(int64(y)>>63) - y&uint64(int64(x)>>63), low
	}
	p := x * y
	return p >> (8 * n) & sizeMask(n), p & sizeMask(n)
}

// divide executes DIV and IDIV: #DE for a quotient that does not fit. All flags are
// undefined.
func (c *CPU) divide(in *decode.Inst) bool {
	n := in.Size
	d, ok := c.readRM(in)
	if !ok {
		return false
	}
	high, low := c.get(rdx, n), c.get(rax, n)
	if n == 1 {
		high = c.get(decode.AH, 1)
	}
	var q, r uint64
	if in.Op == decode.DIV {
		q, r, ok = quotient(n, high, low, d)
	} else {
		q, r, ok = signedQuotient(n, high, low, d)
	}
	if !ok {
		return c.raise(vectorDE)
	}
	c.setArith(c.arith()&(flagCF|flagOF) | flagAF)
	if n == 1 {
		c.set(rax, 2, r&0xff<<8|q&0xff)
		return true
	}
	c.set(rax, n, q)
	c.set(rdx, n, r)
	return true
}

// quotient divides high:low, 2n bytes, by d.
func quotient(n uint8, high, low, d uint64) (q, r uint64, ok bool) {
	if d == 0 || high >= d {
		return 0, 0, false
	}
	if n == 8 {
		q, r = bits.Div64(high, low, d)
		return q, r, true
	}
	v := high<<(8*n) | low
	return v / d, v % d, true
}

// signedQuotient truncates toward 0: the remainder has the dividend's sign.
func signedQuotient(n uint8, high, low, d uint64) (q, r uint64, ok bool) {
	width, mask := 8*n, sizeMask(n)
	negative, other := high>>(width-1) != 0, d>>(width-1) != 0
	if negative {
		var borrow uint64
		if low != 0 {
			borrow = 1
		}
		low, high = -low&mask, (-high-borrow)&mask
	}
	if other {
		d = -d & mask
	}
	if q, r, ok = quotient(n, high, low, d); !ok {
		return 0, 0, false
	}
	limit := mask >> 1 // the largest quotient
	if negative != other {
		limit++
	}
	if q > limit {
		return 0, 0, false
	}
	if negative != other {
		q = -q
	}
	if negative {
		r = -r
	}
	return q & mask, r & mask, true
}
