package uintr

import (
	"encoding/binary"

	"gvmm/uintr/spec"
)

// Deliver enters the user handler if a user interrupt is deliverable at this instruction boundary, `uintr.md §1.8`. A
// fault leaves everything as it was: once the guest has mended it, the next boundary delivers again.
func (s *State) Deliver(mem Memory, r Registers) (delivered bool, err error) {
	if s.UIRR == 0 || !s.UIF {
		return false, nil
	}
	m := r.Mode()
	if !deliverable(m) {
		return false, nil
	}
	if !canonical(s.Handler, m.LinearBits) {
		return false, faultGP
	}
	c := r.Context()
	top := c.RSP - s.StackAdjust
	if s.StackAdjust&spec.StackAdjustLoad != 0 {
		top = s.StackAdjust
	}
	top &^= 0xF
	f, err := newFrame(mem, m, top)
	if err != nil {
		return false, err
	}
	vector := s.vector()
	binary.LittleEndian.PutUint64(f.high[8:], c.RSP)
	binary.LittleEndian.PutUint64(f.high, c.RFLAGS)
	binary.LittleEndian.PutUint64(f.low[8:], c.RIP)
	binary.LittleEndian.PutUint64(f.low, uint64(vector))

	s.UIRR &^= 1 << vector
	s.UIF = false
	r.SetContext(Context{RIP: s.Handler, RSP: top - spec.FrameSize, RFLAGS: c.RFLAGS &^ (spec.FlagTF | spec.FlagRF)})
	return true, nil
}

// UIRET returns from a handler that has popped the vector, `uintr.md §1.9`. It may be followed by a delivery at once. The
// engine drops an armed MONITOR range.
func (s *State) UIRET(mem Memory, r Registers) error {
	m := r.Mode()
	if !m.instructions() {
		return faultUD
	}
	c := r.Context()
	var popped [spec.ReturnSize]byte
	if err := readStack(mem, m, c.RSP, popped[:]); err != nil {
		return err
	}
	rip := binary.LittleEndian.Uint64(popped[spec.ReturnRIP:])
	if !canonical(rip, m.LinearBits) {
		return faultGP
	}
	flags := binary.LittleEndian.Uint64(popped[spec.ReturnRFLAGS:])
	r.SetContext(Context{
		RIP:    rip,
		RSP:    binary.LittleEndian.Uint64(popped[spec.ReturnRSP:]),
		RFLAGS: c.RFLAGS&^spec.FlagsUIRET | flags&spec.FlagsUIRET,
	})
	s.UIF = true
	return nil
}
