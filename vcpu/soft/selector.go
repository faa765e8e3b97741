package soft

import "gvmm/vcpu/soft/decode"

// selectorTest is LAR, LSL, VERR, VERW and ARPL: what they find is in ZF, and the
// other flags stay.
func (c *CPU) selectorTest(in *decode.Inst) bool {
	if c.real() || c.v86() {
		return c.ud()
	}
	if in.Op == decode.ARPL {
		return c.adjustRPL(in)
	}
	v, ok := c.readRM(in)
	if !ok {
		return false
	}
	sel := uint16(v)
	var d descriptor
	found := !isNull(sel)
	if found {
		if base, limit := c.descriptorTable(sel); int64(sel|7) > limit {
			found = false
		} else {
			d.la = base + uint64(sel&^7)
			if d.low, ok = c.readSystem(d.la, 8); !ok {
				return false
			}
		}
	}
	if found {
		found = c.visible(&d, sel, in.Op)
	}
	if found && d.system() && c.long() {
		// The upper half counts: a base in LSL no, but its type must be 0.
		if !c.fetchUpper(&d, sel, vectorGP) {
			if c.fault.vector != vectorGP {
				return false
			}
			found = false
		}
	}
	c.setZero(found)
	if found {
		switch in.Op {
		case decode.LAR:
			c.set(in.Reg, in.Size, d.low>>32&0xffff00)
		case decode.LSL:
			c.set(in.Reg, in.Size, uint64(d.limit()))
		}
	}
	return true
}

// setZero sets ZF alone.
func (c *CPU) setZero(zf bool) {
	v := c.arith() &^ flagZF
	if zf {
		v |= flagZF
	}
	c.setArith(v)
}

// visible reports that the test finds the descriptor: SDM 2, LAR and LSL's tables
// of types.
func (c *CPU) visible(d *descriptor, sel uint16, op decode.Op) bool {
	types := uint16(1<<typeTSS16 | 1<<typeLDT | 1<<typeTSS16Busy | 1<<typeTSS | 1<<typeTSSBusy)
	gates := uint16(1<<typeCall16 | 1<<typeTask | 1<<typeCall)
	if c.long() {
		types, gates = 1<<typeLDT|1<<typeTSS|1<<typeTSSBusy, 1<<typeCall
	}
	switch {
	case !d.system():
		switch op {
		case decode.VERR:
			if !d.readable() {
				return false
			}
		case decode.VERW:
			if !d.writable() {
				return false
			}
		}
		if d.conform() {
			return true
		}
	case op == decode.LAR:
		if (types|gates)>>d.kind()&1 == 0 {
			return false
		}
	case op == decode.LSL:
		if types>>d.kind()&1 == 0 {
			return false
		}
	default:
		return false
	}
	return d.dpl() >= max(c.cpl, uint8(sel&3))
}

// adjustRPL is ARPL.
func (c *CPU) adjustRPL(in *decode.Inst) bool {
	rpl := c.get(in.Reg, 2) & 3
	v, ok := c.readRM(in)
	if !ok {
		return false
	}
	if v&3 >= rpl {
		c.setZero(false)
		return true
	}
	if !c.writeRM(in, v&^3|rpl) {
		return false
	}
	c.setZero(true)
	return true
}
