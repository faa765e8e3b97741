package soft

import (
	"sync/atomic"

	"gvmm/vcpu/soft/decode"
)

// order makes the stores so far visible to the other processors before any later
// load: a guest's loads and stores are the host's, which keeps its own stores back
// as an x86 does (SDM 3 §8.2.2).
func (c *CPU) order() { atomic.AddUint32(&c.ordered, 0) }

// serializes reports what waits for the stores before it beside MFENCE and locked
// instructions: SDM 3 §8.3. SYSCALL and the like do not.
func serializes(op decode.Op) bool {
	switch op {
	case decode.IRET, decode.CPUID, decode.MOVTOCR, decode.MOVTODR, decode.WRMSR, decode.INVLPG, decode.INVPCID, decode.LGDT, decode.LIDT,
		decode.LLDT, decode.LTR, decode.INVD, decode.WBINVD, decode.IN, decode.OUT:
		return true
	}
	return false
}
