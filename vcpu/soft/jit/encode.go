package jit

import "encoding/binary"

// reg is a host register as the encoding numbers it.
type reg int8

// Host registers that the translator names.
const (
	hostAX reg = 0
	hostCX reg = 1
	hostDX reg = 2
	hostBX reg = 3
	hostSP reg = 4 // the state
	host14 reg = 14
	host15 reg = 15
	noReg  reg = -1
)

// memory is a host memory operand: base + index<<scale + disp.
type memory struct {
	base, index reg
	scale       uint8
	disp        int32
}

// state is a field of the processor's state.
func state(offset int32) memory { return memory{base: hostSP, index: noReg, disp: offset} }

// opcode is an instruction's opcode bytes, the first in the highest: 0x89, 0x0fb6, 0x0f38f0.
// prefix comes before REX.
type opcode struct {
	prefix byte // mandatory or operand size: 0, 66H, F2H, F3H
	second byte // another one before it: 0 or 66H beside F2H
	bytes  uint32
	wide   bool // REX.W
	byte8  bool // registers are 8-bit ones: SPL to DIL want a REX
	lock   bool
}

// assembler appends host instructions to code. Once full, it drops what it is given.
type assembler struct {
	code []byte // the writable view
	pos  int
	full bool
}

func (a *assembler) emit(b ...byte) {
	if a.pos+len(b) > len(a.code) {
		a.full = true
		return
	}
	a.pos += copy(a.code[a.pos:], b)
}

func (a *assembler) imm(v uint64, n uint8) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	a.emit(b[:n]...)
}

func (a *assembler) lead(o opcode, rex byte) {
	if o.lock {
		a.emit(0xf0)
	}
	if o.second != 0 {
		a.emit(o.second)
	}
	if o.prefix != 0 {
		a.emit(o.prefix)
	}
	if o.wide {
		rex |= 0x48
	}
	if rex != 0 {
		a.emit(0x40 | rex)
	}
	switch {
	case o.bytes > 0xffff:
		a.emit(byte(o.bytes>>16), byte(o.bytes>>8), byte(o.bytes))
	case o.bytes > 0xff:
		a.emit(byte(o.bytes>>8), byte(o.bytes))
	default:
		a.emit(byte(o.bytes))
	}
}

// rr emits an instruction with a register, or an opcode's extension, and a register as rm.
func (a *assembler) rr(o opcode, r, rm reg) {
	rex := byte(r>>3)<<2 | byte(rm>>3)
	if o.byte8 && (r >= 4 && r < 8 || rm >= 4 && rm < 8) {
		rex |= 0x40
	}
	a.lead(o, rex)
	a.emit(0xc0 | byte(r&7)<<3 | byte(rm&7))
}

// rm emits an instruction with a register, or an opcode's extension, and memory.
func (a *assembler) rm(o opcode, r reg, m memory) {
	rex := byte(r>>3) << 2
	if m.base >= 0 {
		rex |= byte(m.base >> 3)
	}
	if m.index >= 0 {
		rex |= byte(m.index>>3) << 1
	}
	if o.byte8 && r >= 4 && r < 8 {
		rex |= 0x40
	}
	a.lead(o, rex)
	a.modRM(r, m)
}

func (a *assembler) modRM(r reg, m memory) {
	reg := byte(r&7) << 3
	index := byte(4) // none
	if m.index >= 0 {
		index = byte(m.index & 7)
	}
	if m.base < 0 {
		a.emit(0x04|reg, m.scale<<6|index<<3|5)
		a.imm(uint64(m.disp), 4)
		return
	}
	mod := byte(0x80)
	switch {
	case m.disp == 0 && m.base&7 != 5:
		mod = 0
	case m.disp == int32(int8(m.disp)):
		mod = 0x40
	}
	if m.index >= 0 || m.base&7 == 4 {
		a.emit(mod|reg|4, m.scale<<6|index<<3|byte(m.base&7))
	} else {
		a.emit(mod | reg | byte(m.base&7))
	}
	switch mod {
	case 0x40:
		a.emit(byte(m.disp))
	case 0x80:
		a.imm(uint64(m.disp), 4)
	}
}

// Plain 64-bit instructions. None changes flags.

func (a *assembler) mov(to, from reg)         { a.rr(opcode{bytes: 0x89, wide: true}, from, to) }
func (a *assembler) load(to reg, m memory)    { a.rm(opcode{bytes: 0x8b, wide: true}, to, m) }
func (a *assembler) load32(to reg, m memory)  { a.rm(opcode{bytes: 0x8b}, to, m) }
func (a *assembler) store(m memory, from reg) { a.rm(opcode{bytes: 0x89, wide: true}, from, m) }
func (a *assembler) lea(to reg, m memory)     { a.rm(opcode{bytes: 0x8d, wide: true}, to, m) }
func (a *assembler) not(r reg)                { a.rr(opcode{bytes: 0xf7, wide: true}, 2, r) }

// store32 stores an immediate of 32 bits.
func (a *assembler) store32(m memory, v uint32) {
	a.rm(opcode{bytes: 0xc7}, 0, m)
	a.imm(uint64(v), 4)
}

// constant loads a constant in the shortest way.
func (a *assembler) constant(to reg, v uint64) {
	switch {
	case v == uint64(uint32(v)):
		a.opReg(0xb8, to, false)
		a.imm(v, 4)
	case v == uint64(int32(v)):
		a.rr(opcode{bytes: 0xc7, wide: true}, 0, to)
		a.imm(v, 4)
	default:
		a.opReg(0xb8, to, true)
		a.imm(v, 8)
	}
}

// loadFar loads from the state with a displacement of 32 bits in any case, 4 bytes from the start.
func (a *assembler) loadFar(to reg, offset int32) { a.opFar(0x8b, to, offset) }

// opFar is any operation like that.
func (a *assembler) opFar(op byte, to reg, offset int32) {
	a.emit(0x48|byte(to>>3)<<2, op, 0x84|byte(to&7)<<3, 0x24)
	a.imm(uint64(offset), 4)
}

// relative emits an instruction with memory at an offset of the code.
func (a *assembler) relative(o opcode, r reg, at int) {
	a.lead(o, byte(r>>3)<<2)
	a.emit(byte(r&7)<<3 | 5)
	a.imm(uint64(at-a.pos-4), 4)
}

// opReg emits an opcode with the register in its low bits.
func (a *assembler) opReg(op byte, r reg, wide bool) {
	rex := byte(r >> 3)
	if wide {
		rex |= 8
	}
	if rex != 0 {
		a.emit(0x40 | rex)
	}
	a.emit(op | byte(r&7))
}

// vex emits an instruction of map 0F38 (map 2) or 0F3A (3) with three operands, rm a register.
func (a *assembler) vex(pp, m, op byte, wide bool, r, v, rm reg) {
	a.vexLead(pp, m, op, wide, v, 0xe0&^(byte(r>>3)<<7|byte(rm>>3)<<5))
	a.emit(0xc0 | byte(r&7)<<3 | byte(rm&7))
}

// vexM is vex with memory as rm.
func (a *assembler) vexM(pp, mm, op byte, wide bool, r, v reg, m memory) {
	inverted := 0xe0 &^ (byte(r>>3) << 7)
	if m.index >= 8 {
		inverted &^= 0x40
	}
	if m.base >= 8 {
		inverted &^= 0x20
	}
	a.vexLead(pp, mm, op, wide, v, inverted)
	a.modRM(r, m)
}

func (a *assembler) vexLead(pp, m, op byte, wide bool, v reg, inverted byte) {
	third := (^byte(v)&15)<<3 | pp
	if wide {
		third |= 0x80
	}
	a.emit(0xc4, inverted|m, third, op)
}

// page shifts a value right by the state's low six bits, which are 12.
func (a *assembler) page(to, from reg) { a.vex(3, 2, 0xf7, true, to, hostSP, from) }

// extract gathers the bits of a register that a mask in the state has (PEXT).
func (a *assembler) extract(to, from reg, mask int32) {
	a.vexM(2, 2, 0xf5, true, to, from, state(mask))
}

// rotate is RORX.
func (a *assembler) rotate(to, from reg, by byte, wide bool) {
	a.vex(3, 3, 0xf0, wide, to, 0, from)
	a.emit(by)
}

// jump emits JMP rel32 and returns where its displacement is.
func (a *assembler) jump() int {
	a.emit(0xe9, 0, 0, 0, 0)
	return a.pos - 4
}

// jumpIf emits Jcc rel32.
func (a *assembler) jumpIf(cc byte) int {
	a.emit(0x0f, 0x80|cc, 0, 0, 0, 0)
	return a.pos - 4
}

// unlessZero leaves by the jump whose displacement it returns unless host RCX is 0.
func (a *assembler) unlessZero() int {
	a.emit(0xe3, 5) // JRCXZ over the jump
	return a.jump()
}

// patch sets the displacement of the jump at an offset of the code to another one.
func (a *assembler) patch(at, target int) {
	if a.full {
		return
	}
	binary.LittleEndian.PutUint32(a.code[at:], uint32(target-at-4))
}
