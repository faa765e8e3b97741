package soft

import (
	"bytes"
	"fmt"
	"strings"

	"gvmm/vcpu"
	"gvmm/vcpu/soft/decode"
	"gvmm/vcpu/soft/jit"
	"gvmm/vcpu/soft/simd"
)

// With JITCheck each block is interpreted first, instruction by instruction, and undone; then its translation runs and must
// come to the same registers, flags and memory, at its end and wherever it is left in between.

// moment is what is compared.
type moment struct {
	r     [16]uint64
	rip   uint64
	flags uint64
	mxcsr uint32
	xmm   [16]simd.Vec
}

func (c *CPU) moment() (m moment) {
	copy(m.r[:], c.r[:16])
	m.rip, m.flags, m.mxcsr, m.xmm = c.rip, c.arith(), c.mxcsr, c.xmm
	return m
}

func (c *CPU) restore(m *moment) {
	copy(c.r[:16], m.r[:])
	c.rip, c.mxcsr, c.xmm = m.rip, m.mxcsr, m.xmm
	c.setArith(m.flags)
}

// journal remembers what memory held before it was written.
type journal struct{ writes []written }

type written struct {
	page       hostPage
	off        uint64
	old, later [16]byte // what was there, and what the interpreter left
	n          int
}

// before is called before n bytes, in one page, are written.
func (j *journal) before(h hostPage, off uint64, n int) {
	if j == nil {
		return
	}
	for n > 0 {
		w := written{page: h, off: off, n: min(n, 16)}
		copy(w.old[:], h.bytes(off, w.n))
		j.writes = append(j.writes, w)
		off, n = off+16, n-16
	}
}

// undo puts everything back and keeps what was there.
func (j *journal) undo() {
	for i := range j.writes {
		w := &j.writes[i]
		copy(w.later[:], w.page.bytes(w.off, w.n))
	}
	for i := len(j.writes) - 1; i >= 0; i-- {
		w := &j.writes[i]
		copy(w.page.bytes(w.off, w.n), w.old[:])
	}
}

// same reports that memory is as the interpreter left it.
func (j *journal) same() bool {
	for i := range j.writes {
		if w := &j.writes[i]; !bytes.Equal(w.page.bytes(w.off, w.n), w.later[:w.n]) {
			return false
		}
	}
	return true
}

// checker is what checking needs beside a translation.
type checker struct {
	journal journal
	states  []moment // before each instruction that was interpreted, and behind the last
	failed  error    // the first difference
}

// rehearse interprets a unit's block as far as its code goes too, and undoes it.
func (c *CPU) rehearse(u *unit) {
	k := c.translation.check
	begin, table := c.moment(), c.tlb
	k.journal.writes, k.states = k.journal.writes[:0], append(k.states[:0], begin)
	c.tlb, c.journal = &c.tlbs[tlbChecked], &k.journal
	for i := range u.block.insts {
		in := &u.block.insts[i]
		c.next = c.rip + uint64(in.Len)
		if u.native>>i&1 == 0 || !c.plain(in, table) || !c.execute(in) {
			break
		}
		c.rip = c.next
		k.states = append(k.states, c.moment())
	}
	c.tlb, c.journal = table, nil
	k.journal.undo()
	c.restore(&begin)
}

// plain reports that an instruction's memory, if it has any, is RAM and holds no code: it can be undone.
func (c *CPU) plain(in *decode.Inst, table *tlb) bool {
	ram := func(la uint64) bool {
		checked := c.tlb
		c.tlb = table // so that the page is found there later
		pa, ok := c.translate(la, 0)
		c.tlb = checked
		if !ok {
			return false
		}
		_, ok = c.machine.host(pa)
		return ok && (!c.machine.code.holds(pa) || in.Form == decode.FormRM)
	}
	if in.Prefix&decode.Mem != 0 && in.MSize != 0 {
		la := c.offset(in)
		if in.Seg >= fs {
			la += c.bases[in.Seg]
		}
		if !c.canonical(la) || !ram(la) || la&0xfff > 4096-uint64(in.MSize) {
			return false
		}
	}
	switch in.Op {
	case decode.PUSH, decode.CALL:
		return ram(c.r[rsp] - 8)
	}
	return true
}

// checkUnit runs a unit's block both ways.
func (c *CPU) checkUnit(i uint32, key unitKey) {
	t := c.translation
	u := t.units[i]
	c.rehearse(&u)
	c.stats.checked.Add(1)
	budget := c.budget
	c.grant(1)
	limit := c.limit
	entry := u.entry
	for again := true; again; {
		x := c.runCode(entry)
		at := len(t.check.states) - 1
		whole := at == len(u.block.insts)
		if again = false; x.Kind == jit.ExitInst {
			if int(x.Inst) < len(t.check.states) {
				c.rip = x.Target
				c.judge(&u, int(x.Inst))
			}
			entry, again = x.Resume(), c.interpret(x, key)
		} else {
			c.rip = x.Target
			if whole && c.budget < 1 {
				c.judge(&u, at)
			}
		}
	}
	if c.limit == limit {
		c.grant(budget - (1 - c.budget))
	}
}

// judge compares what a translation came to against the state at an instruction.
func (c *CPU) judge(u *unit, at int) {
	k := c.translation.check
	want, got := &k.states[at], c.moment()
	if k.failed != nil || *want == got && (at != len(k.states)-1 || k.journal.same()) {
		return
	}
	var s strings.Builder
	fmt.Fprintf(&s, "vCPU %d at RIP %#x: translation and interpreter differ at instruction %d of the block at %#x (seed %d, instruction %d)",
		c.id, got.rip, at, u.rip, c.config.Seed, c.Retired())
	for i := range u.block.insts {
		fmt.Fprintf(&s, "\n  %v", &u.block.insts[i])
	}
	line := func(name string, a, b uint64) {
		if a != b {
			fmt.Fprintf(&s, "\n  %s: interpreter %#x, translation %#x, before %#x", name, a, b, k.states[0].r)
		}
	}
	for i := range got.r {
		line(fmt.Sprint("register ", i), want.r[i], got.r[i])
	}
	line("RIP", want.rip, got.rip)
	line("flags", want.flags, got.flags)
	line("MXCSR", uint64(want.mxcsr), uint64(got.mxcsr))
	for i := range got.xmm {
		line(fmt.Sprint("low XMM", i), want.xmm[i].Lo, got.xmm[i].Lo)
		line(fmt.Sprint("high XMM", i), want.xmm[i].Hi, got.xmm[i].Hi)
	}
	if *want == got {
		s.WriteString("\n  memory differs")
	}
	k.failed = fmt.Errorf("%w: %s", vcpu.ErrGuest, s.String())
}
