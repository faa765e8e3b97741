package soft

import "gvmm/vcpu/soft/decode"

// Bits of CR0 that exist, and of CR4 that CPUID shows.
const (
	cr0Known = cr0PE | cr0MP | cr0EM | cr0TS | cr0ET | cr0NE | cr0WP | cr0AM | cr0NW | cr0CD | cr0PG
	cr4Known = cr4TSD | cr4DE | cr4PSE | cr4PAE | cr4MCE | cr4PGE | cr4PCE | cr4OSFXSR | cr4OSXMMEXCPT | cr4UMIP | cr4LA57 |
		cr4FSGSBASE | cr4PCIDE | cr4OSXSAVE | cr4SMEP | cr4SMAP
	// A change of these drops every translation: SDM 3 §4.10.4.1.
	cr0Flush = cr0PG | cr0PE | cr0WP
	cr4Flush = cr4PGE | cr4PAE | cr4PSE | cr4SMEP | cr4SMAP | cr4PCIDE | cr4LA57

	cr3NoFlush  = 1 << 63
	eferKnown   = eferSCE | eferLME | eferLMA | eferNXE
	pdpteBadLow = 0x1e6 // reserved bits of a PAE PDPTE
)

func (c *CPU) moveFromCR(in *decode.Inst) bool {
	if c.cpl != 0 {
		return c.gp0()
	}
	var v uint64
	switch in.Reg {
	case 0:
		v = c.cr0
	case 2:
		v = c.cr2
	case 3:
		v = c.cr3
	case 4:
		v = c.cr4
	case 8:
		v = uint64(c.apic.TPR() >> 4)
	default:
		return c.ud()
	}
	c.set(in.RM, in.Size, v)
	return true
}

func (c *CPU) moveToCR(in *decode.Inst) bool {
	if c.cpl != 0 {
		return c.gp0()
	}
	v := c.get(in.RM, in.Size)
	switch in.Reg {
	case 0:
		return c.writeCR0(v)
	case 2:
		c.cr2 = v
		return true
	case 3:
		return c.writeCR3(v)
	case 4:
		return c.writeCR4(v)
	case 8:
		if v > 15 {
			return c.gp0()
		}
		c.apic.SetTPR(uint8(v) << 4)
		c.lookAPIC()
		return true
	}
	return c.ud()
}

// writeCR0 is MOV to CR0: SDM 3 §2.5, §4.1.1 and §10.8.5.
func (c *CPU) writeCR0(v uint64) bool {
	if v>>32 != 0 || v&cr0PG != 0 && v&cr0PE == 0 || v&cr0NW != 0 && v&cr0CD == 0 {
		return c.gp0()
	}
	v = v&cr0Known | cr0ET
	efer := c.efer
	switch changed := v ^ c.cr0; {
	case changed&cr0PG == 0:
	case v&cr0PG != 0 && c.efer&eferLME != 0:
		if c.cr4&cr4PAE == 0 || c.seg[cs].attr&attrL != 0 || c.seg[tr].attr&attrType|busyBit == typeTSS16Busy {
			return c.gp0()
		}
		efer |= eferLMA
	case v&cr0PG == 0:
		if c.mode == decode.Mode64 || c.cr4&cr4PCIDE != 0 {
			return c.gp0()
		}
		efer &^= eferLMA
	}
	if v&cr0PG != 0 && (v^c.cr0)&(cr0PG|cr0CD|cr0NW) != 0 && efer&eferLMA == 0 && c.cr4&cr4PAE != 0 && !c.pointers(c.cr3) {
		return false
	}
	changed := v ^ c.cr0
	c.cr0, c.efer = v, efer
	if changed&cr0Flush != 0 {
		c.flushTLB(true)
	}
	c.updateMode()
	c.lookUser()
	return true
}

// pointers loads the four PDPTEs of PAE paging from a CR3: SDM 3 §4.4.1. Reserved
// bits of a present one are #GP(0), and none is loaded.
func (c *CPU) pointers(cr3 uint64) bool {
	var all [4]uint64
	for i := range all {
		e, ok := c.machine.load64(cr3&0xffffffe0 + uint64(i)*8)
		if !ok {
			e = 0
		}
		if e&pteP != 0 && (e&pdpteBadLow != 0 || e>>physicalBits != 0) {
			return c.gp0()
		}
		all[i] = e
	}
	c.pdptes = all
	return true
}

// writeCR3 is MOV to CR3. The TLB holds translations of one PCID at a time.
func (c *CPU) writeCR3(v uint64) bool {
	keep := false
	if c.cr4&cr4PCIDE != 0 {
		keep = v&cr3NoFlush != 0
		v &^= cr3NoFlush
	}
	if c.long() && v>>physicalBits != 0 {
		return c.gp0()
	}
	if !c.long() {
		v &= 0xffffffff
		if c.cr0&cr0PG != 0 && c.cr4&cr4PAE != 0 && !c.pointers(v) {
			return false
		}
	}
	if !keep || v != c.cr3 {
		c.flushTLB(false)
	}
	c.cr3 = v
	return true
}

// writeCR4 is MOV to CR4.
func (c *CPU) writeCR4(v uint64) bool {
	known := uint64(cr4Known)
	if c.config.UINTR {
		known |= cr4UINTR
	}
	changed := v ^ c.cr4
	switch {
	case v&^known != 0,
		c.long() && (v&cr4PAE == 0 || changed&cr4LA57 != 0),
		changed&v&cr4PCIDE != 0 && (!c.long() || c.cr3&0xfff != 0):
		return c.gp0()
	}
	if c.cr0&cr0PG != 0 && !c.long() && v&cr4PAE != 0 && changed&(cr4PAE|cr4PGE|cr4PSE|cr4SMEP) != 0 && !c.pointers(c.cr3) {
		return false
	}
	c.cr4 = v
	if changed&cr4Flush != 0 {
		c.flushTLB(true)
	}
	c.updateMode()
	c.lookUser()
	return true
}

// writeEFER is WRMSR of IA32_EFER.
func (c *CPU) writeEFER(v uint64) bool {
	if v&^eferKnown != 0 || (v^c.efer)&eferLME != 0 && c.cr0&cr0PG != 0 {
		return c.gp0()
	}
	v = v&^eferLMA | c.efer&eferLMA
	if (v^c.efer)&eferNXE != 0 {
		c.efer = v
		c.flushTLB(true)
	}
	c.efer = v
	return true
}

// loadMSW is LMSW: it sets PE but never clears it.
func (c *CPU) loadMSW(in *decode.Inst) bool {
	if c.cpl != 0 {
		return c.gp0()
	}
	v, ok := c.readRM(in)
	return ok && c.writeCR0(c.cr0&^0xe|c.cr0&cr0PE|v&0xf)
}

// invpcid is INVPCID.
func (c *CPU) invpcid(in *decode.Inst) bool {
	if c.cpl != 0 {
		return c.gp0()
	}
	at := c.offset(in)
	pcid, ok := c.loadAt(in.Seg, at, 8)
	if !ok {
		return false
	}
	la, ok := c.loadAt(in.Seg, (at+8)&sizeMask(in.Addr), 8)
	if !ok {
		return false
	}
	n := uint8(4)
	if c.mode == decode.Mode64 {
		n = 8
	}
	kind := c.get(in.Reg, n)
	if kind > 3 || pcid>>12 != 0 || kind < 2 && pcid != 0 && c.cr4&cr4PCIDE == 0 || kind == 0 && !c.canonical(la) {
		return c.gp0()
	}
	switch kind {
	case 0:
		c.flushPage(la)
	case 2:
		c.flushTLB(true)
	default:
		c.flushTLB(false)
	}
	return true
}

// invlpg is INVLPG. An address that is not canonical does nothing.
func (c *CPU) invlpg(in *decode.Inst) bool {
	if c.cpl != 0 {
		return c.gp0()
	}
	la := c.offset(in)
	if c.mode != decode.Mode64 || in.Seg >= fs {
		la += c.bases[in.Seg]
	}
	if c.mode != decode.Mode64 {
		la &= 0xffffffff
	} else if !c.canonical(la) {
		return true
	}
	c.flushPage(la)
	return true
}

// xgetbv is XGETBV: XCR0, or which of its components are in use.
func (c *CPU) xgetbv() bool {
	if c.cr4&cr4OSXSAVE == 0 {
		return c.ud()
	}
	v := c.xcr0
	switch uint32(c.r[rcx]) {
	case 0:
	case 1:
		v &= c.xinuse()
	default:
		return c.gp0()
	}
	c.setEDXEAX(v)
	return true
}

// xsetbv is XSETBV.
func (c *CPU) xsetbv() bool {
	if c.cr4&cr4OSXSAVE == 0 {
		return c.ud()
	}
	v := c.edxEAX()
	if c.cpl != 0 || uint32(c.r[rcx]) != 0 || v&1 == 0 || v&^3 != 0 {
		return c.gp0()
	}
	c.xcr0 = v
	return true
}

// edxEAX is the 64-bit operand in EDX:EAX.
func (c *CPU) edxEAX() uint64 { return c.r[rdx]<<32 | c.r[rax]&0xffffffff }

func (c *CPU) setEDXEAX(v uint64) { c.r[rax], c.r[rdx] = v&0xffffffff, v>>32 }
