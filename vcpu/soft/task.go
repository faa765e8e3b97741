package soft

// taskWhy is what switches tasks: SDM 3 §7.3.
type taskWhy uint8

const (
	taskJump taskWhy = iota
	taskCall         // nested: back link, NT
	taskIret
)

// Offsets in the 32-bit and 16-bit TSS: SDM 3 §7.2.
const (
	tssLink    = 0
	tssCR3     = 28
	tssEIP     = 32 // EIP, EFLAGS, eight registers
	tssES      = 72 // six selectors, four bytes each
	tssLDT     = 96
	tssDebug   = 100 // bit 0: trap
	tssIOMap   = 102
	tssMinimum = 103

	tss16IP      = 14 // IP, FLAGS, eight registers
	tss16ES      = 34 // four selectors
	tss16LDT     = 42
	tss16Minimum = 43
)

// taskOf finds the TSS descriptor that a task gate names.
func (c *CPU) taskOf(sel uint16, vector uint8) (d descriptor, ok bool) {
	if isNull(sel) || sel&4 != 0 {
		return d, c.selectorFault(vector, sel)
	}
	if d, ok = c.fetch(sel, vector); !ok {
		return d, false
	}
	if k := d.kind(); !d.system() || k != typeTSS && k != typeTSS16 {
		return d, c.selectorFault(vector, sel)
	}
	return d, true
}

// taskInterrupt delivers an event through a task gate. The error code goes onto
// the new task's stack.
func (c *CPU) taskInterrupt(e event, sel uint16, ret uint64) bool {
	d, ok := c.taskOf(sel, vectorGP)
	if !ok {
		return false
	}
	if e.kind == eventFault {
		c.rflags |= c.pushedFlags(e) & flagRF
	}
	if !c.switchTask(&d, sel, taskCall, ret) {
		return false
	}
	if !e.hasCode {
		return true
	}
	width := uint8(2)
	if d.kind()&8 != 0 {
		width = 4
	}
	s := c.current()
	if !c.pushOn(&s, width, uint64(e.code)) {
		c.rip = c.next
		return false
	}
	c.setSP(s.sp)
	return true
}

// taskReturn is IRET with NT: to the task of the back link.
func (c *CPU) taskReturn() bool {
	link, ok := c.readSystem(c.seg[tr].base+tssLink, 2)
	if !ok {
		return false
	}
	sel := uint16(link)
	if isNull(sel) || sel&4 != 0 {
		return c.selectorFault(vectorTS, sel)
	}
	d, ok := c.fetch(sel, vectorTS)
	if !ok {
		return false
	}
	if k := d.kind(); !d.system() || k != typeTSSBusy && k != typeTSS16Busy {
		return c.selectorFault(vectorTS, sel)
	}
	return c.switchTask(&d, sel, taskIret, c.next)
}

// taskImage is what a TSS holds of a processor.
type taskImage struct {
	cr3, eip, eflags uint64
	r                [8]uint64
	sel              [6]uint16
	ldt              uint16
	trap             bool
}

// switchTask saves the task with return address ret and goes to another. Before
// the new state is loaded a fault leaves the old task as it was; after that it is
// the new one's, at its first instruction.
func (c *CPU) switchTask(d *descriptor, sel uint16, why taskWhy, ret uint64) bool {
	if !d.present() {
		return c.selectorFault(vectorNP, sel)
	}
	wide := d.kind()&8 != 0
	least, size := uint32(tssMinimum), 104
	if !wide {
		least, size = tss16Minimum, 44
	}
	if d.limit() < least {
		return c.selectorFault(vectorTS, sel)
	}
	old := c.seg[tr]
	oldWide := old.attr&8 != 0
	oldSize := 104
	if !oldWide {
		oldSize = 44
	}
	if old.null {
		return c.selectorFault(vectorTS, old.sel)
	}
	if !c.probe(c.wrap(old.base), oldSize, accessSystem|accessWrite) || !c.probe(c.wrap(d.base()), size, accessSystem|accessWrite) {
		return false
	}
	var t taskImage
	if !c.loadTask(d.base(), wide, &t) {
		return false
	}
	flags := c.RFLAGS()
	if why == taskIret {
		flags &^= flagNT
	}
	if why != taskCall {
		o, ok := c.fetch(old.sel, vectorTS)
		if !ok || !c.setType(&o, 0, busyBit) {
			return false
		}
	}
	if !c.saveTask(old.base, oldWide, ret, flags) {
		return false
	}
	if why == taskCall {
		if !c.writeSystem(d.base()+tssLink, 2, uint64(old.sel)) {
			return false
		}
		t.eflags |= flagNT
	}
	if why != taskIret && !c.setType(d, busyBit, 0) {
		return false
	}
	return c.startTask(d, sel, wide, &t)
}

// saveTask writes the processor's state to its TSS.
func (c *CPU) saveTask(base uint64, wide bool, ret, flags uint64) bool {
	width, at, sels, n := uint8(4), uint64(tssEIP), uint64(tssES), 6
	if !wide {
		width, at, sels, n = 2, tss16IP, tss16ES, 4
	}
	step := uint64(width)
	ok := c.writeSystem(base+at, width, ret) && c.writeSystem(base+at+step, width, flags)
	for i := range uint64(8) {
		ok = ok && c.writeSystem(base+at+(2+i)*step, width, c.r[i])
	}
	for i := range n {
		ok = ok && c.writeSystem(base+sels+uint64(i)*step, 2, uint64(c.seg[i].sel))
	}
	return ok
}

// loadTask reads a TSS.
func (c *CPU) loadTask(base uint64, wide bool, t *taskImage) bool {
	width, at, sels, n, ldt := uint8(4), uint64(tssEIP), uint64(tssES), 6, uint64(tssLDT)
	if !wide {
		width, at, sels, n, ldt = 2, tss16IP, tss16ES, 4, tss16LDT
	}
	step := uint64(width)
	var v uint64
	ok := true
	get := func(off uint64, n uint8) uint64 {
		if ok {
			v, ok = c.readSystem(base+off, n)
		}
		return v
	}
	t.eip, t.eflags = get(at, width), get(at+step, width)
	for i := range uint64(8) {
		t.r[i] = get(at+(2+i)*step, width)
		if !wide {
			t.r[i] |= 0xffff0000
		}
	}
	for i := range n {
		t.sel[i] = uint16(get(sels+uint64(i)*step, 2))
	}
	t.ldt = uint16(get(ldt, 2))
	if wide {
		t.cr3, t.trap = get(tssCR3, 4), get(tssDebug, 2)&1 != 0
	}
	return ok
}

// startTask loads the state of a task: from here on it is the current one.
func (c *CPU) startTask(d *descriptor, sel uint16, wide bool, t *taskImage) bool {
	c.seg[tr] = d.segment(sel)
	c.cr0 |= cr0TS
	if wide && c.cr0&cr0PG != 0 && t.cr3 != c.cr3 {
		c.cr3 = t.cr3
		c.flushTLB(false)
		if c.cr4&cr4PAE != 0 && !c.pointers(c.cr3) {
			return false
		}
	}
	if !wide {
		t.eflags |= c.rflags &^ 0xffff & (flagAC | flagID | flagVIF | flagVIP)
	}
	copy(c.r[:8], t.r[:])
	c.rip, c.next = t.eip, t.eip
	c.dr7 &^= 0x155 // local breakpoints
	// Selectors are there before their descriptors are judged; a fault finds the rest null.
	cpl := uint8(t.sel[cs] & 3)
	for i := range t.sel {
		c.seg[i] = nullSegment(t.sel[i], 0)
	}
	c.seg[ldtr] = nullSegment(t.ldt, 0)
	c.rflags &^= flagVM
	c.setRFLAGS(t.eflags, ^uint64(0))
	if t.eflags&flagVM != 0 {
		cpl = 3
	}
	c.cpl = cpl
	c.updateMode()
	c.updateStep()
	if !c.taskLDT(t.ldt) || !c.taskSegments(t, cpl) {
		return false
	}
	if c.next > uint64(c.seg[cs].limit) {
		return c.extFault(vectorGP)
	}
	if t.trap {
		c.raise(vectorDB)
		c.fault.dr6 = dr6BT
		return false
	}
	return true
}

// taskLDT loads LDTR from a TSS.
func (c *CPU) taskLDT(sel uint16) bool {
	if isNull(sel) {
		return true
	}
	if sel&4 != 0 {
		return c.selectorFault(vectorTS, sel)
	}
	d, ok := c.fetch(sel, vectorTS)
	if !ok {
		return false
	}
	if !d.system() || d.kind() != typeLDT || !d.present() {
		return c.selectorFault(vectorTS, sel)
	}
	c.seg[ldtr] = d.segment(sel)
	return true
}

// taskSegments loads the six segment registers from a TSS.
func (c *CPU) taskSegments(t *taskImage, cpl uint8) bool {
	if c.v86() {
		for i := range t.sel {
			c.realSegment(uint8(i), t.sel[i])
		}
		return true
	}
	sel := t.sel[cs]
	if isNull(sel) {
		return c.extFault(vectorTS)
	}
	d, ok := c.fetch(sel, vectorTS)
	if !ok {
		return false
	}
	if !d.code() || d.dpl() > cpl || !d.conform() && d.dpl() != cpl {
		return c.selectorFault(vectorTS, sel)
	}
	if !d.present() {
		return c.selectorFault(vectorNP, sel)
	}
	if !c.accessed(&d) {
		return false
	}
	code := d.segment(sel)
	if isNull(t.sel[ss]) {
		return c.extFault(vectorTS)
	}
	s, ok := c.stackDescriptor(t.sel[ss], cpl, vectorTS)
	if !ok {
		return false
	}
	c.seg[cs], c.seg[ss] = code, s
	for _, i := range [...]uint8{es, ds, fs, gs} {
		if c.seg[i], ok = c.dataSegment(t.sel[i], vectorTS); !ok {
			c.seg[i] = nullSegment(t.sel[i], 0)
			return false
		}
	}
	c.updateMode()
	return true
}
