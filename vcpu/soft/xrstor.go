package soft

import (
	"encoding/binary"

	"gvmm/uintr/spec"
	"gvmm/vcpu/soft/decode"
	"gvmm/vcpu/soft/simd"
)

// putX87 lays the x87 state out in c.image as FXSAVE does (SDM 1 §10.5.1), wide with
// 64-bit pointers instead of selectors.
func (c *CPU) putX87(wide bool) {
	f := &c.fpu
	p := c.image[:xmmAt]
	clear(p[:mxcsrAt])
	binary.LittleEndian.PutUint16(p[0:], f.control)
	binary.LittleEndian.PutUint16(p[2:], f.status)
	p[4] = byte(f.tag)
	binary.LittleEndian.PutUint16(p[6:], f.opcode)
	if wide {
		binary.LittleEndian.PutUint64(p[8:], f.ip)
		binary.LittleEndian.PutUint64(p[16:], f.dp)
	} else {
		binary.LittleEndian.PutUint32(p[8:], uint32(f.ip))
		binary.LittleEndian.PutUint16(p[12:], f.cs)
		binary.LittleEndian.PutUint32(p[16:], uint32(f.dp))
		binary.LittleEndian.PutUint16(p[20:], f.ds)
	}
	for i := range uint8(8) {
		r := p[registersAt+16*int(i):]
		clear(r[10:16])
		putF80(r, f.st(i))
	}
}

// getX87 loads the x87 state from c.image.
func (c *CPU) getX87(wide bool) {
	f := &c.fpu
	p := c.image[:xmmAt]
	f.status = binary.LittleEndian.Uint16(p[2:])
	f.setControl(binary.LittleEndian.Uint16(p[0:]))
	f.tag = uint16(p[4])
	f.opcode = binary.LittleEndian.Uint16(p[6:]) & 0x7ff
	if wide {
		f.ip, f.cs = binary.LittleEndian.Uint64(p[8:]), 0
		f.dp, f.ds = binary.LittleEndian.Uint64(p[16:]), 0
	} else {
		f.ip, f.cs = uint64(binary.LittleEndian.Uint32(p[8:])), binary.LittleEndian.Uint16(p[12:])
		f.dp, f.ds = uint64(binary.LittleEndian.Uint32(p[16:])), binary.LittleEndian.Uint16(p[20:])
	}
	for i := range uint8(8) {
		f.reg[f.phys(i)&7] = getF80(p[registersAt+16*int(i):])
	}
}

// initX87 is the x87 state's initial configuration (SDM 1 §13.6).
func (c *CPU) initX87() {
	c.x87Reset()
	clear(c.fpu.reg[:])
}

// putSSE lays MXCSR, its mask and the XMM registers out in c.image.
func (c *CPU) putSSE() {
	binary.LittleEndian.PutUint32(c.image[mxcsrAt:], c.mxcsr)
	binary.LittleEndian.PutUint32(c.image[mxcsrAt+4:], mxcsrMask)
	for i := range c.xmm {
		p := c.image[xmmAt+16*i:]
		binary.LittleEndian.PutUint64(p, c.xmm[i].Lo)
		binary.LittleEndian.PutUint64(p[8:], c.xmm[i].Hi)
	}
}

// getSSE loads the XMM registers from c.image: outside 64-bit mode the lower eight.
func (c *CPU) getSSE() {
	for i := range (c.xmmEnd() - xmmAt) / 16 {
		p := c.image[xmmAt+16*i:]
		c.xmm[i] = simd.Vec{Lo: binary.LittleEndian.Uint64(p), Hi: binary.LittleEndian.Uint64(p[8:])}
	}
}

func (c *CPU) initSSE() { clear(c.xmm[:(c.xmmEnd()-xmmAt)/16]) }

// fxsave is FXSAVE: 416 bytes, or 288 outside 64-bit mode; the rest of the area stays.
func (c *CPU) fxsave(la uint64, wide bool) bool {
	if !c.probe(la, legacySize, accessWrite) {
		return false
	}
	c.putX87(wide)
	c.putSSE()
	return c.writeImage(la, 0, c.xmmEnd())
}

// fxrstor is FXRSTOR.
func (c *CPU) fxrstor(la uint64, wide bool) bool {
	if !c.readBytes(la, c.image[:legacySize], 0) {
		return false
	}
	mxcsr := binary.LittleEndian.Uint32(c.image[mxcsrAt:])
	if mxcsr&^mxcsrMask != 0 {
		return c.gp0()
	}
	c.mxcsr = mxcsr
	c.getX87(wide)
	c.getSSE()
	return true
}

// xrstor is XRSTOR and XRSTORS (SDM 1 §13.8, §13.12): everything is judged before
// anything is loaded.
func (c *CPU) xrstor(in *decode.Inst, la, mask uint64) bool {
	supervisor := in.Op == decode.XRSTORS
	if !c.readBytes(la, c.image[:uintrAt], 0) {
		return false
	}
	header := c.image[headerAt:uintrAt]
	present := binary.LittleEndian.Uint64(header)
	comp := binary.LittleEndian.Uint64(header[8:])
	var rest uint64
	for i := 16; i < headerSize; i += 8 {
		rest |= binary.LittleEndian.Uint64(header[i:])
	}
	compact := comp&xcompCompact != 0
	if compact {
		known := c.xcr0
		if supervisor {
			known |= c.msr.xss & xstateUINTR
		}
		if comp&^(known|xcompCompact) != 0 || present&^comp != 0 || rest != 0 {
			return c.gp0()
		}
	} else if supervisor || present&^c.xcr0 != 0 || comp != 0 || binary.LittleEndian.Uint64(header[16:]) != 0 {
		return c.gp0()
	}
	load := mask & present
	// Not compacted, MXCSR is loaded even where the XMM registers are initialised.
	loadMXCSR := load&xstateSSE != 0 || !compact && mask&xstateSSE != 0
	mxcsr := binary.LittleEndian.Uint32(c.image[mxcsrAt:])
	if loadMXCSR && mxcsr&^mxcsrMask != 0 {
		return c.gp0()
	}
	if mask&xstateUINTR != 0 && !c.restoreUINTR(in, load&xstateUINTR != 0) {
		return false
	}
	switch {
	case load&xstateX87 != 0:
		c.getX87(in.Size == 8)
	case mask&xstateX87 != 0:
		c.initX87()
	}
	switch {
	case load&xstateSSE != 0:
		c.getSSE()
	case mask&xstateSSE != 0:
		c.initSSE()
	}
	switch {
	case loadMXCSR:
		c.mxcsr = mxcsr
	case mask&xstateSSE != 0:
		c.mxcsr = mxcsrInit
	}
	return true
}

// restoreUINTR loads or initialises component 14.
func (c *CPU) restoreUINTR(in *decode.Inst, load bool) bool {
	if !load {
		c.uintr.XRSTORSInit()
		return true
	}
	p := c.image[uintrAt:imageSize]
	if !c.loadBytes(in.Seg, c.offset(in)+uintrAt, p) || !c.settle(c.uintr.XRSTORS((*[spec.XSaveSize]byte)(p), linearBits)) {
		return false
	}
	c.lookUser()
	return true
}
