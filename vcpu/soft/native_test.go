package soft

import (
	"testing"

	"gvmm/vcpu/soft/decode"
	"gvmm/vcpu/soft/difftest"
)

func TestIntegerInstructionsDoAsTheHost(t *testing.T) {
	n := nativeTest{wanted: nativeInteger(), count: 200_000, ignore: ignoreUndefined}
	n.run(t)
}

func TestNarrowIntegerInstructionsDoAsTheHost(t *testing.T) {
	n := nativeTest{wanted: nativeInteger(), count: 100_000, ignore: ignoreUndefined, narrow: true}
	n.run(t)
}

// nativeInteger picks the instructions of the groups Integer, String and Flow that
// the host has and whose results are not random.
func nativeInteger() func(in *decode.Inst) bool {
	missing := map[decode.Op]bool{decode.RDRAND: true, decode.RDSEED: true}
	for op, flag := range map[decode.Op]string{
		decode.SERIALIZE: "serialize", decode.MOVDIRI: "movdiri", decode.MOVDIR64B: "movdir64b", decode.MOVBE: "movbe",
		decode.CLWB: "clwb", decode.CLFLUSHOPT: "clflushopt", decode.ADCX: "adx", decode.ADOX: "adx",
		decode.LZCNT: "abm", decode.TZCNT: "bmi1", decode.POPCNT: "popcnt", decode.CRC32: "sse4_2",
		decode.ANDN: "bmi1", decode.BEXTR: "bmi1", decode.BLSI: "bmi1", decode.BLSMSK: "bmi1", decode.BLSR: "bmi1",
		decode.BZHI: "bmi2", decode.MULX: "bmi2", decode.PDEP: "bmi2", decode.PEXT: "bmi2", decode.RORX: "bmi2",
		decode.SARX: "bmi2", decode.SHLX: "bmi2", decode.SHRX: "bmi2",
	} {
		missing[op] = missing[op] || !hostHas(flag)
	}
	return func(in *decode.Inst) bool {
		switch in.Op.Group() {
		case decode.GroupInteger, decode.GroupString:
			if in.Op == decode.MOVSXD && in.Size == 2 {
				return false // AMD reads 32 bits
			}
			return !missing[in.Op] && (in.Op != decode.NOP || in.Form == decode.FormNone || in.Has(decode.Mem))
		case decode.GroupFlow:
			// With 66H AMD's near branches are 16-bit ones; with F2H its LOOPE is LOOPNE.
			return (!in.Has(decode.OpSize) || in.Size == 2) && (in.Op < decode.LOOPE || !in.Has(decode.Rep|decode.Repne))
		}
		return false
	}
}

// ignoreUndefined equals what the last instruction leaves undefined. Where that is
// simple this processor does as AMD's Zen 4: there less is ignored.
func ignoreUndefined(in *decode.Inst, c *difftest.Case, host, soft *difftest.Result) {
	both := host.Trap == difftest.NoTrap && soft.Trap == difftest.NoTrap
	narrow := (in.Op == decode.SHLD || in.Op == decode.SHRD) && in.Size == 2
	switch {
	case both && narrow && shiftCount(in, c) > 16 && !hostAMD:
		*soft = *host
	case in.Op == decode.CMPS && host.Trap != difftest.NoTrap && soft.Trap != difftest.NoTrap:
		*soft = *host // which operand is at fault: AMD's differs with and without REP
	case in.Op == decode.POPA && host.Trap == vectorPF && soft.Trap == vectorPF:
		soft.GPR = host.GPR // AMD has loaded some
	case in.Op == decode.CALL && soft.Trap == vectorGP && (host.Trap == vectorPF || host.Trap == vectorSS):
		*soft = *host // pushes before it judges the target
	}
	if hostAMD {
		return
	}
	mask := undefinedFlags(in, shiftCount(in, c))
	if !both && (in.Op == decode.CMPS || in.Op == decode.SCAS) {
		mask = flagsArith // of a repetition that faulted
	}
	soft.RFLAGS = soft.RFLAGS&^mask | host.RFLAGS&mask
	if in.Op == decode.BSWAP && in.Size == 2 || (in.Op == decode.BSF || in.Op == decode.BSR) && host.RFLAGS&flagZF != 0 {
		soft.GPR[in.RM&15], soft.GPR[in.Reg&15] = host.GPR[in.RM&15], host.GPR[in.Reg&15]
	}
}

// shiftCount is how far a shift goes, for a case of one instruction.
func shiftCount(in *decode.Inst, c *difftest.Case) uint64 {
	count := in.Imm
	if in.Form == decode.FormMC || in.Form == decode.FormMRC {
		count = c.GPR[rcx]
	}
	if in.Size == 8 {
		return count & 63
	}
	return count & 31
}

// undefinedFlags are those that the manual leaves undefined.
func undefinedFlags(in *decode.Inst, count uint64) uint64 {
	switch in.Op {
	case decode.AND, decode.OR, decode.XOR, decode.TEST:
		return flagAF
	case decode.ROL, decode.ROR, decode.RCL, decode.RCR:
		if count != 1 {
			return flagOF
		}
	case decode.SHL, decode.SHR, decode.SAR, decode.SHLD, decode.SHRD:
		mask := uint64(flagAF)
		if count != 1 {
			mask |= flagOF
		}
		if count >= 8*uint64(in.Size) {
			mask |= flagCF
		}
		return mask
	case decode.MUL, decode.IMUL:
		return flagSF | flagZF | flagAF | flagPF
	case decode.DIV, decode.IDIV:
		return flagsArith
	case decode.BT, decode.BTS, decode.BTR, decode.BTC:
		return flagOF | flagSF | flagAF | flagPF
	case decode.BSF, decode.BSR:
		return flagsArith &^ flagZF
	case decode.LZCNT, decode.TZCNT:
		return flagsArith &^ (flagZF | flagCF)
	case decode.ANDN, decode.BLSI, decode.BLSMSK, decode.BLSR, decode.BZHI:
		return flagAF | flagPF
	case decode.AAA, decode.AAS:
		return flagOF | flagSF | flagZF | flagPF
	case decode.DAA, decode.DAS:
		return flagOF
	case decode.AAM, decode.AAD:
		return flagOF | flagAF | flagCF
	case decode.BEXTR:
		return flagAF | flagPF | flagSF
	}
	return 0
}
