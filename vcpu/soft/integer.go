package soft

import (
	"math/bits"

	"gvmm/vcpu/soft/decode"
)

// integerState is what the integer instructions keep beside the registers.
type integerState struct {
	rng    random
	line   [64]byte // MOVDIR64B's
	repeat bool     // the instruction under way stopped between two repetitions: RF outlives it
}

// integer executes an instruction of group Integer.
func (c *CPU) integer(in *decode.Inst) bool {
	switch in.Op {
	case decode.MOV:
		return c.mov(in)
	case decode.ADD, decode.OR, decode.ADC, decode.SBB, decode.AND, decode.SUB, decode.XOR:
		return c.alu(in)
	case decode.CMP, decode.TEST:
		return c.compare(in)
	case decode.LEA:
		c.set(in.Reg, in.Size, c.offset(in))
	case decode.INC, decode.DEC, decode.NEG, decode.NOT:
		return c.unary(in)
	case decode.MOVZX, decode.MOVSX, decode.MOVSXD, decode.CMOVCC:
		return c.extend(in)
	case decode.SETCC:
		var v uint64
		if c.cond(in.CC) {
			v = 1
		}
		return c.writeRM(in, v)
	case decode.CBW:
		c.set(rax, in.Size, signed(c.r[rax], in.Size/2))
	case decode.CWD:
		c.set(rdx, in.Size, uint64(int64(signed(c.r[rax], in.Size))>>63))
	case decode.BSWAP:
		c.bswap(in)
	case decode.ROL, decode.ROR, decode.RCL, decode.RCR, decode.SHL, decode.SHR, decode.SAR:
		return c.shift(in)
	case decode.SHLD, decode.SHRD:
		return c.shiftDouble(in)
	case decode.MUL, decode.IMUL:
		return c.multiply(in)
	case decode.DIV, decode.IDIV:
		return c.divide(in)
	case decode.BT, decode.BTS, decode.BTR, decode.BTC:
		return c.bitTest(in)
	case decode.BSF, decode.BSR, decode.POPCNT, decode.LZCNT, decode.TZCNT:
		return c.bitCount(in)
	case decode.XCHG, decode.XADD, decode.CMPXCHG, decode.CMPXCHG8B, decode.CMPXCHG16B:
		return c.exchange(in)
	case decode.PUSH, decode.POP, decode.PUSHA, decode.POPA, decode.PUSHF, decode.POPF, decode.ENTER, decode.LEAVE:
		return c.stack(in)
	case decode.LAHF, decode.SAHF, decode.CMC, decode.CLC, decode.STC, decode.CLD, decode.STD, decode.SALC:
		c.flagBits(in.Op)
	case decode.AAA, decode.AAS, decode.AAM, decode.AAD, decode.DAA, decode.DAS:
		return c.decimal(in)
	case decode.ANDN, decode.BEXTR, decode.BLSI, decode.BLSMSK, decode.BLSR, decode.BZHI, decode.MULX,
		decode.PDEP, decode.PEXT, decode.RORX, decode.SARX, decode.SHLX, decode.SHRX, decode.ADCX, decode.ADOX:
		return c.bmi(in)
	case decode.NOP, decode.PAUSE, decode.ENDBR, decode.PREFETCH, decode.LFENCE, decode.SFENCE:
		// Loads and stores are in order already.
	case decode.MFENCE, decode.SERIALIZE:
		c.order()
	default:
		return c.uncommon(in)
	}
	return true
}

// uncommon executes the rest.
func (c *CPU) uncommon(in *decode.Inst) bool {
	switch in.Op {
	case decode.XLAT:
		v, ok := c.loadAt(in.Seg, (c.r[rbx]+c.r[rax]&0xff)&sizeMask(in.Addr), 1)
		if ok {
			c.set(rax, 1, v)
		}
		return ok
	case decode.BOUND:
		return c.bound(in)
	case decode.MOVBE:
		return c.movbe(in)
	case decode.CRC32:
		return c.crc32(in)
	case decode.RDRAND, decode.RDSEED:
		c.set(in.RM, in.Size, c.rng.next(c))
		c.setArith(flagCF)
		return true
	case decode.MOVNTI, decode.MOVDIRI:
		return c.store(in, in.Size, c.get(in.Reg, in.Size))
	case decode.MOVDIR64B:
		return c.movdir64b(in)
	case decode.CLFLUSH, decode.CLFLUSHOPT, decode.CLWB:
		la, ok := c.linear(in.Seg, c.offset(in), 1, false)
		return ok && c.probe(la, 1, 0)
	}
	return c.ud()
}

// signed sign-extends the low n bytes of v.
func signed(v uint64, n uint8) uint64 {
	shift := 64 - 8*uint(n)
	return uint64(int64(v<<shift) >> shift)
}

func (c *CPU) mov(in *decode.Inst) bool {
	switch in.Form {
	case decode.FormRM:
		v, ok := c.readRM(in)
		if ok {
			c.set(in.Reg, in.Size, v)
		}
		return ok
	case decode.FormMR:
		return c.writeRM(in, c.get(in.Reg, in.Size))
	}
	return c.writeRM(in, in.Imm)
}

// extend is a move whose source is narrower, or one with a condition: the source is
// read and the upper half of a 32-bit destination cleared whether it holds or not.
func (c *CPU) extend(in *decode.Inst) bool {
	v, ok := c.readRM(in)
	switch {
	case !ok:
		return false
	case in.Op == decode.MOVSX, in.Op == decode.MOVSXD:
		v = signed(v, in.MSize)
	case in.Op == decode.CMOVCC && !c.cond(in.CC):
		v = c.get(in.Reg, in.Size)
	}
	c.set(in.Reg, in.Size, v)
	return true
}

// bswap of a 16-bit register is undefined: it becomes 0.
func (c *CPU) bswap(in *decode.Inst) {
	v := c.r[in.RM&15]
	switch in.Size {
	case 8:
		v = bits.ReverseBytes64(v)
	case 4:
		v = uint64(bits.ReverseBytes32(uint32(v)))
	default:
		v = 0
	}
	c.set(in.RM, in.Size, v)
}

func (c *CPU) movbe(in *decode.Inst) bool {
	reverse := 64 - 8*uint(in.Size)
	if in.Form == decode.FormMR {
		return c.writeRM(in, bits.ReverseBytes64(c.get(in.Reg, in.Size))>>reverse)
	}
	v, ok := c.readRM(in)
	if ok {
		c.set(in.Reg, in.Size, bits.ReverseBytes64(v)>>reverse)
	}
	return ok
}

// bound compares a signed index with a pair of bounds in memory.
func (c *CPU) bound(in *decode.Inst) bool {
	n, off := in.Size, c.offset(in)
	low, ok := c.loadAt(in.Seg, off, n)
	if !ok {
		return false
	}
	high, ok := c.loadAt(in.Seg, (off+uint64(n))&sizeMask(in.Addr), n)
	if !ok {
		return false
	}
	i := int64(signed(c.r[in.Reg&15], n))
	if i < int64(signed(low, n)) || i > int64(signed(high, n)) {
		return c.raise(vectorBR)
	}
	return true
}

// movdir64b stores 64 bytes at the address in reg, in segment ES.
func (c *CPU) movdir64b(in *decode.Inst) bool {
	to := c.r[in.Reg&15] & sizeMask(in.Addr)
	la, ok := c.linear(es, to, 64, true)
	if !ok {
		return false
	}
	if la&63 != 0 {
		return c.gp0()
	}
	return c.loadBytes(in.Seg, c.offset(in), c.line[:]) && c.writeBytes(la, c.line[:], 0)
}

// flagBits executes what only moves flags.
func (c *CPU) flagBits(op decode.Op) {
	const low = flagSF | flagZF | flagAF | flagPF | flagCF
	switch op {
	case decode.LAHF:
		c.set(decode.AH, 1, c.arith()&low|2)
	case decode.SAHF:
		c.setArith(c.arith()&flagOF | c.get(decode.AH, 1)&low)
	case decode.CMC:
		c.setArith(c.arith() ^ flagCF)
	case decode.CLC:
		c.setArith(c.arith() &^ flagCF)
	case decode.STC:
		c.setArith(c.arith() | flagCF)
	case decode.CLD:
		c.rflags &^= flagDF
	case decode.STD:
		c.rflags |= flagDF
	case decode.SALC:
		c.set(rax, 1, -c.carry())
	}
}
