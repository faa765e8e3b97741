package soft

import "gvmm/vcpu/soft/decode"

// flow executes the near control transfers. The target is judged before anything
// changes.
func (c *CPU) flow(in *decode.Inst) bool {
	switch in.Op {
	case decode.JCC:
		return !c.cond(in.CC) || c.jump(c.next+in.Imm, in.Size)
	case decode.JMP:
		target, ok := c.target(in)
		return ok && c.jump(target, in.Size)
	case decode.CALL:
		back := c.next
		target, ok := c.target(in)
		return ok && c.jump(target, in.Size) && c.push(in.Size, back)
	case decode.RET:
		return c.ret(in)
	}
	return c.loopBranch(in)
}

// target is where JMP and CALL go: relative to the next instruction, or what rm
// holds.
func (c *CPU) target(in *decode.Inst) (uint64, bool) {
	if in.Form == decode.FormM {
		return c.readRM(in)
	}
	return c.next + in.Imm, true
}

// ret releases Imm bytes of parameters too.
func (c *CPU) ret(in *decode.Inst) bool {
	mask := c.stackMask()
	sp := c.r[rsp]
	target, ok := c.loadAt(ss, sp&mask, in.Size)
	if !ok || !c.jump(target, in.Size) {
		return false
	}
	c.setSP((sp + uint64(in.Size) + in.Imm) & mask)
	return true
}

// loopBranch executes LOOP, LOOPE, LOOPNE and JCXZ, which count in CX, ECX or RCX by
// address size.
func (c *CPU) loopBranch(in *decode.Inst) bool {
	count := c.get(rcx, in.Addr)
	if in.Op == decode.JCXZ {
		return count != 0 || c.jump(c.next+in.Imm, in.Size)
	}
	count = (count - 1) & sizeMask(in.Addr)
	taken := count != 0
	switch in.Op {
	case decode.LOOPE:
		taken = taken && c.zero()
	case decode.LOOPNE:
		taken = taken && !c.zero()
	}
	if taken && !c.jump(c.next+in.Imm, in.Size) {
		return false
	}
	c.set(rcx, in.Addr, count)
	return true
}
