package soft

import (
	"math"

	"gvmm/vcpu/soft/decode"
)

//go:generate go run ./internal/hotgen

// op is what the run loop switches over: an instruction, or two, whose operands
// are laid ready. 32 bytes.
type op struct {
	code  uint16
	at    uint16 // offset of the instruction from the block's start
	len   uint8  // of all its instructions, in bytes
	inst  uint8  // index of the first into the block's insts
	more  uint8  // instructions beside the first
	a, b  uint8  // registers: destination and source
	base  uint8
	index uint8
	scale uint8
	disp  int32
	seg   uint8
	last  bool // nothing but opEnd follows
	imm   int64
}

// lower fills ops for a block's instructions.
func (c *CPU) lower(insts []decode.Inst, ops []op) []op {
	var at uint16
	for i := 0; i < len(insts); i++ {
		o := op{code: opGeneric, at: at, len: insts[i].Len, inst: uint8(i)}
		if c.flat {
			lowerOne(&o, &insts[i])
			if i+2 == len(insts) && insts[i+1].Op == decode.JCC {
				if fuse(&o, &insts[i], &insts[i+1]) {
					i++
				}
			}
		}
		at += uint16(o.len)
		o.last = i == len(insts)-1
		ops = append(ops, o)
	}
	return append(ops, op{code: opEnd, at: at})
}

// lowerOne finds the case for one instruction of 64-bit mode, if it has one.
func lowerOne(o *op, in *decode.Inst) {
	mem := in.Prefix&decode.Mem != 0
	if in.Prefix&decode.Lock != 0 || in.Op == decode.XCHG && mem || mem && in.Addr != 8 {
		return
	}
	if in.Op == decode.NOP || in.Op == decode.ENDBR || in.Op == decode.PREFETCH && !mem {
		o.code = opNOP
		return
	}
	key := hotKey{op: in.Op, form: in.Form, mem: mem, size: in.Size, flat: mem && flatOperand(in)}
	switch in.Op {
	case decode.MOVZX, decode.MOVSX, decode.MOVSXD:
		key.size = in.Size<<4 | in.MSize
	case decode.JCC:
		key.cc = in.CC
	case decode.LEA:
		key.flat = false
	}
	code := hotCodes[key]
	if code == opGeneric || !operands(o, in, mem) {
		return
	}
	o.code = code
	if in.Op == decode.XOR && !mem && in.Form != decode.FormMI && o.a == o.b && in.Size >= 4 {
		o.code = opZero32
		if in.Size == 8 {
			o.code = opZero64
		}
	}
}

// operands lays an instruction's operands ready. It is false for those that only
// execute can name.
func operands(o *op, in *decode.Inst, mem bool) bool {
	if in.Reg >= decode.AH || !mem && in.RM >= decode.AH {
		return false
	}
	disp := int64(in.Disp)
	if mem {
		o.base, o.index, o.scale = in.Base, in.Index, in.Scale
		if in.Base == decode.RIP {
			disp += int64(o.at) + int64(in.Len)
		}
		if disp != int64(int32(disp)) {
			return false
		}
		o.disp, o.seg = int32(disp), in.Seg
		if in.Seg < decode.FS {
			o.seg = decode.DS
		}
	}
	o.imm = int64(in.Imm)
	switch in.Form {
	case decode.FormMR:
		o.a, o.b = in.RM, in.Reg
	case decode.FormRM, decode.FormRMI:
		o.a, o.b = in.Reg, in.RM
	default:
		o.a = in.RM
	}
	switch in.Op {
	case decode.SHL, decode.SHR, decode.SAR:
		if in.Form == decode.FormMI {
			o.imm &= int64(8*in.Size - 1)
			return o.imm != 0
		}
	case decode.SETCC:
		o.b = in.CC
	case decode.CMOVCC:
		o.b |= in.CC << 4
	case decode.JMP, decode.CALL, decode.JCC:
		if in.Form == decode.FormNone {
			o.imm += int64(o.at) + int64(in.Len)
		}
	}
	return true
}

// flatOperand reports a memory operand without index and segment base.
func flatOperand(in *decode.Inst) bool { return in.Index == decode.NoReg && in.Seg < decode.FS }

// fuse joins a comparison, or a count's step, with the branch behind it.
func fuse(o *op, in, jcc *decode.Inst) bool {
	if o.code == opGeneric {
		return false
	}
	switch in.Op {
	case decode.CMP, decode.TEST:
	case decode.SUB, decode.ADD, decode.AND, decode.DEC:
		if in.Prefix&decode.Mem != 0 || in.Form != decode.FormMI && in.Op != decode.DEC {
			return false
		}
	default:
		return false
	}
	mem := in.Prefix&decode.Mem != 0
	key := fusedKey{op: in.Op, cc: jcc.CC, size: in.Size, flat: mem && flatOperand(in)}
	switch {
	case (in.Form == decode.FormMI || in.Op == decode.DEC) && !mem:
		key.form = formRI
	case in.Form == decode.FormMI:
		return false
	case mem && in.Form == decode.FormRM:
		key.form = formRM
	case mem:
		key.form = formMR
	}
	code := fusedCodes[key]
	target := int64(jcc.Imm) + int64(o.at) + int64(in.Len) + int64(jcc.Len)
	if code == 0 || target < math.MinInt32 || target > math.MaxInt32 {
		return false
	}
	o.code, o.more = code, 1
	o.len += jcc.Len
	if key.form == formRI {
		o.disp = int32(target)
	} else {
		o.imm = target
	}
	return true
}

// linkable reports that a block's successor may be remembered in it: both lie in
// one page of the same mapping, whatever that is.
func (c *CPU) linkable(b *block, start uint64, next *block) bool {
	return b.pa2 == 0 && next.pa2 == 0 && (b.key^next.key)&^0xfff == 0 && (start^c.rip)&^0xfff == 0
}
