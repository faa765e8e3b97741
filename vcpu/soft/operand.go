package soft

import "gvmm/vcpu/soft/decode"

// get returns the low n bytes of a register, zero-extended. n is 1, 2, 4 or 8; for
// n = 1 reg may be decode.AH to BH.
func (c *CPU) get(reg uint8, n uint8) uint64 {
	if n == 1 && reg >= decode.AH {
		return c.r[reg&3] >> 8 & 0xff
	}
	return c.r[reg&15] & sizeMask(n)
}

// set writes the low n bytes of a register: 4 bytes clear the upper half, 1 and 2
// keep the rest.
func (c *CPU) set(reg uint8, n uint8, v uint64) {
	switch n {
	case 8:
		c.r[reg&15] = v
	case 4:
		c.r[reg&15] = uint64(uint32(v))
	case 2:
		p := &c.r[reg&15]
		*p = *p&^0xffff | v&0xffff
	case 1:
		if reg >= decode.AH {
			p := &c.r[reg&3]
			*p = *p&^0xff00 | v&0xff<<8
			return
		}
		p := &c.r[reg&15]
		*p = *p&^0xff | v&0xff
	}
}

// offset is the memory operand's offset in its segment.
func (c *CPU) offset(in *decode.Inst) uint64 {
	var base uint64
	if in.Base == decode.RIP {
		base = c.next
	} else {
		base = c.r[in.Base&31]
	}
	off := base + c.r[in.Index&31]<<in.Scale + in.Disp
	return off & sizeMask(in.Addr)
}

// load reads n bytes (1, 2, 4 or 8) of the memory operand, zero-extended.
func (c *CPU) load(in *decode.Inst, n uint8) (uint64, bool) {
	return c.loadAt(in.Seg, c.offset(in), n)
}

// store writes n bytes (1, 2, 4 or 8) to the memory operand.
func (c *CPU) store(in *decode.Inst, n uint8, v uint64) bool {
	return c.storeAt(in.Seg, c.offset(in), n, v)
}

// loadAt reads n bytes (1, 2, 4 or 8) at an offset in a segment, with the rights of
// the current CPL.
func (c *CPU) loadAt(seg uint8, off uint64, n uint8) (uint64, bool) {
	la, ok := c.linear(seg, off, uint64(n), false)
	if !ok {
		return 0, false
	}
	return c.read(la, n, 0)
}

// storeAt writes n bytes (1, 2, 4 or 8) at an offset in a segment.
func (c *CPU) storeAt(seg uint8, off uint64, n uint8, v uint64) bool {
	la, ok := c.linear(seg, off, uint64(n), true)
	return ok && c.write(la, n, v, 0)
}

// loadBytes fills p from an offset in a segment. All of it or nothing faults.
func (c *CPU) loadBytes(seg uint8, off uint64, p []byte) bool {
	la, ok := c.linear(seg, off, uint64(len(p)), false)
	return ok && c.readBytes(la, p, 0)
}

// storeBytes writes p at an offset in a segment. If any of it faults nothing was
// written.
func (c *CPU) storeBytes(seg uint8, off uint64, p []byte) bool {
	la, ok := c.linear(seg, off, uint64(len(p)), true)
	return ok && c.writeBytes(la, p, 0)
}

// readRM reads the rm operand, MSize bytes of register or memory.
func (c *CPU) readRM(in *decode.Inst) (uint64, bool) {
	if in.Prefix&decode.Mem == 0 {
		return c.get(in.RM, in.MSize), true
	}
	return c.load(in, in.MSize)
}

// writeRM writes the rm operand, MSize bytes of register or memory.
func (c *CPU) writeRM(in *decode.Inst, v uint64) bool {
	if in.Prefix&decode.Mem == 0 {
		c.set(in.RM, in.MSize, v)
		return true
	}
	return c.store(in, in.MSize, v)
}

// update replaces the rm operand, MSize bytes, by f of it. Memory is checked for
// writing before it is read; with LOCK, or if locked, it is one atomic operation,
// and f may be called again. f masks nothing: the low MSize bytes count. It must
// not keep what it is given, and the flags that it sets are those of its last
// call.
func (c *CPU) update(in *decode.Inst, locked bool, f func(old uint64) uint64) bool {
	n := in.MSize
	if in.Prefix&decode.Mem == 0 {
		c.set(in.RM, n, f(c.get(in.RM, n)))
		return true
	}
	la, ok := c.linear(in.Seg, c.offset(in), uint64(n), true)
	return ok && c.modify(la, n, locked || in.Prefix&decode.Lock != 0, f)
}

// stackMask is the mask of the stack pointer: SS.B, or all of RSP in 64-bit mode.
func (c *CPU) stackMask() uint64 {
	switch {
	case c.mode == decode.Mode64:
		return ^uint64(0)
	case c.seg[ss].attr&attrDB != 0:
		return 0xffffffff
	}
	return 0xffff
}

// push pushes n bytes (2, 4 or 8). RSP changes only if that did not fault.
func (c *CPU) push(n uint8, v uint64) bool {
	mask := c.stackMask()
	sp := (c.r[rsp] - uint64(n)) & mask
	if !c.storeAt(ss, sp, n, v) {
		return false
	}
	c.setSP(sp)
	return true
}

// pop pops n bytes (2, 4 or 8). RSP changes only if that did not fault.
func (c *CPU) pop(n uint8) (uint64, bool) {
	mask := c.stackMask()
	v, ok := c.loadAt(ss, c.r[rsp]&mask, n)
	if ok {
		c.setSP((c.r[rsp] + uint64(n)) & mask)
	}
	return v, ok
}

// setSP writes the stack pointer, of which only the bits of stackMask change; 32
// bits clear the upper half.
func (c *CPU) setSP(v uint64) {
	switch mask := c.stackMask(); mask {
	case 0xffff:
		c.set(rsp, 2, v)
	default:
		c.r[rsp] = v & mask
	}
}

// jump sets where execution goes, masked to the width of the code segment or of
// a 16-bit operand; size is the operand size in bytes. A target beyond the limit
// or not canonical is #GP(0).
func (c *CPU) jump(target uint64, size uint8) bool {
	if size == 2 {
		target &= 0xffff
	}
	if c.mode == decode.Mode64 {
		if !c.canonical(target) {
			return c.gp0()
		}
	} else {
		target &= 0xffffffff
		if target > uint64(c.seg[cs].limit) {
			return c.gp0()
		}
	}
	c.next = target
	return true
}
