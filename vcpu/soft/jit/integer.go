package jit

import "gvmm/vcpu/soft/decode"

// plan is how an instruction is emitted: as itself, with its operands in other places.
type plan struct {
	op                    opcode
	ext                   reg // the opcode's extension, or noReg: reg is an operand
	rmChanged, regChanged bool
	regSize               uint8
	imm                   uint8 // bytes of immediate
	count                 bool  // in CL
}

// sized is an opcode whose lowest bit tells bytes from larger operands.
func sized(n uint8, bytes uint32) opcode {
	if n == 1 {
		return opcode{bytes: bytes, byte8: true}
	}
	return wider(n, bytes|1)
}

// wider is an opcode of 16-, 32- or 64-bit operands.
func wider(n uint8, bytes uint32) opcode {
	o := opcode{bytes: bytes, wide: n == 8}
	if n == 2 {
		o.prefix = 0x66
	}
	return o
}

// integerPlan finds the plan of an instruction of group Integer.
func integerPlan(in *decode.Inst) (p plan, ok bool) {
	n := in.Size
	p = plan{ext: noReg, regSize: n}
	mem := in.Prefix&decode.Mem != 0
	switch op := in.Op; op {
	case decode.ADD, decode.OR, decode.ADC, decode.SBB, decode.AND, decode.SUB, decode.XOR, decode.CMP:
		return aluPlan(in)
	case decode.MOV:
		return movPlan(in)
	case decode.TEST:
		if p.op = sized(n, 0x84); in.Form == decode.FormMI {
			p.op, p.ext, p.imm = sized(n, 0xf6), 0, min(n, 4)
		}
	case decode.XCHG:
		p.op, p.rmChanged, p.regChanged = sized(n, 0x86), true, true
	case decode.XADD:
		p.op, p.rmChanged, p.regChanged = sized(n, 0x0fc0), true, true
	case decode.CMPXCHG:
		p.op, p.rmChanged = sized(n, 0x0fb0), true
	case decode.INC, decode.DEC:
		p.op, p.ext, p.rmChanged = sized(n, 0xfe), reg(op-decode.INC), true
	case decode.NOT, decode.NEG:
		p.op, p.ext, p.rmChanged = sized(n, 0xf6), 2+reg(op-decode.NOT), true
	case decode.MUL, decode.IMUL:
		switch in.Form {
		case decode.FormM:
			p.op, p.ext = sized(n, 0xf6), 4+reg(op-decode.MUL)
		case decode.FormRM:
			p.op, p.regChanged = wider(n, 0x0faf), true
		default:
			p.op, p.regChanged, p.imm = wider(n, 0x69), true, min(n, 4)
		}
	case decode.ROL, decode.ROR, decode.RCL, decode.RCR, decode.SHL, decode.SHR, decode.SAR:
		p.ext, p.rmChanged = [...]reg{0, 1, 2, 3, 4, 5, 7}[op-decode.ROL], true
		if p.op, p.imm = sized(n, 0xc0), 1; in.Form == decode.FormMC {
			p.op, p.imm, p.count = sized(n, 0xd2), 0, true
		}
	case decode.SHLD, decode.SHRD:
		p.op, p.rmChanged, p.imm = wider(n, 0x0fa4+8*uint32(op-decode.SHLD)), true, 1
		if in.Form == decode.FormMRC {
			p.op.bytes, p.imm, p.count = p.op.bytes+1, 0, true
		}
	case decode.BT, decode.BTS, decode.BTR, decode.BTC:
		which := uint32(op - decode.BT)
		p.rmChanged = op != decode.BT
		if in.Form == decode.FormMI {
			p.op, p.ext, p.imm = wider(n, 0x0fba), 4+reg(which), 1
		} else {
			p.op = wider(n, 0x0fa3+8*which)
		}
	case decode.BSF, decode.BSR:
		p.op, p.regChanged = wider(n, 0x0fbc+uint32(op-decode.BSF)), true
	case decode.POPCNT, decode.LZCNT, decode.TZCNT:
		p.op, p.regChanged = wider(n, [...]uint32{0x0fb8, 0x0fbd, 0x0fbc}[op-decode.POPCNT]), true
		p.op.prefix, p.op.second = 0xf3, p.op.prefix
		return p, vectorHost()
	case decode.CRC32:
		p.op, p.regChanged = wider(n, 0x0f38f1), true
		if p.op.prefix, p.op.byte8 = 0xf2, in.MSize == 1; in.MSize == 1 {
			p.op.bytes--
		} else if in.MSize == 2 {
			p.op.second = 0x66
		}
		return p, vectorHost()
	case decode.MOVZX, decode.MOVSX:
		p.op, p.regChanged = wider(n, 0x0fb6+8*uint32(op-decode.MOVZX)), true
		if p.op.byte8 = in.MSize == 1; in.MSize == 2 {
			p.op.bytes++
		}
	case decode.MOVSXD:
		p.op, p.regChanged = wider(n, 0x63), true
		return p, n != 2
	case decode.SETCC:
		p.op, p.ext, p.rmChanged = opcode{bytes: 0x0f90 | uint32(in.CC), byte8: true}, 0, true
	case decode.CMOVCC:
		p.op, p.regChanged = wider(n, 0x0f40|uint32(in.CC)), true
	case decode.BSWAP:
		p.op, p.ext, p.rmChanged = wider(n, 0x0f), 1, true // C8H and the register is a ModRM
		return p, n >= 4
	default:
		return p, false
	}
	if in.Prefix&decode.Lock != 0 {
		p.op.lock = true
	}
	return p, !(mem && p.op.bytes&^0x18 == 0x0fa3 && in.Form == decode.FormMR)
}

// aluPlan is the plan of ADD to CMP, in the encoding's order but for CMP.
func aluPlan(in *decode.Inst) (plan, bool) {
	which := uint32(in.Op - decode.ADD)
	p := plan{ext: noReg, regSize: in.Size}
	writes := in.Op != decode.CMP
	switch in.Form {
	case decode.FormMR:
		p.op, p.rmChanged = sized(in.Size, which<<3), writes
	case decode.FormRM:
		p.op, p.regChanged = sized(in.Size, which<<3|2), writes
	default:
		p.ext, p.rmChanged = reg(which), writes
		switch {
		case in.Size == 1:
			p.op, p.imm = opcode{bytes: 0x80, byte8: true}, 1
		case in.Imm == uint64(int8(in.Imm)):
			p.op, p.imm = wider(in.Size, 0x83), 1
		default:
			p.op, p.imm = wider(in.Size, 0x81), min(in.Size, 4)
		}
	}
	p.op.lock = in.Prefix&decode.Lock != 0
	return p, true
}

func movPlan(in *decode.Inst) (plan, bool) {
	p := plan{ext: noReg, regSize: in.Size}
	switch in.Form {
	case decode.FormMR:
		p.op, p.rmChanged = sized(in.Size, 0x88), true
	case decode.FormRM:
		p.op, p.regChanged = sized(in.Size, 0x8a), true
	default:
		p.op, p.ext, p.rmChanged, p.imm = sized(in.Size, 0xc6), 0, true, min(in.Size, 4)
	}
	return p, true
}

// plain emits an instruction that goes on behind itself. It is false, with nothing emitted, for
// one that the interpreter executes.
func (t *Translator) plain(in *decode.Inst) bool {
	switch in.Op {
	case decode.NOP, decode.ENDBR, decode.PREFETCH, decode.LFENCE, decode.SFENCE:
		return true
	case decode.MFENCE:
		t.emit(0x0f, 0xae, 0xf0)
		return true
	case decode.CMC, decode.CLC, decode.STC:
		t.emit([...]byte{0xf5, 0xf8, 0xf9}[in.Op-decode.CMC])
		return true
	case decode.LAHF, decode.SAHF:
		t.emit([...]byte{0x9f, 0x9e}[in.Op-decode.LAHF])
		return true
	case decode.CBW, decode.CWD:
		t.lead(wider(in.Size, 0x98+uint32(in.Op-decode.CBW)), 0)
		return true
	case decode.PUSH, decode.POP, decode.LEAVE:
		return t.stackInst(in)
	case decode.LEA:
		return t.leaInst(in)
	}
	switch in.Op.Group() {
	case decode.GroupInteger:
	case decode.GroupSIMD:
		return t.vector(in)
	default:
		return false
	}
	if in.Op == decode.MOV && in.Form == decode.FormMI && in.Prefix&decode.Mem == 0 && in.Size >= 4 {
		v := in.Imm
		if in.Size == 4 {
			v = uint64(uint32(v))
		}
		to := pinned[in.RM]
		if to == noReg {
			to = host15
		}
		t.constant(to, v)
		t.write(in.RM, to)
		return true
	}
	p, ok := integerPlan(in)
	if !ok {
		return false
	}
	t.planned(in, &p)
	return true
}

// planned emits an instruction by its plan.
func (t *Translator) planned(in *decode.Inst, p *plan) {
	var rm, r operand
	mem := in.Prefix&decode.Mem != 0
	m := operandMemory
	if mem {
		t.address(in)
		t.probe(access{size: in.MSize, write: p.rmChanged})
		if p.count {
			t.lea(host14, m)
			m = memory{base: host14, index: noReg}
		}
		if p.ext == noReg {
			r = t.use(in.Reg, p.regSize, host15)
		}
	} else {
		rm = t.use(in.RM, in.MSize, host15)
		if p.ext == noReg {
			r = t.use(in.Reg, p.regSize, host14)
		}
	}
	if p.count {
		t.rr(opcode{bytes: 0x89}, pinned[guestCX], hostCX)
	}
	middle := p.ext
	if p.ext == noReg {
		middle = r.host
	}
	if mem {
		t.rm(p.op, middle, m)
	} else {
		t.rr(p.op, middle, rm.host)
	}
	if p.imm > 0 {
		t.imm(in.Imm, p.imm)
	}
	if p.regChanged {
		t.done(r)
	}
	if p.rmChanged && !mem {
		t.done(rm)
	}
}

// leaInst emits LEA.
func (t *Translator) leaInst(in *decode.Inst) bool {
	if in.Size == 2 {
		return false
	}
	to := pinned[in.Reg]
	if to == noReg {
		to = host15
	}
	t.offset(in, to, min(in.Size, in.Addr))
	t.write(in.Reg, to)
	return true
}
