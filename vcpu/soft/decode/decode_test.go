package decode

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// decodeHex decodes all bytes of code, which may have blanks.
func decodeHex(t *testing.T, mode Mode, code string) Inst {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(code, " ", ""))
	require.NoError(t, err)
	in, err := Decode(b, mode)
	require.NoError(t, err, code)
	require.EqualValues(t, len(b), in.Len, "length of %s", code)
	return in
}

func TestUndefinedEncodings(t *testing.T) {
	for _, c := range []struct {
		why  string
		mode Mode
		code string
	}{
		{"UD2", Mode64, "0f0b"},
		{"UD1 has ModRM", Mode64, "0fb9 84cb 11223344"},
		{"UD0 has ModRM", Mode64, "0fff 4001"},
		{"LOCK with a register", Mode64, "f0 01c0"},
		{"LOCK with an instruction that only reads", Mode64, "f0 3901"},
		{"LOCK where memory is the source", Mode64, "f0 0301"},
		{"LOCK on BT", Mode64, "f0 0fba 2101"},
		{"LOCK on MOV CR", Mode64, "f0 0f20c0"},
		{"LOCK on NOP", Mode64, "f0 90"},
		{"LOCK on POPCNT", Mode64, "f0 f30fb801"},
		{"LOCK on SSE", Mode64, "f0 0f5801"},
		{"MOV to CS", Mode64, "8ec8"},
		{"MOV to segment 6", Mode64, "8ef0"},
		{"MOV from segment 7", Mode64, "8cf8"},
		{"CR1", Mode64, "0f20c8"},
		{"CR5", Mode64, "0f22e8"},
		{"CR9", Mode64, "440f20c8"},
		{"DR8", Mode64, "440f21c0"},
		{"LEA of a register", Mode64, "8dc0"},
		{"BOUND in 64-bit mode", Mode64, "6200"},
		{"PUSH ES in 64-bit mode", Mode64, "06"},
		{"DAA in 64-bit mode", Mode64, "27"},
		{"AAM in 64-bit mode", Mode64, "d40a"},
		{"INTO in 64-bit mode", Mode64, "ce"},
		{"PUSHA in 64-bit mode", Mode64, "60"},
		{"alias of 80H in 64-bit mode", Mode64, "82c001"},
		{"far CALL of a register", Mode64, "ffd8"},
		{"group 5 /7", Mode64, "ffff"},
		{"POP group /1", Mode64, "8fc8"},
		{"SWAPGS outside 64-bit mode", Mode32, "0f01f8"},
		{"RDFSBASE outside 64-bit mode", Mode32, "f30faec0"},
		{"SENDUIPI outside 64-bit mode", Mode32, "f30fc7f0"},
		{"UIRET outside 64-bit mode", Mode32, "f30f01ec"},
		{"VMLAUNCH", Mode64, "0f01c2"},
		{"VMPTRLD", Mode64, "0fc730"},
		{"VMXON", Mode64, "f30fc730"},
		{"VMREAD", Mode64, "0f78c8"},
		{"XEND", Mode64, "0f01d5"},
		{"XABORT", Mode64, "c6f800"},
		{"XBEGIN", Mode64, "c7f800000000"},
		{"XGETBV with 66H", Mode64, "660f01d0"},
		{"WRPKRU with F2H", Mode64, "f20f01ef"},
		{"LFENCE with 66H", Mode64, "660faee8"},
		{"ANDPS with F3H", Mode64, "f30f54*c0"},
		{"PADDB with F2H", Mode64, "f20ffc*c0"},
		{"EMMS with 66H", Mode64, "660f77"},
		{"0FB8H without F3H", Mode64, "0fb8"},
		{"MOVNTI of a register", Mode64, "0fc3c0"},
		{"FXCH's neighbour", Mode64, "d9d1"},
		{"80287's FRSTPM", Mode64, "dbe5"},
		{"VEX.L on ANDN", Mode64, "c4e27cf2*c2"},
		{"VEX.vvvv on RORX", Mode64, "c4e373f0c001"},
		{"VEX.vvvv's high bit on RORX", Mode32, "c4e33bf0c001"},
		{"wrong pp on ANDN", Mode64, "c4e279f2*c2"},
		{"66H before VEX", Mode64, "66c4e278f2*c2"},
		{"REX before VEX", Mode64, "48c4e278f2*c2"},
		{"LOCK before VEX", Mode64, "f0c4e278f2*02"},
		{"group 17 /0", Mode64, "c4e278f3c0"},
	} {
		code, rest, decided := strings.Cut(c.code, "*") // what follows cannot change it and is not looked at
		b, err := hex.DecodeString(strings.ReplaceAll(code+rest, " ", ""))
		require.NoError(t, err)
		in, err := Decode(b, c.mode)
		require.NoError(t, err, c.why)
		assert.Equal(t, UD, in.Op, c.why)
		assert.Equal(t, Inst{Len: in.Len}, in, c.why)
		if !decided {
			assert.EqualValues(t, len(b), in.Len, c.why)
		}
	}
}

func TestMemoryOperands(t *testing.T) {
	for _, c := range []struct {
		mode Mode
		code string
		want Inst // Seg, Base, Index, Scale, Disp, Addr
	}{
		{Mode64, "8b00", Inst{Seg: DS, Base: 0, Index: NoReg, Addr: 8}},
		{Mode64, "8b45f8", Inst{Seg: SS, Base: 5, Index: NoReg, Disp: ^uint64(7), Addr: 8}},
		{Mode64, "8b4424 10", Inst{Seg: SS, Base: 4, Index: NoReg, Disp: 16, Addr: 8}},
		{Mode64, "41 8b4424 10", Inst{Seg: DS, Base: 12, Index: NoReg, Disp: 16, Addr: 8}},
		{Mode64, "41 8b4500", Inst{Seg: DS, Base: 13, Index: NoReg, Addr: 8}},
		{Mode64, "42 8b04a0", Inst{Seg: DS, Base: 0, Index: 12, Scale: 2, Addr: 8}},
		{Mode64, "8b04e0", Inst{Seg: DS, Base: 0, Index: NoReg, Addr: 8}},
		{Mode64, "8b05 00000080", Inst{Seg: DS, Base: RIP, Index: NoReg, Disp: 0xffffffff80000000, Addr: 8}},
		{Mode64, "41 8b05 01000000", Inst{Seg: DS, Base: RIP, Index: NoReg, Disp: 1, Addr: 8}},
		{Mode64, "67 8b05 01000000", Inst{Seg: DS, Base: RIP, Index: NoReg, Disp: 1, Addr: 4}},
		{Mode64, "8b0425 000000ff", Inst{Seg: DS, Base: NoReg, Index: NoReg, Disp: 0xffffffffff000000, Addr: 8}},
		{Mode64, "41 8b0425 00000000", Inst{Seg: DS, Base: NoReg, Index: NoReg, Addr: 8}},
		{Mode64, "8b04cd 00000000", Inst{Seg: DS, Base: NoReg, Index: 1, Scale: 3, Addr: 8}},
		{Mode64, "65 8b45 00", Inst{Seg: GS, Base: 5, Index: NoReg, Addr: 8}},
		{Mode64, "3e 8b45 00", Inst{Seg: SS, Base: 5, Index: NoReg, Addr: 8}},
		{Mode64, "64 2e 8b00", Inst{Seg: FS, Base: 0, Index: NoReg, Addr: 8}},
		{Mode64, "a1 0000000000008000", Inst{Seg: DS, Base: NoReg, Index: NoReg, Disp: 0x80000000000000, Addr: 8}},
		{Mode64, "67 a1 000000ff", Inst{Seg: DS, Base: NoReg, Index: NoReg, Disp: 0xff000000, Addr: 4}},
		{Mode32, "8b05 00000080", Inst{Seg: DS, Base: NoReg, Index: NoReg, Disp: 0xffffffff80000000, Addr: 4}},
		{Mode32, "64 2e 8b00", Inst{Seg: CS, Base: 0, Index: NoReg, Addr: 4}},
		{Mode32, "67 8b00", Inst{Seg: DS, Base: 3, Index: 6, Addr: 2}},
		{Mode16, "8b02", Inst{Seg: SS, Base: 5, Index: 6, Addr: 2}},
		{Mode16, "8b46fe", Inst{Seg: SS, Base: 5, Index: NoReg, Disp: ^uint64(1), Addr: 2}},
		{Mode16, "8b06 0080", Inst{Seg: DS, Base: NoReg, Index: NoReg, Disp: 0x8000, Addr: 2}},
		{Mode16, "8b87 0080", Inst{Seg: DS, Base: 3, Index: NoReg, Disp: 0xffffffffffff8000, Addr: 2}},
		{Mode16, "67 8b0480", Inst{Seg: DS, Base: 0, Index: 0, Scale: 2, Addr: 4}},
		{Mode16, "a1 00ff", Inst{Seg: DS, Base: NoReg, Index: NoReg, Disp: 0xff00, Addr: 2}},
	} {
		in := decodeHex(t, c.mode, c.code)
		assert.Equal(t, MOV, in.Op)
		assert.True(t, in.Has(Mem))
		got := Inst{Seg: in.Seg, Base: in.Base, Index: in.Index, Scale: in.Scale, Disp: in.Disp, Addr: in.Addr}
		assert.Equal(t, c.want, got, c.code)
	}
}

func TestOperandSizes(t *testing.T) {
	for _, c := range []struct {
		mode        Mode
		code        string
		op          Op
		size, msize uint8
	}{
		{Mode64, "e8 00000000", CALL, 8, 0},
		{Mode64, "66e8 00000000", CALL, 8, 0}, // not the two-byte offset
		{Mode32, "66e8 0000", CALL, 2, 0},
		{Mode16, "66e8 00000000", CALL, 4, 0},
		{Mode64, "66c3", RET, 8, 0},
		{Mode64, "66ff10", CALL, 8, 8},
		{Mode64, "ff18", CALLF, 4, 6},
		{Mode64, "48ff18", CALLF, 8, 10},
		{Mode64, "66ff28", JMPF, 2, 4},
		{Mode64, "50", PUSH, 8, 8},
		{Mode64, "6650", PUSH, 2, 2},
		{Mode64, "666a01", PUSH, 2, 0},
		{Mode64, "6668 0100", PUSH, 2, 0},
		{Mode64, "68 01000000", PUSH, 8, 0},
		{Mode64, "669d", POPF, 2, 0},
		{Mode64, "c9", LEAVE, 8, 0},
		{Mode64, "cf", IRET, 4, 0},
		{Mode64, "48cf", IRET, 8, 0},
		{Mode64, "48cb", RETF, 8, 0},
		{Mode64, "480f07", SYSRET, 8, 0},
		{Mode64, "0f20c0", MOVFROMCR, 8, 8},
		{Mode32, "660f20c0", MOVFROMCR, 4, 4},
		{Mode64, "0f0110", LGDT, 8, 10},
		{Mode32, "0f0110", LGDT, 4, 6},
		{Mode16, "0f0110", LGDT, 2, 6},
		{Mode64, "8c18", MOVFROMSEG, 4, 2},
		{Mode64, "488cd8", MOVFROMSEG, 8, 8},
		{Mode64, "8ed8", MOVTOSEG, 4, 2},
		{Mode64, "4863c0", MOVSXD, 8, 4},
		{Mode64, "6663c0", MOVSXD, 2, 2},
		{Mode64, "480fbec0", MOVSX, 8, 1},
		{Mode64, "48ed", IN, 4, 0},
		{Mode64, "48a5", MOVS, 8, 0},
		{Mode64, "0fc708", CMPXCHG8B, 4, 8},
		{Mode64, "480fc708", CMPXCHG16B, 8, 16},
		{Mode32, "6200", BOUND, 4, 8},
		{Mode64, "66f20f38f1c0", CRC32, 4, 2},
		{Mode64, "f2480f38f0c0", CRC32, 8, 1},
		{Mode64, "f3480f2a00", CVTSI2SS, 8, 8},
		{Mode64, "f20f2c00", CVTTSD2SI, 4, 8},
		{Mode64, "66480f6ec0", MOVD, 8, 8},
		{Mode64, "f30f7e00", MOVQ, 16, 8},
		{Mode64, "0f6f00", MOVQ, 8, 8},
		{Mode64, "660f3a140001", PEXTRB, 4, 1},
		{Mode64, "660f3a14c001", PEXTRB, 4, 4},
		{Mode64, "66480f3a16c001", PEXTRQ, 8, 8},
		{Mode64, "660f382000", PMOVSXBW, 16, 8},
		{Mode64, "0f6000", PUNPCKLBW, 8, 4},
		{Mode64, "f30fc7f8", RDPID, 8, 8},
		{Mode64, "66f30fc7f0", SENDUIPI, 8, 8},
		{Mode64, "67f30faef0", UMONITOR, 4, 4},
		{Mode64, "d900", FLD, 4, 4},
		{Mode64, "db28", FLD, 4, 10},
		{Mode64, "66d930", FNSTENV, 2, 0},
		{Mode64, "480fae00", FXSAVE, 8, 0},
		{Mode64, "8d00", LEA, 4, 0},
	} {
		in := decodeHex(t, c.mode, c.code)
		assert.Equal(t, c.op, in.Op, c.code)
		assert.Equal(t, c.size, in.Size, "Size of %s", c.code)
		assert.Equal(t, c.msize, in.MSize, "MSize of %s", c.code)
	}
}

func TestRegisters(t *testing.T) {
	for _, c := range []struct {
		code    string
		op      Op
		form    Form
		reg, rm uint8
	}{
		{"88e0", MOV, FormMR, AH, 0},
		{"40 88e0", MOV, FormMR, 4, 0},
		{"88c4", MOV, FormMR, 0, AH},
		{"b701", MOV, FormMI, 0, AH + 3},
		{"41b701", MOV, FormMI, 0, 15},
		{"0fb6f4", MOVZX, FormRM, 6, AH},
		{"f20f38f0f4", CRC32, FormRM, 6, AH},
		{"f20f38f1f4", CRC32, FormRM, 6, 4},
		{"660f3a20f401", PINSRB, FormRMI, 6, 4},
		{"d0e4", SHL, FormMI, 4, AH},
		{"90", NOP, FormNone, 0, 0},
		{"4190", XCHG, FormMR, 0, 8},
		{"f34190", XCHG, FormMR, 0, 8},
		{"f390", PAUSE, FormNone, 0, 0},
		{"410fc9", BSWAP, FormM, 0, 9},
		{"440f20c0", MOVFROMCR, FormMR, 8, 0},
		{"0f2200", MOVTOCR, FormRM, 0, 0}, // mod does not count
		{"0fa0", PUSHSEG, FormNone, FS, 0},
		{"0fa9", POPSEG, FormNone, GS, 0},
		{"448ed8", MOVTOSEG, FormRM, DS, 0},
		{"450f6fc1", MOVQ, FormRM, 0, 1}, // MMX has eight registers
		{"66450f6fc1", MOVDQA, FormRM, 8, 9},
		{"410f71d101", PSRLW, FormMI, 2, 1},
		{"f3450fd6c1", MOVQ2DQ, FormRM, 8, 1},
		{"f2450fd6c1", MOVDQ2Q, FormRM, 0, 9},
		{"d8c3", FADD, FormRM, 0, 3},
		{"dcc3", FADD, FormMR, 0, 3},
		{"dce3", FSUBR, FormMR, 4, 3},
		{"dceb", FSUB, FormMR, 5, 3},
		{"dee3", FSUBRP, FormMR, 4, 3},
		{"def9", FDIVP, FormMR, 7, 1},
		{"d9cb", FXCH, FormM, 1, 3},
		{"dfe0", FNSTSW, FormM, 0, 0},
		{"dbf3", FCOMI, FormRM, 6, 3},
		{"dfc3", FFREEP, FormM, 0, 3},
		{"0f0dc8", NOP, FormM, 1, 0},
		{"f30f1efa", ENDBR, FormNone, 7, 2},
		{"f30f1efb", ENDBR, FormNone, 7, 3},
		{"f30f1ec8", NOP, FormM, 1, 0},
		{"f30fc7f0", SENDUIPI, FormM, 6, 0},
		{"0fc7f1", RDRAND, FormM, 6, 1},
		{"0f01ee", RDPKRU, FormNone, 0, 0},
		{"f30f01ee", CLUI, FormNone, 0, 0},
		{"f30f01ef", STUI, FormNone, 0, 0},
		{"f30f01ec", UIRET, FormNone, 0, 0},
		{"f30f01ed", TESTUI, FormNone, 0, 0},
		{"0f01d9", VMCALL, FormNone, 0, 0},
	} {
		in := decodeHex(t, Mode64, c.code)
		assert.Equal(t, c.op, in.Op, c.code)
		assert.Equal(t, c.form, in.Form, "form of %s", c.code)
		switch in.Form {
		case FormMR, FormRM, FormRMI, FormMRI:
			assert.Equal(t, c.reg, in.Reg, "Reg of %s", c.code)
		case FormNone:
			if in.Op == PUSHSEG || in.Op == POPSEG {
				assert.Equal(t, c.reg, in.Reg, "Reg of %s", c.code)
			}
			continue
		}
		assert.Equal(t, c.rm, in.RM, "RM of %s", c.code)
	}
}

func TestImmediates(t *testing.T) {
	for _, c := range []struct {
		mode Mode
		code string
		form Form
		imm  uint64
		imm2 uint16
	}{
		{Mode64, "4883c0ff", FormMI, ^uint64(0), 0},
		{Mode64, "480500000080", FormMI, 0xffffffff80000000, 0},
		{Mode64, "48b8ffffffffffffff7f", FormMI, 1<<63 - 1, 0},
		{Mode64, "b8000000f0", FormMI, 0xfffffffff0000000, 0},
		{Mode64, "6aff", FormNone, ^uint64(0), 0},
		{Mode64, "cd80", FormNone, 0x80, 0},
		{Mode64, "e480", FormMI, 0x80, 0},
		{Mode64, "ec", FormNone, 0, 0},
		{Mode64, "c1e0ff", FormMI, 0xff, 0},
		{Mode64, "d1e0", FormMI, 1, 0},
		{Mode64, "c20080", FormNone, 0x8000, 0},
		{Mode64, "c80080ff", FormNone, 0x8000, 31},
		{Mode64, "ebfe", FormNone, ^uint64(1), 0},
		{Mode64, "e9feffffff", FormNone, ^uint64(1), 0},
		{Mode16, "e9feff", FormNone, ^uint64(1), 0},
		{Mode16, "ea00801020", FormNone, 0x8000, 0x2010},
		{Mode32, "9a000000801020", FormNone, 0x80000000, 0x2010},
		{Mode32, "d4ff", FormNone, 0xff, 0},
		{Mode64, "0fc2c0ff", FormRMI, 0xff, 0},
		{Mode64, "6bc0ff", FormRMI, ^uint64(0), 0},
		{Mode64, "0fa4c0ff", FormMRI, 0xff, 0},
	} {
		in := decodeHex(t, c.mode, c.code)
		assert.Equal(t, c.form, in.Form, c.code)
		assert.Equal(t, c.imm, in.Imm, "Imm of %s", c.code)
		assert.Equal(t, c.imm2, in.Imm2, "Imm2 of %s", c.code)
	}
}

func TestPrefixes(t *testing.T) {
	for _, c := range []struct {
		mode   Mode
		code   string
		op     Op
		size   uint8
		prefix Prefix
	}{
		{Mode64, "f3a4", MOVS, 1, Rep},
		{Mode64, "f2f3a4", MOVS, 1, Rep},
		{Mode64, "f3f2a6", CMPS, 1, Repne},
		{Mode64, "f30fb8c1", POPCNT, 4, 0},
		{Mode64, "66f30fb8c1", POPCNT, 2, OpSize},
		{Mode64, "66f20f58c1", ADDSD, 16, OpSize},
		{Mode64, "f2f30f58c1", ADDSS, 16, 0},
		{Mode64, "660f58c1", ADDPD, 16, OpSize},
		{Mode64, "4866 8bc1", MOV, 2, OpSize}, // REX is not last
		{Mode64, "6648 8bc1", MOV, 8, OpSize | REX | REXW},
		{Mode64, "4041 8bc1", MOV, 4, REX},
		{Mode64, "f0 0fb109", CMPXCHG, 4, Lock | Mem},
		{Mode64, "f3c3", RET, 8, Rep},
		{Mode32, "26 8b00", MOV, 4, Segment | Mem},
		{Mode64, "26 8b00", MOV, 4, Mem},
		{Mode32, "48", DEC, 4, 0},
		{Mode16, "66 48", DEC, 4, OpSize},
		{Mode64, "c4e2f8f2c2", ANDN, 8, REXW},
		{Mode32, "c4e2f8f2c2", ANDN, 4, 0},
		{Mode64, "f30f09", WBINVD, 0, Rep},
		{Mode64, "66f20f38f1c0", CRC32, 4, OpSize},
	} {
		in := decodeHex(t, c.mode, c.code)
		assert.Equal(t, c.op, in.Op, c.code)
		assert.Equal(t, c.size, in.Size, "Size of %s", c.code)
		assert.Equal(t, c.prefix, in.Prefix, "Prefix of %s", c.code)
	}
}

func TestVEXOperands(t *testing.T) {
	in := decodeHex(t, Mode64, "c4422bf6c1") // mulx r8d, r10d, r9d
	assert.Equal(t, []any{MULX, FormRVM, uint8(8), uint8(10), uint8(9)}, []any{in.Op, in.Form, in.Reg, in.VReg, in.RM})
	in = decodeHex(t, Mode64, "c4e2b8f3cb") // blsr r8, rbx
	assert.Equal(t, []any{BLSR, FormVM, uint8(8), uint8(3), uint8(8)}, []any{in.Op, in.Form, in.VReg, in.RM, in.Size})
	in = decodeHex(t, Mode64, "c4e37bf0042507000000 05") // rorx eax, [7], 5
	assert.Equal(t, []any{RORX, FormRMI, uint64(7), uint64(5)}, []any{in.Op, in.Form, in.Disp, in.Imm})
	in = decodeHex(t, Mode32, "c4e238f216") // VEX.vvvv's high bit does not count
	assert.Equal(t, []any{ANDN, uint8(0)}, []any{in.Op, in.VReg})
	in = decodeHex(t, Mode32, "c501") // a memory operand: LDS
	assert.Equal(t, []any{LDS, uint8(6)}, []any{in.Op, in.MSize})
	in = decodeHex(t, Mode16, "c400")
	assert.Equal(t, []any{LES, uint8(4)}, []any{in.Op, in.MSize})
}

func TestTooLong(t *testing.T) {
	for _, n := range []int{14, 15, 16} {
		b := append([]byte(strings.Repeat("\x66", n)), 0x90)
		in, err := Decode(b, Mode64)
		require.NoError(t, err)
		if n == 14 {
			assert.Equal(t, NOP, in.Op)
		} else {
			assert.Equal(t, TOOLONG, in.Op)
		}
		assert.EqualValues(t, 15, in.Len)
	}
	in, err := Decode([]byte(strings.Repeat("\x2e", 11)+"\x81\x00\x01\x02\x03"), Mode64)
	require.NoError(t, err)
	assert.Equal(t, TOOLONG, in.Op)
}

func TestTruncated(t *testing.T) {
	_, err := Decode(nil, Mode64)
	assert.ErrorIs(t, err, ErrTruncated)
	for _, code := range []string{"66", "0f", "0f38", "8b", "8b04", "8b0425000000", "48b800000000000000", "c4", "c4e2", "c4e278f2", "f30f1e"} {
		b, _ := hex.DecodeString(code)
		_, err := Decode(b, Mode64)
		assert.ErrorIs(t, err, ErrTruncated, code)
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	b := []byte{0x48, 0x8b, 0x84, 0xc8, 1, 2, 3, 4}
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = Decode(b, Mode64) }))
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = Decode(b[:5], Mode64) }))
}
