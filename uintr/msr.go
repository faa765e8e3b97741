package uintr

import "gvmm/uintr/spec"

// IsMSR reports whether an MSR belongs to the user-interrupt state: ReadMSR and WriteMSR are for these.
func IsMSR(msr uint32) bool { return msr >= spec.MSRRR && msr <= spec.MSRTT }

// ReadMSR is RDMSR of 985H to 98AH, `uintr.md §1.3`; any other is #GP(0). CR4.UINTR does not matter.
// Precondition, for WriteMSR too: the engine judged CPL and that CPUID shows UINTR.
func (s *State) ReadMSR(msr uint32) (uint64, error) {
	switch msr {
	case spec.MSRRR:
		return s.UIRR, nil
	case spec.MSRHandler:
		return s.Handler, nil
	case spec.MSRStackAdjust:
		return s.StackAdjust, nil
	case spec.MSRMisc:
		return s.misc(), nil
	case spec.MSRPD:
		return s.UPIDAddr, nil
	case spec.MSRTT:
		return s.UITTAddr, nil
	}
	return 0, faultGP
}

// WriteMSR is WRMSR of 985H to 98AH, `uintr.md §1.3`. maxLinearBits is the processor's linear-address width, not that of
// the paging mode. #GP(0) leaves the MSR as it was. After a write of IA32_UINTR_RR recognition is that of the new value.
func (s *State) WriteMSR(msr uint32, value uint64, maxLinearBits uint8) error {
	if !writable(msr, value, maxLinearBits) {
		return faultGP
	}
	switch msr {
	case spec.MSRRR:
		s.UIRR = value
	case spec.MSRHandler:
		s.Handler = value
	case spec.MSRStackAdjust:
		s.StackAdjust = value
	case spec.MSRMisc:
		s.setMisc(value)
	case spec.MSRPD:
		s.UPIDAddr = value
	case spec.MSRTT:
		s.UITTAddr = value
	}
	return nil
}

// writable judges a value for an MSR. XRSTORS judges its image by the same rules.
func writable(msr uint32, value uint64, maxLinearBits uint8) bool {
	switch msr {
	case spec.MSRRR:
		return true
	case spec.MSRHandler, spec.MSRStackAdjust:
		return canonical(value, maxLinearBits)
	case spec.MSRMisc:
		return value&spec.MiscReserved == 0
	case spec.MSRPD:
		return value&spec.PDReserved == 0 && canonical(value, maxLinearBits)
	case spec.MSRTT:
		return value&spec.TTReserved == 0 && canonical(value, maxLinearBits)
	}
	return false
}

// CheckXSS judges a value for IA32_XSS on a processor whose only supervisor state component is this one: any bit but 14
// is #GP(0), `uintr.md §1.1`.
func CheckXSS(value uint64) error {
	if value&^spec.XSSUINTR != 0 {
		return faultGP
	}
	return nil
}

func (s *State) misc() uint64 { return uint64(s.UINV)<<spec.MiscUINVShift | uint64(s.UITTSize) }

func (s *State) setMisc(v uint64) {
	s.UINV, s.UITTSize = uint8(v>>spec.MiscUINVShift), uint32(v&spec.MiscUITTSizeMask)
}
