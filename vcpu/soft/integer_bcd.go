package soft

import (
	"math/bits"

	"gvmm/vcpu/soft/decode"
)

// decimal executes the instructions on binary-coded decimals, which 64-bit mode
// has not.
func (c *CPU) decimal(in *decode.Inst) bool {
	al, ah, f := c.get(rax, 1), c.get(decode.AH, 1), c.arith()
	low := al&15 > 9 || f&flagAF != 0
	switch in.Op {
	case decode.AAA, decode.AAS:
		ax := c.get(rax, 2)
		f = 0
		if low {
			f = flagAF | flagCF
			if in.Op == decode.AAA {
				ax += 0x106
			} else {
				ax -= 0x106
			}
		}
		c.set(rax, 2, ax&0xff0f)
		c.setArith(f | flagsOf8(ax&0xf))
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
		if in.Op == decode.DAS {
			adjust = -adjust
		}
		r := (al + adjust) & 0xff
		c.set(rax, 1, r)
		c.setArith(carry | flagsOf8(r))
	case decode.AAM:
		base := in.Imm & 0xff
		if base == 0 {
			return c.raise(vectorDE)
		}
		c.set(rax, 2, al/base<<8|al%base)
		c.setArith(flagsOf8(al % base))
	case decode.AAD:
		r := (al + ah*in.Imm) & 0xff
		c.set(rax, 2, r)
		c.setArith(flagsOf8(r))
	}
	return true
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
