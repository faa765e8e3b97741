package soft

import "math/rand/v2"

// access is the kind of a memory access; 0 is a read with the rights of the
// current CPL.
type access uint8

const (
	accessWrite  access = 1 << iota
	accessFetch         // of an instruction
	accessSystem        // implicit supervisor access: descriptor tables, TSS, UITT, UPID
)

// Bits of a page fault's error code.
const (
	pfPresent  = 1 << 0
	pfWrite    = 1 << 1
	pfUser     = 1 << 2
	pfReserved = 1 << 3
	pfFetch    = 1 << 4
)

// Bits of a paging-structure entry.
const (
	pteP  = 1 << 0
	pteW  = 1 << 1
	pteU  = 1 << 2
	pteA  = 1 << 5
	pteD  = 1 << 6
	ptePS = 1 << 7
	pteG  = 1 << 8
	pteNX = 1 << 63

	pteAddress = (1<<physicalBits - 1) &^ 0xfff
)

// page is a translation: what a walk found.
type page struct {
	pa      uint64 // of the 4 KiB page that was asked for
	write   bool   // all levels allow it
	user    bool
	nx      bool
	global  bool
	dirty   bool
	large   bool   // the mapping is bigger than 4 KiB
	entry   uint64 // physical address of the last entry, for its dirty bit
	entry4  bool   // which is 4 bytes long
	noEntry bool   // paging is off
}

// walk finds the page of a linear address, whatever may be done with it: SDM 3
// §4.3 to §4.6. Accessed bits are set only by the caller's mark. code is the error
// code's P and RSVD bits of a failure.
func (c *CPU) walk(la uint64) (p page, marks [5]uint64, n int, code uint32, ok bool) {
	if c.cr0&cr0PG == 0 {
		return page{pa: la & 0xfffff000, write: true, user: true, dirty: true, noEntry: true}, marks, 0, 0, true
	}
	if c.cr4&cr4PAE == 0 {
		return c.walk32(la)
	}
	reserved := uint64(1)<<52 - 1<<physicalBits
	if c.efer&eferNXE == 0 {
		reserved |= pteNX
	}
	p.write, p.user = true, true
	level, table := 4, c.cr3&pteAddress
	switch {
	case c.efer&eferLMA == 0:
		// PAE: four pointers, without rights, judged when they were loaded.
		e := c.pdptes[la>>30&3]
		if e&pteP == 0 {
			return p, marks, 0, 0, false
		}
		level, table = 2, e&pteAddress
		reserved |= 0x7ff << 52
	case c.cr4&cr4LA57 != 0:
		level = 5
	}
	for ; ; level-- {
		shift := 12 + 9*(level-1)
		at := table + la>>shift&511*8
		e, found := c.machine.load64(at)
		if !found || e&pteP == 0 {
			return p, marks, n, 0, false
		}
		marks[n] = at
		n++
		bad := reserved
		big := level > 1 && e&ptePS != 0
		switch {
		case big && level <= 3:
			bad |= (1<<shift - 1) &^ 0x1fff
		case big:
			bad |= ptePS
		}
		if e&bad != 0 {
			return p, marks, n, pfPresent | pfReserved, false
		}
		p.write = p.write && e&pteW != 0
		p.user = p.user && e&pteU != 0
		p.nx = p.nx || e&pteNX != 0
		if level == 1 || big {
			p.global, p.dirty, p.large, p.entry = e&pteG != 0, e&pteD != 0, big, at
			within := uint64(1)<<shift - 1
			p.pa = (e&pteAddress&^within | la&within) &^ 0xfff
			return p, marks, n, 0, true
		}
		table = e & pteAddress
	}
}

// walk32 is 32-bit paging: two levels, with 4 MiB pages if CR4.PSE.
func (c *CPU) walk32(la uint64) (p page, marks [5]uint64, n int, code uint32, ok bool) {
	p.entry4 = true
	at := c.cr3&0xfffff000 + la>>22&1023*4
	e, found := c.machine.load32(at)
	if !found || e&pteP == 0 {
		return p, marks, 0, 0, false
	}
	marks[0] = at
	p.write, p.user = e&pteW != 0, e&pteU != 0
	if e&ptePS != 0 && c.cr4&cr4PSE != 0 {
		if e&(1<<21) != 0 {
			return p, marks, 1, pfPresent | pfReserved, false
		}
		p.global, p.dirty, p.large, p.entry = e&pteG != 0, e&pteD != 0, true, at
		p.pa = (uint64(e)&0xffc00000 | uint64(e)>>13&0xff<<32 | la&0x3ff000) &^ 0xfff
		return p, marks, 1, 0, true
	}
	at = uint64(e)&0xfffff000 + la>>12&1023*4
	e, found = c.machine.load32(at)
	if !found || e&pteP == 0 {
		return p, marks, 1, 0, false
	}
	marks[1] = at
	p.write, p.user = p.write && e&pteW != 0, p.user && e&pteU != 0
	p.global, p.dirty, p.entry = e&pteG != 0, e&pteD != 0, at
	p.pa = uint64(e) & 0xfffff000
	return p, marks, 2, 0, true
}

// translate walks to the page of la, judges the access, sets accessed and dirty
// bits, and fills the TLB. pa is la's physical address. A failure is #PF.
func (c *CPU) translate(la uint64, a access) (pa uint64, ok bool) {
	if !c.long() {
		la &= 0xffffffff
	}
	user := c.cpl == 3 && a&accessSystem == 0
	for {
		p, marks, n, code, found := c.walk(la)
		if !found {
			return 0, c.pageFault(la, code|c.errorCode(user, a))
		}
		if !c.allowed(&p, user, a) {
			return 0, c.pageFault(la, pfPresent|c.errorCode(user, a))
		}
		if !p.noEntry && !c.mark(&p, marks[:n], a&accessWrite != 0) {
			continue // an entry changed under the walk
		}
		if a&accessWrite != 0 {
			p.dirty = true
		}
		c.fill(la, &p, user, a)
		return p.pa | la&0xfff, true
	}
}

func (c *CPU) errorCode(user bool, a access) uint32 {
	var code uint32
	if user {
		code |= pfUser
	}
	if a&accessWrite != 0 {
		code |= pfWrite
	}
	if a&accessFetch != 0 && (c.cr4&cr4SMEP != 0 || c.efer&eferNXE != 0 && c.cr4&cr4PAE != 0) {
		code |= pfFetch
	}
	return code
}

// allowed judges an access to a present page: SDM 3 §4.6.1.
func (c *CPU) allowed(p *page, user bool, a access) bool {
	switch {
	case p.noEntry:
		return true
	case a&accessFetch != 0:
		if p.nx || user && !p.user {
			return false
		}
		return user || !p.user || c.cr4&cr4SMEP == 0
	case user:
		return p.user && (a&accessWrite == 0 || p.write)
	}
	if p.user && c.cr4&cr4SMAP != 0 && (a&accessSystem != 0 || c.rflags&flagAC == 0) {
		return false
	}
	return a&accessWrite == 0 || p.write || c.cr0&cr0WP == 0
}

// mark sets the accessed bits of the entries walked and, for a write, the last
// one's dirty bit. It is false if an entry is no longer what it was.
func (c *CPU) mark(p *page, entries []uint64, write bool) bool {
	for _, at := range entries {
		want := uint64(pteA)
		if at == p.entry && write {
			want |= pteD
		}
		if !c.machine.setEntryBits(at, want, p.entry4) {
			return false
		}
	}
	return true
}

// Tables of the TLB, by privilege.
const (
	tlbUser     = iota
	tlbKernel   // RFLAGS.AC = 0, and implicit accesses
	tlbKernelAC // RFLAGS.AC = 1 under SMAP
	tlbChecked  // never filled: alignment checks and data breakpoints see every access
	tlbTables
	tlbSize = 512
)

// tlbEntry holds the linear page for which an access may go straight to host.
// 32 bytes: the run loop multiplies by it.
type tlbEntry struct {
	read, write, fetch uint64 // linear page address, or a value that no look-up in this slot has
	hostPage
}

// tlb is direct-mapped by linear page number.
type tlb [tlbSize]tlbEntry

// tlbPage is what else is known of an entry.
type tlbPage struct {
	pa    uint64
	local bool // not global
}

// flush is what invalidation keeps account of.
type flush struct {
	generation uint64 // of translations: changes whenever one may have gone
	context    uint64 // generation, mode and CPL: see renew. Never 0 once something was remembered
	large      bool   // a mapping bigger than 4 KiB was cached
	filled     [tlbTables]bool
	pages      [tlbTables][tlbSize]tlbPage
}

// noPage is a page address that no look-up in slot i asks for. Translated code looks into the slot that it used last
// before it knows the address's own: for its sake the address is not canonical, and nobody can guess it.
func noPage(i int) uint64 { return nowhere | uint64(i^1)<<12 }

// nowhere is what all noPages have in common.
var nowhere = func() uint64 {
	const notCanonical, page = 1 << 62, 1<<12*tlbSize - 1
	return notCanonical | rand.Uint64()>>2&^page
}()

// nothing is the memory of entries without a page.
var nothing [4096]byte

// clear empties an entry.
func (e *tlbEntry) clear(i int) {
	*e = tlbEntry{read: noPage(i), write: noPage(i), fetch: noPage(i), hostPage: hostAt(nothing[:], 0)}
}

// flushTLB drops all translations, or all but global ones.
func (c *CPU) flushTLB(global bool) {
	c.generation++
	c.renew()
	for t := range c.tlbs {
		if !c.filled[t] {
			continue
		}
		kept := false
		for i := range c.tlbs[t] {
			e := &c.tlbs[t][i]
			if global || c.pages[t][i].local {
				e.clear(i)
			} else {
				kept = true
			}
		}
		c.filled[t] = kept
	}
	if global {
		c.large = false
	}
}

// flushPage drops the translations of one linear page (INVLPG).
func (c *CPU) flushPage(la uint64) {
	if c.large {
		c.flushTLB(true)
		return
	}
	c.generation++
	c.renew()
	i := int(la >> 12 & (tlbSize - 1))
	for t := range c.tlbs {
		e := &c.tlbs[t][i]
		la := la &^ 0xfff
		if e.read == la || e.write == la || e.fetch == la {
			e.clear(i)
		}
	}
}

// protect takes away the right to write a physical page directly: it holds code.
func (c *CPU) protect(pa uint64) {
	for t := range c.tlbs {
		if !c.filled[t] {
			continue
		}
		for i := range c.tlbs[t] {
			if c.pages[t][i].pa == pa {
				c.tlbs[t][i].write = noPage(i)
			}
		}
	}
}

// protectAll takes it away for every page.
func (c *CPU) protectAll() {
	for t := range c.tlbs {
		if !c.filled[t] {
			continue
		}
		for i := range c.tlbs[t] {
			c.tlbs[t][i].write = noPage(i)
		}
	}
}

// table is the TLB for an access at the current privilege.
func (c *CPU) table(user bool, a access) int {
	switch {
	case user:
		return tlbUser
	case a&accessSystem == 0 && c.rflags&flagAC != 0 && c.cr4&cr4SMAP != 0:
		return tlbKernelAC
	}
	return tlbKernel
}

// selectTLB sets the table that data accesses use.
func (c *CPU) selectTLB() {
	if c.checked() {
		c.tlb = &c.tlbs[tlbChecked]
		return
	}
	c.tlb = &c.tlbs[c.table(c.cpl == 3, 0)]
}

// checked reports that each data access must be looked at.
func (c *CPU) checked() bool {
	return c.cpl == 3 && c.rflags&flagAC != 0 && c.cr0&cr0AM != 0 || c.dataBreakpoints()
}

// dataBreakpoints reports that DR7 enables one on data, or a debugger has one.
func (c *CPU) dataBreakpoints() bool {
	if c.debug != nil && len(c.debug.Watches) > 0 {
		return true
	}
	for i := range 4 {
		if c.dr7>>(2*i)&3 != 0 && c.dr7>>(16+4*i)&1 != 0 {
			return true
		}
	}
	return false
}

// fill enters a translation into the table for the access's privilege.
func (c *CPU) fill(la uint64, p *page, user bool, a access) {
	host, ram := c.machine.host(p.pa)
	if !ram {
		return
	}
	t := c.table(user, a)
	i := int(la >> 12 & (tlbSize - 1))
	e := &c.tlbs[t][i]
	la &^= 0xfff
	*e = tlbEntry{read: noPage(i), write: noPage(i), fetch: noPage(i), hostPage: host}
	c.pages[t][i] = tlbPage{p.pa, !p.global || c.cr4&cr4PGE == 0}
	kind := a & accessSystem
	if c.allowed(p, user, kind) {
		e.read = la
	}
	if p.dirty && c.allowed(p, user, kind|accessWrite) && !c.machine.code.holds(p.pa) {
		e.write = la
	}
	if c.allowed(p, user, kind|accessFetch) {
		e.fetch = la
	}
	c.filled[t] = true
	c.large = c.large || p.large
}

// fetchPage finds the physical page of the instruction at la.
func (c *CPU) fetchPage(la uint64) (pa uint64, ok bool) {
	t := tlbKernel
	if c.cpl == 3 {
		t = tlbUser
	}
	i := la >> 12 & (tlbSize - 1)
	if c.tlbs[t][i].fetch == la&^0xfff {
		return c.pages[t][i].pa, true
	}
	pa, ok = c.translate(la, accessFetch)
	return pa &^ 0xfff, ok
}
