package soft

import (
	"gvmm/vcpu/soft/decode"
	"gvmm/vcpu/soft/simd"
)

// moveVec moves 16 bytes.
func moveVec(aligned bool) simdFunc {
	return func(c *CPU, in *decode.Inst) bool {
		if !c.useXMM() {
			return false
		}
		if in.Form == decode.FormMR {
			if in.Prefix&decode.Mem != 0 {
				return c.storeVec(in, c.xmm[in.Reg&15], aligned)
			}
			c.xmm[in.RM&15] = c.xmm[in.Reg&15]
			return true
		}
		if in.Prefix&decode.Mem == 0 {
			c.xmm[in.Reg&15] = c.xmm[in.RM&15]
			return true
		}
		v, ok := c.loadVec(in, aligned)
		if ok {
			c.xmm[in.Reg&15] = v
		}
		return ok
	}
}

// Where one operand is a general-purpose register Size is that one's, and 66H tells
// XMM registers from MMX registers.

// moveD is MOVD, and MOVQ with a general-purpose register: MSize bytes between rm
// and the low end of a vector register.
func moveD(c *CPU, in *decode.Inst) bool {
	mmx := !in.Has(decode.OpSize)
	if mmx && !c.useMMX() || !mmx && !c.useXMM() {
		return false
	}
	if in.Form == decode.FormMR {
		v := c.xmm[in.Reg&15].Lo
		if mmx {
			v = c.mmx(in.Reg)
		}
		if !c.writeRM(in, v) {
			return false
		}
	} else {
		v, ok := c.readRM(in)
		if !ok {
			return false
		}
		if mmx {
			c.setMMX(in.Reg, v)
		} else {
			c.xmm[in.Reg&15] = simd.Vec{Lo: v}
		}
	}
	if mmx {
		c.usedMMX()
	}
	return true
}

// moveQ is MOVQ between vector registers and memory. An XMM register's high half
// becomes 0.
func moveQ(c *CPU, in *decode.Inst) bool {
	mmx := in.Size == 8
	if mmx && !c.useMMX() || !mmx && !c.useXMM() {
		return false
	}
	from, to := in.RM, in.Reg
	if in.Form == decode.FormMR {
		from, to = to, from
	}
	var v uint64
	switch {
	case in.Prefix&decode.Mem != 0 && in.Form != decode.FormMR:
		var ok bool
		if v, ok = c.load(in, 8); !ok {
			return false
		}
	case mmx:
		v = c.mmx(from)
	default:
		v = c.xmm[from&15].Lo
	}
	switch {
	case in.Prefix&decode.Mem != 0 && in.Form == decode.FormMR:
		if !c.store(in, 8, v) {
			return false
		}
	case mmx:
		c.setMMX(to, v)
	default:
		c.xmm[to&15] = simd.Vec{Lo: v}
	}
	if mmx {
		c.usedMMX()
	}
	return true
}

// moveScalar is MOVSS and MOVSD: n bytes. A load clears the rest of the register, a
// move between registers keeps it.
func moveScalar(n uint8) simdFunc {
	return func(c *CPU, in *decode.Inst) bool {
		if !c.useXMM() {
			return false
		}
		from, to := in.RM&15, in.Reg&15
		if in.Form == decode.FormMR {
			from, to = to, from
		}
		if in.Prefix&decode.Mem == 0 {
			mask, p := sizeMask(n), &c.xmm[to]
			p.Lo = p.Lo&^mask | c.xmm[from].Lo&mask
			return true
		}
		if in.Form == decode.FormMR {
			return c.store(in, n, c.xmm[from].Lo)
		}
		v, ok := c.load(in, n)
		if ok {
			c.xmm[to] = simd.Vec{Lo: v}
		}
		return ok
	}
}

// moveLow is MOVLPS and MOVLPD: the low half from or to memory.
func moveLow(c *CPU, in *decode.Inst) bool {
	p := &c.xmm[in.Reg&15]
	return c.useXMM() && c.moveHalf(in, &p.Lo)
}

// moveHigh is MOVHPS and MOVHPD: the high half from or to memory.
func moveHigh(c *CPU, in *decode.Inst) bool {
	p := &c.xmm[in.Reg&15]
	return c.useXMM() && c.moveHalf(in, &p.Hi)
}

func (c *CPU) moveHalf(in *decode.Inst, half *uint64) bool {
	if in.Form == decode.FormMR {
		return c.store(in, 8, *half)
	}
	v, ok := c.load(in, 8)
	if ok {
		*half = v
	}
	return ok
}

func moveHighToLow(a, b simd.Vec) simd.Vec { return simd.Vec{Lo: b.Hi, Hi: a.Hi} }

// moveNTQ is MOVNTQ.
func moveNTQ(c *CPU, in *decode.Inst) bool {
	return c.useMMX() && c.store(in, 8, c.mmx(in.Reg)) && c.usedMMX()
}

// moveQ2DQ is MOVQ2DQ.
func moveQ2DQ(c *CPU, in *decode.Inst) bool {
	if !c.useXMM() || !c.useMMX() {
		return false
	}
	c.xmm[in.Reg&15] = simd.Vec{Lo: c.mmx(in.RM)}
	return c.usedMMX()
}

// moveDQ2Q is MOVDQ2Q.
func moveDQ2Q(c *CPU, in *decode.Inst) bool {
	if !c.useXMM() || !c.useMMX() {
		return false
	}
	c.setMMX(in.Reg, c.xmm[in.RM&15].Lo)
	return c.usedMMX()
}

// maskMoveQ is MASKMOVQ.
func maskMoveQ(c *CPU, in *decode.Inst) bool {
	mask := simd.PMOVMSKB64(c.mmx(in.RM))
	return c.useMMX() && c.maskMove(in, simd.Vec{Lo: c.mmx(in.Reg)}, mask) && c.usedMMX()
}

// maskMoveDQU is MASKMOVDQU.
func maskMoveDQU(c *CPU, in *decode.Inst) bool {
	mask := simd.PMOVMSKB(c.xmm[in.RM&15])
	return c.useXMM() && c.maskMove(in, c.xmm[in.Reg&15], mask)
}

// maskMove stores the bytes of v whose bit is set in mask at rDI. All pages of them
// are judged before the first store; nothing is where mask is 0.
func (c *CPU) maskMove(in *decode.Inst, v simd.Vec, mask uint32) bool {
	seg := uint8(ds)
	if in.Has(decode.Segment) {
		seg = in.Seg
	}
	off := c.r[rdi] & sizeMask(in.Addr)
	for i := uint64(0); i < 16; i++ {
		if mask>>i&1 == 0 {
			continue
		}
		la, ok := c.linear(seg, (off+i)&sizeMask(in.Addr), 1, true)
		if !ok || !c.probe(la, 1, accessWrite) {
			return false
		}
	}
	for i := uint64(0); i < 16; i++ {
		if mask>>i&1 != 0 && !c.storeAt(seg, (off+i)&sizeMask(in.Addr), 1, uint64(v.Byte(uint(i)))) {
			return false
		}
	}
	return true
}

// vecSigns is reg = f(rm), a general-purpose register of signs.
func vecSigns(x func(b simd.Vec) uint32, m func(b uint64) uint32) simdFunc {
	return func(c *CPU, in *decode.Inst) bool {
		if m != nil && !in.Has(decode.OpSize) {
			if !c.useMMX() {
				return false
			}
			c.r[in.Reg&15] = uint64(m(c.mmx(in.RM)))
			return c.usedMMX()
		}
		if !c.useXMM() {
			return false
		}
		c.r[in.Reg&15] = uint64(x(c.xmm[in.RM&15]))
		return true
	}
}

// vecExtract is rm = f(reg, imm): all of a general-purpose register, n bytes of memory.
func vecExtract(n uint8, f func(b simd.Vec, imm uint8) uint64) simdFunc {
	return func(c *CPU, in *decode.Inst) bool {
		if !c.useXMM() {
			return false
		}
		v := f(c.xmm[in.Reg&15], uint8(in.Imm))
		if in.Prefix&decode.Mem != 0 {
			return c.store(in, n, v)
		}
		c.r[in.RM&15] = v
		return true
	}
}

// extractW is PEXTRW: of its two encodings one has the vector register in rm and may
// name an MMX register.
func extractW(c *CPU, in *decode.Inst) bool {
	if in.Form == decode.FormMRI {
		return extractWord(c, in)
	}
	if !in.Has(decode.OpSize) {
		if !c.useMMX() {
			return false
		}
		c.r[in.Reg&15] = uint64(simd.PEXTRW64(c.mmx(in.RM), uint8(in.Imm)))
		return c.usedMMX()
	}
	if !c.useXMM() {
		return false
	}
	c.r[in.Reg&15] = uint64(simd.PEXTRW(c.xmm[in.RM&15], uint8(in.Imm)))
	return true
}

var extractWord = vecExtract(2, func(b simd.Vec, imm uint8) uint64 { return uint64(simd.PEXTRW(b, imm)) })

func extractByte(b simd.Vec, imm uint8) uint64  { return uint64(simd.PEXTRB(b, imm)) }
func extractDword(b simd.Vec, imm uint8) uint64 { return uint64(simd.PEXTRD(b, imm)) }

// vecInsert is reg = f(reg, rm, imm), rm a general-purpose register or n bytes of memory.
func vecInsert(n uint8, x func(a simd.Vec, b uint64, imm uint8) simd.Vec, m func(a, b uint64, imm uint8) uint64) simdFunc {
	return func(c *CPU, in *decode.Inst) bool {
		mmx := m != nil && !in.Has(decode.OpSize)
		if mmx && !c.useMMX() || !mmx && !c.useXMM() {
			return false
		}
		v := c.r[in.RM&15]
		if in.Prefix&decode.Mem != 0 {
			var ok bool
			if v, ok = c.load(in, n); !ok {
				return false
			}
		}
		if mmx {
			c.setMMX(in.Reg, m(c.mmx(in.Reg), v, uint8(in.Imm)))
			return c.usedMMX()
		}
		p := &c.xmm[in.Reg&15]
		*p = x(*p, v, uint8(in.Imm))
		return true
	}
}

// insertPS is INSERTPS: a memory operand is one number, whatever lane imm names.
func insertPS(c *CPU, in *decode.Inst) bool {
	if !c.useXMM() {
		return false
	}
	b, ok := c.xmmRM(in)
	if !ok {
		return false
	}
	imm := uint8(in.Imm)
	if in.Prefix&decode.Mem != 0 {
		imm &= 0x3f
	}
	p := &c.xmm[in.Reg&15]
	*p = simd.INSERTPS(*p, b, imm)
	return true
}

// vecTest is PTEST.
func vecTest(c *CPU, in *decode.Inst) bool {
	if !c.useXMM() {
		return false
	}
	b, ok := c.xmmRM(in)
	if ok {
		c.setArith(uint64(simd.PTEST(c.xmm[in.Reg&15], b)))
	}
	return ok
}

// compareStrings is PCMPESTRI, PCMPESTRM, PCMPISTRI and PCMPISTRM. Their memory
// operand need not be aligned.
func compareStrings(c *CPU, in *decode.Inst) bool {
	if !c.useXMM() {
		return false
	}
	a, b := c.xmm[in.Reg&15], c.xmm[in.RM&15]
	if in.Prefix&decode.Mem != 0 {
		var ok bool
		if b, ok = c.loadVec(in, false); !ok {
			return false
		}
	}
	la, lb := int64(int32(c.r[rax])), int64(int32(c.r[rdx]))
	if in.Has(decode.REXW) {
		la, lb = int64(c.r[rax]), int64(c.r[rdx])
	}
	imm := uint8(in.Imm)
	var index, flags uint32
	switch in.Op {
	case decode.PCMPESTRI:
		index, flags = simd.PCMPESTRI(a, b, la, lb, imm)
		c.r[rcx] = uint64(index)
	case decode.PCMPISTRI:
		index, flags = simd.PCMPISTRI(a, b, imm)
		c.r[rcx] = uint64(index)
	case decode.PCMPESTRM:
		c.xmm[0], flags = simd.PCMPESTRM(a, b, la, lb, imm)
	default:
		c.xmm[0], flags = simd.PCMPISTRM(a, b, imm)
	}
	c.setArith(uint64(flags))
	return true
}
