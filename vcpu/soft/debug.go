package soft

import "gvmm/vcpu/soft/decode"

// Bits of DR6 and DR7: SDM 3 §18.2.
const (
	dr6BD    = 1 << 13 // DR7.GD
	dr6BS    = 1 << 14 // single step
	dr6BT    = 1 << 15 // the T bit of a TSS
	dr6Fixed = 0xffff0ff0
	dr6May   = 0xe00f

	dr7GD    = 1 << 13
	dr7Fixed = 1 << 10
	dr7May   = 0xffff23ff
)

// Kinds of a breakpoint in DR7.
const (
	breakExecute = iota
	breakWrite
	breakPort
	breakAccess
)

// armed reports breakpoint i's kind and length in bytes, if DR7 enables it.
func (c *CPU) armed(i int) (kind uint8, n uint64, ok bool) {
	if c.dr7>>(2*i)&3 == 0 {
		return 0, 0, false
	}
	f := c.dr7 >> (16 + 4*i) & 15
	return uint8(f & 3), [...]uint64{1, 2, 8, 4}[f>>2], true
}

// breakpoint reports an instruction breakpoint at c.rip: c.fault is set.
func (c *CPU) breakpoint() bool {
	if c.dr7&0xff == 0 {
		return false
	}
	la := c.rip
	if c.mode != decode.Mode64 {
		la = (la + c.bases[cs]) & 0xffffffff
	}
	var hit uint64
	for i := range 4 {
		if kind, _, ok := c.armed(i); ok && kind == breakExecute && c.dr[i] == la {
			hit |= 1 << i
		}
	}
	if hit == 0 {
		return false
	}
	c.raise(vectorDB)
	c.fault.dr6 = hit
	return true
}

// watch looks for a data breakpoint on n bytes at la.
func (c *CPU) watch(la uint64, n uint8, write bool) {
	for i := range 4 {
		kind, size, ok := c.armed(i)
		if !ok || kind != breakAccess && (kind != breakWrite || !write) {
			continue
		}
		at := c.dr[i] &^ (size - 1)
		if la < at+size && at < la+uint64(n) {
			c.trap |= 1 << i
		}
	}
	c.watchDebug(la, uint64(n), write)
}

// watchPort looks for an I/O breakpoint.
func (c *CPU) watchPort(port uint16, n uint8) {
	if c.cr4&cr4DE == 0 {
		return
	}
	for i := range 4 {
		kind, size, ok := c.armed(i)
		at := c.dr[i] &^ (size - 1)
		if ok && kind == breakPort && uint64(port) < at+size && at < uint64(port)+uint64(n) {
			c.trap |= 1 << i
		}
	}
}

// debugRegister judges a MOV to or from DR n: SDM 2, MOV—Move to/from Debug
// Registers. 4 and 5 are other names of 6 and 7 unless CR4.DE.
func (c *CPU) debugRegister(n uint8) (uint8, bool) {
	if n == 4 || n == 5 {
		if c.cr4&cr4DE != 0 {
			return 0, c.ud()
		}
		n += 2
	}
	if c.cpl != 0 {
		return 0, c.gp0()
	}
	if c.dr7&dr7GD != 0 {
		c.raise(vectorDB)
		c.fault.dr6 = dr6BD
		return 0, false
	}
	return n, true
}

func (c *CPU) moveFromDR(in *decode.Inst) bool {
	n, ok := c.debugRegister(in.Reg)
	if !ok {
		return false
	}
	v := c.dr7
	switch n {
	case 0, 1, 2, 3:
		v = c.dr[n]
	case 6:
		v = c.dr6
	}
	c.set(in.RM, in.Size, v)
	return true
}

func (c *CPU) moveToDR(in *decode.Inst) bool {
	n, ok := c.debugRegister(in.Reg)
	if !ok {
		return false
	}
	v := c.get(in.RM, in.Size)
	switch {
	case n < 4:
		c.dr[n] = v
	case v>>32 != 0:
		return c.gp0()
	case n == 6:
		c.dr6 = v&dr6May | dr6Fixed
	default:
		c.dr7 = v&dr7May | dr7Fixed
	}
	c.selectTLB()
	c.updateStep()
	return true
}
