package jit

import "gvmm/vcpu/soft/decode"

// Where the guest's flags are about to be overwritten and can be computed again from what their last writer left, a look-up
// may change the host's: that is shorter. Should it fail, its exit computes them again first.

// effect is what an instruction does to flags and registers. The zero effect is one of which nothing is known.
type effect struct {
	known     bool
	overwrite bool   // sets all six flags, whatever they were; else it leaves them alone
	writes    uint16 // guest registers
}

// effectOf is an instruction's effect.
func effectOf(in *decode.Inst) effect {
	bit := func(g uint8) uint16 {
		if g >= decode.AH {
			g &= 3
		}
		return 1 << g
	}
	destination := uint16(0)
	switch {
	case in.Form == decode.FormRM || in.Form == decode.FormRMI:
		destination = bit(in.Reg)
	case in.Prefix&decode.Mem == 0:
		destination = bit(in.RM)
	}
	switch in.Op {
	case decode.NOP, decode.ENDBR:
		return effect{known: true}
	case decode.MOV, decode.LEA, decode.MOVZX, decode.MOVSX, decode.MOVSXD:
		return effect{known: true, writes: destination}
	case decode.PUSH:
		return effect{known: in.Size == 8, writes: 1 << guestSP}
	case decode.POP:
		return effect{known: in.Size == 8 && in.Prefix&decode.Mem == 0, writes: destination | 1<<guestSP}
	case decode.ADD, decode.SUB, decode.AND, decode.OR, decode.XOR, decode.NEG:
		return effect{known: true, overwrite: true, writes: destination}
	case decode.CMP, decode.TEST:
		return effect{known: true, overwrite: true}
	}
	return effect{}
}

// writer is an instruction whose flags can be computed again as long as some registers keep their values.
type writer struct {
	in   *decode.Inst
	uses uint16
}

// writerOf finds out whether an instruction that overwrites all flags is one.
func writerOf(in *decode.Inst) (w writer, ok bool) {
	usable := func(g uint8) bool { return g < decode.AH && pinned[g] != noReg }
	mem := in.Prefix&decode.Mem != 0
	destination, source := in.RM, in.Reg
	if in.Form == decode.FormRM {
		destination, source = in.Reg, in.RM
	}
	if mem && in.Form != decode.FormRM || !usable(destination) {
		return w, false
	}
	w = writer{in, 1 << destination}
	switch in.Op {
	case decode.AND, decode.OR, decode.XOR:
		return w, true
	case decode.ADD, decode.SUB, decode.CMP, decode.TEST:
		if mem {
			return w, false
		}
		if in.Form != decode.FormMI {
			if !usable(source) || source == destination {
				return w, false
			}
			w.uses |= 1 << source
		}
		return w, true
	}
	return w, false
}

// planLookups finds for each instruction of a block the writer by which its look-ups may change the flags, or nil.
func (t *Translator) planLookups(insts []decode.Inst) {
	var last writer
	for i := range insts {
		t.writers[i] = nil
		if last.in != nil && overwritten(insts[i:], last.uses) {
			t.writers[i] = last.in
		}
		e := effectOf(&insts[i])
		switch {
		case !e.known || e.writes&last.uses != 0 && !e.overwrite:
			last = writer{}
		case e.overwrite:
			if w, ok := writerOf(&insts[i]); ok {
				last = w
			} else {
				last = writer{}
			}
		}
	}
}

// overwritten reports that the flags are overwritten before anybody asks for them, and that until then some registers keep
// their values.
func overwritten(insts []decode.Inst, uses uint16) bool {
	for i := range insts {
		e := effectOf(&insts[i])
		switch {
		case !e.known:
			return false
		case e.overwrite:
			return true
		case e.writes&uses != 0:
			return false
		}
	}
	return false
}

// recompute sets the host's flags as an instruction did. It uses RCX.
func (t *Translator) recompute(in *decode.Inst) {
	p, _ := aluPlan(in)
	destination, source := in.RM, in.Reg
	if in.Form == decode.FormRM {
		destination, source = in.Reg, in.RM
	}
	to := pinned[destination]
	// again emits an operation on a copy of the destination.
	again := func(op decode.Op, copied reg) {
		which := uint32(op - decode.ADD)
		if in.Form == decode.FormMI {
			t.rr(p.op, reg(which), copied)
			t.imm(in.Imm, p.imm)
			return
		}
		t.rr(sized(in.Size, which<<3), pinned[source], copied)
	}
	switch in.Op {
	case decode.AND, decode.OR, decode.XOR:
		t.rr(sized(in.Size, 0x84), to, to)
	case decode.TEST:
		if in.Form == decode.FormMI {
			t.rr(sized(in.Size, 0xf6), 0, to)
			t.imm(in.Imm, min(in.Size, 4))
		} else {
			t.rr(sized(in.Size, 0x84), pinned[source], to)
		}
	case decode.CMP:
		again(decode.CMP, to)
	case decode.ADD, decode.SUB:
		t.mov(hostCX, to)
		again(decode.ADD+decode.SUB-in.Op, hostCX)
		again(in.Op, hostCX)
	}
}

// probePlain is probe where the host's flags may change.
func (t *Translator) probePlain(s *site) (away int) {
	t.mov(host14, host15)
	s.tagAt = uint32(t.pos + 4)
	t.opFar(0x2b, host14, t.table+s.tag) // SUB
	t.rr(opcode{bytes: 0x81, wide: true}, 7, host14)
	t.imm(4096-uint64(s.access.size), 4)
	return t.jumpIf(7) // above
}

// roamPlain is roam's look-up where the host's flags may change.
func (t *Translator) roamPlain(s *site) (away int) {
	t.rr(opcode{bytes: 0x89}, host15, hostCX)
	t.rr(opcode{bytes: 0xc1}, 5, hostCX) // SHR
	t.imm(7, 1)
	t.rr(opcode{bytes: 0x81}, 4, hostCX) // AND
	t.imm((tlbSlots-1)*tlbSlotSize, 4)
	t.mov(host14, host15)
	t.rm(opcode{bytes: 0x2b, wide: true}, host14, memory{base: hostSP, index: hostCX, disp: s.table + s.tag})
	t.rr(opcode{bytes: 0x81, wide: true}, 7, host14)
	t.imm(4096-uint64(s.access.size), 4)
	away = t.jumpIf(7)
	t.load(hostCX, memory{base: hostSP, index: hostCX, disp: s.table + t.layout.TLBHost})
	return away
}
