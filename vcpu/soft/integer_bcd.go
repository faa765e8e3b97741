package soft

import (
	"math/bits"

	"gvmm/vcpu/soft/decode"
)

// decimal executes the instructions on binary-coded decimals, which 64-bit mode
// has not. Flags that are undefined are those of the addition or subtraction done.
func (c *CPU) decimal(in *decode.Inst) bool {
	al, ah, f := c.get(rax, 1), c.get(decode.AH, 1), c.arith()
	low := al&15 > 9 || f&flagAF != 0
	switch in.Op {
	case decode.AAA, decode.AAS:
		c.adjustUnpacked(in.Op, low)
	case decode.DAA, decode.DAS:
		high := al > 0x99 || f&flagCF != 0
		var adjust, carry uint64
		if low {
			adjust = 6
			carry = flagAF
			if in.Op == decode.DAS && al < 6 {
				carry |= flagCF
			}
		}
		if high {
			adjust += 0x60
			carry |= flagCF
		}
		op := decode.ADD
		if in.Op == decode.DAS {
			op = decode.SUB
		}
		c.set(rax, 1, c.binary(op, 1, al, adjust, 0))
		c.setArith(c.arith()&^(flagAF|flagCF) | carry)
	case decode.AAM:
		base := in.Imm & 0xff
		if base == 0 {
			return c.raise(vectorDE)
		}
		c.set(rax, 2, al/base<<8|al%base)
		c.setArith(flagsOf8(al % base))
	case decode.AAD:
		c.set(rax, 2, c.binary(decode.ADD, 1, al, ah*in.Imm&0xff, 0))
	}
	return true
}

// adjustUnpacked is AAA and AAS.
func (c *CPU) adjustUnpacked(op decode.Op, low bool) {
	ax := c.get(rax, 2)
	switch {
	case !low:
		c.binary(decode.OR, 2, ax, 0, 0)
	case op == decode.AAA:
		ax = c.binary(decode.ADD, 2, ax, 0x106, 0)
	default:
		ax = c.binary(decode.SUB, 2, ax, 0x106, 0)
	}
	c.set(rax, 2, ax&0xff0f)
	f := c.arith() &^ (flagAF | flagCF)
	if low {
		f |= flagAF | flagCF
	}
	c.setArith(f)
}

// flagsOf8 are SF, ZF and PF of a byte.
func flagsOf8(v uint64) uint64 {
	f := v & flagSF
	if v == 0 {
		f |= flagZF
	}
	if bits.OnesCount8(uint8(v))&1 == 0 {
		f |= flagPF
	}
	return f
}
