package soft

// read reads n bytes (1, 2, 4 or 8) at a linear address that linear judged.
func (c *CPU) read(la uint64, n uint8, a access) (uint64, bool) {
	if a == 0 {
		e := &c.tlb[la>>12&(tlbSize-1)]
		if off := la - e.read; off <= 4096-uint64(n) {
			return e.load(off, n), true
		}
	}
	return c.readSlow(la, n, a)
}

// write writes n bytes (1, 2, 4 or 8) at a linear address.
func (c *CPU) write(la uint64, n uint8, v uint64, a access) bool {
	if a == 0 {
		e := &c.tlb[la>>12&(tlbSize-1)]
		if off := la - e.write; off <= 4096-uint64(n) {
			e.store(off, n, v)
			return true
		}
	}
	return c.writeSlow(la, n, v, a)
}

func (c *CPU) readSlow(la uint64, n uint8, a access) (uint64, bool) {
	if !c.check(la, n, a) {
		return 0, false
	}
	if la&0xfff > 4096-uint64(n) {
		b := &c.buffer
		if !c.readAcross(la, b[:n], a) {
			return 0, false
		}
		return little(b[:n]), true
	}
	pa, ok := c.translate(la, a)
	if !ok {
		return 0, false
	}
	return c.readPhysical(pa, n), true
}

func (c *CPU) writeSlow(la uint64, n uint8, v uint64, a access) bool {
	if !c.check(la, n, a|accessWrite) {
		return false
	}
	if la&0xfff > 4096-uint64(n) {
		b := &c.buffer
		putLittle(b[:], v)
		return c.writeAcross(la, b[:n], a)
	}
	pa, ok := c.translate(la, a|accessWrite)
	if !ok {
		return false
	}
	c.writePhysical(pa, n, v)
	return true
}

// check is what the fast path leaves out for a data access: alignment, and
// breakpoints on data.
func (c *CPU) check(la uint64, n uint8, a access) bool {
	if c.tlb != &c.tlbs[tlbChecked] {
		return true
	}
	if a&accessSystem == 0 && c.cpl == 3 && c.rflags&flagAC != 0 && c.cr0&cr0AM != 0 && la&uint64(n-1) != 0 {
		return c.raiseCode(vectorAC, 0)
	}
	c.watch(la, n, a&accessWrite != 0)
	return true
}

// readPhysical reads n bytes (1, 2, 4 or 8) that lie in one page.
func (c *CPU) readPhysical(pa uint64, n uint8) uint64 {
	if host, ok := c.machine.host(pa); ok {
		return host.load(pa&0xfff, n)
	}
	b := &c.buffer // not on the stack: it goes through an interface
	c.readDevice(pa, b[:n])
	return little(b[:n])
}

// writePhysical writes n bytes (1, 2, 4 or 8) that lie in one page.
func (c *CPU) writePhysical(pa uint64, n uint8, v uint64) {
	if host, ok := c.machine.host(pa); ok {
		c.journal.before(host, pa&0xfff, int(n))
		host.store(pa&0xfff, n, v)
		c.wrote(pa, uint64(n))
		return
	}
	b := &c.buffer
	putLittle(b[:], v)
	c.writeDevice(pa, b[:n])
}

// readBytes fills p from a linear address. All of it or nothing faults.
func (c *CPU) readBytes(la uint64, p []byte, a access) bool {
	if len(p) == 0 {
		return true
	}
	if c.tlb == &c.tlbs[tlbChecked] && a&accessSystem == 0 {
		c.watch(la, uint8(min(len(p), 255)), false)
	}
	return c.readAcross(la, p, a)
}

// writeBytes writes p at a linear address. If any of it faults nothing was written.
func (c *CPU) writeBytes(la uint64, p []byte, a access) bool {
	if len(p) == 0 {
		return true
	}
	if c.tlb == &c.tlbs[tlbChecked] && a&accessSystem == 0 {
		c.watch(la, uint8(min(len(p), 255)), true)
	}
	return c.writeAcross(la, p, a)
}

// across calls f for each page's part of n bytes at la, after all of them were
// found. At most spanPages pages.
func (c *CPU) across(la uint64, n int, a access, f func(pa uint64, from, to int)) bool {
	var pas [spanPages]uint64
	pages := 0
	for off := 0; off < n; pages++ {
		if pages == spanPages {
			return c.gp0()
		}
		pa, ok := c.translate(c.wrap(la+uint64(off)), a)
		if !ok {
			return false
		}
		pas[pages] = pa
		off += int(4096 - pa&0xfff)
	}
	for i, from := 0, 0; i < pages; i++ {
		to := min(n, from+int(4096-pas[i]&0xfff))
		f(pas[i], from, to)
		from = to
	}
	return true
}

// spanPages is how many pages an access may touch: XSAVE's image and some more.
const spanPages = 4

// wrap keeps a linear address in 32 bits outside long mode.
func (c *CPU) wrap(la uint64) uint64 {
	if !c.long() {
		return la & 0xffffffff
	}
	return la
}

func (c *CPU) readAcross(la uint64, p []byte, a access) bool {
	return c.across(la, len(p), a, func(pa uint64, from, to int) {
		if host, ok := c.machine.host(pa); ok {
			copy(p[from:to], host.bytes(pa&0xfff, to-from))
			return
		}
		c.readDevice(pa, p[from:to])
	})
}

func (c *CPU) writeAcross(la uint64, p []byte, a access) bool {
	return c.across(la, len(p), a|accessWrite, func(pa uint64, from, to int) {
		if host, ok := c.machine.host(pa); ok {
			c.journal.before(host, pa&0xfff, to-from)
			copy(host.bytes(pa&0xfff, to-from), p[from:to])
			c.wrote(pa, uint64(to-from))
			return
		}
		c.writeDevice(pa, p[from:to])
	})
}

// probe judges an access of n bytes without making it.
func (c *CPU) probe(la uint64, n int, a access) bool {
	return c.across(la, n, a, func(uint64, int, int) {})
}

// modify replaces n bytes (1, 2, 4 or 8) at la by f of them, checked for writing
// first; locked, in one atomic operation.
func (c *CPU) modify(la uint64, n uint8, locked bool, f func(uint64) uint64) bool {
	if !c.check(la, n, accessWrite) {
		return false
	}
	if e := &c.tlb[la>>12&(tlbSize-1)]; la-e.write <= 4096-uint64(n) {
		e.modify(la-e.write, n, locked, f)
		return true
	}
	if la&0xfff > 4096-uint64(n) {
		return c.modifyAcross(la, n, f)
	}
	pa, ok := c.translate(la, accessWrite)
	if !ok {
		return false
	}
	if host, ram := c.machine.host(pa); ram {
		c.journal.before(host, pa&0xfff, int(n))
		host.modify(pa&0xfff, n, locked, f)
		c.wrote(pa, uint64(n))
		return true
	}
	c.writePhysical(pa, n, f(c.readPhysical(pa, n)))
	return true
}

// modifyAcross does it for an operand in two pages. No host instruction is atomic
// there: the machine's split lock keeps such operands apart from each other.
func (c *CPU) modifyAcross(la uint64, n uint8, f func(uint64) uint64) bool {
	b := &c.buffer
	c.machine.split.Lock()
	defer c.machine.split.Unlock()
	if !c.probe(la, int(n), accessWrite) || !c.readAcross(la, b[:n], 0) {
		return false
	}
	putLittle(b[:], f(little(b[:n])))
	return c.writeAcross(la, b[:n], 0)
}

func little(b []byte) (v uint64) {
	for i, x := range b {
		v |= uint64(x) << (8 * i)
	}
	return v
}

func putLittle(b []byte, v uint64) {
	for i := range b {
		b[i] = byte(v >> (8 * i))
	}
}
