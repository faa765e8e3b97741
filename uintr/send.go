package uintr

import (
	"errors"

	"gvmm/uintr/spec"
)

// Notification is the interrupt that a sender owes a receiver: fixed, edge, physical destination (`uintr.md §1.7` step 5).
type Notification struct {
	Vector uint8
	NDST   uint32 // as stored in the UPID
}

// Destination is the APIC ID that NDST names: all of it in x2APIC mode, NDST[15:8] in xAPIC mode.
func (n Notification) Destination(x2apic bool) uint32 {
	if x2apic {
		return n.NDST
	}
	return n.NDST >> 8 & 0xFF
}

// SENDUIPI posts the user interrupt that UITT entry index names, `uintr.md §1.7`. If send is true the engine sends n.
// #UD, #GP(0) and #PF leave the UPID as it was; see spec.UPID.Post for a UPID that changes under the instruction.
func (s *State) SENDUIPI(mem Memory, r Registers, index uint64) (n Notification, send bool, err error) {
	m := r.Mode()
	if !m.instructions() || !s.sendEnabled() {
		return n, false, faultUD
	}
	if index > uint64(s.UITTSize) {
		return n, false, faultGP
	}
	view, err := supervisor(mem, m, s.UITTAddr&spec.TTAddressMask+index*spec.UITTEntrySize, spec.UITTEntrySize, false)
	if err != nil {
		return n, false, err
	}
	entry := spec.UITTE(view).Load()
	if !entry.WellFormed() {
		return n, false, faultGP
	}
	view, err = supervisor(mem, m, entry.UPIDAddr(), spec.UPIDBytes, true)
	if err != nil {
		return n, false, err
	}
	send, n.Vector, n.NDST, err = spec.UPID(view).Post(entry.Vector())
	if errors.Is(err, spec.ErrReserved) {
		err = faultGP
	}
	return n, send, err
}
