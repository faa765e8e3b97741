package soft

import "gvmm/vcpu/soft/decode"

// op is what the run loop switches over: an instruction whose operands are laid
// ready. 24 bytes.
type op struct {
	code  uint16
	next  uint16 // offset of the next instruction from the block's start
	a, b  uint8  // registers
	base  uint8
	index uint8
	scale uint8
	seg   uint8
	cc    uint8
	inst  uint8 // index into the block's insts
	disp  int32
	imm   int64
}

// Codes of ops.
const (
	opGeneric uint16 = iota // by CPU.execute
)

// lower fills ops for a block's instructions.
func (c *CPU) lower(insts []decode.Inst, ops []op) []op {
	var end uint16
	for i := range insts {
		end += uint16(insts[i].Len)
		ops = append(ops, op{code: opGeneric, next: end, inst: uint8(i)})
	}
	return ops
}
