package soft

import "gvmm/vcpu/soft/decode"

// Types of system descriptors: SDM 3 §3.5. In long mode only LDT, the 32-bit TSS,
// which is the 64-bit one there, and call, interrupt and trap gate exist.
const (
	typeTSS16       = 1
	typeLDT         = 2
	typeTSS16Busy   = 3
	typeCall16      = 4
	typeTask        = 5
	typeInterrupt16 = 6
	typeTrap16      = 7
	typeTSS         = 9
	typeTSSBusy     = 11
	typeCall        = 12
	typeInterrupt   = 14
	typeTrap        = 15

	busyBit = 2 // of a TSS's type
)

// systemState is what the privileged room keeps beside registers.
type systemState struct {
	ext    uint32  // EXT of error codes: an event from outside the program is being delivered
	noStep bool    // the instruction under way cleared TF: no single-step trap follows it
	port   [8]byte // an access to a port
	table  [10]byte
	wait   userWait
}

// descriptor is an entry of GDT, LDT or IDT: its address, its eight bytes, and in long mode the
// upper eight of a system descriptor.
type descriptor struct {
	la  uint64
	low uint64
	up  uint64
}

func (d *descriptor) attr() uint16   { return uint16(d.low>>40&0xff | d.low>>52&0xf<<8) }
func (d *descriptor) kind() uint8    { return uint8(d.low >> 40 & 15) }
func (d *descriptor) system() bool   { return d.low>>44&1 == 0 }
func (d *descriptor) dpl() uint8     { return uint8(d.low >> 45 & 3) }
func (d *descriptor) present() bool  { return d.low>>47&1 != 0 }
func (d *descriptor) code() bool     { return d.low>>43&3 == 3 }
func (d *descriptor) conform() bool  { return d.low>>42&7 == 7 }
func (d *descriptor) writable() bool { return d.low>>43&3 == 2 && d.low>>41&1 != 0 }
func (d *descriptor) readable() bool {
	return d.low>>44&1 != 0 && (d.low>>43&1 == 0 || d.low>>41&1 != 0)
}

func (d *descriptor) base() uint64 {
	return d.low>>16&0xffffff | d.low>>56<<24 | d.up<<32
}

// limit is in bytes.
func (d *descriptor) limit() uint32 {
	l := uint32(d.low&0xffff | d.low>>32&0xf0000)
	if d.low>>55&1 != 0 {
		l = l<<12 | 0xfff
	}
	return l
}

// gate is the selector and offset of a call, interrupt or trap gate.
func (d *descriptor) gate() (sel uint16, off uint64) {
	off = d.low&0xffff | d.low>>32&0xffff0000 | d.up<<32
	if d.kind()&8 == 0 {
		off &= 0xffff
	}
	return uint16(d.low >> 16), off
}

// segment is what a segment register with selector sel caches.
func (d *descriptor) segment(sel uint16) segment {
	return segment{base: d.base(), limit: d.limit(), sel: sel, attr: d.attr()}
}

// isNull reports a selector of the GDT's entry 0.
func isNull(sel uint16) bool { return sel&^3 == 0 }

// nullSegment is what a null selector loads. DPL stays meaningful for SS.
func nullSegment(sel uint16, dpl uint8) segment {
	return segment{sel: sel, attr: uint16(dpl) << 5, null: true}
}

// selectorFault raises an exception whose error code is a selector.
func (c *CPU) selectorFault(vector uint8, sel uint16) bool {
	return c.raiseCode(vector, uint32(sel&^3)|c.sys.ext)
}

// extFault raises an exception whose error code is EXT alone.
func (c *CPU) extFault(vector uint8) bool { return c.raiseCode(vector, c.sys.ext) }

// readSystem reads n bytes (1, 2, 4 or 8) of a descriptor table or TSS.
func (c *CPU) readSystem(la uint64, n uint8) (uint64, bool) {
	la = c.wrap(la)
	e := &c.tlbs[tlbKernel][la>>12&(tlbSize-1)]
	if off := la - e.read; off <= 4096-uint64(n) {
		return e.load(off, n), true
	}
	return c.readSlow(la, n, accessSystem)
}

func (c *CPU) writeSystem(la uint64, n uint8, v uint64) bool {
	return c.writeSlow(c.wrap(la), n, v, accessSystem)
}

// descriptorTable is the table of a selector; without an LDT its limit is
// negative.
func (c *CPU) descriptorTable(sel uint16) (base uint64, limit int64) {
	if sel&4 == 0 {
		return c.gdtr.base, int64(c.gdtr.limit)
	}
	if l := &c.seg[ldtr]; !l.null {
		return l.base, int64(l.limit)
	}
	return 0, -1
}

// fetch reads a selector's descriptor. Beyond the table's limit it is vector with
// the selector.
func (c *CPU) fetch(sel uint16, vector uint8) (d descriptor, ok bool) {
	base, limit := c.descriptorTable(sel)
	if int64(sel|7) > limit {
		return d, c.selectorFault(vector, sel)
	}
	d.la = base + uint64(sel&^7)
	d.low, ok = c.readSystem(d.la, 8)
	return d, ok
}

// fetchUpper reads the upper half of a system descriptor in long mode. Bits 12:8
// of its last doubleword must be 0.
func (c *CPU) fetchUpper(d *descriptor, sel uint16, vector uint8) (ok bool) {
	if !c.long() {
		return true
	}
	_, limit := c.descriptorTable(sel)
	if int64(sel|7)+8 > limit {
		return c.selectorFault(vector, sel)
	}
	if d.up, ok = c.readSystem(d.la+8, 8); !ok {
		return false
	}
	if d.up>>40&0x1f != 0 {
		return c.selectorFault(vector, sel)
	}
	d.up &= 0xffffffff
	return true
}

// setType sets and clears bits of the descriptor's byte of type in memory, in one
// atomic operation, and in d.
func (c *CPU) setType(d *descriptor, set, clear uint8) bool {
	old := uint8(d.low >> 40)
	if old&^clear|set == old {
		return true
	}
	la := c.wrap(d.la + 5)
	pa, ok := c.translate(la, accessSystem|accessWrite)
	if !ok {
		return false
	}
	host, ram := c.machine.host(pa)
	if !ram {
		c.writePhysical(pa, 1, uint64(old&^clear|set))
	} else {
		for {
			old := host.load(pa&0xfff, 1)
			if host.compareAndSwap(pa&0xfff, 1, old, old&^uint64(clear)|uint64(set)) {
				break
			}
		}
		c.wrote(pa, 1)
	}
	d.low = d.low&^(uint64(clear)<<40) | uint64(set)<<40
	return true
}

// accessed sets the accessed bit of a code or data segment.
func (c *CPU) accessed(d *descriptor) bool { return c.setType(d, attrAccessed, 0) }

// setSegment loads a segment register with its hidden part.
func (c *CPU) setSegment(seg uint8, s segment) {
	c.seg[seg] = s
	c.updateMode()
}

// realSegment loads a segment register in real or virtual-8086 mode. Real mode
// changes the base alone: what a limit of 4 GiB was set to in protected mode
// stays.
func (c *CPU) realSegment(seg uint8, sel uint16) {
	s := &c.seg[seg]
	s.sel, s.base = sel, uint64(sel)<<4
	switch {
	case c.v86():
		s.limit, s.attr = 0xffff, attrP|attrDPL|attrS|attrWritable|attrAccessed
	case s.null:
		s.limit, s.attr = 0xffff, attrP|attrS|attrWritable|attrAccessed
	case seg == cs:
		s.attr = s.attr&^(attrType|attrDPL) | attrP | attrS | attrWritable | attrAccessed
	}
	s.null = false
	c.updateMode()
}

// loadSegment is a load of a data or stack segment register by a program: SDM 2,
// MOV.
func (c *CPU) loadSegment(seg uint8, sel uint16) bool {
	if c.real() || c.v86() {
		c.realSegment(seg, sel)
		return true
	}
	if seg == ss {
		s, ok := c.stackSegment(sel, c.cpl, vectorGP)
		if ok {
			c.setSegment(ss, s)
		}
		return ok
	}
	s, ok := c.dataSegment(sel, vectorGP)
	if ok {
		c.setSegment(seg, s)
	}
	return ok
}

// stackSegment judges a selector for SS at a CPL. Null is allowed in 64-bit mode
// below CPL 3.
func (c *CPU) stackSegment(sel uint16, cpl, vector uint8) (s segment, ok bool) {
	if isNull(sel) {
		if c.mode == decode.Mode64 && cpl != 3 && uint8(sel&3) == cpl {
			return nullSegment(sel, cpl), true
		}
		return s, c.extFault(vector)
	}
	return c.stackDescriptor(sel, cpl, vector)
}

// stackDescriptor judges a selector for SS at a CPL that is not null.
func (c *CPU) stackDescriptor(sel uint16, cpl, vector uint8) (s segment, ok bool) {
	d, ok := c.fetch(sel, vector)
	if !ok {
		return s, false
	}
	if uint8(sel&3) != cpl || !d.writable() || d.dpl() != cpl {
		return s, c.selectorFault(vector, sel)
	}
	if !d.present() {
		return s, c.selectorFault(vectorSS, sel)
	}
	if !c.accessed(&d) {
		return s, false
	}
	return d.segment(sel), true
}

// dataSegment judges a selector for DS, ES, FS or GS.
func (c *CPU) dataSegment(sel uint16, vector uint8) (s segment, ok bool) {
	if isNull(sel) {
		return nullSegment(sel, 0), true
	}
	d, ok := c.fetch(sel, vector)
	if !ok {
		return s, false
	}
	if !d.readable() || !d.conform() && max(uint8(sel&3), c.cpl) > d.dpl() {
		return s, c.selectorFault(vector, sel)
	}
	if !d.present() {
		return s, c.selectorFault(vectorNP, sel)
	}
	if !c.accessed(&d) {
		return s, false
	}
	return d.segment(sel), true
}

// dropData makes null what of the data segments the new, outer CPL may not use:
// SDM 3 §5.8.6. Bases that were set apart from a selector survive.
func (c *CPU) dropData() {
	for _, i := range [...]uint8{es, ds, fs, gs} {
		s := &c.seg[i]
		switch {
		case s.null:
			s.sel = 0
		case s.attr&(attrCode|attrConforming) != attrCode|attrConforming && s.dpl() < c.cpl:
			*s = segment{null: true}
		}
	}
}

// canonicalWide judges an address for a register that may be loaded whatever the
// paging mode is: by the processor's own width.
func canonicalWide(la uint64) bool {
	const shift = 64 - linearBits
	return uint64(int64(la<<shift)>>shift) == la
}
