package jit

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gvmm/vcpu/soft/decode"
)

// emitted decodes what f emits: one instruction.
func emitted(t require.TestingT, f func(a *assembler)) decode.Inst {
	a := &assembler{code: make([]byte, 64)}
	f(a)
	in, err := decode.Decode(a.code, decode.Mode64)
	require.NoError(t, err)
	require.EqualValues(t, a.pos, in.Len, "% x", a.code[:a.pos])
	return in
}

func TestMemoryOperandsDecodeAsTheyWereMeant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := memory{
			base: reg(rapid.IntRange(-1, 15).Draw(t, "base")), index: reg(rapid.IntRange(-1, 15).Draw(t, "index")),
			scale: uint8(rapid.IntRange(0, 3).Draw(t, "scale")), disp: rapid.Int32().Draw(t, "disp"),
		}
		if rapid.Bool().Draw(t, "short") {
			m.disp = int32(int8(m.disp))
		}
		if m.index == hostSP {
			m.index = noReg
		}
		to := reg(rapid.IntRange(0, 15).Draw(t, "to"))
		in := emitted(t, func(a *assembler) { a.lea(to, m) })
		require.Equal(t, decode.LEA, in.Op)
		require.EqualValues(t, to, in.Reg)
		field := func(r reg) uint8 {
			if r == noReg {
				return decode.NoReg
			}
			return uint8(r)
		}
		require.Equal(t, field(m.base), in.Base)
		require.Equal(t, field(m.index), in.Index)
		if m.index != noReg {
			require.Equal(t, m.scale, in.Scale)
		}
		require.Equal(t, uint64(int64(m.disp)), in.Disp)
	})
}

func TestOperationsWithoutFlagsDecodeAsTheyWereMeant(t *testing.T) {
	for r := range reg(16) {
		for s := range reg(16) {
			in := emitted(t, func(a *assembler) { a.mov(r, s) })
			require.Equal(t, []any{decode.MOV, uint8(r), uint8(s), uint8(8)}, []any{in.Op, in.RM, in.Reg, in.Size})
			in = emitted(t, func(a *assembler) { a.page(r, s) })
			require.Equal(t, []any{decode.SHRX, uint8(r), uint8(s), uint8(hostSP)}, []any{in.Op, in.Reg, in.RM, in.VReg})
			in = emitted(t, func(a *assembler) { a.extract(r, s, 0x1234) })
			require.Equal(t, []any{decode.PEXT, uint8(r), uint8(s), uint64(0x1234)}, []any{in.Op, in.Reg, in.VReg, in.Disp})
			in = emitted(t, func(a *assembler) { a.rotate(r, s, 56, true) })
			require.Equal(t, []any{decode.RORX, uint8(r), uint8(s), uint64(56), uint8(8)}, []any{in.Op, in.Reg, in.RM, in.Imm, in.Size})
			in = emitted(t, func(a *assembler) { a.rr(opcode{bytes: 0x88, byte8: true}, r, s) })
			require.Equal(t, []any{decode.MOV, uint8(s), uint8(r), uint8(1)}, []any{in.Op, in.RM, in.Reg, in.Size})
		}
	}
}

func TestConstantsAreLoadedInTheirShortestForm(t *testing.T) {
	for v, size := range map[uint64]uint8{0: 5, 1<<32 - 1: 5, 1 << 32: 10, ^uint64(0): 7, 1<<63 | 5: 10, 0xffffffff80000000: 7} {
		in := emitted(t, func(a *assembler) { a.constant(hostBX, v) })
		require.Equal(t, decode.MOV, in.Op)
		require.Equal(t, size, in.Len, "%#x", v)
		if in.Size == 4 {
			in.Imm = uint64(uint32(in.Imm))
		}
		require.Equal(t, v, in.Imm)
	}
}

func TestAnAssemblerThatIsFullDropsTheRest(t *testing.T) {
	a := &assembler{code: make([]byte, 4)}
	a.constant(hostAX, 1)
	a.patch(0, 100)
	require.True(t, a.full)
	require.LessOrEqual(t, a.pos, 4)
}

// Every vector instruction that Vector encodes decodes as itself.
func TestVectorEncodingsDecodeAsThemselves(t *testing.T) {
	found := 0
	for op := decode.MOVD; int(op) < decode.Ops; op++ {
		for form := decode.FormNone; form <= decode.FormMRI; form++ {
			e, ok := (&decode.Inst{Op: op, Form: form}).Vector()
			if !ok || op == decode.PINSRQ || op == decode.PEXTRQ {
				continue
			}
			found++
			a := &assembler{code: make([]byte, 32)}
			o := opcode{prefix: e.Prefix, bytes: e.Opcode}
			register := *a
			register.rr(o, 3, 9)
			in, err := decode.Decode(a.code, decode.Mode64)
			if err != nil || in.Op != op {
				clear(a.code)
				a.rm(o, 3, memory{base: 9, index: noReg})
				in, err = decode.Decode(a.code, decode.Mode64)
			}
			require.NoError(t, err)
			require.Equal(t, op, in.Op)
			require.Equal(t, form, in.Form, op.String())
		}
	}
	require.Greater(t, found, 200)
}
