package soft

import "gvmm/vcpu/soft/decode"

func (c *CPU) state(in *decode.Inst) bool { return c.ud() }
func (c *CPU) x87(in *decode.Inst) bool   { return c.ud() }
