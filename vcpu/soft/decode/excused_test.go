package decode

import "strings"

// excused reports whether objdump is known to read an instruction otherwise.
func excused(in Inst, theirs string, mode Mode) bool {
	switch in.Op {
	case NOP: // MPX, CET, newer hints; it calls PREFETCH of a register bad; 6690H is XCHG AX,AX
		for _, p := range []string{"nop", "prefetch", "bnd", "xchg", "cldemote", "rdssp"} {
			if strings.HasPrefix(theirs, p) {
				return true
			}
		}
	case XCHG: // F3 with REX.B before 90H is XCHG on a real processor
		return theirs == "pause"
	case FWAIT: // it takes prefixes for instructions of their own
		return true
	case FNOP, FNSETPM: // it says which processor had it
		return true
	case FCOM, FCOMP, FXCH, FSTP: // knows no aliases
		return theirs == "(bad)" && !in.Has(Mem)
	case LFENCE, MFENCE, SFENCE: // wants rm to be 0
		return theirs == "(bad)"
	case BSF, BSR, WBINVD, VMCALL: // bad with prefixes that do nothing
		return theirs == "(bad)" || theirs == "wbnoinvd"
	case SALC: // it does not know it
		return theirs == "(bad)"
	case ENTER: // the whole byte as the level
		return strings.HasPrefix(theirs, "enter")
	case PINSRW, PEXTRW, PINSRB, PEXTRB, MOVMSKPS, MOVMSKPD, PMOVMSKB, EXTRACTPS: // always 32-bit registers
		return in.Size == 8
	case MOVSXD: // 66H counts in spite of REX.W
		return in.Size == 8 && in.Has(OpSize)
	case LFS, LGS, LSS, JMPF, CALLF: // no 80-bit pointers
		return in.Size == 8 && strings.Contains(theirs, "WORD")
	case MOVQ2DQ, MOVDQ2Q: // 66H makes an XMM register of the MMX one
		return in.Has(OpSize)
	}
	return false
}
