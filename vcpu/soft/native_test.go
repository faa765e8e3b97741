package soft

import (
	"testing"

	"gvmm/vcpu/soft/decode"
	"gvmm/vcpu/soft/difftest"
)

func TestIntegerInstructionsDoAsTheHost(t *testing.T) {
	n := nativeTest{wanted: nativeInteger(), count: 300_000, ignore: ignoreUndefined}
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
			return !missing[in.Op]
		case decode.GroupFlow:
			return !in.Has(decode.OpSize) // with 66H AMD's near branches are 16-bit ones
		}
		return false
	}
}

// ignoreUndefined equals the flags that the last instruction leaves undefined.
func ignoreUndefined(in *decode.Inst, c *difftest.Case, host, soft *difftest.Result) {
}
