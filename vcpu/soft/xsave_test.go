package soft

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu/soft/decode"
	"gvmm/vcpu/soft/simd"
)

// Encodings with the memory operand at [rdi].
var (
	fxsave     = []byte{0x0f, 0xae, 0x07}
	fxsave64   = []byte{0x48, 0x0f, 0xae, 0x07}
	fxrstor    = []byte{0x0f, 0xae, 0x0f}
	fxrstor64  = []byte{0x48, 0x0f, 0xae, 0x0f}
	ldmxcsr    = []byte{0x0f, 0xae, 0x17}
	stmxcsr    = []byte{0x0f, 0xae, 0x1f}
	xsave64    = []byte{0x48, 0x0f, 0xae, 0x27}
	xrstor64   = []byte{0x48, 0x0f, 0xae, 0x2f}
	xsaveopt64 = []byte{0x48, 0x0f, 0xae, 0x37}
	xsavec64   = []byte{0x48, 0x0f, 0xc7, 0x27}
	xsaves64   = []byte{0x48, 0x0f, 0xc7, 0x2f}
	xrstors64  = []byte{0x48, 0x0f, 0xc7, 0x1f}
)

// fillState gives the processor a state without a zero in it.
func fillState(c *CPU, seed uint64) {
	g := newGen87(seed)
	p := g.state()
	p.load(c)
	c.fpu.ip, c.fpu.dp, c.fpu.opcode = 0x11223344, 0x55667788, 0x123
	for i := range c.xmm {
		c.xmm[i] = simd.Vec{Lo: g.Uint64() | 1, Hi: g.Uint64()}
	}
	c.mxcsr = 0x1fa0
}

// stateOf is what the State group saves.
type stateOf struct {
	fpu   x87State
	xmm   [16]simd.Vec
	mxcsr uint32
}

func stateNow(c *CPU) stateOf { return stateOf{c.fpu, c.xmm, c.mxcsr} }

func initialState() stateOf { return stateOf{fpu: x87State{control: cwInit}, mxcsr: mxcsrInit} }

func setState(c *CPU, s stateOf) { c.fpu, c.xmm, c.mxcsr = s.fpu, s.xmm, s.mxcsr }

// mask sets EDX:EAX.
func mask(c *CPU, v uint64) { c.r[rax], c.r[rdx] = v&0xffffffff, v>>32 }

func field(ram []byte, off int) uint64 { return binary.LittleEndian.Uint64(ram[x87RAM+off:]) }

func TestStateGoesThereAndBack(t *testing.T) {
	for _, tt := range []struct {
		name          string
		save, restore []byte
	}{
		{"FXSAVE", fxsave, fxrstor},
		{"FXSAVE64", fxsave64, fxrstor64},
		{"XSAVE", xsave64, xrstor64},
		{"XSAVEOPT", xsaveopt64, xrstor64},
		{"XSAVEC", xsavec64, xrstor64},
		{"XSAVES", xsaves64, xrstors64},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, ram := x87Rig(t)
			mask(c, 3)
			for seed := range uint64(50) {
				fillState(c, seed)
				want := stateNow(c)
				require.True(t, run87(t, c, ram, tt.save...))
				require.Equal(t, want, stateNow(c))
				setState(c, initialState())
				require.True(t, run87(t, c, ram, tt.restore...))
				require.Equal(t, want, stateNow(c))
			}
		})
	}
}

func TestFXSAVEKeepsTheAreasEnd(t *testing.T) {
	c, ram := x87Rig(t)
	for i := range 512 {
		ram[x87RAM+i] = 0xee
	}
	require.True(t, run87(t, c, ram, fxsave...))
	require.Equal(t, byte(0), ram[x87RAM+xmmEnd-1])
	for i := xmmEnd; i < 512; i++ {
		require.Equal(t, byte(0xee), ram[x87RAM+i])
	}
	require.EqualValues(t, mxcsrMask, binary.LittleEndian.Uint32(ram[x87RAM+28:]))
}

func TestFXSAVEOutside64BitModeHasEightRegisters(t *testing.T) {
	c, ram := x87Rig(t)
	fillState(c, 1)
	c.seg[cs].attr = attrP | attrS | attrCode | attrDB
	c.seg[ds] = segment{limit: 0xffffffff, attr: attrP | attrS | attrWritable}
	c.updateMode()
	require.Equal(t, decode.Mode32, c.mode)
	before := stateNow(c)
	require.True(t, run87(t, c, ram, fxsave...))
	require.EqualValues(t, 0, field(ram, xmmEndLegacy))
	for i := range c.xmm {
		c.xmm[i] = simd.Vec{Lo: 7}
	}
	require.True(t, run87(t, c, ram, fxrstor...))
	require.Equal(t, before.xmm[:8], c.xmm[:8])
	require.Equal(t, simd.Vec{Lo: 7}, c.xmm[8])
}

func TestStateGates(t *testing.T) {
	no := func(bits uint64) func(*CPU) { return func(c *CPU) { c.cr4 &^= bits } }
	set := func(bits uint64) func(*CPU) { return func(c *CPU) { c.cr0 |= bits } }
	user := func(c *CPU) { c.cpl = 3 }
	off := func(n uint64) func(*CPU) { return func(c *CPU) { c.r[rdi] += n } }
	for _, tt := range []struct {
		name   string
		code   []byte
		with   func(*CPU)
		vector uint8
	}{
		{"FXSAVE, EM", fxsave, set(cr0EM), vectorNM},
		{"FXSAVE, TS", fxsave, set(cr0TS), vectorNM},
		{"FXSAVE, misaligned", fxsave, off(8), vectorGP},
		{"FXRSTOR, misaligned", fxrstor, off(8), vectorGP},
		{"XSAVE, no OSXSAVE", xsave64, no(cr4OSXSAVE), vectorUD},
		{"XRSTOR, TS", xrstor64, set(cr0TS), vectorNM},
		{"XSAVE, misaligned", xsave64, off(16), vectorGP},
		{"XSAVES, user", xsaves64, user, vectorGP},
		{"XRSTORS, user", xrstors64, user, vectorGP},
		{"LDMXCSR, EM", ldmxcsr, set(cr0EM), vectorUD},
		{"LDMXCSR, no OSFXSR", ldmxcsr, no(cr4OSFXSR), vectorUD},
		{"STMXCSR, TS", stmxcsr, set(cr0TS), vectorNM},
		{"XSAVE, not canonical", xsave64, func(c *CPU) { c.r[rdi] = 1 << 47 }, vectorGP},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, ram := x87Rig(t)
			mask(c, 3)
			tt.with(c)
			require.False(t, run87(t, c, ram, tt.code...))
			require.Equal(t, tt.vector, c.fault.vector)
		})
	}
}

func TestMXCSRReservedBitsAreRefused(t *testing.T) {
	for _, code := range [][]byte{ldmxcsr, fxrstor, xrstor64} {
		c, ram := x87Rig(t)
		mask(c, xstateSSE)
		at := mxcsrAt
		if &code[0] == &ldmxcsr[0] {
			at = 0
		}
		binary.LittleEndian.PutUint32(ram[x87RAM+at:], 0x10000)
		before := stateNow(c)
		require.False(t, run87(t, c, ram, code...))
		require.EqualValues(t, vectorGP, c.fault.vector)
		require.Equal(t, before, stateNow(c))
	}
}

func TestXSAVETellsWhatIsInUse(t *testing.T) {
	for _, tt := range []struct {
		name      string
		mask, old uint64
		with      func(c *CPU)
		want      uint64
	}{
		{"nothing", 3, 0, func(*CPU) {}, 0},
		{"x87", 3, 0, func(c *CPU) { c.fpu.tag = 1 }, 1},
		{"SSE", 3, 0, func(c *CPU) { c.xmm[15].Hi = 1 }, 2},
		{"MXCSR is none of XSAVE's", 3, 0, func(c *CPU) { c.mxcsr = 0x1f00 }, 0},
		{"bits outside the mask stay", 1, 2, func(*CPU) {}, 2},
		{"bits inside it do not", 2, 3, func(*CPU) {}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, ram := x87Rig(t)
			binary.LittleEndian.PutUint64(ram[x87RAM+headerAt:], tt.old)
			mask(c, tt.mask)
			tt.with(c)
			require.True(t, run87(t, c, ram, xsave64...))
			require.Equal(t, tt.want, field(ram, headerAt))
		})
	}
}

func TestXSAVEOPTAndXSAVECLeaveInitialComponentsOut(t *testing.T) {
	for _, code := range [][]byte{xsaveopt64, xsavec64} {
		c, ram := x87Rig(t)
		for i := range legacySize {
			ram[x87RAM+i] = 0xee
		}
		mask(c, 3)
		c.fpu.tag = 0x80
		require.True(t, run87(t, c, ram, code...))
		require.EqualValues(t, 1, field(ram, headerAt))
		require.EqualValues(t, cwInit, uint16(field(ram, 0)))
		require.Equal(t, uint64(0xeeeeeeeeeeeeeeee), field(ram, xmmAt))
	}
}

func TestXSAVECWritesTheWholeHeader(t *testing.T) {
	c, ram := x87Rig(t)
	for i := range headerSize {
		ram[x87RAM+headerAt+i] = 0xee
	}
	mask(c, 2)
	c.mxcsr = 0x1f00 // counts as a part of the component here
	require.True(t, run87(t, c, ram, xsavec64...))
	require.EqualValues(t, 2, field(ram, headerAt))
	require.EqualValues(t, uint64(xcompCompact|2), field(ram, headerAt+8))
	require.EqualValues(t, 0, field(ram, headerAt+56))
}

func TestXRSTORInitialisesWhatTheImageLacks(t *testing.T) {
	for _, tt := range []struct {
		name    string
		compact bool
		mxcsr   uint32
	}{
		{"standard: MXCSR from the image", false, 0x1fbf},
		{"compacted: MXCSR initial", true, mxcsrInit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, ram := x87Rig(t)
			fillState(c, 9)
			mask(c, 3)
			binary.LittleEndian.PutUint32(ram[x87RAM+mxcsrAt:], 0x1fbf)
			if tt.compact {
				binary.LittleEndian.PutUint64(ram[x87RAM+headerAt+8:], xcompCompact|3)
			}
			require.True(t, run87(t, c, ram, xrstor64...))
			want := initialState()
			want.mxcsr = tt.mxcsr
			require.Equal(t, want, stateNow(c))
		})
	}
}

func TestXRSTORKeepsWhatTheMaskLeavesOut(t *testing.T) {
	c, ram := x87Rig(t)
	fillState(c, 9)
	want := stateNow(c)
	mask(c, 0)
	require.True(t, run87(t, c, ram, xrstor64...))
	require.Equal(t, want, stateNow(c))
}

func TestXRSTORJudgesTheHeader(t *testing.T) {
	const compact = xcompCompact
	for _, tt := range []struct {
		name   string
		code   []byte
		header [8]uint64
		ok     bool
	}{
		{"standard", xrstor64, [8]uint64{3}, true},
		{"standard: component that XCR0 lacks", xrstor64, [8]uint64{4}, false},
		{"standard: XCOMP_BV", xrstor64, [8]uint64{3, 3}, false},
		{"standard: bytes 23:16", xrstor64, [8]uint64{3, 0, 1}, false},
		{"standard: the rest does not count", xrstor64, [8]uint64{3, 0, 0, 1}, true},
		{"compacted", xrstor64, [8]uint64{3, compact | 3}, true},
		{"compacted: component that XCR0 lacks", xrstor64, [8]uint64{3, compact | 7}, false},
		{"compacted: not in XCOMP_BV", xrstor64, [8]uint64{3, compact | 1}, false},
		{"compacted: bytes 63:16", xrstor64, [8]uint64{3, compact | 3, 7: 1}, false},
		{"compacted: supervisor state", xrstor64, [8]uint64{3, compact | 3 | xstateUINTR}, false},
		{"XRSTORS: standard", xrstors64, [8]uint64{3}, false},
		{"XRSTORS: component that XSS lacks", xrstors64, [8]uint64{3, compact | 3 | xstateUINTR}, false},
		{"XRSTORS", xrstors64, [8]uint64{3, compact | 3}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, ram := x87Rig(t)
			fillState(c, 4)
			mask(c, 3)
			require.True(t, run87(t, c, ram, xsave64...))
			for i, v := range tt.header {
				binary.LittleEndian.PutUint64(ram[x87RAM+headerAt+8*i:], v)
			}
			setState(c, initialState())
			require.Equal(t, tt.ok, run87(t, c, ram, tt.code...))
			if !tt.ok {
				require.EqualValues(t, vectorGP, c.fault.vector)
				require.Equal(t, initialState(), stateNow(c))
			}
		})
	}
}

func TestXSAVESMovesUserInterruptState(t *testing.T) {
	c, ram := x87Rig(t)
	c.msr.xss = xstateUINTR
	c.uintr.Handler, c.uintr.UINV, c.uintr.UIF, c.uintr.UIRR = 0x401000, 0xec, true, 1<<5
	want := c.uintr
	mask(c, 3|xstateUINTR)

	require.True(t, run87(t, c, ram, xsaves64...))
	require.Zero(t, c.uintr.UINV, "saving clears UINV")
	require.Equal(t, uint64(xstateUINTR), field(ram, headerAt))
	require.EqualValues(t, 0x401000, field(ram, uintrAt))

	c.uintr.Handler, c.uintr.UIRR = 0, 0
	require.True(t, run87(t, c, ram, xrstors64...))
	require.Equal(t, want, c.uintr)
	require.NotZero(t, c.pending.Load()&pendingUser)

	require.False(t, run87(t, c, ram, xrstors64...), "UINV is set")
	require.EqualValues(t, vectorGP, c.fault.vector)

	binary.LittleEndian.PutUint64(ram[x87RAM+headerAt:], 0)
	require.True(t, run87(t, c, ram, xrstors64...))
	require.False(t, c.uintr.InUse())
}

func TestUserInterruptStateNeedsXSS(t *testing.T) {
	c, ram := x87Rig(t)
	c.uintr.UINV = 0xec
	mask(c, 3|xstateUINTR)
	require.True(t, run87(t, c, ram, xsaves64...))
	require.EqualValues(t, 0xec, c.uintr.UINV)
	require.EqualValues(t, uint64(xcompCompact|3), field(ram, headerAt+8))
}

func TestXSAVEFaultsBeforeItWrites(t *testing.T) {
	c, ram := x87Rig(t)
	// A segment's limit stands in for a page that is not there.
	c.seg[cs].attr = attrP | attrS | attrCode | attrDB
	c.seg[ds] = segment{limit: x87RAM + 575 - 1, attr: attrP | attrS | attrWritable}
	c.updateMode()
	mask(c, 3)
	ram[x87RAM] = 0xee
	in, err := decode.Decode(append([]byte{0x0f, 0xae, 0x27}, make([]byte, 15)...), decode.Mode32)
	require.NoError(t, err)
	require.Equal(t, decode.XSAVE, in.Op)
	require.False(t, c.execute(&in))
	require.EqualValues(t, vectorGP, c.fault.vector)
	require.EqualValues(t, 0xee, ram[x87RAM])
}

func TestStateDoesNotAllocate(t *testing.T) {
	c, ram := x87Rig(t)
	c.msr.xss = xstateUINTR
	mask(c, 3|xstateUINTR)
	var ins []decode.Inst
	for _, code := range [][]byte{fxsave64, fxrstor64, xsave64, xrstor64, xsaveopt64, xsavec64, xrstor64, xsaves64, xrstors64, stmxcsr, ldmxcsr, emms} {
		ins = append(ins, decode87(t, code))
	}
	clear(ram[x87RAM : x87RAM+imageSize])
	require.Zero(t, testing.AllocsPerRun(2, func() {
		for i := range ins {
			c.execute(&ins[i])
		}
	}))
}
