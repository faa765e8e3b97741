package irqchip

import "gvmm/vmm/pci"

// packet is an interrupt on its way to local APICs.
type packet struct {
	destination uint32
	logical     bool
	lowest      bool // to one of those that match
	level       bool
	mode        delivery
	vector      uint8
}

// SendMSI implements [pci.MSISender]: the message goes to the local APICs that its address names (SDM 3 §10.11; bits 63:40 are the destination's bits
// 31:8). ErrRefused: it is no interrupt message, or nobody took it. It takes no lock.
func (s *Soft) SendMSI(m pci.Message) error {
	if uint32(m.Address)&0xFFF00000 != messageBase || m.Address>>32&0xFF != 0 {
		return ErrRefused
	}
	k := packet{
		destination: uint32(m.Address>>32) | uint32(m.Address>>12&0xFF),
		logical:     m.Address&msgLogical != 0,
		level:       m.Data&msgLevel != 0,
		mode:        delivery(m.Data >> 8 & 7),
		vector:      uint8(m.Data),
	}
	if k.mode == deliverStartup {
		return ErrRefused
	}
	if k.level && m.Data&msgAssert == 0 {
		return nil // the end of a level, which local APICs do not follow
	}
	k.lowest = k.mode == deliverLowest || k.mode == deliverFixed && m.Address&msgRedirection != 0
	if !s.send(k) {
		return ErrRefused
	}
	return nil
}

// Notify sends the IPI of SENDUIPI: fixed, edge-triggered, to a physical destination as ICR would take it in the current mode (uintr.md §1.7).
func (l *Local) Notify(vector uint8, destination uint32) {
	l.sendIPI(packet{destination: l.destination(destination), mode: deliverFixed, vector: vector})
}

// destination is a destination that software gave in the current mode.
func (l *Local) destination(d uint32) uint32 {
	if !l.X2APIC() && d == everyoneXAPIC {
		return everyone
	}
	return d
}

// writeICR stores the ICR and sends what it says, SDM 3 §10.6.1. All IPIs are edge-triggered; combinations that table 10-3 calls invalid send nothing.
func (l *Local) writeICR(v uint64) {
	l.icr = v
	mode := delivery(v >> 8 & 7)
	vector := uint8(v)
	if mode == deliverINIT && v&(icrLevel|icrAssert) == icrLevel {
		return // INIT level de-assert: for processors with an APIC bus
	}
	if mode > deliverStartup || mode == 3 {
		return
	}
	switch v & shorthandMask {
	case shorthandSelf:
		if mode == deliverFixed {
			l.sendSelf(vector)
		}
		return
	case shorthandAll:
		if mode == deliverFixed {
			l.sendIPI(packet{destination: everyone, vector: vector})
		}
		return
	case icrOthers:
		if l.legal(mode, vector) {
			l.sendOthers(mode, vector)
		}
		return
	}
	d := uint32(v >> 32)
	if !l.X2APIC() {
		d >>= 24
	}
	l.sendIPI(packet{
		destination: l.destination(d), logical: v&icrLogical != 0, lowest: mode == deliverLowest, mode: mode, vector: vector,
	})
}

// legal reports, and records in ESR, whether an IPI's vector may be sent.
func (l *Local) legal(mode delivery, vector uint8) bool {
	if mode <= deliverLowest && vector < firstVector {
		l.fail(esrSendIllegal)
		return false
	}
	return true
}

func (l *Local) sendIPI(k packet) {
	if l.enabled() && l.legal(k.mode, k.vector) {
		l.soft.send(k)
	}
}

// sendSelf is an IPI that does not leave the APIC, so an illegal vector is both sent and received.
func (l *Local) sendSelf(vector uint8) {
	l.legal(deliverFixed, vector)
	l.acceptVector(vector, false)
}

// sendOthers sends to all but l.
func (l *Local) sendOthers(mode delivery, vector uint8) {
	if mode == deliverLowest {
		if to := l.soft.lowest(packet{destination: everyone, vector: vector}, l); to != nil {
			to.accept(mode, vector, false)
		}
		return
	}
	for _, to := range l.soft.locals {
		if to != l {
			to.accept(mode, vector, false)
		}
	}
}

// send delivers k and reports whether anybody took it.
func (s *Soft) send(k packet) bool {
	if !k.logical && k.destination < uint32(len(s.locals)) && k.destination != everyoneXAPIC { // 255 is an id too, for those in x2APIC mode
		return s.locals[k.destination].accept(k.mode, k.vector, k.level)
	}
	if k.lowest {
		l := s.lowest(k, nil)
		return l != nil && l.accept(k.mode, k.vector, k.level)
	}
	taken := false
	for _, l := range s.candidates(k) {
		if l.matches(k) && l.accept(k.mode, k.vector, k.level) {
			taken = true
		}
	}
	return taken
}

// lowest is the local APIC among those that match k, but for except, whose processor has the lowest priority: the arbitration of SDM 3 §10.6.2.4. Equals
// are told apart by the vector, so that one vector stays with one processor and several spread. nil: nobody listens.
func (s *Soft) lowest(k packet, except *Local) *Local {
	candidates := s.candidates(k)
	best, equals := uint32(notAccepting), 0
	for _, l := range candidates {
		if l == except || !l.matches(k) || !l.enabled() || !l.listening() {
			continue
		}
		switch p := l.ppr.Load() >> 4; {
		case p < best:
			best, equals = p, 1
		case p == best:
			equals++
		}
	}
	if equals == 0 {
		return nil
	}
	// Priorities may have changed since; then another that listens will do.
	nth := int(k.vector) % equals
	var to *Local
	for _, l := range candidates {
		if l == except || !l.matches(k) || !l.enabled() || !l.listening() {
			continue
		}
		if l.ppr.Load()>>4 != best {
			if to == nil {
				to = l
			}
			continue
		}
		to = l
		if nth--; nth < 0 {
			break
		}
	}
	return to
}

// candidates is where those that match k are to be sought: a logical destination past xAPIC's 8 bits is in one cluster of 16.
func (s *Soft) candidates(k packet) []*Local {
	if !k.logical || k.destination <= everyoneXAPIC || k.destination == everyone {
		return s.locals
	}
	first := min(int(k.destination>>16)*16, len(s.locals))
	return s.locals[first:min(first+16, len(s.locals))]
}

// matches reports whether k is for l: SDM 3 §10.6.2 and §10.12.10.
func (l *Local) matches(k packet) bool {
	if k.destination == everyone {
		return true
	}
	x2apic := l.X2APIC()
	if !x2apic && k.destination == everyoneXAPIC {
		return true
	}
	if !k.logical {
		return k.destination == l.id
	}
	d, id := k.destination, l.ldr.Load()
	if x2apic {
		return d>>16 == id>>16 && d&id&0xFFFF != 0
	}
	id >>= 24
	switch {
	case d > everyoneXAPIC:
		return false
	case l.dfr.Load()&dfrModel == dfrFlat:
		return d&id != 0
	case l.dfr.Load()&dfrModel == dfrCluster:
		return d>>4 == id>>4 && d&id&0xF != 0
	default:
		return false
	}
}

// logicalID is an APIC's logical id in x2APIC mode: its cluster and its bit in that, SDM 3 §10.12.10.2.
func logicalID(id uint32) uint32 { return id>>4<<16 | 1<<(id&15) }
