package soft

import "gvmm/vcpu/soft/decode"

// exchange executes what swaps or compares and swaps. A comparison that fails
// writes what it read.
func (c *CPU) exchange(in *decode.Inst) bool {
	n := in.Size
	switch in.Op {
	case decode.XCHG:
		return c.xchg(in)
	case decode.XADD:
		return c.xadd(in)
	case decode.CMPXCHG8B:
		return c.cmpxchg8b(in)
	case decode.CMPXCHG16B:
		return c.cmpxchg16b(in)
	}
	want, b := c.get(rax, n), c.get(in.Reg, n)
	var old uint64
	if in.Prefix&decode.Mem == 0 {
		if old = c.get(in.RM, n); old == want {
			c.set(in.RM, n, b)
		}
	} else if !c.update(in, false, func(a uint64) uint64 {
		if old = a; a == want {
			return b
		}
		return a
	}) {
		return false
	}
	if old != want {
		c.set(rax, n, old)
	}
	c.binary(decode.CMP, n, want, old, 0)
	return true
}

// xchg with memory is atomic, LOCK or not.
func (c *CPU) xchg(in *decode.Inst) bool {
	n, b := in.Size, c.get(in.Reg, in.Size)
	if in.Prefix&decode.Mem == 0 {
		c.set(in.Reg, n, c.get(in.RM, n))
		c.set(in.RM, n, b)
		return true
	}
	var old uint64
	if !c.update(in, true, func(a uint64) uint64 {
		old = a
		return b
	}) {
		return false
	}
	c.set(in.Reg, n, old)
	return true
}

func (c *CPU) xadd(in *decode.Inst) bool {
	n, b := in.Size, c.get(in.Reg, in.Size)
	var old uint64
	if in.Prefix&decode.Mem == 0 {
		old = c.get(in.RM, n)
		c.set(in.Reg, n, old)
		c.set(in.RM, n, old+b)
	} else {
		if !c.update(in, false, func(a uint64) uint64 {
			old = a
			return a + b
		}) {
			return false
		}
		c.set(in.Reg, n, old)
	}
	c.binary(decode.ADD, n, old, b, 0)
	return true
}

// cmpxchg8b compares with EDX:EAX and stores ECX:EBX. Of the flags ZF alone
// changes.
func (c *CPU) cmpxchg8b(in *decode.Inst) bool {
	want := c.r[rdx]<<32 | c.get(rax, 4)
	b := c.r[rcx]<<32 | c.get(rbx, 4)
	var old uint64
	if !c.update(in, false, func(a uint64) uint64 {
		if old = a; a == want {
			return b
		}
		return a
	}) {
		return false
	}
	if old == want {
		c.setArith(c.arith() | flagZF)
		return true
	}
	c.set(rax, 4, old)
	c.set(rdx, 4, old>>32)
	c.setArith(c.arith() &^ flagZF)
	return true
}

// cmpxchg16b compares with RDX:RAX and stores RCX:RBX, at an address that is a
// multiple of 16.
func (c *CPU) cmpxchg16b(in *decode.Inst) bool {
	off := c.offset(in)
	if (off+c.bases[in.Seg])&15 != 0 {
		return c.gp0() // before anything that is #SS
	}
	la, ok := c.linear(in.Seg, off, 16, true)
	if !ok || !c.check(la, 16, accessWrite) {
		return false
	}
	var low, high uint64
	var done bool
	if e := &c.tlb[la>>12&(tlbSize-1)]; la-e.write <= 4096-16 {
		low, high, done = e.compareAndSwap16(la-e.write, c.r[rax], c.r[rdx], c.r[rbx], c.r[rcx])
	} else {
		pa, ok := c.translate(la, accessWrite)
		if !ok {
			return false
		}
		if host, ram := c.machine.host(pa); ram {
			c.journal.before(host, pa&0xfff, 16)
			low, high, done = host.compareAndSwap16(pa&0xfff, c.r[rax], c.r[rdx], c.r[rbx], c.r[rcx])
			c.wrote(pa, 16)
		} else {
			low, high = c.readPhysical(pa, 8), c.readPhysical(pa+8, 8)
			newLow, newHigh := low, high
			if done = low == c.r[rax] && high == c.r[rdx]; done {
				newLow, newHigh = c.r[rbx], c.r[rcx]
			}
			c.writePhysical(pa, 8, newLow)
			c.writePhysical(pa+8, 8, newHigh)
		}
	}
	if done {
		c.setArith(c.arith() | flagZF)
		return true
	}
	c.r[rax], c.r[rdx] = low, high
	c.setArith(c.arith() &^ flagZF)
	return true
}
