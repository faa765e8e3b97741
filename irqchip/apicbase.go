package irqchip

// Base is where the xAPIC page is, from IA32_APIC_BASE. mmio is false where there is none: the APIC is disabled or in x2APIC mode.
func (l *Local) Base() (addr uint64, mmio bool) {
	b := l.base.Load()
	return b &^ basePage, b&(baseEN|baseEXTD) == baseEN
}

// X2APIC reports whether the APIC is in x2APIC mode.
func (l *Local) X2APIC() bool { return l.base.Load()&(baseEN|baseEXTD) == baseEN|baseEXTD }

// writeBase changes IA32_APIC_BASE. Reserved bits and the transitions that SDM 3 §10.12.5 forbids are false.
func (l *Local) writeBase(v uint64) bool {
	const mode = baseEN | baseEXTD
	reserved := uint64(basePage&^(mode|baseBSP)) | ^uint64(0)<<l.soft.cfg.PhysicalBits
	was, now := l.base.Load()&mode, v&mode
	switch {
	case v&reserved != 0,
		now == baseEXTD,              // there is no such mode
		was == mode && now == baseEN, // x2APIC is left by disabling
		was == 0 && now == mode:      // and entered from xAPIC
		return false
	case was == now:
		l.base.Store(v)
		return true
	}
	l.base.Store(v)
	switch now {
	case mode:
		// All stays but the logical id, and the destination's half of ICR. SDM 3 §10.12.5.1.
		l.ldr.Store(logicalID(l.id))
		l.icr &= 0xFFFFFFFF
	default:
		// Disabling loses the state; enabling again clears what a late sender left behind. SDM 3 §10.4.3.
		l.resetRegisters()
	}
	l.lint0Changed()
	l.updatePPR()
	if now != 0 {
		l.soft.ioapic.retry()
	}
	return true
}
