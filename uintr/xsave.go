package uintr

import "gvmm/uintr/spec"

// Image fills x, the image of state component 14 that XSAVES stores, `uintr.md §1.4`. Once it is in guest memory, call
// Saved: a store that faults must not cost the CPU its UINV.
func (s *State) Image(x *[spec.XSaveSize]byte) {
	image := spec.XSaveImage(x[:])
	misc := s.misc()
	if s.UIF {
		misc |= spec.XSaveUIF
	}
	image.SetHandler(s.Handler)
	image.SetStackAdjust(s.StackAdjust)
	image.SetMisc(misc)
	image.SetUPIDAddr(s.UPIDAddr)
	image.SetUIRR(s.UIRR)
	image.SetUITTAddr(s.UITTAddr)
}

// Saved ends XSAVES of the component: UINV is cleared, even if the modified optimisation stored nothing.
func (s *State) Saved() { s.UINV = 0 }

// InUse is XINUSE[14]: the component is not in its initial state.
func (s *State) InUse() bool { return *s != State{} }

// XRSTORS loads the component from an image, `uintr.md §1.4`. #GP(0) if UINV is not 0 or the image has an illegal value;
// then nothing was loaded and UINV is 0, unless it is what was wrong. Recognition is that of the new UIRR.
func (s *State) XRSTORS(x *[spec.XSaveSize]byte, maxLinearBits uint8) error {
	image := spec.XSaveImage(x[:])
	if s.UINV != 0 ||
		image.Misc()&spec.XSaveMiscReserved != 0 ||
		!writable(spec.MSRHandler, image.Handler(), maxLinearBits) ||
		!writable(spec.MSRStackAdjust, image.StackAdjust(), maxLinearBits) ||
		!writable(spec.MSRPD, image.UPIDAddr(), maxLinearBits) ||
		!writable(spec.MSRTT, image.UITTAddr(), maxLinearBits) {
		return faultGP
	}
	s.setMisc(image.Misc())
	s.UIF = image.Misc()&spec.XSaveUIF != 0
	s.Handler = image.Handler()
	s.StackAdjust = image.StackAdjust()
	s.UPIDAddr = image.UPIDAddr()
	s.UIRR = image.UIRR()
	s.UITTAddr = image.UITTAddr()
	return nil
}

// XRSTORSInit puts the component into its initial state, for an image whose XSTATE_BV lacks it. UINV need not be 0.
func (s *State) XRSTORSInit() { *s = State{} }
