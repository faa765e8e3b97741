package difftest

import (
	"encoding/binary"
	"math/rand/v2"

	"gvmm/vcpu/soft/decode"
)

// Generator makes random cases.
type Generator struct {
	// Wanted says which instructions to make: those that it is true for. It must
	// leave out what breaks the child: system calls, software interrupts, writes of
	// segment registers and their bases.
	Wanted func(in *decode.Inst) bool
	// Vectors has the x87, MMX and XMM registers and MXCSR filled with FX; nil leaves
	// them as after a reset.
	Vectors func(g *Generator, f *FX)

	// Narrow makes 32-bit code.
	Narrow bool

	*rand.Rand
	memory []byte
}

// NewGenerator makes a generator of the instructions that wanted picks.
func NewGenerator(r *rand.Rand, wanted func(in *decode.Inst) bool) *Generator {
	return &Generator{Wanted: wanted, Rand: r, memory: make([]byte, ScratchSize)}
}

// Memory fills and returns the memory of the next batch. It is overwritten by the
// next call.
func (g *Generator) Memory() []byte {
	for i := 0; i < ScratchSize; i += 8 {
		v := g.Value()
		if g.IntN(16) == 0 {
			v = g.branchTarget()
		}
		binary.LittleEndian.PutUint64(g.memory[i:], v)
	}
	return g.memory
}

// Value is a random number with a bent for the interesting ones.
func (g *Generator) Value() uint64 {
	switch k := g.IntN(64); g.IntN(12) {
	case 0:
		return 0
	case 1:
		return ^uint64(0)
	case 2:
		return uint64(k)
	case 3:
		return -uint64(k)
	case 4:
		return 1 << k
	case 5:
		return 1<<k - 1
	case 6:
		return uint64(g.Uint32())
	case 7:
		return [...]uint64{0x7f, 0x80, 0x7fff, 0x8000, 0x7fffffff, 0x80000000, 1<<63 - 1, 1 << 63}[k&7]
	case 8:
		return g.Uint64() >> k
	}
	return g.Uint64()
}

// Address is where a memory operand is to lie: in Scratch, aligned or not, across a
// page, or across one of its ends.
func (g *Generator) Address() uint64 {
	near := uint64(g.IntN(40)) - 20
	switch g.IntN(24) {
	case 0:
		return Scratch + near
	case 1:
		return Scratch + ScratchSize + near
	case 2:
		return Scratch + 0x1000*uint64(1+g.IntN(3)) + near
	case 3:
		return g.Value()
	}
	at := Scratch + 64 + uint64(g.IntN(ScratchSize-256))
	if g.IntN(3) != 0 {
		at &^= 15
	}
	return at
}

// branchTarget is among the INT3s around the code.
func (g *Generator) branchTarget() uint64 { return Entry + 0x100 + uint64(g.IntN(0x600)) }

// load is n bytes of the batch's memory at an address, 0 outside.
func (g *Generator) load(at uint64, n uint8) (v uint64) {
	if at -= Scratch; at > ScratchSize-8 {
		return 0
	}
	return binary.LittleEndian.Uint64(g.memory[at:]) & (^uint64(0) >> (64 - 8*min(n, 8)))
}

// Case makes a case of n instructions, or as many as fit. Only the last one may be a branch.
func (g *Generator) Case(n int) Case {
	c := Case{Bytes: make([]byte, 0, MaxCode), Narrow: g.Narrow}
	for i := range c.GPR {
		c.GPR[i] = g.Value()
	}
	c.RFLAGS = g.Uint64()&0x8d5 | 0x202
	if g.IntN(8) == 0 {
		c.RFLAGS |= 1 << 10 // DF
	}
	c.FX = ResetFX()
	if g.Vectors != nil {
		g.Vectors(g, &c.FX)
	}
	for i := 0; i < n; i++ {
		last := i == n-1 || len(c.Bytes) > MaxCode-2*decode.MaxLength
		if g.instruction(&c, last); last {
			break
		}
	}
	if g.Narrow {
		c.narrow()
	}
	return c
}

// encoding is an instruction under construction.
type encoding struct {
	b    [48]byte
	n    int
	disp int // where a displacement goes
	op   byte
}

func (e *encoding) put(b ...byte) { e.n += copy(e.b[e.n:], b) }

// random makes an instruction, and bytes behind it that its immediate may need.
func (g *Generator) random() (e encoding) {
	if g.IntN(16) == 0 {
		e.put(0x67)
	}
	if g.IntN(24) == 0 {
		e.put([]byte{0x26, 0x2e, 0x36, 0x3e}[g.IntN(4)])
	}
	if g.IntN(24) == 0 {
		e.put(0xf0)
	}
	opmap := g.IntN(16)
	if opmap == 15 {
		rxb, wvp := byte(g.IntN(8))<<5, byte(g.IntN(256))&^4
		if g.Narrow {
			rxb |= 0xc0 // else LES
		}
		if g.IntN(4) == 0 {
			wvp |= 0x78 // no register
		}
		e.put(0xc4, rxb|byte(1+g.IntN(3)), wvp)
	} else {
		switch g.IntN(8) {
		case 0, 1:
			e.put(0x66)
		case 2:
			e.put(0xf3)
		case 3:
			e.put(0xf2)
		}
		if !g.Narrow && g.IntN(2) == 0 {
			e.put(0x40 | byte(g.IntN(16)))
		}
		switch {
		case opmap > 13:
			e.put(0x0f, 0x3a)
		case opmap > 11:
			e.put(0x0f, 0x38)
		case opmap > 6:
			e.put(0x0f)
		}
	}
	for e.op = byte(g.IntN(256)); opmap <= 6 && g.notOpcode(e.op); {
		e.op = byte(g.IntN(256))
	}
	if opmap == 15 && g.IntN(2) == 0 {
		e.op = e.op&7 | 0xf0 // where the instructions on general registers are
	}
	modrm := byte(g.IntN(256))
	e.put(e.op, modrm)
	if modrm < 0xc0 && modrm&7 == 4 {
		e.put(byte(g.IntN(256)))
	}
	e.disp = e.n
	for range 3 {
		v := g.Value()
		if g.IntN(2) == 0 {
			v = uint64(g.IntN(256)) | v<<8
		}
		e.put(binary.LittleEndian.AppendUint64(nil, v)...)
	}
	return e
}

// notOpcode reports prefixes and the first bytes of other maps.
func (g *Generator) notOpcode(b byte) bool {
	switch b {
	case 0x0f, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xc4, 0xc5, 0xf0, 0xf2, 0xf3:
		return true
	}
	return !g.Narrow && b&0xf0 == 0x40
}

// instruction appends one that is wanted to the case and sets the registers that it
// addresses memory with. Those of earlier instructions may suffer.
func (g *Generator) instruction(c *Case, last bool) {
	for {
		e := g.random()
		in, err := decode.Decode(e.b[:e.n], c.Mode())
		if err != nil || !g.Wanted(&in) || len(c.Bytes)+int(in.Len) > MaxCode {
			continue
		}
		branch := in.Op.Group() == decode.GroupFlow || in.Op.Group() == decode.GroupSystem
		if branch && !last {
			continue
		}
		at := Entry + uint64(len(c.Bytes))
		code := e.b[:in.Len]
		if in.Op.Group() == decode.GroupFlow && in.Form == decode.FormNone {
			g.relative(&in, code, e.op)
		}
		if in.Has(decode.Mem) {
			if !g.memoryOperand(c, &in, &e, at) {
				continue
			}
		}
		g.implicit(c, &in)
		c.Bytes = append(c.Bytes, code...)
		return
	}
}

// relative gives a branch a displacement: to the next instruction, among the
// INT3s, or far away; never into itself. op is its opcode's last byte.
func (g *Generator) relative(in *decode.Inst, code []byte, op byte) {
	switch in.Op {
	default:
		return
	case decode.LOOP, decode.LOOPE, decode.LOOPNE, decode.JCXZ, decode.JMP, decode.JCC, decode.CALL:
	}
	if op == 0xeb || op&0xf0 == 0x70 || in.Op >= decode.LOOP {
		code[len(code)-1] = [...]byte{0, 16, 127, 0x80, 0xc0, byte(16 + g.IntN(100))}[g.IntN(6)]
		return
	}
	if in.Size == 2 {
		return // below 64 KiB nothing is
	}
	d := [...]uint32{0, 0x100, uint32(0x80 + g.IntN(0x600)), -uint32(0x80 + g.IntN(0x600)), 0x40000000, 0x90000000}[g.IntN(6)]
	binary.LittleEndian.PutUint32(code[len(code)-4:], d)
}

// memoryOperand has the operand lie at an Address, by its base register, its index,
// or its displacement. at is where the instruction is.
func (g *Generator) memoryOperand(c *Case, in *decode.Inst, e *encoding, at uint64) bool {
	target := g.Address()
	disp := in.Disp
	switch {
	case e.op&0xfc == 0xa0 && in.Op == decode.MOV && in.Form != decode.FormMI && in.Base == decode.NoReg && in.Index == decode.NoReg && in.Reg == 0 && in.RM == 0:
		// moffs: its address is what an immediate would be
		binary.LittleEndian.PutUint64(e.b[int(in.Len)-int(in.Addr):], target)
	case in.Base == decode.RIP:
		binary.LittleEndian.PutUint32(e.b[e.disp:], uint32(target-at-uint64(in.Len)))
	case in.Base == decode.NoReg && in.Index == decode.NoReg:
		binary.LittleEndian.PutUint32(e.b[e.disp:], uint32(target))
	case in.Base == decode.NoReg:
		c.GPR[in.Index] = (target - disp) >> in.Scale
	case in.Base == in.Index:
		c.GPR[in.Base] = (target - disp) / (1 + 1<<in.Scale)
	case in.Index != decode.NoReg:
		c.GPR[in.Base] = target - disp - c.GPR[in.Index]<<in.Scale
	default:
		c.GPR[in.Base] = target - disp
	}
	if in.Addr == 4 && in.Base < 16 && g.IntN(2) == 0 {
		c.GPR[in.Base] += uint64(g.Uint32()) << 32
	}
	again, err := decode.Decode(e.b[:e.n], c.Mode())
	if err != nil || again.Len != in.Len || again.Op != in.Op || !g.Wanted(&again) {
		return false
	}
	*in = again
	g.related(c, in, target)
	return true
}

// related has registers fit the memory operand.
func (g *Generator) related(c *Case, in *decode.Inst, target uint64) {
	if g.IntN(2) == 0 {
		return
	}
	set := func(r uint8, v uint64) {
		if r != in.Base && r != in.Index {
			c.GPR[r] = v
		}
	}
	switch in.Op {
	case decode.CMPXCHG:
		set(0, g.load(target, in.Size))
	case decode.CMPXCHG8B:
		v := g.load(target, 8)
		set(0, v&0xffffffff)
		set(2, v>>32)
	case decode.CMPXCHG16B:
		set(0, g.load(target, 8))
		set(2, g.load(target+8, 8))
	case decode.BT, decode.BTS, decode.BTR, decode.BTC:
		if in.Form == decode.FormMR {
			set(in.Reg, uint64(g.IntN(0x20000)-0x10000))
		}
	}
}

// implicit sets the registers that instructions use unasked.
func (g *Generator) implicit(c *Case, in *decode.Inst) {
	const rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi = 0, 1, 2, 3, 4, 5, 6, 7
	free := func(r uint8) bool { return !in.Has(decode.Mem) || r != in.Base && r != in.Index }
	switch in.Op.Group() {
	case decode.GroupString:
		c.GPR[rsi], c.GPR[rdi] = g.Address(), g.Address()
		if g.IntN(4) == 0 {
			c.GPR[rsi] = c.GPR[rdi] + uint64(g.IntN(64)) - 32 // they overlap
		}
		if g.IntN(4) == 0 {
			c.GPR[rax] = g.load(c.GPR[rdi]&^7, 8)
		}
		switch g.IntN(8) {
		case 0:
			c.GPR[rcx] = uint64(g.IntN(5000))
		case 1:
		default:
			c.GPR[rcx] = uint64(g.IntN(20))
		}
		if in.Addr == 4 && g.IntN(2) == 0 {
			for _, r := range []int{rcx, rsi, rdi} {
				c.GPR[r] += uint64(g.Uint32()) << 32
			}
		}
	case decode.GroupFlow:
		if free(rsp) {
			c.GPR[rsp] = g.Address()
		}
		if free(rcx) && g.IntN(2) == 0 {
			c.GPR[rcx] = uint64(g.IntN(3)) | uint64(g.IntN(2))<<32
		}
		if in.Form == decode.FormM && !in.Has(decode.Mem) && g.IntN(2) == 0 {
			c.GPR[in.RM] = g.branchTarget()
		}
	}
	switch in.Op {
	case decode.PUSH, decode.POP, decode.PUSHF, decode.POPF, decode.ENTER, decode.LEAVE, decode.PUSHA, decode.POPA:
		if free(rsp) {
			c.GPR[rsp] = g.Address()
		}
		if free(rbp) {
			c.GPR[rbp] = g.Address()
		}
	case decode.XLAT:
		c.GPR[rbx] = g.Address()
	case decode.DIV, decode.IDIV:
		switch g.IntN(3) {
		case 0:
			if free(rdx) {
				c.GPR[rdx] = 0
			}
		case 1:
			if free(rdx) {
				c.GPR[rdx] = uint64(int64(c.GPR[rax]) >> 63)
			}
		}
	}
}
