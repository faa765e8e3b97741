package soft

import "gvmm/vcpu/soft/decode"

func (c *CPU) simd(in *decode.Inst) bool { return c.ud() }
