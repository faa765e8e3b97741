package soft

import "gvmm/vcpu/soft/decode"

// codeTarget is where a far transfer goes: a code segment that was judged, its
// selector with the new CPL, and the offset.
type codeTarget struct {
	seg segment
	off uint64
	cpl uint8
}

// sixtyFour reports that the target runs in 64-bit mode.
func (c *CPU) sixtyFour(t *codeTarget) bool { return c.long() && t.seg.attr&attrL != 0 }

// judgeOffset is #GP(0) if the offset is beyond the limit or not canonical.
func (c *CPU) judgeOffset(t *codeTarget) bool {
	if c.sixtyFour(t) {
		if !c.canonical(t.off) {
			return c.gp0()
		}
		return true
	}
	t.off &= 0xffffffff
	if t.off > uint64(t.seg.limit) {
		return c.gp0()
	}
	return true
}

// enterCode goes to the target.
func (c *CPU) enterCode(t *codeTarget) {
	c.seg[cs] = t.seg
	c.cpl = t.cpl
	c.updateMode()
	c.next = t.off
	c.lookUser()
}

// badCode reports a code segment with both L and D in long mode.
func (c *CPU) badCode(d *descriptor) bool {
	return c.long() && d.attr()&(attrL|attrDB) == attrL|attrDB
}

// farOperand is the selector and offset of a far JMP or CALL.
func (c *CPU) farOperand(in *decode.Inst) (sel uint16, off uint64, ok bool) {
	if in.Prefix&decode.Mem == 0 {
		return in.Imm2, in.Imm & sizeMask(in.Size), true
	}
	return c.loadFar(in)
}

// loadFar reads a far pointer: the offset, then the selector.
func (c *CPU) loadFar(in *decode.Inst) (sel uint16, off uint64, ok bool) {
	at := c.offset(in)
	if off, ok = c.loadAt(in.Seg, at, in.Size); !ok {
		return 0, 0, false
	}
	v, ok := c.loadAt(in.Seg, (at+uint64(in.Size))&sizeMask(in.Addr), 2)
	return uint16(v), off, ok
}

// farJump is JMP and CALL to another segment: SDM 2, JMP and CALL.
func (c *CPU) farJump(in *decode.Inst, call bool) bool {
	sel, off, ok := c.farOperand(in)
	if !ok {
		return false
	}
	if c.real() || c.v86() {
		return c.realFar(in, sel, off, call)
	}
	if isNull(sel) {
		return c.gp0()
	}
	d, ok := c.fetch(sel, vectorGP)
	if !ok {
		return false
	}
	if d.system() {
		return c.farSystem(&d, sel, call)
	}
	if !d.code() || c.badCode(&d) {
		return c.selectorFault(vectorGP, sel)
	}
	if d.conform() {
		ok = d.dpl() <= c.cpl
	} else {
		ok = uint8(sel&3) <= c.cpl && d.dpl() == c.cpl
	}
	if !ok {
		return c.selectorFault(vectorGP, sel)
	}
	if !d.present() {
		return c.selectorFault(vectorNP, sel)
	}
	t := codeTarget{d.segment(sel&^3 | uint16(c.cpl)), off, c.cpl}
	if !c.judgeOffset(&t) || !c.accessed(&d) {
		return false
	}
	t.seg.attr |= attrAccessed
	s := c.current()
	if call {
		if !c.pushOn(&s, in.Size, uint64(c.seg[cs].sel)) || !c.pushOn(&s, in.Size, c.next) {
			return false
		}
		c.setSP(s.sp)
	}
	c.enterCode(&t)
	return true
}

// realFar is a far transfer of real or virtual-8086 mode.
func (c *CPU) realFar(in *decode.Inst, sel uint16, off uint64, call bool) bool {
	if off > uint64(c.seg[cs].limit) {
		return c.gp0()
	}
	if call {
		s := c.current()
		if !c.pushOn(&s, in.Size, uint64(c.seg[cs].sel)) || !c.pushOn(&s, in.Size, c.next) {
			return false
		}
		c.setSP(s.sp)
	}
	c.realSegment(cs, sel)
	c.next = off
	return true
}

// farSystem goes through a gate or to a task.
func (c *CPU) farSystem(d *descriptor, sel uint16, call bool) bool {
	k := d.kind()
	switch {
	case k == typeCall, k == typeCall16 && !c.long():
		return c.callGate(d, sel, call)
	case c.long():
		return c.selectorFault(vectorGP, sel)
	case k == typeTask, k == typeTSS, k == typeTSS16:
		if d.dpl() < max(c.cpl, uint8(sel&3)) {
			return c.selectorFault(vectorGP, sel)
		}
		why := taskJump
		if call {
			why = taskCall
		}
		if k != typeTask {
			return c.switchTask(d, sel, why, c.next)
		}
		if !d.present() {
			return c.selectorFault(vectorNP, sel)
		}
		to, _ := d.gate()
		t, ok := c.taskOf(to, vectorGP)
		return ok && c.switchTask(&t, to, why, c.next)
	}
	return c.selectorFault(vectorGP, sel)
}

// callGate goes through a call gate: SDM 3 §5.8.4.
func (c *CPU) callGate(g *descriptor, sel uint16, call bool) bool {
	if g.dpl() < max(c.cpl, uint8(sel&3)) {
		return c.selectorFault(vectorGP, sel)
	}
	if !c.fetchUpper(g, sel, vectorGP) {
		return false
	}
	if !g.present() {
		return c.selectorFault(vectorNP, sel)
	}
	to, off := g.gate()
	if isNull(to) {
		return c.gp0()
	}
	d, ok := c.fetch(to, vectorGP)
	if !ok {
		return false
	}
	if !d.code() || d.dpl() > c.cpl || !call && !d.conform() && d.dpl() != c.cpl {
		return c.selectorFault(vectorGP, to)
	}
	if c.long() && d.attr()&(attrL|attrDB) != attrL {
		return c.selectorFault(vectorGP, to)
	}
	if !d.present() {
		return c.selectorFault(vectorNP, to)
	}
	if !c.accessed(&d) {
		return false
	}
	cpl := c.cpl
	if !d.conform() {
		cpl = d.dpl()
	}
	t := codeTarget{d.segment(to&^3 | uint16(cpl)), off, cpl}
	if !c.judgeOffset(&t) {
		return false
	}
	if !call {
		c.enterCode(&t)
		return true
	}
	width := uint8(2)
	switch {
	case c.long():
		width = 8
	case g.kind() == typeCall:
		width = 4
	}
	if cpl == c.cpl {
		s := c.current()
		s.flat = s.flat || c.long()
		if !c.pushOn(&s, width, uint64(c.seg[cs].sel)) || !c.pushOn(&s, width, c.next) {
			return false
		}
		c.setSP(s.sp)
		c.enterCode(&t)
		return true
	}
	return c.callInner(&t, width, int(g.low>>32&31))
}

// callInner calls a more privileged level, with n parameters copied to its stack.
func (c *CPU) callInner(t *codeTarget, width uint8, n int) bool {
	var s stack
	var ok bool
	if c.long() {
		sp, found := c.longStack(t.cpl)
		if !found {
			return false
		}
		s, n = c.flatStack(sp), 0
		s.seg = nullSegment(uint16(t.cpl), t.cpl)
	} else if s, ok = c.innerStack(t.cpl); !ok {
		return false
	}
	oldSS, oldSP, was := uint64(c.seg[ss].sel), c.r[rsp]&c.stackMask(), c.cpl
	if c.long() {
		oldSP = c.r[rsp]
	}
	c.become(t.cpl)
	ok = c.pushOn(&s, width, oldSS) && c.pushOn(&s, width, oldSP)
	for i := n - 1; i >= 0 && ok; i-- {
		c.become(was)
		var v uint64
		v, ok = c.peek(uint64(i)*uint64(width), width)
		c.become(t.cpl)
		ok = ok && c.pushOn(&s, width, v)
	}
	ok = ok && c.pushOn(&s, width, uint64(c.seg[cs].sel)) && c.pushOn(&s, width, c.next)
	c.become(was)
	if !ok {
		return false
	}
	c.useStack(&s)
	c.enterCode(t)
	return true
}
