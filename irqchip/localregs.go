package irqchip

import "encoding/binary"

// ReadMMIO reads the xAPIC page; off is an offset in it. Registers are 32 bits at every 16 bytes: bytes between them, and those past a register, read
// zero. A register that is not there is an error in ESR.
func (l *Local) ReadMMIO(off uint64, p []byte) {
	clear(p)
	at := off % registerStride
	if off > basePage || at >= 4 {
		return
	}
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], l.readXAPIC(reg(off/registerStride)))
	copy(p, b[at:])
}

// WriteMMIO writes the xAPIC page. Only 32-bit stores at a register are ones (SDM 3 §10.4.1); others do nothing.
func (l *Local) WriteMMIO(off uint64, p []byte) {
	if off > basePage || off%registerStride != 0 || len(p) != 4 {
		return
	}
	l.writeXAPIC(reg(off/registerStride), binary.LittleEndian.Uint32(p))
}

// ReadMSR reads IA32_APIC_BASE, IA32_TSC_DEADLINE or a register in x2APIC mode; false is #GP(0).
func (l *Local) ReadMSR(msr uint32) (uint64, bool) {
	switch {
	case msr == msrAPICBase:
		return l.base.Load(), true
	case msr == msrTSCDeadline:
		return l.readTSCDeadline(), true
	case msr < msrX2APIC || msr >= msrX2APICEnd || !l.X2APIC():
		return 0, false
	}
	switch r := reg(msr - msrX2APIC); r {
	case regID:
		return uint64(l.id), true
	case regICR:
		return l.icr, true
	case regDFR, regAPR, regRRD, regEOI, regICRHigh, regSelfIPI:
		return 0, false
	default:
		v, ok := l.read(r)
		return uint64(v), ok
	}
}

// WriteMSR writes what ReadMSR reads, EOI and SELF IPI; false is #GP(0), and nothing changed.
func (l *Local) WriteMSR(msr uint32, v uint64) bool {
	switch {
	case msr == msrAPICBase:
		return l.writeBase(v)
	case msr == msrTSCDeadline:
		l.writeTSCDeadline(v)
		return true
	case msr < msrX2APIC || msr >= msrX2APICEnd || !l.X2APIC():
		return false
	}
	r := reg(msr - msrX2APIC)
	if v&^x2apicWritable(r) != 0 {
		return false
	}
	switch r {
	case regICR:
		l.writeICR(v &^ icrStatus)
	case regSelfIPI:
		l.sendSelf(uint8(v))
	case regDFR, regLDR:
		return false
	default:
		return l.write(r, uint32(v))
	}
	return true
}

// x2apicWritable holds the bits of a register that may be set without #GP(0), SDM 3 §10.12.1.2 and §10.12.1.3. That of a register which is not there,
// or read-only, does not matter. ICR's delivery status is no bit in x2APIC mode any more, but processors ignore it.
func x2apicWritable(r reg) uint64 {
	switch r {
	case regTPR, regSelfIPI:
		return 0xFF
	case regEOI, regESR:
		return 0
	case regSVR:
		return svrWritable
	case regICR:
		return everyone<<32 | icrWritable | icrStatus
	case regInitial:
		return 0xFFFFFFFF
	case regDivide:
		return 0xB
	}
	if entry := r - regLVTTimer; entry < lvtEntries {
		return uint64(lvtWritable[entry] | lvtReadOnly[entry])
	}
	return 0
}

func (l *Local) readXAPIC(r reg) uint32 {
	switch r {
	case regID:
		return l.id << 24
	case regAPR, regRRD, regEOI: // there, without a value
		return 0
	case regDFR:
		return l.dfr.Load()
	case regICRHigh:
		return uint32(l.icr >> 32)
	}
	v, ok := l.read(r)
	if !ok {
		l.fail(esrRegister)
	}
	return v
}

func (l *Local) writeXAPIC(r reg, v uint32) {
	switch r {
	case regDFR:
		l.dfr.Store(v | ^uint32(dfrModel))
	case regLDR:
		l.ldr.Store(v & 0xFF000000)
	case regICR:
		l.writeICR(l.icr&^0xFFFFFFFF | uint64(v&icrWritable))
	case regICRHigh:
		l.icr = l.icr&0xFFFFFFFF | uint64(v&0xFF000000)<<32
	default:
		if l.write(r, v) {
			return
		}
		if _, ok := l.read(r); !ok && r != regID && r != regAPR && r != regRRD { // not one that is read-only
			l.fail(esrRegister)
		}
	}
}

// read reads the registers that both modes have and show alike. false: r is none of them.
func (l *Local) read(r reg) (uint32, bool) {
	if regISR <= r && r < regIRREnd {
		switch i := r & 7; {
		case r < regTMR:
			return l.isr.word32(i), true
		case r < regIRR:
			return l.tmr.word32(i), true
		default:
			return l.irr.word32(i), true
		}
	}
	if entry := r - regLVTTimer; entry < lvtEntries {
		return l.lvt[entry].Load(), true
	}
	switch r {
	case regVersion:
		return localVersion, true
	case regTPR:
		return uint32(l.tpr), true
	case regPPR:
		return l.readPPR(), true
	case regLDR:
		return l.ldr.Load(), true
	case regSVR:
		return l.svr.Load(), true
	case regESR:
		return l.esr, true
	case regICR:
		return uint32(l.icr), true
	case regInitial:
		return l.timer.initial, true
	case regCurrent:
		return l.readCurrent(), true
	case regDivide:
		return l.timer.divide, true
	}
	return 0, false
}

// write writes the registers that both modes have and take alike. false: r is none of them, or read-only.
func (l *Local) write(r reg, v uint32) bool {
	if entry := r - regLVTTimer; entry < lvtEntries {
		l.writeLVT(int(entry), v)
		return true
	}
	switch r {
	case regTPR:
		l.SetTPR(uint8(v))
	case regEOI:
		l.EOI()
	case regSVR:
		l.writeSVR(v)
	case regESR:
		l.writeESR()
	case regInitial:
		l.writeInitial(v)
	case regDivide:
		l.writeDivide(v)
	default:
		return false
	}
	return true
}

// readPPR is the processor priority as software sees it; TPR's low bits show only while TPR's class is the highest.
func (l *Local) readPPR() uint32 {
	p := l.ppr.Load()
	if p == notAccepting && !l.enabled() {
		return 0
	}
	return p
}
