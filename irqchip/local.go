package irqchip

import "sync/atomic"

// What a processor has pending, bits of Local.pending.
const (
	pendingVector = 1 << iota // IRR holds a vector above PPR
	pendingINTR               // the 8259s ask, and LINT0 lets them through
	pendingExtINT             // an ExtINT message asks for an INTA cycle
)

// notAccepting is a PPR above every vector: that of an APIC which is globally disabled.
const notAccepting = 0xFF

// Local is one processor's local APIC (SDM 3 ch. 10). Senders and their receiver share no lock: a message is a bit in IRR, then one in pending.
//
// Pending, Base, X2APIC and Deadline may be called from any goroutine; all other methods are for the processor that owns the APIC.
//
// No wakeup is lost: a sender sets IRR and then reads PPR, the owner sets PPR (or clears pendingVector) and then reads IRR, so that at least one of
// them sees what the other did. pendingVector may therefore be set with nothing deliverable, never the other way round; Acknowledge mends it.
type Local struct {
	soft *Soft
	id   uint32
	_    [48]byte // what follows, senders write

	irr sharedVectors
	tmr sharedVectors

	pending atomic.Uint32
	ppr     atomic.Uint32 // owner writes; senders compare
	errors  atomic.Uint32 // found since the last write of ESR, and esrGiven

	// What senders ask of an APIC; the owner writes.
	svr  atomic.Uint32
	ldr  atomic.Uint32
	dfr  atomic.Uint32
	base atomic.Uint64 // IA32_APIC_BASE
	lvt  [lvtEntries]atomic.Uint32

	extINT bool // LINT0 passes the 8259s' request; guarded by Soft.pics.mu
	_      [64]byte

	// The owner's.
	isr      vectorSet
	tpr      uint8
	esr      uint32
	icr      uint64
	timer    timer
	deadline atomic.Uint64
}

// ID is the local APIC id.
func (l *Local) ID() uint32 { return l.id }

// Pending reports whether Acknowledge has something to give; it is rarely true without that. One atomic load.
func (l *Local) Pending() bool { return l.pending.Load() != 0 }

// Acknowledge is what a processor does that takes an interrupt: the 8259s' INTA cycle if they ask, else the highest vector above PPR moves from IRR to
// ISR. false: there is nothing, or nothing any more. The local APIC never gives its spurious vector, because a processor that raises TPR and one that
// acknowledges are the same (SDM 3 §10.9); the 8259s give theirs if their request ends before INTA.
func (l *Local) Acknowledge() (vector uint8, ok bool) {
	if p := l.pending.Load(); p&(pendingINTR|pendingExtINT) != 0 {
		if p&pendingExtINT != 0 {
			l.pending.And(^uint32(pendingExtINT))
		}
		return l.soft.inta(), true
	}
	v := l.irr.highest()
	if v>>4 <= int(l.ppr.Load()>>4) {
		l.refresh()
		return 0, false
	}
	vector = uint8(v)
	l.irr.clear(vector)
	l.isr.set(vector)
	l.ppr.Store(uint32(vector & 0xF0))
	l.refresh()
	return vector, true
}

// EOI ends the highest vector in service, SDM 3 §10.8.5.
func (l *Local) EOI() {
	v := l.isr.highest()
	if v < 0 {
		return
	}
	vector := uint8(v)
	l.isr.clear(vector)
	if l.tmr.has(vector) {
		l.endLevel(vector)
	}
	l.updatePPR()
}

// endLevel tells those who raised a level-triggered vector that it was served.
func (l *Local) endLevel(vector uint8) {
	if l.svr.Load()&svrNoBroadcast == 0 {
		l.soft.ioapic.EOI(vector)
	}
	l.endLINT0(vector)
}

// TPR is the task priority; CR8 is its bits 7:4.
func (l *Local) TPR() uint8 { return l.tpr }

// SetTPR sets the task priority: all 8 bits.
func (l *Local) SetTPR(v uint8) {
	l.tpr = v
	l.updatePPR()
}

// updatePPR makes PPR and what depends on it follow TPR, ISR and the global enable, SDM 3 §10.8.3.1.
func (l *Local) updatePPR() {
	p := uint32(l.tpr)
	if v := l.isr.highest(); v>>4 > int(p>>4) {
		p = uint32(v & 0xF0)
	}
	if !l.enabled() {
		p = notAccepting
	}
	l.ppr.Store(p)
	l.refresh()
}

// refresh makes pendingVector follow IRR and PPR. The owner calls it after each change of either that may make less or more deliverable.
func (l *Local) refresh() {
	if l.deliverable() {
		if l.pending.Load()&pendingVector == 0 {
			l.pending.Or(pendingVector)
		}
		return
	}
	if l.pending.Load()&pendingVector == 0 {
		return
	}
	l.pending.And(^uint32(pendingVector))
	if l.deliverable() { // a sender came between
		l.pending.Or(pendingVector)
	}
}

func (l *Local) deliverable() bool { return l.irr.highest()>>4 > int(l.ppr.Load()>>4) }

// accept takes an interrupt from a message, from any goroutine, or refuses it.
func (l *Local) accept(mode delivery, vector uint8, level bool) bool {
	if !l.enabled() {
		return false
	}
	switch mode {
	case deliverFixed, deliverLowest:
		return l.acceptVector(vector, level)
	case deliverSMI: // there is no system management mode
		return true
	case deliverNMI:
		l.signal(SignalNMI, 0)
	case deliverINIT:
		l.signal(SignalINIT, 0)
	case deliverStartup:
		l.signal(SignalSIPI, vector)
	case deliverExtINT:
		l.pending.Or(pendingExtINT)
		l.signal(SignalInterrupt, 0)
	default:
		return false
	}
	return true
}

// acceptVector sets the vector in IRR, SDM 3 §10.8.4. It makes no difference that it is set already: the processor is told again.
func (l *Local) acceptVector(vector uint8, level bool) bool {
	if !l.listening() {
		return false
	}
	if vector < firstVector {
		l.fail(esrReceiveIllegal)
		return false
	}
	if l.tmr.has(vector) != level {
		if level {
			l.tmr.set(vector)
		} else {
			l.tmr.clear(vector)
		}
	}
	l.irr.set(vector)
	if uint32(vector>>4) <= l.ppr.Load()>>4 {
		return true // the owner finds it when it lowers PPR
	}
	if l.pending.Load()&pendingVector == 0 {
		l.pending.Or(pendingVector)
	}
	l.signal(SignalInterrupt, 0)
	return true
}

func (l *Local) signal(s Signal, vector uint8) { l.soft.cfg.Signal(int(l.id), s, vector) }

// enabled reports the global enable: without it the APIC is not there, and LINT0 and LINT1 are the processor's INTR and NMI.
func (l *Local) enabled() bool { return l.base.Load()&baseEN != 0 }

// listening reports whether an enabled APIC takes fixed interrupts, SDM 3 §10.4.7.2.
func (l *Local) listening() bool { return l.svr.Load()&svrEnable != 0 }

// Reset is INIT: all but the id and IA32_APIC_BASE becomes as after power-on, SDM 3 §10.4.7.3.
func (l *Local) Reset() {
	l.resetRegisters()
	l.lint0Changed()
	l.updatePPR()
}

func (l *Local) powerOn() {
	b := uint64(baseDefault | baseEN)
	if l.id == 0 {
		b |= baseBSP
	}
	l.base.Store(b)
	l.Reset()
}

// resetRegisters gives all registers their state after reset, SDM 3 §10.4.7.1. What was pending is gone.
func (l *Local) resetRegisters() {
	l.svr.Store(svrReset)
	l.irr.clearAll()
	l.tmr.clearAll()
	l.isr = vectorSet{}
	l.tpr, l.esr, l.icr = 0, 0, 0
	l.errors.Store(0)
	for i := range l.lvt {
		l.lvt[i].Store(lvtMasked)
	}
	l.ldr.Store(0)
	if l.X2APIC() {
		l.ldr.Store(logicalID(l.id))
	}
	l.dfr.Store(^uint32(0))
	l.timer = timer{}
	l.publishDeadline()
	l.pending.And(^uint32(pendingExtINT))
}

// VirtualWire does what firmware does for a processor before it starts a system (MP specification §3.6.2.2): the APIC is enabled, LINT0 lets the 8259s
// through, LINT1 is NMI.
func (l *Local) VirtualWire() {
	l.svr.Store(svrReset | svrEnable)
	l.lvt[lvtLINT0].Store(uint32(deliverExtINT) << 8)
	l.lvt[lvtLINT1].Store(uint32(deliverNMI) << 8)
	l.lint0Changed()
}
