package soft

import "gvmm/vcpu/soft/decode"

// stack is where a transfer pushes: a stack that may not be the current one yet.
type stack struct {
	seg  segment
	sp   uint64
	mask uint64 // of the stack pointer
	flat bool   // 64-bit: no segment counts
	code uint32 // of #SS
}

// current is the stack in use.
func (c *CPU) current() stack {
	return stack{seg: c.seg[ss], sp: c.r[rsp], mask: c.stackMask(), flat: c.mode == decode.Mode64, code: c.sys.ext}
}

// newStack is a stack of a segment that is not loaded yet.
func (c *CPU) newStack(s segment, sp uint64) stack {
	mask := uint64(0xffff)
	if s.attr&attrDB != 0 {
		mask = 0xffffffff
	}
	return stack{seg: s, sp: sp, mask: mask, code: uint32(s.sel&^3) | c.sys.ext}
}

// flatStack is a stack of 64-bit mode.
func (c *CPU) flatStack(sp uint64) stack {
	return stack{sp: sp, mask: ^uint64(0), flat: true, code: c.sys.ext}
}

// at is the linear address of n bytes of a stack.
func (c *CPU) at(s *stack, sp, n uint64) (uint64, bool) {
	if s.flat {
		if !c.canonical(sp) || !c.canonical(sp+n-1) {
			return 0, c.raiseCode(vectorSS, s.code)
		}
		return sp, true
	}
	last, limit := sp+n-1, uint64(s.seg.limit)
	bad := s.seg.null || s.seg.attr&(attrCode|attrWritable) != attrWritable
	if s.seg.attr&attrDown == 0 {
		bad = bad || last > limit
	} else {
		bad = bad || sp <= limit || last > s.mask
	}
	if bad {
		return 0, c.raiseCode(vectorSS, s.code)
	}
	return (s.seg.base + sp) & 0xffffffff, true
}

// pushOn pushes n bytes (2, 4 or 8) with the rights of the CPL that is current.
func (c *CPU) pushOn(s *stack, n uint8, v uint64) bool {
	sp := (s.sp - uint64(n)) & s.mask
	la, ok := c.at(s, sp, uint64(n))
	if !ok || !c.write(la, n, v, 0) {
		return false
	}
	s.sp = s.sp&^s.mask | sp
	return true
}

// peek reads the n bytes at an offset from the top of the current stack.
func (c *CPU) peek(off uint64, n uint8) (uint64, bool) {
	return c.loadAt(ss, (c.r[rsp]+off)&c.stackMask(), n)
}

// become makes cpl the privilege of accesses to memory. Who fails afterwards goes
// back.
func (c *CPU) become(cpl uint8) (was uint8) {
	was = c.cpl
	if was != cpl {
		c.cpl = cpl
		c.selectTLB()
	}
	return was
}

// innerStack is the stack for a privilege level from the task's TSS outside long
// mode: SDM 3 §5.8.5.
func (c *CPU) innerStack(cpl uint8) (stack, bool) {
	t := &c.seg[tr]
	off, width := uint64(cpl)*8+4, uint8(4)
	if t.attr&attrType|busyBit == typeTSS16Busy {
		off, width = uint64(cpl)*4+2, 2
	}
	if t.null || off+uint64(width)+1 > uint64(t.limit) {
		return stack{}, c.selectorFault(vectorTS, t.sel)
	}
	sp, ok := c.readSystem(t.base+off, width)
	if !ok {
		return stack{}, false
	}
	sel, ok := c.readSystem(t.base+off+uint64(width), 2)
	if !ok {
		return stack{}, false
	}
	if isNull(uint16(sel)) {
		return stack{}, c.extFault(vectorTS)
	}
	s, ok := c.stackDescriptor(uint16(sel), cpl, vectorTS)
	if !ok {
		return stack{}, false
	}
	return c.newStack(s, sp), true
}

// longStack is RSPn (slot 0 to 2) or ISTn (slot 4 to 10) of the 64-bit TSS.
func (c *CPU) longStack(slot uint8) (sp uint64, ok bool) {
	t := &c.seg[tr]
	off := uint64(slot)*8 + 4
	if t.null || off+7 > uint64(t.limit) {
		return 0, c.selectorFault(vectorTS, t.sel)
	}
	if sp, ok = c.readSystem(t.base+off, 8); !ok {
		return 0, false
	}
	if !c.canonical(sp) {
		return 0, c.extFault(vectorSS)
	}
	return sp, true
}

// useStack makes a stack the current one.
func (c *CPU) useStack(s *stack) {
	c.seg[ss] = s.seg
	switch s.mask {
	case 0xffff:
		c.set(rsp, 2, s.sp)
	default:
		c.r[rsp] = s.sp & s.mask
	}
}
