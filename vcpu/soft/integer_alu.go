package soft

import "gvmm/vcpu/soft/decode"

// flags is what the arithmetic flags are computed from, to put back.
type flags struct{ now, before lazyFlags }

func (c *CPU) saveFlags() flags {
	return flags{lazyFlags{c.flagKind, c.flagR, c.flagB}, c.flagsBefore}
}

// restoreFlags undoes what an update that faulted late did to the flags. It
// returns false, for the executing method to return.
func (c *CPU) restoreFlags(f flags) bool {
	c.flagKind, c.flagR, c.flagB = f.now.kind, f.now.r, f.now.b
	c.flagsBefore = f.before
	return false
}

// alu executes the two-operand arithmetic that stores a result.
func (c *CPU) alu(in *decode.Inst) bool {
	n, op := in.Size, in.Op
	var carry uint64
	if op == decode.ADC || op == decode.SBB {
		carry = c.carry()
	}
	var b uint64
	switch in.Form {
	case decode.FormRM:
		b, ok := c.readRM(in)
		if ok {
			c.set(in.Reg, n, c.binary(op, n, c.get(in.Reg, n), b, carry))
		}
		return ok
	case decode.FormMR:
		b = c.get(in.Reg, n)
	default:
		b = in.Imm & sizeMask(n)
	}
	if in.Prefix&decode.Mem == 0 {
		c.set(in.RM, n, c.binary(op, n, c.get(in.RM, n), b, carry))
		return true
	}
	saved := c.saveFlags()
	return c.update(in, false, func(a uint64) uint64 { return c.binary(op, n, a, b, carry) }) || c.restoreFlags(saved)
}

// binary computes one result of n bytes and sets the flags.
func (c *CPU) binary(op decode.Op, n uint8, a, b, carry uint64) uint64 {
	log, mask := log2(n), sizeMask(n)
	var r uint64
	switch op {
	case decode.ADD, decode.ADC:
		r = (a + b + carry) & mask
		c.lazy(classAdd+uint8(carry)*(classAdc-classAdd), log, r, b)
		return r
	case decode.SUB, decode.SBB, decode.CMP:
		r = (a - b - carry) & mask
		c.lazy(classSub+uint8(carry)*(classSbb-classSub), log, r, b)
		return r
	case decode.OR:
		r = a | b
	case decode.XOR:
		r = a ^ b
	default:
		r = a & b
	}
	c.lazy(classLogic, log, r, 0)
	return r
}

// compare executes CMP and TEST, which store nothing.
func (c *CPU) compare(in *decode.Inst) bool {
	n := in.Size
	a, ok := c.readRM(in)
	if !ok {
		return false
	}
	var b uint64
	switch in.Form {
	case decode.FormRM:
		a, b = c.get(in.Reg, n), a
	case decode.FormMR:
		b = c.get(in.Reg, n)
	default:
		b = in.Imm & sizeMask(n)
	}
	c.binary(in.Op, n, a, b, 0)
	return true
}

// unary executes INC, DEC, NEG and NOT.
func (c *CPU) unary(in *decode.Inst) bool {
	n, op := in.Size, in.Op
	var carry uint64
	if op == decode.INC || op == decode.DEC {
		carry = c.carry()
	}
	if in.Prefix&decode.Mem == 0 {
		c.set(in.RM, n, c.single(op, n, c.get(in.RM, n), carry))
		return true
	}
	saved := c.saveFlags()
	return c.update(in, false, func(a uint64) uint64 { return c.single(op, n, a, carry) }) || c.restoreFlags(saved)
}

// single computes one result of n bytes and sets the flags, but for NOT.
func (c *CPU) single(op decode.Op, n uint8, a, carry uint64) uint64 {
	log, mask := log2(n), sizeMask(n)
	var r uint64
	switch op {
	case decode.INC:
		r = (a + 1) & mask
		c.lazy(classInc, log, r, carry)
	case decode.DEC:
		r = (a - 1) & mask
		c.lazy(classDec, log, r, carry)
	case decode.NEG:
		r = -a & mask
		c.lazy(classSub, log, r, a)
	default:
		r = ^a & mask
	}
	return r
}
