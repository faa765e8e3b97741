package soft

// Software interrupts, whose gate's DPL is judged.
func (k eventKind) software() bool { return k == eventSoft || k == eventSoft3 }

// maxNested bounds how many exceptions one delivery may raise in turn: benign ones
// could follow each other for ever.
const maxNested = 8

// deliver takes an event at an instruction boundary.
func (c *CPU) deliver(e event) error {
	c.inject(e)
	if c.shutdown {
		return c.failure("triple fault")
	}
	return nil
}

// deliverFault delivers c.fault.
func (c *CPU) deliverFault() {
	c.inject(event{vector: c.fault.vector, kind: eventFault, hasCode: c.fault.hasCode, code: c.fault.code})
}

// inject delivers an event, or what its delivery raises: SDM 3 §6.15, #DF. A
// fault's address and DR6 bits are in c.fault.
func (c *CPU) inject(e event) {
	c.halted = false
	c.ignore = 0
	if e.kind == eventInterrupt || e.kind == eventNMI {
		c.leaveWait()
	}
	c.sys.wait.active = false
	c.retire(1) // exceptions alone must not keep the processor from its clock
	for range maxNested {
		if e.kind == eventFault {
			switch e.vector {
			case vectorPF:
				c.cr2 = c.fault.address
			case vectorDB:
				c.dr6 |= c.fault.dr6
			}
		}
		if e.vector == vectorDB && e.kind <= eventTrap {
			c.dr7 &^= dr7GD
		}
		c.next = c.rip
		if c.through(e, c.rip) {
			c.rip = c.next
			c.updateStep()
			c.lookUser()
			c.traceEvent(e)
			return
		}
		if c.fault.vector == vectorPF {
			c.cr2 = c.fault.address // also of one that makes a double fault: SDM 3 §6.15, #PF
		}
		if e.vector == vectorDF && e.kind == eventFault {
			break
		}
		second := event{vector: c.fault.vector, kind: eventFault, hasCode: c.fault.hasCode, code: c.fault.code}
		if doubles(e, second.vector) {
			second = event{vector: vectorDF, kind: eventFault, hasCode: true}
		}
		e = second
	}
	c.shutdown = true
}

// contributory are the exceptions that make two of them a double fault.
const contributory = 1<<vectorDE | 1<<vectorTS | 1<<vectorNP | 1<<vectorSS | 1<<vectorGP

// doubles reports that an exception while delivering first is a double fault.
func doubles(first event, second uint8) bool {
	if first.kind != eventFault {
		return false
	}
	switch {
	case first.vector == vectorPF:
		return second == vectorPF || contributory>>second&1 != 0
	case first.vector < 32 && contributory>>first.vector&1 != 0:
		return contributory>>second&1 != 0
	}
	return false
}

// through goes through the IDT, or real mode's vector table, with return address
// ret. c.next is where execution goes. When it is false no register changed, unless
// a task switch was done that far.
func (c *CPU) through(e event, ret uint64) bool {
	c.sys.ext = 1
	if e.kind.software() {
		c.sys.ext = 0
	}
	ok := false
	switch {
	case c.real():
		ok = c.realInterrupt(e.vector, ret)
	case c.long():
		ok = c.longInterrupt(e, ret)
	default:
		ok = c.protectedInterrupt(e, ret)
	}
	c.sys.ext = 0
	return ok
}

// softInterrupt is INT n and its relatives: it returns behind the instruction.
func (c *CPU) softInterrupt(vector uint8, kind eventKind) bool {
	if kind == eventSoft && c.v86() && c.rflags&flagIOPL != flagIOPL {
		return c.gp0()
	}
	if !c.through(event{vector: vector, kind: kind}, c.next) {
		return false
	}
	c.sys.noStep = true
	c.updateStep()
	c.lookUser()
	c.traceEvent(event{vector: vector, kind: kind})
	return true
}

// realInterrupt goes through the interrupt vector table: SDM 3 §21.1.4.
func (c *CPU) realInterrupt(vector uint8, ret uint64) bool {
	if uint16(vector)*4+3 > c.idtr.limit {
		return c.raiseCode(vectorGP, uint32(vector)<<3|2|c.sys.ext)
	}
	v, ok := c.readSystem(c.idtr.base+uint64(vector)*4, 4)
	if !ok {
		return false
	}
	s := c.current()
	if !c.pushOn(&s, 2, c.RFLAGS()) || !c.pushOn(&s, 2, uint64(c.seg[cs].sel)) || !c.pushOn(&s, 2, ret) {
		return false
	}
	c.setSP(s.sp)
	c.setRFLAGS(0, flagIF|flagTF|flagAC|flagRF)
	c.realSegment(cs, uint16(v>>16))
	c.next = v & 0xffff
	return true
}

// gateFault raises an exception about an entry of the IDT.
func (c *CPU) gateFault(vector, about uint8) bool {
	return c.raiseCode(vector, uint32(about)<<3|2|c.sys.ext)
}

// handlerFlags are cleared on entry to a handler through a gate.
func handlerFlags(kind uint8) uint64 {
	clear := uint64(flagTF | flagNT | flagRF | flagVM)
	if kind&1 == 0 { // interrupt gate
		clear |= flagIF
	}
	return clear
}

// pushedFlags is the image of RFLAGS for an event: SDM 3 §18.3.1.1. A fault is
// restarted without meeting its breakpoint again.
func (c *CPU) pushedFlags(e event) uint64 {
	v := c.RFLAGS()
	if e.kind == eventFault && e.vector != vectorDF && (e.vector != vectorDB || c.fault.dr6&dr6BD != 0) {
		v |= flagRF
	}
	return v
}

// handlerSegment judges the code segment that a gate names.
func (c *CPU) handlerSegment(sel uint16) (d descriptor, ok bool) {
	if isNull(sel) {
		return d, c.extFault(vectorGP)
	}
	if d, ok = c.fetch(sel, vectorGP); !ok {
		return d, false
	}
	if !d.code() || d.dpl() > c.cpl {
		return d, c.selectorFault(vectorGP, sel)
	}
	if c.long() && d.attr()&(attrL|attrDB) != attrL {
		return d, c.selectorFault(vectorGP, sel)
	}
	if !d.present() {
		return d, c.selectorFault(vectorNP, sel)
	}
	return d, c.accessed(&d)
}

// longInterrupt goes through a 64-bit gate: SDM 3 §6.14.
func (c *CPU) longInterrupt(e event, ret uint64) bool {
	off := uint64(e.vector) * 16
	if off+15 > uint64(c.idtr.limit) {
		return c.gateFault(vectorGP, e.vector)
	}
	var g descriptor
	var ok bool
	if g.low, ok = c.readSystem(c.idtr.base+off, 8); !ok {
		return false
	}
	if g.up, ok = c.readSystem(c.idtr.base+off+8, 8); !ok {
		return false
	}
	k := g.kind()
	if !g.system() || k&^1 != typeInterrupt || e.kind.software() && g.dpl() < c.cpl {
		return c.gateFault(vectorGP, e.vector)
	}
	if !g.present() {
		return c.gateFault(vectorNP, e.vector)
	}
	g.up &= 0xffffffff
	sel, target := g.gate()
	d, ok := c.handlerSegment(sel)
	if !ok {
		return false
	}
	cpl := c.cpl
	if !d.conform() {
		cpl = d.dpl()
	}
	sp := c.r[rsp]
	if ist := uint8(g.low >> 32 & 7); ist != 0 {
		sp, ok = c.longStack(ist + 3)
	} else if cpl != c.cpl {
		sp, ok = c.longStack(cpl)
	}
	if !ok {
		return false
	}
	if !c.canonical(target) {
		return c.extFault(vectorGP)
	}
	was := c.become(cpl)
	s := c.flatStack(sp &^ 15)
	flags := c.pushedFlags(e)
	ok = c.pushOn(&s, 8, uint64(c.seg[ss].sel)) && c.pushOn(&s, 8, c.r[rsp]) && c.pushOn(&s, 8, flags) &&
		c.pushOn(&s, 8, uint64(c.seg[cs].sel)) && c.pushOn(&s, 8, ret)
	if ok && e.hasCode {
		ok = c.pushOn(&s, 8, uint64(e.code))
	}
	if !ok {
		c.become(was)
		return false
	}
	c.r[rsp] = s.sp
	if cpl != was {
		c.seg[ss] = nullSegment(uint16(cpl), cpl)
	}
	c.seg[cs] = d.segment(sel&^3 | uint16(cpl))
	c.rflags &^= handlerFlags(k)
	c.updateMode()
	c.next = target
	return true
}

// protectedInterrupt goes through an IDT of legacy mode: SDM 3 §6.12.
func (c *CPU) protectedInterrupt(e event, ret uint64) bool {
	off := uint64(e.vector) * 8
	if off+7 > uint64(c.idtr.limit) {
		return c.gateFault(vectorGP, e.vector)
	}
	var g descriptor
	var ok bool
	if g.low, ok = c.readSystem(c.idtr.base+off, 8); !ok {
		return false
	}
	k := g.kind()
	known := k == typeTask || k&^1 == typeInterrupt || k&^1 == typeInterrupt16
	if !g.system() || !known || e.kind.software() && g.dpl() < c.cpl {
		return c.gateFault(vectorGP, e.vector)
	}
	if !g.present() {
		return c.gateFault(vectorNP, e.vector)
	}
	sel, target := g.gate()
	if k == typeTask {
		return c.taskInterrupt(e, sel, ret)
	}
	d, ok := c.handlerSegment(sel)
	if !ok {
		return false
	}
	width := uint8(2)
	if k&8 != 0 {
		width = 4
	}
	inner := !d.conform() && d.dpl() < c.cpl
	if c.v86() && (!inner || d.dpl() != 0) {
		return c.selectorFault(vectorGP, sel)
	}
	flags := c.pushedFlags(e)
	s := c.current()
	cpl := c.cpl
	if inner {
		cpl = d.dpl()
		if s, ok = c.innerStack(cpl); !ok {
			return false
		}
	}
	if target > uint64(d.limit()) {
		return c.extFault(vectorGP)
	}
	was := c.become(cpl)
	virtual := c.rflags&flagVM != 0
	if virtual {
		for _, i := range [...]uint8{gs, fs, ds, es} {
			ok = ok && c.pushOn(&s, width, uint64(c.seg[i].sel))
		}
	}
	if inner {
		ok = ok && c.pushOn(&s, width, uint64(c.seg[ss].sel)) && c.pushOn(&s, width, c.r[rsp])
	}
	ok = ok && c.pushOn(&s, width, flags) && c.pushOn(&s, width, uint64(c.seg[cs].sel)) && c.pushOn(&s, width, ret)
	if ok && e.hasCode {
		ok = c.pushOn(&s, width, uint64(e.code))
	}
	if !ok {
		c.become(was)
		return false
	}
	if virtual {
		for _, i := range [...]uint8{gs, fs, ds, es} {
			c.seg[i] = nullSegment(0, 0)
		}
	}
	c.useStack(&s)
	c.seg[cs] = d.segment(sel&^3 | uint16(cpl))
	c.rflags &^= handlerFlags(k)
	c.updateMode()
	c.next = target
	return true
}
