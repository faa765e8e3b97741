package jit

import (
	"math/bits"

	"gvmm/vcpu/soft/decode"
)

// Guest registers as decode numbers them.
const (
	guestAX = 0
	guestCX = 1
	guestDX = 2
	guestBX = 3
	guestSP = 4
	guestBP = 5
)

// pinned is where each of the guest's registers lives: in the host's, or in the state (noReg).
// RCX and RSP are moved aside: the translator needs the host's for itself.
var pinned = [16]reg{0, 10, 2, 3, 11, 5, 6, 7, 8, 9, noReg, noReg, 12, 13, noReg, noReg}

// register is the state's field of a guest register.
func (t *Translator) register(g uint8) memory { return state(t.layout.Registers + 8*int32(g)) }

// read returns a host register that holds a whole guest register: its own, or scratch.
func (t *Translator) read(g uint8, scratch reg) reg {
	if h := pinned[g]; h != noReg {
		return h
	}
	t.load(scratch, t.register(g))
	return scratch
}

// write moves a host register to a whole guest register.
func (t *Translator) write(g uint8, from reg) {
	h := pinned[g]
	switch {
	case h == noReg:
		t.store(t.register(g), from)
	case h != from:
		t.mov(h, from)
	}
}

// operand is a register operand while one instruction is emitted.
type operand struct {
	guest uint8
	host  reg
	high  bool // AH to BH, in the low byte of host
}

// use gets a register operand ready for an instruction that reads or changes it, n bytes.
func (t *Translator) use(g, n uint8, scratch reg) operand {
	if n == 1 && g >= decode.AH {
		o := operand{guest: g & 3, host: scratch, high: true}
		t.rotate(scratch, pinned[o.guest], 8, true)
		return o
	}
	return operand{guest: g, host: t.read(g, scratch)}
}

// done brings a changed operand back to where it lives.
func (t *Translator) done(o operand) {
	switch {
	case o.high:
		h := pinned[o.guest]
		t.rotate(h, h, 8, true)
		t.rr(opcode{bytes: 0x88, byte8: true}, o.host, h)
		t.rotate(h, h, 56, true)
	case pinned[o.guest] == noReg:
		t.store(t.register(o.guest), o.host)
	}
}

// address computes an instruction's linear address into r15. It uses RCX.
func (t *Translator) address(in *decode.Inst) {
	t.offset(in, host15, in.Addr)
	if in.Seg >= decode.FS {
		t.load(hostCX, state(t.layout.Bases+8*int32(in.Seg)))
		t.lea(host15, memory{base: host15, index: hostCX})
	}
}

// place is an instruction's offset in its segment, as host memory would be addressed. It uses r15 and
// RCX for what lives in the state. Where no register is in it, it is a constant.
func (t *Translator) place(in *decode.Inst) (m memory, constant uint64, fixed bool) {
	switch {
	case in.Base == decode.RIP:
		return m, t.next + in.Disp, true
	case in.Base == decode.NoReg && in.Index == decode.NoReg:
		return m, in.Disp, true
	}
	m = memory{base: noReg, index: noReg, scale: in.Scale, disp: int32(in.Disp)}
	if in.Base != decode.NoReg {
		m.base = t.read(in.Base, host15)
	}
	if in.Index != decode.NoReg {
		m.index = t.read(in.Index, hostCX)
	}
	return m, 0, false
}

// offset computes it into a register, n bytes wide.
func (t *Translator) offset(in *decode.Inst, to reg, n uint8) {
	m, v, fixed := t.place(in)
	if !fixed {
		t.rm(opcode{bytes: 0x8d, wide: n == 8}, to, m)
		return
	}
	if n == 4 {
		v = uint64(uint32(v))
	}
	t.constant(to, v)
}

// access is how memory is used.
type access struct {
	size    uint8
	write   bool
	aligned bool // to 16 bytes: else #GP
}

// operandMemory is where probe leaves an operand.
var operandMemory = memory{base: hostCX, index: host14}

// probe finds the host's memory for the linear address in r15; it leaves the exit for the
// instruction if that may not be done directly. It uses RCX and r14.
func (t *Translator) probe(a access) {
	tag := t.layout.TLBRead
	if a.write {
		tag = t.layout.TLBWrite
	}
	s := site{at: uint32(t.pos), tag: tag, access: a, table: t.table}
	var miss int
	if s.plain = t.writers[t.inst] != nil && !a.aligned; s.plain {
		miss = t.probePlain(&s)
	} else {
		s.tagAt = uint32(t.pos + 4)
		t.loadFar(hostCX, t.table+tag)
		t.not(hostCX)
		t.lea(host14, memory{base: host15, index: hostCX, disp: 1})
		t.judge(a, host14)
		miss = t.unlessZero()
	}
	s.hostAt = uint32(t.pos + 4)
	t.loadFar(hostCX, t.table+t.layout.TLBHost)
	s.hit = uint32(t.pos)
	t.sites = append(t.sites, s)
	t.leave(miss, len(t.sites)-1)
}

// judge makes RCX zero if an access at an offset from its page's start lies in the page and is aligned to its size.
func (t *Translator) judge(a access, offset reg) {
	if a.size == 1 {
		t.page(hostCX, offset)
	} else {
		t.extract(hostCX, offset, t.control(controlMasks)+8*int32(bits.TrailingZeros8(a.size)))
	}
}
