package soft

import "gvmm/vcpu/soft/decode"

// segmentMove moves segment registers.
func (c *CPU) segmentMove(in *decode.Inst) bool {
	switch in.Op {
	case decode.MOVFROMSEG:
		return c.writeRM(in, uint64(c.seg[in.Reg].sel))
	case decode.MOVTOSEG:
		v, ok := c.readRM(in)
		if !ok || !c.loadSegment(in.Reg, uint16(v)) {
			return false
		}
		if in.Reg == ss {
			c.setShadow(shadowMovSS)
		}
		return true
	case decode.PUSHSEG:
		return c.pushSegment(in)
	case decode.POPSEG:
		return c.popSegment(in)
	}
	seg := uint8(ds)
	switch in.Op {
	case decode.LES:
		seg = es
	case decode.LFS:
		seg = fs
	case decode.LGS:
		seg = gs
	case decode.LSS:
		seg = ss
	}
	sel, off, ok := c.loadFar(in)
	if !ok || !c.loadSegment(seg, sel) {
		return false
	}
	c.set(in.Reg, in.Size, off)
	return true
}

// pushSegment pushes a selector. With a 32-bit operand it writes 16 bits and
// leaves the upper ones in memory, as recent processors do.
func (c *CPU) pushSegment(in *decode.Inst) bool {
	sel := uint64(c.seg[in.Reg].sel)
	if in.Size != 4 {
		return c.push(in.Size, sel)
	}
	sp := (c.r[rsp] - 4) & c.stackMask()
	if !c.storeAt(ss, sp, 2, sel) {
		return false
	}
	c.setSP(sp)
	return true
}

func (c *CPU) popSegment(in *decode.Inst) bool {
	v, ok := c.peek(0, in.Size)
	if !ok {
		return false
	}
	sp := (c.r[rsp] + uint64(in.Size)) & c.stackMask() // of the stack that it is popped from
	mask := c.stackMask()
	if !c.loadSegment(in.Reg, uint16(v)) {
		return false
	}
	if mask == 0xffff {
		c.set(rsp, 2, sp)
	} else {
		c.r[rsp] = sp
	}
	if in.Reg == ss {
		c.setShadow(shadowMovSS)
	}
	return true
}

// hidden reports that UMIP keeps an instruction from programs: it raised #GP(0).
func (c *CPU) hidden() bool {
	if c.cr4&cr4UMIP != 0 && c.cpl != 0 {
		c.gp0()
		return true
	}
	return false
}

// tableMove loads and stores descriptor-table registers, TR and the machine
// status word.
func (c *CPU) tableMove(in *decode.Inst) bool {
	switch in.Op {
	case decode.SGDT:
		return c.storeTable(in, &c.gdtr)
	case decode.SIDT:
		return c.storeTable(in, &c.idtr)
	case decode.LGDT:
		return c.loadTable(in, &c.gdtr)
	case decode.LIDT:
		return c.loadTable(in, &c.idtr)
	case decode.SMSW:
		return !c.hidden() && c.writeRM(in, c.cr0)
	case decode.LMSW:
		return c.loadMSW(in)
	}
	if c.real() || c.v86() {
		return c.ud()
	}
	switch in.Op {
	case decode.SLDT:
		return !c.hidden() && c.writeRM(in, uint64(c.seg[ldtr].sel))
	case decode.STR:
		return !c.hidden() && c.writeRM(in, uint64(c.seg[tr].sel))
	}
	if c.cpl != 0 {
		return c.gp0()
	}
	v, ok := c.readRM(in)
	if !ok {
		return false
	}
	if in.Op == decode.LLDT {
		return c.loadLDT(uint16(v))
	}
	return c.loadTaskRegister(uint16(v))
}

// storeTable is SGDT and SIDT: ten bytes in 64-bit mode, else six.
func (c *CPU) storeTable(in *decode.Inst, t *table) bool {
	if c.hidden() {
		return false
	}
	b := c.sys.table[:6]
	if c.mode == decode.Mode64 {
		b = c.sys.table[:10]
	}
	putLittle(b[:2], uint64(t.limit))
	putLittle(b[2:], t.base)
	return c.storeBytes(in.Seg, c.offset(in), b)
}

// loadTable is LGDT and LIDT. A 16-bit operand holds 24 bits of base.
func (c *CPU) loadTable(in *decode.Inst, t *table) bool {
	if c.cpl != 0 {
		return c.gp0()
	}
	b := c.sys.table[:6]
	if c.mode == decode.Mode64 {
		b = c.sys.table[:10]
	}
	if !c.loadBytes(in.Seg, c.offset(in), b) {
		return false
	}
	base := little(b[2:])
	if in.Size == 2 && c.mode != decode.Mode64 {
		base &= 0xffffff
	}
	if !canonicalWide(base) {
		return c.gp0()
	}
	*t = table{base: base, limit: uint16(little(b[:2]))}
	return true
}

// loadLDT is LLDT.
func (c *CPU) loadLDT(sel uint16) bool {
	if isNull(sel) {
		c.seg[ldtr] = nullSegment(sel, 0)
		return true
	}
	d, ok := c.systemDescriptor(sel, func(d *descriptor) bool { return d.kind() == typeLDT })
	if !ok {
		return false
	}
	c.seg[ldtr] = d.segment(sel)
	return true
}

// systemDescriptor fetches what LLDT and LTR load: a present system descriptor of a
// wanted kind, in the GDT.
func (c *CPU) systemDescriptor(sel uint16, wanted func(*descriptor) bool) (d descriptor, ok bool) {
	if sel&4 != 0 {
		return d, c.selectorFault(vectorGP, sel)
	}
	if d, ok = c.fetch(sel, vectorGP); !ok {
		return d, false
	}
	switch {
	case !d.system() || !wanted(&d):
		return d, c.selectorFault(vectorGP, sel)
	case !c.fetchUpper(&d, sel, vectorGP):
		return d, false
	case !d.present():
		return d, c.selectorFault(vectorNP, sel)
	case !canonicalWide(d.base()):
		return d, c.gp0()
	}
	return d, true
}

// loadTaskRegister is LTR: it marks the TSS busy.
func (c *CPU) loadTaskRegister(sel uint16) bool {
	if isNull(sel) {
		return c.gp0()
	}
	d, ok := c.systemDescriptor(sel, func(d *descriptor) bool {
		return d.kind() == typeTSS || d.kind() == typeTSS16 && !c.long()
	})
	if !ok {
		return false
	}
	if !c.setType(&d, busyBit, 0) {
		return false
	}
	c.seg[tr] = d.segment(sel)
	return true
}
