package irqchip

// raise is an event of the entry's source: what the entry says, unless it is masked. Any goroutine may call it.
func (l *Local) raise(entry int) {
	v := l.lvt[entry].Load()
	if v&lvtMasked != 0 {
		return
	}
	mode := delivery(v & lvtDelivery >> 8)
	if mode == deliverLowest || mode == deliverStartup { // no modes of an LVT entry
		return
	}
	l.accept(mode, uint8(v), false)
}

// writeLVT stores software's value of an entry. While the APIC is disabled by software all entries stay masked, SDM 3 §10.4.7.2.
func (l *Local) writeLVT(entry int, v uint32) {
	v &= lvtWritable[entry]
	if !l.listening() {
		v |= lvtMasked
	}
	switch entry {
	case lvtTimer:
		l.writeTimerLVT(v)
	case lvtLINT0:
		// Remote IRR lives as long as the entry is for the same level-triggered vector.
		if old := l.lvt[entry].Load(); (old^v)&(lvtVector|lvtDelivery|lvtLevel) == 0 {
			v |= old & lvtRemoteIRR
		}
		l.lvt[entry].Store(v)
		l.lint0Changed()
	default:
		l.lvt[entry].Store(v)
	}
}

// writeSVR stores the spurious-interrupt vector register; its enable bit masks all entries on the way down.
func (l *Local) writeSVR(v uint32) {
	was := l.listening()
	if was && v&svrEnable == 0 {
		l.settleTimer()
	}
	l.svr.Store(v & svrWritable)
	switch on := v&svrEnable != 0; {
	case on && !was:
		l.soft.ioapic.retry()
	case was && !on:
		for i := range l.lvt {
			l.lvt[i].Or(lvtMasked)
		}
		l.lint0Changed()
	}
}

// fail records an error, and raises the error interrupt if that has not been since the last write of ESR (SDM 3 §10.5.3). An error in delivering the
// error interrupt is recorded and no more.
func (l *Local) fail(bit uint32) {
	if l.errors.Or(bit|esrGiven)&esrGiven == 0 {
		l.raise(lvtError)
	}
}

// writeESR latches the errors found since the last write.
func (l *Local) writeESR() { l.esr = l.errors.Swap(0) &^ esrGiven }

// lint0Passes reports whether the 8259s' request reaches the processor as it is.
func (l *Local) lint0Passes() bool {
	return !l.enabled() || l.lvt[lvtLINT0].Load()&(lvtMasked|lvtDelivery) == uint32(deliverExtINT)<<8
}

// lint0Changed makes what depends on LINT0's entry follow it. The owner calls it after each change of the entry or of the global enable.
func (l *Local) lint0Changed() {
	p := &l.soft.pics
	p.mu.Lock()
	l.extINT = l.lint0Passes()
	l.setINTR(p.out && l.extINT)
	high := p.out
	p.mu.Unlock()
	if high {
		l.lint0Level()
	}
}

// setINTR shows the 8259s' request to the processor. Their lock is held.
func (l *Local) setINTR(high bool) {
	if high {
		l.pending.Or(pendingINTR)
	} else if l.pending.Load()&pendingINTR != 0 {
		l.pending.And(^uint32(pendingINTR))
	}
}

// lint0Rose is the 8259s' request at LINT0, seen without their lock: INTR has been set already if it passes; other modes raise what they say.
func (l *Local) lint0Rose() {
	switch {
	case l.lint0Passes():
		l.signal(SignalInterrupt, 0)
	case !l.lint0Level():
		l.raise(lvtLINT0)
	}
}

// lint0Level reports whether LINT0 is a level-triggered vector, and raises it, once until EOI: whoever sets remote IRR does. An entry that changes
// meanwhile is looked at by who changed it.
func (l *Local) lint0Level() bool {
	v := l.lvt[lvtLINT0].Load()
	if v&(lvtMasked|lvtDelivery|lvtLevel) != lvtLevel {
		return false
	}
	if v&lvtRemoteIRR == 0 && l.lvt[lvtLINT0].CompareAndSwap(v, v|lvtRemoteIRR) && !l.accept(deliverFixed, uint8(v), true) {
		l.lvt[lvtLINT0].And(^uint32(lvtRemoteIRR))
	}
	return true
}

// endLINT0 is the end of a level-triggered vector: LINT0 raises it again if it was its own and the line is still high.
func (l *Local) endLINT0(vector uint8) {
	v := l.lvt[lvtLINT0].Load()
	if v&lvtRemoteIRR == 0 || uint8(v) != vector {
		return
	}
	l.lvt[lvtLINT0].And(^uint32(lvtRemoteIRR))
	l.lint0Changed()
}
