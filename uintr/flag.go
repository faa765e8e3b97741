package uintr

import "gvmm/uintr/spec"

// The instructions on UIF, `uintr.md §1.6`. They leave RIP to the engine, as SENDUIPI does.

const flagsTESTUI = spec.FlagCF | spec.FlagPF | spec.FlagAF | spec.FlagZF | spec.FlagSF | spec.FlagOF

// TESTUI copies UIF to CF and clears ZF, AF, OF, PF and SF.
func (s *State) TESTUI(r Registers) error {
	if !r.Mode().instructions() {
		return faultUD
	}
	c := r.Context()
	c.RFLAGS &^= flagsTESTUI
	if s.UIF {
		c.RFLAGS |= spec.FlagCF
	}
	r.SetContext(c)
	return nil
}

// CLUI clears UIF: the boundary after it delivers nothing.
func (s *State) CLUI(r Registers) error { return s.setUIF(r, false) }

// STUI sets UIF: the boundary after it may deliver, there is no shadow as after STI.
func (s *State) STUI(r Registers) error { return s.setUIF(r, true) }

func (s *State) setUIF(r Registers, v bool) error {
	if !r.Mode().instructions() {
		return faultUD
	}
	s.UIF = v
	return nil
}
