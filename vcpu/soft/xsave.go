package soft

import (
	"encoding/binary"

	"gvmm/uintr/spec"
	"gvmm/vcpu/soft/decode"
)

// State components (SDM 1 §13.1). There is no AVX state: XCR0 is x87 or x87|SSE.
const (
	xstateX87   = 1 << 0
	xstateSSE   = 1 << 1
	xstateUINTR = spec.XSSUINTR

	xcompCompact = 1 << 63 // XCOMP_BV: the image is compacted
)

// The XSAVE area: the legacy region, the header, and the one component behind it.
// It has the same place in both formats that can hold it.
const (
	legacySize   = 512
	headerAt     = legacySize
	headerSize   = 64
	uintrAt      = headerAt + headerSize
	imageSize    = uintrAt + spec.XSaveSize
	xsaveAlign   = 64
	fxsaveAlign  = 16
	mxcsrInit    = 0x1f80
	mxcsrMask    = 0xffff // MXCSR_MASK: all bits up to 15 are there
	xmmAt        = 160
	mxcsrAt      = 24
	registersAt  = 32
	xmmEnd       = xmmAt + 16*16
	xmmEndLegacy = xmmAt + 8*16 // outside 64-bit mode there are XMM0 to XMM7
)

// state executes an instruction of group State.
func (c *CPU) state(in *decode.Inst) bool {
	switch in.Op {
	case decode.FXSAVE, decode.FXRSTOR:
		if c.cr0&(cr0EM|cr0TS) != 0 {
			return c.raise(vectorNM)
		}
		la, ok := c.area(in, legacySize, fxsaveAlign, in.Op == decode.FXSAVE)
		if !ok {
			return false
		}
		if in.Op == decode.FXSAVE {
			return c.fxsave(la, in.Size == 8)
		}
		return c.fxrstor(la, in.Size == 8)
	case decode.LDMXCSR, decode.STMXCSR:
		return c.controlSSE(in)
	case decode.EMMS:
		switch {
		case c.cr0&cr0EM != 0:
			return c.ud()
		case c.cr0&cr0TS != 0:
			return c.raise(vectorNM)
		case c.x87Waits():
			return false
		}
		c.fpu.tag = 0
		return true
	}
	supervisor := in.Op == decode.XSAVES || in.Op == decode.XRSTORS
	switch {
	case c.cr4&cr4OSXSAVE == 0:
		return c.ud()
	case c.cr0&cr0TS != 0:
		return c.raise(vectorNM)
	case supervisor && c.cpl != 0:
		return c.gp0()
	}
	mask := c.xcr0
	if supervisor {
		mask |= c.msr.xss & xstateUINTR
	}
	mask &= c.r[rdx]<<32 | c.r[rax]&0xffffffff
	save := in.Op != decode.XRSTOR && in.Op != decode.XRSTORS
	n := uint64(uintrAt)
	if mask&xstateUINTR != 0 && save {
		n = imageSize
	}
	la, ok := c.area(in, n, xsaveAlign, save)
	if !ok {
		return false
	}
	wide := in.Size == 8
	switch in.Op {
	case decode.XSAVE, decode.XSAVEOPT:
		return c.xsave(la, mask, wide, in.Op == decode.XSAVEOPT)
	case decode.XSAVEC, decode.XSAVES:
		return c.xsavec(la, mask, wide)
	}
	return c.xrstor(in, la, mask)
}

// area gives the linear address of the memory operand of n bytes, aligned.
func (c *CPU) area(in *decode.Inst, n, align uint64, write bool) (uint64, bool) {
	la, ok := c.linear(in.Seg, c.offset(in), n, write)
	if !ok {
		return 0, false
	}
	if la&(align-1) != 0 {
		return 0, c.gp0()
	}
	return la, true
}

// controlSSE executes LDMXCSR and STMXCSR.
func (c *CPU) controlSSE(in *decode.Inst) bool {
	switch {
	case c.cr0&cr0EM != 0 || c.cr4&cr4OSFXSR == 0:
		return c.ud()
	case c.cr0&cr0TS != 0:
		return c.raise(vectorNM)
	case in.Op == decode.STMXCSR:
		return c.store(in, 4, uint64(c.mxcsr))
	}
	v, ok := c.load(in, 4)
	if !ok {
		return false
	}
	if v&^mxcsrMask != 0 {
		return c.gp0()
	}
	c.mxcsr = uint32(v)
	return true
}

// xinuse tells which components are not in their initial state. MXCSR does not
// count here.
func (c *CPU) xinuse() (v uint64) {
	f := c.fpu
	initial := x87State{control: cwInit, reg: f.reg}
	if f != initial {
		v |= xstateX87
	} else {
		for i := range f.reg {
			if f.reg[i].Man != 0 || f.reg[i].SE != 0 {
				v |= xstateX87
			}
		}
	}
	for i := range c.xmm {
		if c.xmm[i].Lo|c.xmm[i].Hi != 0 {
			v |= xstateSSE
		}
	}
	if c.uintr.InUse() {
		v |= xstateUINTR
	}
	return v
}

// writeImage stores the bytes [from, to) of c.image at their place. The area has been
// probed.
func (c *CPU) writeImage(la uint64, from, to int) bool {
	return c.writeBytes(c.wrap(la+uint64(from)), c.image[from:to], 0)
}

// writeComponents stores the components of mask out of c.image, and MXCSR if mxcsr
// is set.
func (c *CPU) writeComponents(la, mask uint64, mxcsr bool) bool {
	if mask&xstateX87 != 0 && !(c.writeImage(la, 0, mxcsrAt) && c.writeImage(la, registersAt, xmmAt)) {
		return false
	}
	if mxcsr && !c.writeImage(la, mxcsrAt, registersAt) {
		return false
	}
	if mask&xstateSSE != 0 && !c.writeImage(la, xmmAt, c.xmmEnd()) {
		return false
	}
	return mask&xstateUINTR == 0 || c.writeImage(la, uintrAt, imageSize)
}

func (c *CPU) xmmEnd() int {
	if c.mode == decode.Mode64 {
		return xmmEnd
	}
	return xmmEndLegacy
}

// xsave is XSAVE and, where optimised, XSAVEOPT, which leaves components in their
// initial state out.
func (c *CPU) xsave(la, mask uint64, wide, optimised bool) bool {
	if !c.probe(la, uintrAt, accessWrite) || !c.readBytes(c.wrap(la+headerAt), c.image[headerAt:headerAt+8], 0) {
		return false
	}
	inuse := c.xinuse()
	header := c.image[headerAt : headerAt+8]
	binary.LittleEndian.PutUint64(header, binary.LittleEndian.Uint64(header)&^mask|mask&inuse)
	c.putX87(wide)
	c.putSSE()
	written := mask
	if optimised {
		written &= inuse
	}
	return c.writeComponents(la, written, mask&xstateSSE != 0) && c.writeImage(la, headerAt, headerAt+8)
}

// xsavec is XSAVEC and XSAVES: compacted, without what is in its initial state. For
// them MXCSR counts as a part of the SSE state.
func (c *CPU) xsavec(la, mask uint64, wide bool) bool {
	n := uintrAt
	if mask&xstateUINTR != 0 {
		n = imageSize
	}
	if !c.probe(la, n, accessWrite) {
		return false
	}
	inuse := c.xinuse()
	if c.mxcsr != mxcsrInit {
		inuse |= xstateSSE
	}
	written := mask & inuse
	c.putX87(wide)
	c.putSSE()
	c.uintr.Image((*[spec.XSaveSize]byte)(c.image[uintrAt:]))
	header := c.image[headerAt : headerAt+headerSize]
	clear(header)
	binary.LittleEndian.PutUint64(header, written)
	binary.LittleEndian.PutUint64(header[8:], mask|xcompCompact)
	if !c.writeComponents(la, written, written&xstateSSE != 0) || !c.writeImage(la, headerAt, headerAt+headerSize) {
		return false
	}
	if mask&xstateUINTR != 0 {
		c.uintr.Saved()
	}
	return true
}
