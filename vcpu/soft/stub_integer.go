package soft

import "gvmm/vcpu/soft/decode"

func (c *CPU) integer(in *decode.Inst) bool { return c.ud() }
func (c *CPU) str(in *decode.Inst) bool     { return c.ud() }
func (c *CPU) flow(in *decode.Inst) bool    { return c.ud() }
