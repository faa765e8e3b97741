package soft

import (
	"math/bits"

	"gvmm/vcpu/soft/decode"
)

// count is how far a shift goes: CL or the immediate, modulo 32, or 64 for 64-bit
// operands.
func (c *CPU) count(in *decode.Inst) uint {
	v := in.Imm
	if in.Form == decode.FormMC || in.Form == decode.FormMRC {
		v = c.r[rcx]
	}
	if in.Size == 8 {
		return uint(v & 63)
	}
	return uint(v & 31)
}

// shift executes shifts and rotates. A count of 0 changes no flags, but memory is
// written.
func (c *CPU) shift(in *decode.Inst) bool {
	n, op, count := in.Size, in.Op, c.count(in)
	var before uint64
	if op < decode.SHL {
		before = c.arith()
	}
	if in.Prefix&decode.Mem == 0 {
		c.set(in.RM, n, c.shifted(op, n, c.get(in.RM, n), count, before))
		return true
	}
	saved := c.saveFlags()
	return c.update(in, false, func(a uint64) uint64 { return c.shifted(op, n, a, count, before) }) || c.restoreFlags(saved)
}

// shifted computes one result of n bytes and sets the flags; before are those that
// a rotate keeps.
func (c *CPU) shifted(op decode.Op, n uint8, a uint64, count uint, before uint64) uint64 {
	if count == 0 {
		return a
	}
	log, mask, width := log2(n), sizeMask(n), 8*uint(n)
	switch op {
	case decode.SHL:
		last := a << (count - 1)
		r := last << 1 & mask
		c.lazy(classShl, log, r, last)
		return r
	case decode.SHR:
		last := a >> (count - 1)
		r := last >> 1
		c.lazy(classShr, log, r, last)
		return r
	case decode.SAR:
		last := int64(signed(a, n)) >> (count - 1)
		r := uint64(last>>1) & mask
		c.lazy(classShr, log, r, uint64(last))
		return r
	}
	return c.rotated(op, n, a, count, before, width, mask)
}

// rotated sets CF, and OF as for a count of 1, where it is defined.
func (c *CPU) rotated(op decode.Op, n uint8, a uint64, count uint, before uint64, width uint, mask uint64) uint64 {
	var r, cf, of uint64
	sign := width - 1
	switch op {
	case decode.ROL:
		k := count & sign
		r = (a<<k | a>>(width-k)) & mask
		cf = r & 1
		of = r>>sign ^ cf
	case decode.ROR:
		k := count & sign
		r = (a>>k | a<<(width-k)) & mask
		cf = r >> sign
		of = (r>>sign ^ r>>(sign-1)) & 1
	default:
		cf = before & flagCF
		k := count % (width + 1) // through CF: a rotate of one bit more
		switch {
		case k == 0:
			r = a
		case op == decode.RCL:
			r = (a<<k | cf<<(k-1) | a>>(width+1-k)) & mask
			cf = a >> (width - k) & 1
		default:
			r = (a>>k | cf<<(width-k) | a<<(width+1-k)) & mask
			cf = a >> (k - 1) & 1
		}
		if op == decode.RCL {
			of = r>>sign ^ cf
		} else {
			of = (r>>sign ^ r>>(sign-1)) & 1
		}
	}
	c.setArith(before&^(flagCF|flagOF) | cf | of<<11)
	return r
}

// shiftDouble executes SHLD and SHRD.
func (c *CPU) shiftDouble(in *decode.Inst) bool {
	n, op, count, b := in.Size, in.Op, c.count(in), c.get(in.Reg, in.Size)
	if in.Prefix&decode.Mem == 0 {
		c.set(in.RM, n, c.shiftedDouble(op, n, c.get(in.RM, n), b, count))
		return true
	}
	saved := c.saveFlags()
	return c.update(in, false, func(a uint64) uint64 { return c.shiftedDouble(op, n, a, b, count) }) || c.restoreFlags(saved)
}

// shiftedDouble shifts bits of b into a.
func (c *CPU) shiftedDouble(op decode.Op, n uint8, a, b uint64, count uint) uint64 {
	if count == 0 {
		return a
	}
	log, mask, width := log2(n), sizeMask(n), 8*uint(n)
	var last, r uint64 // the value before the last of the single shifts, and after it
	switch {
	case n == 2:
		return c.shiftedWord(op, a, b, count)
	case op == decode.SHLD:
		last, r = a<<(count-1)|b>>(width+1-count), (a<<count|b>>(width-count))&mask
		c.lazy(classShl, log, r, last)
	default:
		last, r = (a>>(count-1)|b<<(width+1-count))&mask, (a>>count|b<<(width-count))&mask
		c.lazy(classShr, log, r, last)
	}
	return r
}

// shiftedWord does it with 16-bit operands. Counts above 16 are undefined: b is
// shifted in once more, and CF is 0.
func (c *CPU) shiftedWord(op decode.Op, a, b uint64, count uint) uint64 {
	if op == decode.SHLD {
		wide := a<<32 | b<<16 | b
		last, r := wide<<(count-1)>>32, wide<<count>>32&0xffff
		c.lazy(classShl, size16, r, last)
		if count >= 16 {
			f := c.arith() &^ flagOF
			if count > 16 {
				f &^= flagCF
			}
			c.setArith(f | f&flagCF<<11)
		}
		return r
	}
	wide := b<<32 | b<<16 | a
	last, r := wide>>(count-1)&0xffff, wide>>count&0xffff
	c.lazy(classShr, size16, r, last)
	if count > 16 {
		c.setArith(c.arith() &^ flagCF)
	}
	return r
}

// bmiShift is SHLX, SHRX, SARX and RORX: no flags.
func bmiShift(op decode.Op, n uint8, a, count uint64) uint64 {
	k := uint(count) & (8*uint(n) - 1)
	switch op {
	case decode.SHLX:
		return a << k
	case decode.SHRX:
		return a >> k
	case decode.SARX:
		return uint64(int64(signed(a, n)) >> k)
	}
	if n == 8 {
		return bits.RotateLeft64(a, -int(k))
	}
	return uint64(bits.RotateLeft32(uint32(a), -int(k)))
}
