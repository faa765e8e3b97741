package soft

import "gvmm/vcpu/soft/decode"

// stack executes what pushes and pops.
func (c *CPU) stack(in *decode.Inst) bool {
	n := in.Size
	switch in.Op {
	case decode.PUSH:
		v, ok := in.Imm, true
		if in.Form == decode.FormM {
			v, ok = c.readRM(in)
		}
		return ok && c.push(n, v)
	case decode.POP:
		return c.popRM(in)
	case decode.PUSHA:
		return c.pushAll(n)
	case decode.POPA:
		return c.popAll(n)
	case decode.PUSHF:
		return c.pushFlags(n)
	case decode.POPF:
		return c.popFlags(n)
	case decode.ENTER:
		return c.enterFrame(in)
	}
	return c.leave(n)
}

// popRM pops into register or memory, whose address is computed with the stack
// pointer already moved.
func (c *CPU) popRM(in *decode.Inst) bool {
	sp := c.r[rsp]
	v, ok := c.pop(in.Size)
	if !ok {
		return false
	}
	if !c.writeRM(in, v) {
		c.r[rsp] = sp
		return false
	}
	return true
}

// pushAll stores the eight registers one by one; the stack pointer moves if none
// faults.
func (c *CPU) pushAll(n uint8) bool {
	mask := c.stackMask()
	sp := c.r[rsp]
	for i := range uint8(8) {
		sp = (sp - uint64(n)) & mask
		if !c.storeAt(ss, sp, n, c.get(i, n)) {
			return false
		}
	}
	c.setSP(sp)
	return true
}

// popAll loads all but SP.
func (c *CPU) popAll(n uint8) bool {
	mask := c.stackMask()
	sp := c.r[rsp]
	var v [8]uint64
	for i := 7; i >= 0; i-- {
		var ok bool
		if v[i], ok = c.loadAt(ss, sp&mask, n); !ok {
			return false
		}
		sp += uint64(n)
	}
	for i, x := range v {
		if i != rsp {
			c.set(uint8(i), n, x)
		}
	}
	c.setSP(sp & mask)
	return true
}

func (c *CPU) iopl() uint8 { return uint8(c.rflags >> 12 & 3) }

// vme reports that PUSHF and POPF of n bytes work on VIF in IF's place: virtual-8086
// mode extensions, SDM 3 §21.3.
func (c *CPU) vme(n uint8) bool { return c.cr4&cr4VME != 0 && n == 2 }

func (c *CPU) pushFlags(n uint8) bool {
	v := c.RFLAGS() &^ (flagVM | flagRF)
	if c.v86() && c.iopl() < 3 {
		if !c.vme(n) {
			return c.gp0()
		}
		v = v&^flagIF | c.rflags&flagVIF>>10 | flagIOPL
	}
	return c.push(n, v)
}

// popFlags changes what the privilege allows: SDM 2, POPF.
func (c *CPU) popFlags(n uint8) bool {
	mask := uint64(flagsArith | flagTF | flagDF | flagNT | flagAC | flagID)
	virtual := false
	switch {
	case c.v86() && c.iopl() < 3:
		if virtual = true; !c.vme(n) {
			return c.gp0()
		}
	case c.cpl == 0:
		mask |= flagIF | flagIOPL
	case c.cpl <= c.iopl():
		mask |= flagIF
	}
	if n == 2 {
		mask &= 0xffff
	} else {
		mask |= flagRF
	}
	sp := c.r[rsp]
	v, ok := c.pop(n)
	if !ok {
		return false
	}
	v &^= flagRF
	if virtual {
		if v&flagTF != 0 || v&flagIF != 0 && c.rflags&flagVIP != 0 {
			c.r[rsp] = sp
			return c.gp0()
		}
		v = v&^flagVIF | v&flagIF<<10
		mask |= flagVIF
	}
	c.setRFLAGS(v, mask)
	c.updateStep()
	return true
}

// enterFrame makes a stack frame: the frame pointers of the levels around it are
// copied from the frame that RBP points to. Registers change when all is stored,
// and when the last stack pointer has proved to be writable.
func (c *CPU) enterFrame(in *decode.Inst) bool {
	n, mask := in.Size, c.stackMask()
	sp, bp := (c.r[rsp]-uint64(n))&mask, c.r[rbp]
	if !c.storeAt(ss, sp, n, bp) {
		return false
	}
	frame := c.r[rsp]&^mask | sp
	for level := in.Imm2; level > 1; level-- {
		bp -= uint64(n)
		v, ok := c.loadAt(ss, bp&mask, n)
		if sp = (sp - uint64(n)) & mask; !ok || !c.storeAt(ss, sp, n, v) {
			return false
		}
	}
	if in.Imm2 > 0 {
		if sp = (sp - uint64(n)) & mask; !c.storeAt(ss, sp, n, frame) {
			return false
		}
	}
	sp = (sp - in.Imm) & mask
	la, ok := c.linear(ss, sp, uint64(n), true)
	if !ok || !c.probe(la, int(n), accessWrite) {
		return false
	}
	c.set(rbp, n, frame)
	c.setSP(sp)
	return true
}

// leave undoes a frame.
func (c *CPU) leave(n uint8) bool {
	mask := c.stackMask()
	bp := c.r[rbp]
	v, ok := c.loadAt(ss, bp&mask, n)
	if !ok {
		return false
	}
	c.setSP((bp + uint64(n)) & mask)
	c.set(rbp, n, v)
	return true
}
