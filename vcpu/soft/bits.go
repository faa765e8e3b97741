package soft

import (
	"math/bits"

	"gvmm/vcpu/soft/decode"
	"gvmm/vcpu/soft/simd"
)

// bitTest executes BT, BTS, BTR and BTC. A bit offset in a register reaches beyond
// the memory operand, both ways: SDM 1 §3.1.1.9.
func (c *CPU) bitTest(in *decode.Inst) bool {
	n, op := in.Size, in.Op
	width := 8 * uint64(n)
	index := in.Imm
	if in.Form == decode.FormMR {
		index = signed(c.r[in.Reg&15], n)
	}
	bit := uint(index & (width - 1))
	if in.Prefix&decode.Mem == 0 {
		a := c.get(in.RM, n)
		if op != decode.BT {
			c.set(in.RM, n, changedBit(op, a, bit))
		}
		c.setCarry(a >> bit & 1)
		return true
	}
	off := c.offset(in)
	if in.Form == decode.FormMR {
		off = (off + uint64(int64(index)>>bits.TrailingZeros64(width))*uint64(n)) & sizeMask(in.Addr)
	}
	la, ok := c.linear(in.Seg, off, uint64(n), op != decode.BT)
	if !ok {
		return false
	}
	var a uint64
	if op == decode.BT {
		a, ok = c.read(la, n, 0)
	} else {
		ok = c.modify(la, n, in.Prefix&decode.Lock != 0, func(old uint64) uint64 {
			a = old
			return changedBit(op, old, bit)
		})
	}
	if ok {
		c.setCarry(a >> bit & 1)
	}
	return ok
}

func changedBit(op decode.Op, a uint64, bit uint) uint64 {
	switch op {
	case decode.BTS:
		return a | 1<<bit
	case decode.BTR:
		return a &^ (1 << bit)
	}
	return a ^ 1<<bit
}

// setCarry sets CF and keeps the others.
func (c *CPU) setCarry(cf uint64) { c.override(flagCF, cf) }

// bitCount executes BSF, BSR, POPCNT, LZCNT and TZCNT.
func (c *CPU) bitCount(in *decode.Inst) bool {
	n := in.Size
	width := 8 * int(n)
	a, ok := c.readRM(in)
	if !ok {
		return false
	}
	var f uint64
	var r int
	switch in.Op {
	case decode.BSF, decode.BSR:
		if a == 0 {
			c.setArith(flagZF | flagPF)
			return true // and the destination keeps its value
		}
		r = bits.TrailingZeros64(a)
		if in.Op == decode.BSR {
			r = bits.Len64(a) - 1
		}
		f = flagsOf8(uint64(r)) &^ flagZF
	case decode.POPCNT:
		if r = bits.OnesCount64(a); r == 0 {
			f = flagZF
		}
	default:
		r = width - bits.Len64(a)
		if in.Op == decode.TZCNT {
			r = min(bits.TrailingZeros64(a), width)
		}
		f = c.arith() & flagOF
		if r == width {
			f |= flagCF
		}
		if r == 0 {
			f |= flagZF
		}
	}
	c.set(in.Reg, n, uint64(r))
	c.setArith(f)
	return true
}

// crc32 accumulates MSize bytes into a CRC-32C.
func (c *CPU) crc32(in *decode.Inst) bool {
	v, ok := c.readRM(in)
	if !ok {
		return false
	}
	crc := uint32(c.r[in.Reg&15])
	switch in.MSize {
	case 1:
		crc = simd.CRC32x8(crc, uint8(v))
	case 2:
		crc = simd.CRC32x16(crc, uint16(v))
	case 4:
		crc = simd.CRC32x32(crc, uint32(v))
	default:
		crc = simd.CRC32x64(crc, v)
	}
	c.r[in.Reg&15] = uint64(crc)
	return true
}
