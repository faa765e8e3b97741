package soft

import "gvmm/vcpu/soft/decode"

// execute runs one instruction at c.rip, of which c.next is already the address
// behind it. False is a fault.
func (c *CPU) execute(in *decode.Inst) bool {
	switch in.Op.Group() {
	case decode.GroupInteger:
		return c.integer(in)
	case decode.GroupString:
		return c.str(in)
	case decode.GroupFlow:
		return c.flow(in)
	case decode.GroupSystem:
		return c.system(in)
	case decode.GroupState:
		return c.state(in)
	case decode.GroupX87:
		return c.x87(in)
	case decode.GroupSIMD:
		return c.simd(in)
	}
	switch {
	case in.Op == decode.TOOLONG:
		return c.gp0()
	case in.Len == 0:
		return c.debugMark()
	}
	return c.ud()
}
