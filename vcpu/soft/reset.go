package soft

// Where processors start after RESET: SDM 3 §10.1.4.
const (
	resetCS   = 0xf000
	resetBase = 0xffff0000
	resetIP   = 0xfff0
)

// powerOn is the state at RESET: SDM 3 §10.1.1.
func (c *CPU) powerOn() {
	c.xcr0 = 1
	c.mxcsr = 0x1f80
	c.fpu = x87State{control: 0x40, tag: 0xff}
	c.msr = msrs{
		pat: patReset, miscEnable: miscFastStrings | miscNoBTS | miscNoPEBS, featureControl: featureLocked, microcode: microcodeReset,
	}
	c.reset(cr0CD | cr0NW | cr0ET)
}

// init is INIT: what concerns caches, floating point, the TSC and most
// model-specific registers stays.
func (c *CPU) init() {
	c.apic.Reset()
	c.reset(c.cr0&(cr0CD|cr0NW) | cr0ET)
}

// reset is what RESET and INIT have in common. All processors but the first wait
// for a start-up interrupt.
func (c *CPU) reset(cr0 uint64) {
	c.r = [256]uint64{rdx: signature}
	c.rip, c.next = resetIP, resetIP
	c.rflags = 0
	c.setArith(0)
	c.cr0, c.cr2, c.cr3, c.cr4, c.efer = cr0, 0, 0, 0, 0
	c.dr = [4]uint64{}
	c.dr6, c.dr7 = dr6Fixed, dr7Fixed
	data := segment{limit: 0xffff, attr: attrP | attrS | attrWritable | attrAccessed}
	for i := range c.seg {
		c.seg[i] = data
	}
	c.seg[cs].sel, c.seg[cs].base = resetCS, resetBase
	c.seg[ldtr] = segment{limit: 0xffff, attr: attrP | typeLDT}
	c.seg[tr] = segment{limit: 0xffff, attr: attrP | typeTSSBusy}
	c.gdtr, c.idtr = table{limit: 0xffff}, table{limit: 0xffff}
	c.fault = fault{}
	c.trap = 0
	c.sys = systemState{}
	c.monitor = monitor{}
	c.shadow = 0
	c.pending.And(^pendingShadow)
	c.halted, c.nmiMask, c.shutdown = false, false, false
	c.waitSIPI = c.id != 0
	c.flushTLB(true)
	c.updateMode()
	c.updateStep()
}

// startUp is a start-up interrupt: SDM 3 §9.4.4.
func (c *CPU) startUp(vector uint8) {
	c.waitSIPI = false
	c.seg[cs].sel, c.seg[cs].base = uint16(vector)<<8, uint64(vector)<<12
	c.rip, c.next = 0, 0
	c.updateMode()
}

// flatProtected is 32-bit protected mode without paging, all segments flat.
func (c *CPU) flatProtected(entry uint32) {
	c.reset(cr0PE | cr0ET)
	c.waitSIPI = false
	data := segment{limit: 0xffffffff, sel: 16, attr: attrP | attrS | attrWritable | attrAccessed | attrDB | attrG}
	for _, i := range [...]uint8{es, ss, ds, fs, gs} {
		c.seg[i] = data
	}
	c.seg[cs] = segment{limit: 0xffffffff, sel: 8, attr: attrP | attrS | attrCode | attrReadable | attrAccessed | attrDB | attrG}
	c.seg[tr] = segment{limit: 0x67, attr: attrP | typeTSSBusy}
	c.gdtr, c.idtr = table{}, table{}
	c.r[rdx] = 0
	c.rip, c.next = uint64(entry), uint64(entry)
	c.updateMode()
}

// SetEntry starts the processor by the boot protocols of PVH and Multiboot: 32-bit
// protected mode without paging at physical address entry, EBX the address of
// their information structure, EAX Multiboot's magic. Before Run.
func (c *CPU) SetEntry(entry, eax, ebx uint32) {
	c.flatProtected(entry)
	c.r[rax], c.r[rbx] = uint64(eax), uint64(ebx)
}

// SetLong64 starts the processor in 64-bit mode at linear address entry, with the
// page tables of cr3, the argument in RSI, and a GDT of gdtBytes whose selectors 10H
// and 18H are flat code and data: Linux's 64-bit boot protocol. Before Run.
func (c *CPU) SetLong64(entry, cr3, argument, gdt uint64, gdtBytes uint16) {
	c.flatProtected(0)
	c.cr0 |= cr0PG | cr0NE | cr0WP
	c.cr4 = cr4PAE
	c.efer = eferLME | eferLMA
	c.cr3 = cr3
	s := &c.seg[cs]
	s.attr = s.attr&^attrDB | attrL
	s.sel = 0x10
	for _, i := range [...]uint8{es, ss, ds, fs, gs} {
		c.seg[i].sel = 0x18
	}
	c.gdtr = table{base: gdt, limit: gdtBytes - 1}
	c.r[rsi] = argument
	c.rip, c.next = entry, entry
	c.flushTLB(true)
	c.updateMode()
}
