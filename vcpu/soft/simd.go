package soft

import (
	"gvmm/vcpu/soft/decode"
	"gvmm/vcpu/soft/float"
	"gvmm/vcpu/soft/simd"
)

// vectorState is what vector instructions need beside the registers.
type vectorState struct {
	env float.Env // of the floating-point instruction under way
	buf [16]byte  // of an access that is not two loads or stores
}

// simdFunc executes an operation of group SIMD.
type simdFunc func(c *CPU, in *decode.Inst) bool

// simd executes an instruction on MMX or XMM registers.
func (c *CPU) simd(in *decode.Inst) bool {
	if int(in.Op) >= len(simdOps) {
		return c.ud()
	}
	return simdOps[in.Op](c, in)
}

// useXMM judges whether XMM registers may be used: SDM 3 §14.1.
func (c *CPU) useXMM() bool {
	if c.cr0&(cr0EM|cr0TS)|c.cr4&cr4OSFXSR == cr4OSFXSR {
		return true
	}
	if c.cr0&cr0EM != 0 || c.cr4&cr4OSFXSR == 0 {
		return c.ud()
	}
	return c.raise(vectorNM)
}

// useMMX judges whether MMX registers may be used: SDM 3 §13.1.
func (c *CPU) useMMX() bool {
	switch {
	case c.cr0&cr0EM != 0:
		return c.ud()
	case c.cr0&cr0TS != 0:
		return c.raise(vectorNM)
	case c.fpu.status&swES != 0:
		return c.raise(vectorMF)
	}
	return true
}

// usedMMX is what any MMX instruction does to the x87 state: the stack is full and
// its top is R0 (SDM 3 §13.2). It is true, for the executing method to return.
func (c *CPU) usedMMX() bool {
	c.fpu.status &^= 7 << 11
	c.fpu.tag = 0xff
	return true
}

// mmx is an MMX register's value.
func (c *CPU) mmx(reg uint8) uint64 { return c.fpu.reg[reg&7].Man }

// setMMX writes an MMX register. As an x87 register it is then a NaN or infinity.
func (c *CPU) setMMX(reg uint8, v uint64) { c.fpu.reg[reg&7] = float.F80{Man: v, SE: 0xffff} }

// mmxRM reads the rm operand, an MMX register or MSize bytes of memory.
func (c *CPU) mmxRM(in *decode.Inst) (uint64, bool) {
	if in.Prefix&decode.Mem == 0 {
		return c.mmx(in.RM), true
	}
	return c.load(in, in.MSize)
}

// xmmRM reads the rm operand, an XMM register or MSize bytes of memory, of which 16
// are aligned.
func (c *CPU) xmmRM(in *decode.Inst) (simd.Vec, bool) {
	if in.Prefix&decode.Mem == 0 {
		return c.xmm[in.RM&15], true
	}
	if in.MSize == 16 {
		return c.loadVec(in, true)
	}
	v, ok := c.load(in, in.MSize)
	return simd.Vec{Lo: v}, ok
}

// loadVec reads the 16 bytes of the memory operand.
func (c *CPU) loadVec(in *decode.Inst, aligned bool) (v simd.Vec, ok bool) {
	la, ok := c.linear(in.Seg, c.offset(in), 16, false)
	if !ok {
		return v, false
	}
	if la&15 != 0 && aligned {
		return v, c.gp0()
	}
	e := &c.tlb[la>>12&(tlbSize-1)]
	if off := la - e.read; off <= 4096-16 {
		return simd.Vec{Lo: e.load(off, 8), Hi: e.load(off+8, 8)}, true
	}
	b := &c.vector.buf
	if !c.checkVec(la, 0) || !c.readAcross(la, b[:], 0) {
		return v, false
	}
	return simd.Vec{Lo: little(b[:8]), Hi: little(b[8:])}, true
}

// storeVec writes the 16 bytes of the memory operand.
func (c *CPU) storeVec(in *decode.Inst, v simd.Vec, aligned bool) bool {
	la, ok := c.linear(in.Seg, c.offset(in), 16, true)
	if !ok {
		return false
	}
	if la&15 != 0 && aligned {
		return c.gp0()
	}
	e := &c.tlb[la>>12&(tlbSize-1)]
	if off := la - e.write; off <= 4096-16 {
		e.store(off, 8, v.Lo)
		e.store(off+8, 8, v.Hi)
		return true
	}
	if !c.checkVec(la, accessWrite) {
		return false
	}
	b := &c.vector.buf
	putLittle(b[:8], v.Lo)
	putLittle(b[8:], v.Hi)
	return c.writeAcross(la, b[:], 0)
}

// checkVec is check for 16 bytes. Alignment checks ask for 8: of an address that is
// a multiple of that they need not complain.
func (c *CPU) checkVec(la uint64, a access) bool { return c.check(la, 8, a) && c.check(la+8, 8, a) }

// The shapes of operations that compute a register from registers, memory and an
// immediate. x is the operation on XMM registers, m the one on MMX registers, which
// is nil where there is none: decode gives it no Size of 8.

// vecBinary is reg = f(reg, rm).
func vecBinary(x func(a, b simd.Vec) simd.Vec, m func(a, b uint64) uint64) simdFunc {
	return func(c *CPU, in *decode.Inst) bool {
		if in.Size == 8 {
			if !c.useMMX() {
				return false
			}
			b, ok := c.mmxRM(in)
			if !ok {
				return false
			}
			c.setMMX(in.Reg, m(c.mmx(in.Reg), b))
			return c.usedMMX()
		}
		if !c.useXMM() {
			return false
		}
		b, ok := c.xmmRM(in)
		if !ok {
			return false
		}
		p := &c.xmm[in.Reg&15]
		*p = x(*p, b)
		return true
	}
}

// vecUnary is reg = f(rm).
func vecUnary(x func(b simd.Vec) simd.Vec, m func(b uint64) uint64) simdFunc {
	return vecBinary(func(_, b simd.Vec) simd.Vec { return x(b) }, func(_, b uint64) uint64 { return m(b) })
}

// vecBinaryImm is reg = f(reg, rm, imm).
func vecBinaryImm(x func(a, b simd.Vec, imm uint8) simd.Vec, m func(a, b uint64, imm uint8) uint64) simdFunc {
	return func(c *CPU, in *decode.Inst) bool {
		if in.Size == 8 {
			if !c.useMMX() {
				return false
			}
			b, ok := c.mmxRM(in)
			if !ok {
				return false
			}
			c.setMMX(in.Reg, m(c.mmx(in.Reg), b, uint8(in.Imm)))
			return c.usedMMX()
		}
		if !c.useXMM() {
			return false
		}
		b, ok := c.xmmRM(in)
		if !ok {
			return false
		}
		p := &c.xmm[in.Reg&15]
		*p = x(*p, b, uint8(in.Imm))
		return true
	}
}

// vecUnaryImm is reg = f(rm, imm).
func vecUnaryImm(x func(b simd.Vec, imm uint8) simd.Vec, m func(b uint64, imm uint8) uint64) simdFunc {
	return vecBinaryImm(
		func(_, b simd.Vec, imm uint8) simd.Vec { return x(b, imm) },
		func(_, b uint64, imm uint8) uint64 { return m(b, imm) })
}

// vecMasked is reg = f(reg, rm, XMM0).
func vecMasked(x func(a, b, mask simd.Vec) simd.Vec) simdFunc {
	return func(c *CPU, in *decode.Inst) bool {
		if !c.useXMM() {
			return false
		}
		b, ok := c.xmmRM(in)
		if !ok {
			return false
		}
		p := &c.xmm[in.Reg&15]
		*p = x(*p, b, c.xmm[0])
		return true
	}
}

// vecShift is reg = f(reg, low half of rm), or rm = f(rm, imm).
func vecShift(x func(a simd.Vec, count uint64) simd.Vec, m func(a, count uint64) uint64) simdFunc {
	byRM := vecBinary(func(a, b simd.Vec) simd.Vec { return x(a, b.Lo) }, m)
	return func(c *CPU, in *decode.Inst) bool {
		if in.Form != decode.FormMI {
			return byRM(c, in)
		}
		count := uint64(uint8(in.Imm))
		if in.Size == 8 {
			if !c.useMMX() {
				return false
			}
			c.setMMX(in.RM, m(c.mmx(in.RM), count))
			return c.usedMMX()
		}
		if !c.useXMM() {
			return false
		}
		p := &c.xmm[in.RM&15]
		*p = x(*p, count)
		return true
	}
}
