package soft

import "gvmm/vcpu/soft/decode"

// A repeated instruction does a part of its work at a time and, if some is left,
// leaves c.next at itself: interrupts are taken in between.
const (
	repeatBytes = 4096 // that are copied or filled at once
	repeats     = 1024 // one by one
)

// str executes an instruction of group String.
func (c *CPU) str(in *decode.Inst) bool {
	if (in.Op == decode.INS || in.Op == decode.OUTS) && !c.ioAllowed(uint16(c.r[rdx]), in.Size) {
		return false
	}
	if !in.Has(decode.Rep | decode.Repne) {
		return c.element(in)
	}
	count := c.get(rcx, in.Addr)
	if count == 0 {
		return true
	}
	limit, all := min(count, repeats), count
	if c.rflags&flagTF != 0 || c.tlb == &c.tlbs[tlbChecked] {
		limit = 1 // a trap may be due after each
	} else if in.Op == decode.MOVS || in.Op == decode.STOS {
		if n := c.bulk(in, count); n != 0 {
			return c.repeated(in, count-n, false)
		}
	}
	pending := c.pending.Load()
	for {
		if !c.element(in) {
			return false // and what was done stays done
		}
		count--
		c.set(rcx, in.Addr, count)
		if in.Op == decode.CMPS || in.Op == decode.SCAS {
			if c.zero() != in.Has(decode.Rep) {
				return true
			}
		}
		if limit--; limit == 0 || c.pending.Load() != pending {
			c.charge(all - count)
			return c.repeated(in, count, true)
		}
	}
}

// repeated ends a part of a repeated instruction with count to go. stored says that
// the counter holds that already.
func (c *CPU) repeated(in *decode.Inst, count uint64, stored bool) bool {
	if !stored {
		c.set(rcx, in.Addr, count)
	}
	if count != 0 {
		c.next = c.rip
		c.repeat = true
	}
	return true
}

// advance moves an index register by one element.
func (c *CPU) advance(reg uint8, in *decode.Inst) {
	step := uint64(in.Size)
	if c.rflags&flagDF != 0 {
		step = -step
	}
	c.set(reg, in.Addr, c.r[reg]+step)
}

// element executes a string instruction once. The destination is in ES, whatever
// the prefixes say.
func (c *CPU) element(in *decode.Inst) bool {
	n, mask := in.Size, sizeMask(in.Addr)
	si, di := c.r[rsi]&mask, c.r[rdi]&mask
	switch in.Op {
	case decode.MOVS:
		v, ok := c.loadAt(in.Seg, si, n)
		if !ok || !c.storeAt(es, di, n, v) {
			return false
		}
	case decode.CMPS:
		a, ok := c.loadAt(in.Seg, si, n)
		if !ok {
			return false
		}
		b, ok := c.loadAt(es, di, n)
		if !ok {
			return false
		}
		c.binary(decode.CMP, n, a, b, 0)
	case decode.SCAS:
		v, ok := c.loadAt(es, di, n)
		if !ok {
			return false
		}
		c.binary(decode.CMP, n, c.get(rax, n), v, 0)
		c.advance(rdi, in)
		return true
	case decode.STOS:
		if !c.storeAt(es, di, n, c.get(rax, n)) {
			return false
		}
		c.advance(rdi, in)
		return true
	case decode.LODS:
		v, ok := c.loadAt(in.Seg, si, n)
		if !ok {
			return false
		}
		c.set(rax, n, v)
		c.advance(rsi, in)
		return true
	case decode.INS:
		return c.ins(in, di)
	default:
		v, ok := c.loadAt(in.Seg, si, n)
		if !ok {
			return false
		}
		c.portOut(uint16(c.r[rdx]), n, uint32(v))
		c.advance(rsi, in)
		return true
	}
	c.advance(rsi, in)
	c.advance(rdi, in)
	return true
}

// ins reads the port only when its value can be stored.
func (c *CPU) ins(in *decode.Inst, di uint64) bool {
	n := in.Size
	la, ok := c.linear(es, di, uint64(n), true)
	if !ok || !c.check(la, n, accessWrite) || !c.probe(la, int(n), accessWrite) {
		return false
	}
	if !c.write(la, n, uint64(c.portIn(uint16(c.r[rdx]), n)), 0) {
		return false
	}
	c.advance(rdi, in)
	return true
}

// bulk does elements of REP MOVS and REP STOS between two host pages at once and
// moves the index registers. It returns how many: 0 where it cannot.
func (c *CPU) bulk(in *decode.Inst, count uint64) uint64 {
	if c.rflags&flagDF != 0 {
		return 0
	}
	n, mask := uint64(in.Size), sizeMask(in.Addr)
	di := c.r[rdi] & mask
	room := min(count, repeatBytes/n)
	room = min(room, (4096-c.pageOffset(es, di))/n, (mask-di)/n)
	si := c.r[rsi] & mask
	if in.Op == decode.MOVS {
		room = min(room, (4096-c.pageOffset(in.Seg, si))/n, (mask-si)/n)
	}
	if room < 2 {
		return 0
	}
	size := room * n
	to, ok := c.linear(es, di, size, true)
	if !ok {
		return 0
	}
	var from uint64
	if in.Op == decode.MOVS {
		if from, ok = c.linear(in.Seg, si, size, false); !ok || !c.cached(from, 0) {
			return 0
		}
	}
	if !c.cached(to, accessWrite) {
		return 0
	}
	e := &c.tlb[to>>12&(tlbSize-1)]
	if to-e.write > 4096-size {
		return 0
	}
	dst := e.bytes(to-e.write, int(size))
	if in.Op == decode.STOS {
		e.store(to-e.write, in.Size, c.r[rax])
		spread(dst, int(n))
		c.set(rdi, in.Addr, di+size)
		return room
	}
	s := &c.tlb[from>>12&(tlbSize-1)]
	if from-s.read > 4096-size {
		return 0
	}
	src := s.bytes(from-s.read, int(size))
	// Elements are copied upwards one after the other: where the destination begins
	// inside the source, what was copied is copied again.
	distance := to&0xfff - from&0xfff
	switch {
	case s.hostPage != e.hostPage || distance >= size:
		copy(dst, src)
	case distance%n != 0:
		return 0
	case distance != 0:
		copy(dst[:distance], src)
		spread(dst, int(distance))
	}
	c.set(rsi, in.Addr, si+size)
	c.set(rdi, in.Addr, di+size)
	return room
}

// cached has the TLB hold the page of an access, if it can: how much bulk does must not depend on what was there before.
// It is false for an access that faults, which who does it by elements will raise.
func (c *CPU) cached(la uint64, a access) bool {
	e := &c.tlb[la>>12&(tlbSize-1)]
	if a == 0 && la-e.read < 4096 || a != 0 && la-e.write < 4096 {
		return true
	}
	_, ok := c.translate(la, a)
	return ok
}

// pageOffset is where in its page a segment's offset lies.
func (c *CPU) pageOffset(seg uint8, off uint64) uint64 { return (off + c.bases[seg]) & 0xfff }

// spread repeats the first n bytes of p through all of it.
func spread(p []byte, n int) {
	for ; n < len(p); n *= 2 {
		copy(p[n:], p[:n])
	}
}
