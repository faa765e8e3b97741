package soft

import (
	"math/bits"

	"gvmm/vcpu/soft/decode"
)

// bmi executes BMI1, BMI2 and ADX.
func (c *CPU) bmi(in *decode.Inst) bool {
	n := in.Size
	a, ok := c.readRM(in)
	if !ok {
		return false
	}
	v := c.get(in.VReg, n)
	log, mask, width := log2(n), sizeMask(n), 8*uint64(n)
	switch in.Op {
	case decode.ANDN:
		r := a &^ v
		c.set(in.Reg, n, r)
		c.lazy(classLogic, log, r, 0)
	case decode.BEXTR:
		start, length := v&0xff, v>>8&0xff
		r := a >> start & (1<<length - 1)
		c.set(in.Reg, n, r)
		c.lazy(classLogic, log, r, 0)
		c.setArith(c.arith()&^flagSF | flagAF)
	case decode.BLSI:
		c.isolate(in, a&-a, a != 0)
	case decode.BLSMSK:
		c.isolate(in, (a^(a-1))&mask, a == 0)
	case decode.BLSR:
		c.isolate(in, a&(a-1), a == 0)
	case decode.BZHI:
		k := v & 0xff
		r := a & (1<<k - 1)
		c.set(in.Reg, n, r)
		c.bmiFlags(n, r, k >= width)
	case decode.MULX:
		high, low := product(n, c.get(rdx, n), a)
		c.set(in.VReg, n, low)
		c.set(in.Reg, n, high)
	case decode.PDEP:
		c.set(in.Reg, n, deposit(v, a))
	case decode.PEXT:
		c.set(in.Reg, n, extractBits(v, a))
	case decode.RORX:
		c.set(in.Reg, n, bmiShift(in.Op, n, a, in.Imm))
	case decode.SARX, decode.SHLX, decode.SHRX:
		c.set(in.Reg, n, bmiShift(in.Op, n, a, v))
	case decode.ADCX, decode.ADOX:
		c.addCarry(in, a)
	}
	return true
}

// isolate stores into VReg and sets flags as BLSI, BLSMSK and BLSR do.
func (c *CPU) isolate(in *decode.Inst, r uint64, carry bool) {
	c.set(in.VReg, in.Size, r)
	c.bmiFlags(in.Size, r, carry)
}

// bmiFlags are ZF and SF of r, and CF.
func (c *CPU) bmiFlags(n uint8, r uint64, carry bool) {
	c.lazy(classLogic, log2(n), r, 0)
	if carry {
		c.setArith(c.arith() | flagCF)
	}
}

// addCarry executes ADCX and ADOX: CF or OF is the carry, and alone changes.
func (c *CPU) addCarry(in *decode.Inst, b uint64) {
	n, bit := in.Size, uint(0)
	if in.Op == decode.ADOX {
		bit = 11
	}
	f := c.arith()
	r, carry := bits.Add64(c.get(in.Reg, n), b, f>>bit&1)
	if n == 4 {
		carry = r >> 32
	}
	c.set(in.Reg, n, r)
	c.setArith(f&^(1<<bit) | carry<<bit)
}

// deposit is PDEP: the low bits of v go where mask has ones.
func deposit(v, mask uint64) (r uint64) {
	for ; mask != 0; mask &= mask - 1 {
		r |= mask & -mask & -(v & 1)
		v >>= 1
	}
	return r
}

// extract is PEXT: the bits of v where mask has ones, gathered.
func extractBits(v, mask uint64) (r uint64) {
	for i := 0; mask != 0; mask &= mask - 1 {
		r |= v >> bits.TrailingZeros64(mask) & 1 << i
		i++
	}
	return r
}
