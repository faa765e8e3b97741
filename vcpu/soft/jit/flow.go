package jit

import "gvmm/vcpu/soft/decode"

// flow emits a near control transfer. It is false, with nothing emitted, for one that the
// interpreter executes.
func (t *Translator) flow(in *decode.Inst) bool {
	if in.Size != 8 {
		return false
	}
	switch {
	case in.Op == decode.JMP && in.Form == decode.FormNone:
		t.link(t.next + in.Imm)
	case in.Op == decode.JMP:
		t.target(in)
		t.indirect()
		t.jumpFound()
	case in.Op == decode.JCC:
		taken, target := t.jumpIf(in.CC), t.next+in.Imm
		if t.within(target) {
			t.linked(taken, target)
			t.link(t.next)
			break
		}
		t.link(t.next)
		t.patch(taken, t.pos)
		t.link(target)
	case in.Op == decode.CALL && in.Form == decode.FormNone:
		t.push(func() { t.constant(host15, t.next) })
		t.link(t.next + in.Imm)
	case in.Op == decode.CALL:
		t.target(in)
		t.indirect()
		t.load(hostCX, memory{base: host14, index: noReg, disp: 8})
		t.store(t.field(controlTemp), hostCX)
		t.push(func() { t.constant(host15, t.next) })
		t.rm(opcode{bytes: 0xff}, 4, t.field(controlTemp))
	case in.Op == decode.RET:
		t.mov(host15, pinned[guestSP])
		t.probe(access{size: 8})
		t.load(host15, operandMemory)
		t.indirect()
		t.lea(pinned[guestSP], memory{base: pinned[guestSP], index: noReg, disp: 8 + int32(in.Imm)})
		t.jumpFound()
	default:
		return false
	}
	return true
}

// target loads into r15 where an indirect jump or call goes.
func (t *Translator) target(in *decode.Inst) {
	if in.Prefix&decode.Mem == 0 {
		if r := t.read(in.RM, host15); r != host15 {
			t.mov(host15, r)
		}
		return
	}
	t.address(in)
	t.probe(access{size: 8})
	t.load(host15, operandMemory)
}

// indirect finds the code for the linear address in r15, in the entry that it leaves in r14.
// If there is none the interpreter executes the instruction. It uses RCX.
func (t *Translator) indirect() {
	t.rr(opcode{bytes: 0x0fb7}, hostCX, host15) // MOVZX: the slot
	t.rm(opcode{bytes: 0x8d}, hostCX, memory{base: hostCX, index: hostCX})
	t.relative(opcode{bytes: 0x8d, wide: true}, host14, t.cache.code)
	t.lea(host14, memory{base: host14, index: hostCX, scale: 3})
	t.load(hostCX, t.field(controlSalt))
	t.lea(host15, memory{base: host15, index: hostCX})
	t.load(hostCX, memory{base: host14, index: noReg})
	t.lea(hostCX, memory{base: hostCX, index: host15})
	t.leave(t.unlessZero(), -1)
}

// jumpFound jumps to the code of the entry that indirect found.
func (t *Translator) jumpFound() {
	t.rm(opcode{bytes: 0xff}, 4, memory{base: host14, index: noReg, disp: 8})
}

// push pushes what value puts into r15, which is asked when nothing can fault any more.
func (t *Translator) push(value func()) {
	sp := pinned[guestSP]
	t.lea(host15, memory{base: sp, index: noReg, disp: -8})
	t.probe(access{size: 8, write: true})
	value()
	t.store(operandMemory, host15)
	t.lea(sp, memory{base: sp, index: noReg, disp: -8})
}

// stackInst emits PUSH, POP and LEAVE of 8 bytes.
func (t *Translator) stackInst(in *decode.Inst) bool {
	sp := pinned[guestSP]
	mem := in.Prefix&decode.Mem != 0
	switch {
	case in.Size != 8:
		return false
	case in.Op == decode.PUSH && in.Form != decode.FormM:
		t.push(func() { t.constant(host15, in.Imm) })
	case in.Op == decode.PUSH && !mem:
		t.push(func() {
			if r := t.read(in.RM, host15); r != host15 {
				t.mov(host15, r)
			}
		})
	case in.Op == decode.PUSH:
		t.address(in)
		t.probe(access{size: 8})
		t.load(host15, operandMemory)
		t.store(t.field(controlTemp), host15)
		t.push(func() { t.load(host15, t.field(controlTemp)) })
	case in.Op == decode.POP && !mem:
		t.mov(host15, sp)
		t.probe(access{size: 8})
		t.load(host15, operandMemory)
		t.lea(sp, memory{base: sp, index: noReg, disp: 8})
		t.write(in.RM, host15)
	case in.Op == decode.LEAVE:
		t.mov(host15, pinned[guestBP])
		t.probe(access{size: 8})
		t.lea(sp, memory{base: pinned[guestBP], index: noReg, disp: 8})
		t.load(pinned[guestBP], operandMemory)
	default:
		return false
	}
	return true
}
