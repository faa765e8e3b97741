package soft

import "gvmm/vcpu/soft/decode"

// returnCode judges the code segment of a far return or IRET, in protected mode.
func (c *CPU) returnCode(sel uint16, off uint64) (t codeTarget, ok bool) {
	if isNull(sel) {
		return t, c.gp0()
	}
	d, ok := c.fetch(sel, vectorGP)
	if !ok {
		return t, false
	}
	rpl := uint8(sel & 3)
	if !d.code() || rpl < c.cpl || c.badCode(&d) || d.dpl() > rpl || !d.conform() && d.dpl() != rpl {
		return t, c.selectorFault(vectorGP, sel)
	}
	if !d.present() {
		return t, c.selectorFault(vectorNP, sel)
	}
	if !c.accessed(&d) {
		return t, false
	}
	t = codeTarget{d.segment(sel), off, rpl}
	return t, c.judgeOffset(&t)
}

// returnStack judges the SS of a return to t. Null is allowed for 64-bit code
// below CPL 3.
func (c *CPU) returnStack(sel uint16, t *codeTarget) (s segment, ok bool) {
	if isNull(sel) {
		if c.sixtyFour(t) && t.cpl != 3 && uint8(sel&3) == t.cpl {
			return nullSegment(sel, t.cpl), true
		}
		return s, c.gp0()
	}
	return c.stackDescriptor(sel, t.cpl, vectorGP)
}

// returnTo goes to t and its stack. What an outer level may not use of the data
// segments becomes null.
func (c *CPU) returnTo(t *codeTarget, s segment, sp uint64) {
	outer := t.cpl > c.cpl
	c.seg[ss] = s
	switch {
	case c.sixtyFour(t):
		c.r[rsp] = sp
	case s.attr&attrDB != 0:
		c.r[rsp] = uint64(uint32(sp))
	default:
		c.set(rsp, 2, sp)
	}
	c.cpl = t.cpl
	if outer {
		c.dropData()
	}
	c.enterCode(t)
}

// farReturn is RETF: SDM 2, RET.
func (c *CPU) farReturn(in *decode.Inst) bool {
	n, extra := uint64(in.Size), in.Imm
	off, ok := c.peek(0, in.Size)
	if !ok {
		return false
	}
	v, ok := c.peek(n, in.Size)
	if !ok {
		return false
	}
	sel := uint16(v)
	if c.real() || c.v86() {
		if off > uint64(c.seg[cs].limit) {
			return c.gp0()
		}
		c.setSP(c.r[rsp] + 2*n + extra)
		c.realSegment(cs, sel)
		c.next = off
		return true
	}
	t, ok := c.returnCode(sel, off)
	if !ok {
		return false
	}
	if t.cpl == c.cpl {
		c.setSP(c.r[rsp] + 2*n + extra)
		c.enterCode(&t)
		return true
	}
	sp, ok := c.peek(2*n+extra, in.Size)
	if !ok {
		return false
	}
	if v, ok = c.peek(3*n+extra, in.Size); !ok {
		return false
	}
	s, ok := c.returnStack(uint16(v), &t)
	if !ok {
		return false
	}
	c.returnTo(&t, s, sp+extra)
	return true
}

// interruptReturn is IRET: SDM 2, IRET. It ends the blocking of NMIs even if it
// faults (SDM 3 §28.2.3).
func (c *CPU) interruptReturn(in *decode.Inst) bool {
	c.nmiMask, c.ignore = false, 0
	var ok bool
	switch {
	case c.real():
		ok = c.realReturn(in, ^uint64(0))
	case c.v86():
		if c.rflags&flagIOPL != flagIOPL {
			return c.gp0()
		}
		ok = c.realReturn(in, ^uint64(flagIOPL))
	case c.rflags&flagNT != 0:
		if c.long() {
			return c.gp0()
		}
		ok = c.taskReturn()
	default:
		ok = c.protectedReturn(in)
	}
	if ok {
		c.updateStep()
		c.lookUser()
	}
	return ok
}

// returnFlags are the flags that IRET may change at a CPL, with an operand size.
func (c *CPU) returnFlags(size uint8) uint64 {
	mask := uint64(flagsArith | flagTF | flagDF | flagNT)
	if size != 2 {
		mask |= flagRF | flagAC | flagID
	}
	if uint64(c.cpl) <= c.rflags>>12&3 {
		mask |= flagIF
	}
	if c.cpl == 0 {
		mask |= flagIOPL
		if size != 2 {
			mask |= flagVIF | flagVIP
		}
	}
	return mask
}

// realReturn is IRET of real and virtual-8086 mode. keep are the flags that may
// change.
func (c *CPU) realReturn(in *decode.Inst, may uint64) bool {
	n := uint64(in.Size)
	off, ok := c.peek(0, in.Size)
	if !ok {
		return false
	}
	sel, ok := c.peek(n, in.Size)
	if !ok {
		return false
	}
	flags, ok := c.peek(2*n, in.Size)
	if !ok {
		return false
	}
	if off > uint64(c.seg[cs].limit) {
		return c.gp0()
	}
	may &= flagsArith | flagTF | flagIF | flagDF | flagIOPL | flagNT | flagRF | flagAC | flagID
	if in.Size == 2 {
		may &= 0xffff
	}
	c.setSP(c.r[rsp] + 3*n)
	c.setRFLAGS(flags, may)
	c.realSegment(cs, uint16(sel))
	c.next = off
	return true
}

// protectedReturn is IRET without a task switch.
func (c *CPU) protectedReturn(in *decode.Inst) bool {
	n := uint64(in.Size)
	off, ok := c.peek(0, in.Size)
	if !ok {
		return false
	}
	v, ok := c.peek(n, in.Size)
	if !ok {
		return false
	}
	flags, ok := c.peek(2*n, in.Size)
	if !ok {
		return false
	}
	if flags&flagVM != 0 && c.cpl == 0 && in.Size == 4 && !c.long() {
		return c.virtualReturn(off, uint16(v), flags)
	}
	t, ok := c.returnCode(uint16(v), off)
	if !ok {
		return false
	}
	may := c.returnFlags(in.Size)
	if t.cpl == c.cpl && c.mode != decode.Mode64 {
		c.setSP(c.r[rsp] + 3*n)
		c.setRFLAGS(flags, may)
		c.enterCode(&t)
		return true
	}
	sp, ok := c.peek(3*n, in.Size)
	if !ok {
		return false
	}
	if v, ok = c.peek(4*n, in.Size); !ok {
		return false
	}
	s, ok := c.returnStack(uint16(v), &t)
	if !ok {
		return false
	}
	c.setRFLAGS(flags, may)
	c.returnTo(&t, s, sp)
	return true
}

// virtualReturn is IRET to virtual-8086 mode.
func (c *CPU) virtualReturn(off uint64, sel uint16, flags uint64) bool {
	var v [6]uint64 // ESP, SS, ES, DS, FS, GS
	for i := range v {
		var ok bool
		if v[i], ok = c.peek(12+4*uint64(i), 4); !ok {
			return false
		}
	}
	if off > 0xffff {
		return c.gp0()
	}
	c.rflags |= flagVM
	c.setRFLAGS(flags, ^uint64(0))
	c.r[rsp] = v[0]
	for i, seg := range [...]uint8{cs, ss, es, ds, fs, gs} {
		if i > 0 {
			sel = uint16(v[i])
		}
		c.seg[seg] = segment{base: uint64(sel) << 4, limit: 0xffff, sel: sel, attr: attrP | attrDPL | attrS | attrWritable | attrAccessed}
	}
	c.updateMode()
	c.next = off
	return true
}

// syscall is SYSCALL: 64-bit mode alone has it.
func (c *CPU) syscall() bool {
	if c.mode != decode.Mode64 || c.efer&eferSCE == 0 {
		return c.ud()
	}
	flags := c.RFLAGS()
	c.sys.noStep = c.msr.fmask&flagTF != 0
	c.r[rcx], c.r[r11] = c.next, flags&^flagRF
	c.setRFLAGS(flags&^(c.msr.fmask|flagRF), ^uint64(0))
	c.flatSegments(uint16(c.msr.star>>32)&^3, 0, true)
	return c.arrive(c.msr.lstar)
}

// flatSegments loads CS and SS with what fast transfers use, whatever the GDT
// holds: sel and sel+8.
func (c *CPU) flatSegments(sel uint16, cpl uint8, long bool) {
	const data = attrP | attrS | attrWritable | attrAccessed | attrDB | attrG
	width := uint16(attrDB)
	if long {
		width = attrL
	}
	dpl := uint16(cpl) << 5
	c.cpl = cpl
	c.seg[cs] = segment{limit: 0xffffffff, sel: sel | uint16(cpl), attr: attrP | attrS | attrCode | attrReadable | attrAccessed | attrG | width | dpl}
	c.seg[ss] = segment{limit: 0xffffffff, sel: (sel + 8) | uint16(cpl), attr: data | dpl}
	c.updateMode()
	c.updateStep()
	c.lookUser()
}

// arrive goes to an address that was judged by the processor's width when its
// register was written, but maybe not for the paging mode: then the fetch there
// faults.
func (c *CPU) arrive(target uint64) bool {
	c.next = target
	if c.mode == decode.Mode64 && !c.canonical(target) {
		c.rip = target
		return c.gp0()
	}
	return true
}

// sysret is SYSRET.
func (c *CPU) sysret(in *decode.Inst) bool {
	if c.mode != decode.Mode64 || c.efer&eferSCE == 0 {
		return c.ud()
	}
	if c.cpl != 0 {
		return c.gp0()
	}
	long := in.Size == 8
	target := c.r[rcx]
	if long && !c.canonical(target) {
		return c.gp0()
	}
	c.setRFLAGS(c.r[r11]&0x3c7fd7, ^uint64(0))
	sel := uint16(c.msr.star >> 48)
	ssSel := sel + 8
	if long {
		sel += 16
	} else {
		target &= 0xffffffff
	}
	c.flatSegments(sel|3, 3, long)
	c.seg[ss].sel = ssSel | 3
	c.next = target
	return true
}

// sysenter is SYSENTER.
func (c *CPU) sysenter() bool {
	sel := uint16(c.msr.sysenterCS) &^ 3
	if c.real() || sel == 0 {
		return c.gp0()
	}
	c.setRFLAGS(0, flagVM|flagIF)
	c.flatSegments(sel, 0, c.long())
	c.r[rsp] = c.msr.sysenterESP
	target := c.msr.sysenterEIP
	if !c.long() {
		c.r[rsp] &= 0xffffffff
		target &= 0xffffffff
	}
	return c.arrive(target)
}

// sysexit is SYSEXIT.
func (c *CPU) sysexit(in *decode.Inst) bool {
	sel := uint16(c.msr.sysenterCS) &^ 3
	if c.real() || sel == 0 || c.cpl != 0 {
		return c.gp0()
	}
	target, sp := c.r[rdx], c.r[rcx]
	long := in.Size == 8
	if long {
		if !c.canonical(target) || !c.canonical(sp) {
			return c.gp0()
		}
		sel += 32
	} else {
		target, sp = target&0xffffffff, sp&0xffffffff
		sel += 16
	}
	c.flatSegments(sel, 3, long)
	c.r[rsp] = sp
	c.next = target
	return true
}
