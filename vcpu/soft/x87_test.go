package soft

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu/soft/decode"
	"gvmm/vcpu/soft/float"
)

// Encodings with the memory operand at [rdi].
var (
	fld1      = []byte{0xd9, 0xe8}
	fldz      = []byte{0xd9, 0xee}
	faddp     = []byte{0xde, 0xc1}
	fdivp     = []byte{0xde, 0xf9}
	fwait     = []byte{0x9b}
	fninit    = []byte{0xdb, 0xe3}
	fnclex    = []byte{0xdb, 0xe2}
	fldcw     = []byte{0xd9, 0x2f}
	fnstcw    = []byte{0xd9, 0x3f}
	fnstsw    = []byte{0xdd, 0x3f}
	fldenv    = []byte{0xd9, 0x27}
	fnstenv   = []byte{0xd9, 0x37}
	fnstenv16 = []byte{0x66, 0xd9, 0x37}
	frstor    = []byte{0xdd, 0x27}
	fnsave    = []byte{0xdd, 0x37}
	fldM64    = []byte{0xdd, 0x07}
	fstpM64   = []byte{0xdd, 0x1f}
	fstpM80   = []byte{0xdb, 0x3f}
	emms      = []byte{0x0f, 0x77}
)

func TestX87IsGatedByCR0(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cr0    uint64
		code   []byte
		vector int // -1: runs
	}{
		{"plain", 0, fld1, -1},
		{"EM", cr0EM, fld1, vectorNM},
		{"TS", cr0TS, fld1, vectorNM},
		{"TS, no-wait", cr0TS, fninit, vectorNM},
		{"FWAIT, TS", cr0TS, fwait, -1},
		{"FWAIT, TS and MP", cr0TS | cr0MP, fwait, vectorNM},
		{"FWAIT, EM", cr0EM | cr0MP, fwait, -1},
		{"EMMS, EM", cr0EM, emms, vectorUD},
		{"EMMS, TS", cr0TS, emms, vectorNM},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, ram := x87Rig(t)
			c.cr0 = cr0PE | cr0NE | tt.cr0
			ok := run87(t, c, ram, tt.code...)
			require.Equal(t, tt.vector < 0, ok)
			if !ok {
				require.Equal(t, tt.vector, int(c.fault.vector))
			}
		})
	}
}

// pending87 leaves a division by zero pending.
func pending87(t *testing.T) (*CPU, []byte) {
	c, ram := x87Rig(t)
	c.fpu.setControl(cwInit &^ 4)
	for _, code := range [][]byte{fld1, fldz, fdivp} {
		require.True(t, run87(t, c, ram, code...))
	}
	require.EqualValues(t, swES|swB|4, c.fpu.status&(swES|swB|swExceptions))
	return c, ram
}

func TestX87UnmaskedExceptionIsRaisedByTheNextWaitingInstruction(t *testing.T) {
	for _, code := range [][]byte{fld1, fwait, fldcw, frstor, fldenv, emms, fstpM80} {
		c, ram := pending87(t)
		before := c.fpu
		require.False(t, run87(t, c, ram, code...), "%X", code)
		require.EqualValues(t, vectorMF, c.fault.vector)
		require.Equal(t, before, c.fpu)
	}
	for _, code := range [][]byte{fnclex, fninit, fnstcw, fnstsw, fnstenv, fnsave} {
		c, ram := pending87(t)
		require.True(t, run87(t, c, ram, code...), "%X", code)
	}
}

func TestX87UnmaskedExceptionKeepsOperandsAndPointers(t *testing.T) {
	c, _ := pending87(t)
	require.Equal(t, float.F80{}, c.fpu.st(0))
	require.Equal(t, float.One80, c.fpu.st(1))
	require.EqualValues(t, x87Code, c.fpu.ip)
	require.EqualValues(t, 0x6f9, c.fpu.opcode)
}

func TestX87PendingExceptionIsIgnoredWithoutNE(t *testing.T) {
	c, ram := pending87(t)
	c.cr0 &^= cr0NE
	require.True(t, run87(t, c, ram, fwait...))
	require.True(t, run87(t, c, ram, fnclex...))
	c.cr0 |= cr0NE
	require.True(t, run87(t, c, ram, fwait...))
}

func TestX87LoadingAControlWordUnmasks(t *testing.T) {
	c, ram := x87Rig(t)
	for _, code := range [][]byte{fld1, fldz, fdivp} {
		require.True(t, run87(t, c, ram, code...))
	}
	require.True(t, run87(t, c, ram, fwait...))
	binary.LittleEndian.PutUint16(ram[x87RAM:], cwInit&^4)
	require.True(t, run87(t, c, ram, fldcw...))
	require.False(t, run87(t, c, ram, fwait...))
	require.EqualValues(t, vectorMF, c.fault.vector)
}

func TestX87MemoryFaultLeavesNoTrace(t *testing.T) {
	for _, code := range [][]byte{fldM64, fstpM64, fstpM80, fldcw, fldenv, fnstenv, frstor, fnsave, {0xdf, 0x37}, {0xdd, 0x0f}, {0xdc, 0x07}} {
		c, ram := x87Rig(t)
		require.True(t, run87(t, c, ram, fld1...))
		before := c.fpu
		c.r[rdi] = 1 << 63 // not canonical
		require.False(t, run87(t, c, ram, code...), "%X", code)
		require.EqualValues(t, vectorGP, c.fault.vector)
		require.Equal(t, before, c.fpu, "%X", code)
	}
}

func TestFNSAVEAndFRSTORKeepAState(t *testing.T) {
	g := newGen87(2)
	c, ram := x87Rig(t)
	for _, prefix := range [][]byte{nil, {0x66}} {
		for range 200 {
			p := g.state()
			p.load(c)
			c.fpu.ip, c.fpu.dp, c.fpu.cs, c.fpu.ds = 0x1234, 0x5678, 0x33, 0x2b
			before := c.fpu
			require.True(t, run87(t, c, ram, append(prefix, fnsave...)...))
			require.Equal(t, x87State{control: cwInit, reg: c.fpu.reg}, c.fpu)
			clear(c.fpu.reg[:])
			require.True(t, run87(t, c, ram, append(prefix, frstor...)...))
			require.Equal(t, before, c.fpu)
		}
	}
}

func TestFNSTENVMasksAllExceptions(t *testing.T) {
	c, ram := pending87(t)
	require.True(t, run87(t, c, ram, fnstenv...))
	require.EqualValues(t, cwInit, c.fpu.control)
	require.True(t, run87(t, c, ram, fwait...))
	require.EqualValues(t, cwInit&^4, binary.LittleEndian.Uint16(ram[x87RAM:]))
	require.EqualValues(t, swES, binary.LittleEndian.Uint16(ram[x87RAM+4:])&swES)
}

func TestFNSTENVFormatsByMode(t *testing.T) {
	for _, tt := range []struct {
		name string
		real bool
		code []byte
		want []byte // from the instruction pointer on
	}{
		{"protected, 32 bits", false, fnstenv, []byte{0x78, 0x56, 0x34, 0x12, 0x33, 0, 0xab, 0x05, 0xef, 0xcd, 0xab, 0x89, 0x2b, 0, 0xff, 0xff}},
		{"protected, 16 bits", false, fnstenv16, []byte{0x78, 0x56, 0x33, 0, 0xef, 0xcd, 0x2b, 0}},
		// Linear 123459A8H and 89ABD09FH.
		{"real, 32 bits", true, fnstenv, []byte{0xa8, 0x59, 0, 0, 0xab, 0x45, 0x23, 0x01, 0x9f, 0xd0, 0, 0, 0, 0xb0, 0x9a, 0x08}},
		{"real, 16 bits", true, fnstenv16, []byte{0xa8, 0x59, 0xab, 0x45, 0x9f, 0xd0, 0, 0xb0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, ram := x87Rig(t)
			c.fpu.ip, c.fpu.cs, c.fpu.opcode = 0x12345678, 0x33, 0x5ab
			c.fpu.dp, c.fpu.ds = 0x89abcdef, 0x2b
			in := decode87(t, tt.code)
			if tt.real {
				c.cr0 &^= cr0PE
			}
			c.rip, c.next = x87Code, x87Code+uint64(in.Len)
			require.True(t, c.execute(&in))
			from := x87RAM + 12
			if in.Size == 2 {
				from = x87RAM + 6
			}
			require.Equal(t, tt.want, ram[from:from+len(tt.want)])
		})
	}
}

func TestX87DoesNotAllocate(t *testing.T) {
	c, ram := x87Rig(t)
	g := newGen87(3)
	p := g.state()
	var ins []decode.Inst
	for _, code := range codes87(t) {
		ins = append(ins, decode87(t, code[:]))
	}
	for _, code := range [][]byte{fldenv, fnstenv, frstor, fnsave} {
		ins = append(ins, decode87(t, code))
	}
	require.Zero(t, testing.AllocsPerRun(2, func() {
		for i := range ins {
			p.load(c)
			clear(ram[x87RAM : x87RAM+128])
			c.rip, c.next = x87Code, x87Code+2
			c.execute(&ins[i])
		}
	}))
}

func FuzzX87AnyStateAndInstruction(f *testing.F) {
	f.Add(make([]byte, 108), []byte{0xd9, 0xfe}, make([]byte, 16))
	f.Fuzz(func(t *testing.T, state, code, operand []byte) {
		c, ram := x87Rig(t)
		var p image87
		copy(p[:], state)
		p.load(c)
		copy(ram[x87RAM:], operand[:min(len(operand), 128)])
		in := decode87(t, code)
		if g := in.Op.Group(); g != decode.GroupX87 && g != decode.GroupState || in.Base == decode.RIP {
			return
		}
		before := c.fpu
		if !run87(t, c, ram, code...) {
			require.Equal(t, before, c.fpu)
		}
	})
}

func BenchmarkX87AddPop(b *testing.B) {
	c, _ := x87Rig(b)
	load, add := decode87(b, fld1), decode87(b, faddp)
	c.fpu.push(&float.Env{Masks: float.AllFlags}, float.One80)
	for b.Loop() {
		c.x87(&load)
		c.x87(&add)
	}
}
