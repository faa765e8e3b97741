package uintr

import "gvmm/uintr/spec"

// Identify reports whether a vector that the CPU acknowledged from its local APIC, whatever its source, is a
// user-interrupt notification (`uintr.md §1.8`). If so the engine writes EOI and calls ProcessNotification; otherwise the
// vector goes through the IDT. INT n is not an acknowledged vector.
func (s *State) Identify(r Registers, vector uint8) bool {
	if vector != s.UINV || vector == 0 {
		return false
	}
	m := r.Mode()
	return m.UINTR && m.LongMode
}

// ProcessNotification moves the requests posted in the UPID into UIRR, `uintr.md §1.8`. On a fault the interrupt is
// consumed all the same, and UPID and UIRR are as they were.
func (s *State) ProcessNotification(mem Memory, r Registers) error {
	view, err := supervisor(mem, r.Mode(), s.UPIDAddr&^spec.PDReserved, spec.UPIDBytes, true)
	if err != nil {
		return err
	}
	s.UIRR |= spec.UPID(view).Drain()
	return nil
}
