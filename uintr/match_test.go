package uintr_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/arch/x86/x86asm"
	"pgregory.net/rapid"

	"gvmm/uintr"
)

func code(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

func TestMatchRecognisesTheInstructions(t *testing.T) {
	for _, row := range []struct {
		code string
		want uintr.Instruction
	}{
		{"F3 0F C7 F0", uintr.Instruction{Op: uintr.SENDUIPI, Reg: 0, Length: 4}},
		{"F3 0F C7 F7", uintr.Instruction{Op: uintr.SENDUIPI, Reg: 7, Length: 4}},
		{"F3 41 0F C7 F0", uintr.Instruction{Op: uintr.SENDUIPI, Reg: 8, Length: 5}},
		{"F3 4F 0F C7 F7", uintr.Instruction{Op: uintr.SENDUIPI, Reg: 15, Length: 5}},
		{"F3 48 0F C7 F1", uintr.Instruction{Op: uintr.SENDUIPI, Reg: 1, Length: 5}},
		{"F3 44 0F C7 F1", uintr.Instruction{Op: uintr.SENDUIPI, Reg: 1, Length: 5}},
		{"66 F3 0F C7 F0", uintr.Instruction{Op: uintr.SENDUIPI, Reg: 0, Length: 5}},
		{"F3 66 0F C7 F0", uintr.Instruction{Op: uintr.SENDUIPI, Reg: 0, Length: 5}},
		{"2E 36 3E 26 64 65 67 F3 0F C7 F2", uintr.Instruction{Op: uintr.SENDUIPI, Reg: 2, Length: 11}},
		{"F3 0F 01 EC", uintr.Instruction{Op: uintr.UIRET, Length: 4}},
		{"F3 0F 01 ED", uintr.Instruction{Op: uintr.TESTUI, Length: 4}},
		{"F3 0F 01 EE", uintr.Instruction{Op: uintr.CLUI, Length: 4}},
		{"F3 0F 01 EF", uintr.Instruction{Op: uintr.STUI, Length: 4}},
		{"66 F3 48 0F 01 EF", uintr.Instruction{Op: uintr.STUI, Length: 6}},

		{"F0 F3 0F C7 F0", uintr.Instruction{Op: uintr.SENDUIPI, Reg: 0, Length: 5, Lock: true}},
		{"F3 F0 0F 01 EE", uintr.Instruction{Op: uintr.CLUI, Length: 5, Lock: true}},

		{"F2 F3 0F C7 F0", uintr.Instruction{Op: uintr.SENDUIPI, Reg: 0, Length: 5}},
		{"F3 F2 F3 0F 01 EC", uintr.Instruction{Op: uintr.UIRET, Length: 6}},

		{"41 F3 0F C7 F0", uintr.Instruction{Op: uintr.SENDUIPI, Reg: 0, Length: 5}},    // REX before a prefix: ignored
		{"F3 41 66 0F C7 F0", uintr.Instruction{Op: uintr.SENDUIPI, Reg: 0, Length: 6}}, // so too
		{"F3 41 40 0F C7 F0", uintr.Instruction{Op: uintr.SENDUIPI, Reg: 0, Length: 6}}, // of two the last counts

		{"66 66 66 66 66 66 66 66 66 66 66 F3 0F 01 EF", uintr.Instruction{Op: uintr.STUI, Length: 15}},
		{"F3 0F 01 EE 90 90", uintr.Instruction{Op: uintr.CLUI, Length: 4}},
	} {
		in, ok := uintr.Match(code(t, row.code))
		require.True(t, ok, row.code)
		require.Equal(t, row.want, in, row.code)
	}
}

// neighbours share opcodes with the instructions. asm is how x86asm decodes them, empty where it does not know them.
var neighbours = []struct{ name, code, asm string }{
	{"RDRAND", "0F C7 F0", "RDRAND AX"},
	{"RDRAND 66", "66 0F C7 F0", "RDRAND AX"},
	{"RDRAND REX.W", "48 0F C7 F0", "RDRAND RAX"},
	{"RDRAND F2", "F2 0F C7 F0", "REPN RDRAND AX"},
	{"F2 last", "F3 F2 0F C7 F0", ""},
	{"RDSEED", "0F C7 F8", ""},
	{"RDSEED 66", "66 0F C7 F8", ""},
	{"RDPID", "F3 0F C7 F8", ""},
	{"VMXON", "F3 0F C7 30", ""},
	{"VMXON disp8", "F3 0F C7 70 08", ""},
	{"VMXON disp32", "F3 0F C7 B0 00 00 00 00", ""},
	{"VMPTRLD", "0F C7 30", ""},
	{"VMCLEAR", "66 0F C7 30", ""},
	{"CMPXCHG8B", "0F C7 08", "CMPXCHG8B QWORD PTR [RAX]"},
	{"/5 register", "F3 0F C7 E8", ""},
	{"RDPKRU", "0F 01 EE", ""},
	{"WRPKRU", "0F 01 EF", ""},
	{"RDPKRU 66", "66 0F 01 EE", ""},
	{"WRPKRU F2", "F2 0F 01 EF", ""},
	{"F3 overridden by F2", "F3 F2 0F 01 EF", ""},
	{"SAVEPREVSSP", "F3 0F 01 EA", ""},
	{"SETSSBSY", "F3 0F 01 E8", ""},
	{"F3 0F 01 EB", "F3 0F 01 EB", ""},
	{"LMSW", "F3 0F 01 F0", ""},
	{"SWAPGS", "0F 01 F8", "SWAPGS"},
	{"XGETBV", "0F 01 D0", "XGETBV"},
	{"SERIALIZE", "0F 01 E8", ""},
	{"UD2", "0F 0B", "UD2"},
	{"PAUSE", "F3 90", "PAUSE"},
	{"other two-byte opcode", "F3 0F C6 F0", ""},
	{"three-byte opcode", "F3 0F 38 F0 C7", ""},
	{"one-byte opcode", "F3 C7 F0", ""},
	{"F3 after the escape", "0F F3 C7 F0", ""},
	{"too long", "66 66 66 66 66 66 66 66 66 66 66 66 F3 0F 01 EF", ""},
}

func TestMatchLeavesTheNeighboursAlone(t *testing.T) {
	for _, row := range neighbours {
		in, ok := uintr.Match(code(t, row.code))
		require.False(t, ok, row.name)
		require.Equal(t, uintr.Instruction{}, in, row.name)
	}
}

// The encodings above are those of the instructions they are named after, where a disassembler can tell.
func TestNeighboursAreWhatTheyAreCalled(t *testing.T) {
	known := 0
	for _, row := range neighbours {
		if row.asm == "" {
			continue
		}
		inst, err := x86asm.Decode(code(t, row.code), 64)
		require.NoError(t, err, row.name)
		require.Equal(t, strings.Fields(row.name)[0], strings.Fields(inst.Op.String())[0], row.name)
		known++
	}
	require.GreaterOrEqual(t, known, 6)
}

func TestMatchNeedsTheWholeInstruction(t *testing.T) {
	for _, s := range []string{"F3 0F C7 F0", "66 F3 41 0F C7 F0", "F3 0F 01 EC"} {
		whole := code(t, s)
		for n := range whole {
			_, ok := uintr.Match(whole[:n])
			require.False(t, ok, "%x", whole[:n])
		}
	}
}

// Any mixture of prefixes before an opcode is judged by the three rules: the last of F2 and F3, the last REX if nothing
// follows it, LOCK anywhere.
func TestMatchUnderAnyPrefixes(t *testing.T) {
	legacy := []byte{0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3}
	rapid.Check(t, func(t *rapid.T) {
		prefixes := rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(legacy), rapid.ByteRange(0x40, 0x4F)), 0, 14).Draw(t, "prefixes")
		rm := rapid.ByteRange(0, 7).Draw(t, "rm")
		insn := append(bytes.Clone(prefixes), 0x0F, 0xC7, 0xF0|rm)

		in, ok := uintr.Match(insn)
		f2, f3 := bytes.LastIndexByte(prefixes, 0xF2), bytes.LastIndexByte(prefixes, 0xF3)
		require.Equal(t, f3 > f2 && len(insn) <= uintr.MaxLength, ok)
		if !ok {
			return
		}
		want := uintr.Instruction{
			Op: uintr.SENDUIPI, Reg: rm, Length: uint8(len(insn)), Lock: bytes.IndexByte(prefixes, 0xF0) >= 0,
		}
		if last := prefixes[len(prefixes)-1]; last&0xF1 == 0x41 {
			want.Reg += 8
		}
		require.Equal(t, want, in)
	})
}

func TestOpString(t *testing.T) {
	require.Equal(t, "SENDUIPI UIRET TESTUI CLUI STUI ? ?", strings.Join([]string{
		uintr.SENDUIPI.String(), uintr.UIRET.String(), uintr.TESTUI.String(), uintr.CLUI.String(), uintr.STUI.String(),
		uintr.Op(0).String(), uintr.Op(200).String(),
	}, " "))
}

func FuzzMatch(f *testing.F) {
	for _, row := range neighbours {
		f.Add(code(f, row.code))
	}
	f.Add(code(f, "66 F3 41 0F C7 F0"))
	f.Add(code(f, "F3 0F 01 EC"))
	f.Fuzz(func(t *testing.T, insn []byte) {
		in, ok := uintr.Match(insn)
		if !ok {
			require.Equal(t, uintr.Instruction{}, in)
			return
		}
		n := int(in.Length)
		require.LessOrEqual(t, n, min(len(insn), uintr.MaxLength))
		require.Equal(t, byte(0x0F), insn[n-3])
		require.NotEqual(t, -1, bytes.IndexByte(insn[:n-3], 0xF3))
		require.Equal(t, in.Op == uintr.SENDUIPI, insn[n-2] == 0xC7)
		again, ok := uintr.Match(insn[:n])
		require.True(t, ok)
		require.Equal(t, in, again)
	})
}
