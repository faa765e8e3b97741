package soft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu/soft/decode"
)

// frame puts words of n bytes on the stack, the first on top.
func (r *sysRig) frame(n int, words ...uint64) {
	c := r.c
	for i, w := range words {
		at := int(c.r[rsp]+c.seg[ss].base*uint64(b2i(c.mode != decode.Mode64))) + i*n
		switch n {
		case 2:
			r.put16(at, uint16(w))
		case 4:
			r.put32(at, uint32(w))
		default:
			r.put64(at, w)
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestIRETQ(t *testing.T) {
	const target = 0x9808
	for _, x := range []struct {
		about  string
		frame  []uint64 // RIP, CS, RFLAGS, RSP, SS
		vector int      // -1: it returns
		code   uint64
	}{
		{"kernel", []uint64{target, selCode64, 2, 0x7777, selData}, -1, 0},
		{"kernel, null SS", []uint64{target, selCode64, 2, 0x7777, 0}, -1, 0},
		{"user", []uint64{target, selUser64 | 3, flagIF, 0x7777, selUserData | 3}, -1, 0},
		{"user, compatibility", []uint64{target, selUser32 | 3, flagIF, 0x7777, selUserData | 3}, -1, 0},
		{"compatibility beyond 4 GiB", []uint64{1<<32 | target, selUser32 | 3, 2, 0x7777, selUserData | 3}, -1, 0},
		{"null CS", []uint64{target, 3, 2, 0x7777, selUserData | 3}, vectorGP, 0},
		{"CS beyond the GDT", []uint64{target, selEnd | 3, 2, 0x7777, selUserData | 3}, vectorGP, selEnd},
		{"CS is data", []uint64{target, selUserData | 3, 2, 0x7777, selUserData | 3}, vectorGP, selUserData},
		{"CS is a TSS", []uint64{target, selTSS, 2, 0x7777, selData}, vectorGP, selTSS},
		{"RPL above DPL", []uint64{target, selCode64 | 3, 2, 0x7777, selUserData | 3}, vectorGP, selCode64},
		{"DPL above RPL", []uint64{target, selUser64, 2, 0x7777, selData}, vectorGP, selUser64},
		{"L and D", []uint64{target, selBoth, 2, 0x7777, selData}, vectorGP, selBoth},
		{"RIP not canonical", []uint64{1 << 47, selUser64 | 3, 2, 0x7777, selUserData | 3}, vectorGP, 0},
		{"null SS for CPL 3", []uint64{target, selUser64 | 3, 2, 0x7777, 3}, vectorGP, 0},
		{"null SS for compatibility", []uint64{target, selCode32, 2, 0x7777, 0}, vectorGP, 0},
		{"SS's RPL", []uint64{target, selUser64 | 3, 2, 0x7777, selUserData}, vectorGP, selUserData},
		{"SS's DPL", []uint64{target, selUser64 | 3, 2, 0x7777, selData | 3}, vectorGP, selData},
		{"SS read-only", []uint64{target, selCode64, 2, 0x7777, selReadOnly}, vectorGP, selReadOnly},
		{"SS absent", []uint64{target, selCode64, 2, 0x7777, selAbsent}, vectorSS, selAbsent},
		{"SS beyond the GDT", []uint64{target, selCode64, 2, 0x7777, selEnd}, vectorGP, selEnd},
	} {
		t.Run(x.about, func(t *testing.T) {
			r := longRig(t)
			c := r.c
			c.r[rsp] = 0xf000
			c.nmiMask = true
			r.frame(8, x.frame...)
			r.code(0x48, 0xcf).steps(1)
			r.faults(x.vector, x.code, "")
			if x.vector >= 0 {
				require.EqualValues(t, 0xf000, r.top(4), "RSP is as it was")
				require.False(t, c.nmiMask, "NMIs are unblocked all the same")
				return
			}
			require.EqualValues(t, target, c.rip)
			require.EqualValues(t, 0x7777, c.r[rsp])
			require.EqualValues(t, x.frame[1], c.seg[cs].sel)
			require.EqualValues(t, x.frame[4], c.seg[ss].sel)
			require.EqualValues(t, x.frame[1]&3, c.cpl)
			require.Equal(t, x.frame[2]|2, c.RFLAGS())
			require.False(t, c.nmiMask)
		})
	}
}

func TestIRETChangesTheFlagsThatItsPrivilegeMay(t *testing.T) {
	const all = flagsArith | flagTF | flagIF | flagDF | flagIOPL | flagNT | flagRF | flagAC | flagID
	for _, x := range []struct {
		about string
		cpl   int
		iopl  uint64
		size  int
		want  uint64
	}{
		{"kernel", 0, 0, 8, all},
		{"kernel, 16 bits", 0, 0, 2, all &^ (flagRF | flagAC | flagID)},
		{"user, IOPL 0", 3, 0, 8, all &^ (flagIF | flagIOPL)},
		{"user, IOPL 3", 3, flagIOPL, 8, all},
	} {
		t.Run(x.about, func(t *testing.T) {
			r := longRig(t)
			code, data := uint64(selCode64), uint64(selData)
			if x.cpl == 3 {
				code, data = selUser64|3, selUserData|3
			}
			r.enter(uint16(code), uint16(data))
			c := r.c
			c.rflags |= x.iopl
			c.r[rsp] = 0xf000
			r.frame(x.size, 0x9808, code, all|flagVM, 0x7777, data)
			if x.size == 8 {
				r.code(0x48, 0xcf)
			} else {
				r.code(0x66, 0xcf)
			}
			r.steps(1)
			require.EqualValues(t, 0x9808, c.rip)
			require.Equal(t, x.want|2, c.RFLAGS())
		})
	}
}

func TestIRETToAnOuterLevelClearsDataSegments(t *testing.T) {
	r := longRig(t)
	c := r.c
	c.r[rsp] = 0xf000
	c.seg[es] = nullSegment(3, 0)
	c.seg[gs] = segment{base: 0x123456789, null: true, sel: 2}
	d := descriptor{low: r.get64(atGDT + selUserData)}
	c.seg[fs] = d.segment(selUserData | 3)
	c.updateMode()
	r.frame(8, 0x9808, selUser64|3, 2, 0x7777, selUserData|3)
	r.code(0x48, 0xcf).steps(1)
	require.EqualValues(t, 3, c.cpl)
	require.True(t, c.seg[ds].null, "DPL 0")
	require.Zero(t, c.seg[ds].sel)
	require.Zero(t, c.seg[es].sel)
	require.EqualValues(t, selUserData|3, c.seg[fs].sel)
	require.EqualValues(t, 0x123456789, c.bases[gs])
}

func TestIRETWithNTInLongMode(t *testing.T) {
	r := longRig(t)
	r.c.rflags |= flagNT
	r.code(0x48, 0xcf).steps(1)
	r.faults(vectorGP, 0, "")
}

func TestFarJumps(t *testing.T) {
	for _, x := range []struct {
		about  string
		long   bool
		sel    uint16
		off    uint32
		vector int
		code   uint64
		mode   decode.Mode
	}{
		{"64 to 64", true, selCode64, 0x9808, -1, 0, decode.Mode64},
		{"64 to compatibility", true, selCode32, 0x9808, -1, 0, decode.Mode32},
		{"64 to 16", true, selCode16, 0x9808, -1, 0, decode.Mode16},
		{"conforming", true, selConform | 3, 0x9808, -1, 0, decode.Mode64},
		{"L and D", true, selBoth, 0x9808, vectorGP, selBoth, 0},
		{"null", true, 2, 0x9808, vectorGP, 0, 0},
		{"data", true, selData, 0x9808, vectorGP, selData, 0},
		{"user code", true, selUser64 | 3, 0x9808, vectorGP, selUser64, 0},
		{"RPL", true, selCode64 | 3, 0x9808, vectorGP, selCode64, 0},
		{"a TSS in long mode", true, selTSS, 0, vectorGP, selTSS, 0},
		{"beyond the table", true, selEnd, 0, vectorGP, selEnd, 0},
		{"in an LDT that is not there", true, 0xc, 0, vectorGP, 0xc, 0},
		{"32 to 32", false, selCode32, 0x9808, -1, 0, decode.Mode32},
		{"32 to 16", false, selCode16, 0x9808, -1, 0, decode.Mode16},
		{"beyond the limit", false, selCode16, 0x19808, vectorGP, 0, 0},
		{"L outside long mode", false, selBoth, 0x9808, -1, 0, decode.Mode32},
	} {
		t.Run(x.about, func(t *testing.T) {
			r := protectedRig(t)
			if x.long {
				r = longRig(t)
			}
			c := r.c
			c.seg[ldtr] = nullSegment(0, 0)
			r.put32(atData, x.off)
			r.put16(atData+4, x.sel)
			c.r[rbx] = atData
			r.code(0xff, 0x2b).steps(1)
			r.faults(x.vector, x.code, "")
			if x.vector >= 0 {
				return
			}
			require.EqualValues(t, x.off, c.rip)
			require.EqualValues(t, x.sel&^3, c.seg[cs].sel)
			require.Equal(t, x.mode, c.mode)
			require.NotZero(t, r.get64(uint64(atGDT+x.sel&^7))>>40&1, "accessed")
		})
	}
}

func TestFarCallPushesAndReturns(t *testing.T) {
	r := protectedRig(t)
	c := r.c
	r.code(0x9a, 8, 0x98, 0, 0, selCode16, 0).steps(1) // to 16 bits
	require.EqualValues(t, 0x9808, c.rip)
	require.Equal(t, decode.Mode16, c.mode)
	require.EqualValues(t, atCode+7, r.top(0))
	require.EqualValues(t, selCode32, r.top(1))
	r.code(0x66, 0xcb).steps(1)
	require.EqualValues(t, atCode+7, c.rip)
	require.EqualValues(t, stack0, c.r[rsp])
	require.Equal(t, decode.Mode32, c.mode)
}

func TestCallGateToAnInnerLevelCopiesParameters(t *testing.T) {
	r := protectedRig(t)
	r.gdt(selGate, gateOf(selCode32, 0x9808, typeCall, 3)|2<<32)
	r.enter(selUser32|3, selUserData|3)
	c := r.c
	r.frame(4, 0x1111, 0x2222)
	r.code(0x9a, 0, 0, 0, 0, selGate, 0).steps(1)
	require.EqualValues(t, 0x9808, c.rip)
	require.Zero(t, c.cpl)
	require.EqualValues(t, stack0-24, c.r[rsp])
	for i, v := range []uint64{atCode + 7, selUser32 | 3, 0x1111, 0x2222, stack3, selUserData | 3} {
		require.Equal(t, v, r.top(i), i)
	}
	r.code(0xca, 8, 0).steps(1) // retf 8
	require.EqualValues(t, atCode+7, c.rip)
	require.EqualValues(t, 3, c.cpl)
	require.EqualValues(t, stack3+8, c.r[rsp])
	require.EqualValues(t, selUserData|3, c.seg[ss].sel)
}

func TestCallGate64(t *testing.T) {
	r := longRig(t)
	r.gdt(selGate, gateOf(selCode64, 0x9808, typeCall, 3)|5<<32)
	r.gdt(selGate+8, 0)
	r.enter(selUser64|3, selUserData|3)
	c := r.c
	r.put32(atData, 0)
	r.put16(atData+4, selGate|3)
	c.r[rbx] = atData
	r.code(0xff, 0x1b).steps(1)
	require.EqualValues(t, 0x9808, c.rip)
	require.EqualValues(t, stack0-32, c.r[rsp])
	for i, v := range []uint64{atCode + 2, selUser64 | 3, stack3, selUserData | 3} {
		require.Equal(t, v, r.top(i), i)
	}
	require.Zero(t, c.seg[ss].sel)
	r.code(0x48, 0xcb).steps(1)
	require.EqualValues(t, atCode+2, c.rip)
	require.EqualValues(t, stack3, c.r[rsp])
}

func TestCallGatesThatCannotBeUsed(t *testing.T) {
	for _, x := range []struct {
		about  string
		gate   uint64
		upper  uint64
		user   bool
		vector int
		code   uint64
	}{
		{"DPL", gateOf(selCode64, 0x9808, typeCall, 0), 0, true, vectorGP, selGate},
		{"absent", gateOf(selCode64, 0x9808, typeCall, 3) &^ (1 << 47), 0, false, vectorNP, selGate},
		{"upper type", gateOf(selCode64, 0x9808, typeCall, 3), 1 << 40, false, vectorGP, selGate},
		{"null code", gateOf(0, 0x9808, typeCall, 3), 0, false, vectorGP, 0},
		{"code outside the table", gateOf(selEnd, 0x9808, typeCall, 3), 0, false, vectorGP, selEnd},
		{"data", gateOf(selData, 0x9808, typeCall, 3), 0, false, vectorGP, selData},
		{"32-bit code", gateOf(selCode32, 0x9808, typeCall, 3), 0, false, vectorGP, selCode32},
		{"outer code", gateOf(selUser64, 0x9808, typeCall, 3), 0, false, vectorGP, selUser64},
		{"16-bit gate", gateOf(selCode64, 0x9808, typeCall16, 3), 0, false, vectorGP, selGate},
		{"not canonical", gateOf(selCode64, 0x9808, typeCall, 3), 0x8000, false, vectorGP, 0},
	} {
		t.Run(x.about, func(t *testing.T) {
			r := longRig(t)
			r.gdt(selGate, x.gate)
			r.gdt(selGate+8, x.upper)
			if x.user {
				r.enter(selUser64|3, selUserData|3)
			}
			r.put32(atData, 0)
			r.put16(atData+4, selGate)
			r.c.r[rbx] = atData
			r.code(0xff, 0x1b).steps(1)
			r.faults(x.vector, x.code, "")
		})
	}
}

func TestFastSystemCalls(t *testing.T) {
	setup := func() *sysRig {
		r := longRig(t)
		m := &r.c.msr
		m.star, m.lstar, m.fmask = selCode64<<32|selUser32<<48, 0x9808, flagIF|flagTF|flagDF
		m.sysenterCS, m.sysenterESP, m.sysenterEIP = selCode64, 0x7000, 0x9900
		return r
	}
	t.Run("SYSCALL and SYSRET", func(t *testing.T) {
		r := setup()
		r.enter(selUser64|3, selUserData|3)
		c := r.c
		c.setRFLAGS(flagIF|flagDF|flagCF|flagAC, ^uint64(0))
		r.code(0x0f, 0x05).steps(1)
		require.EqualValues(t, 0x9808, c.rip)
		require.EqualValues(t, atCode+2, c.r[rcx])
		require.EqualValues(t, flagIF|flagDF|flagCF|flagAC|2, c.r[r11])
		require.EqualValues(t, flagCF|flagAC|2, c.RFLAGS())
		require.EqualValues(t, selCode64, c.seg[cs].sel)
		require.EqualValues(t, selCode64+8, c.seg[ss].sel)
		require.Zero(t, c.cpl)
		require.EqualValues(t, stack3, c.r[rsp])
		r.code(0x48, 0x0f, 0x07).steps(1)
		require.EqualValues(t, atCode+2, c.rip)
		require.EqualValues(t, selUser64|3, c.seg[cs].sel)
		require.EqualValues(t, selUserData|3, c.seg[ss].sel)
		require.EqualValues(t, 3, c.cpl)
		require.Equal(t, decode.Mode64, c.mode)
		require.EqualValues(t, flagIF|flagDF|flagCF|flagAC|2, c.RFLAGS())
	})
	t.Run("SYSRET to compatibility mode", func(t *testing.T) {
		r := setup()
		c := r.c
		c.r[rcx], c.r[r11] = 0xffffffff00009808, 2
		r.code(0x0f, 0x07).steps(1)
		require.EqualValues(t, 0x9808, c.rip)
		require.EqualValues(t, selUser32|3, c.seg[cs].sel)
		require.Equal(t, decode.Mode32, c.mode)
	})
	t.Run("SYSRET not canonical faults at CPL 0 with the user's stack", func(t *testing.T) {
		r := setup()
		c := r.c
		c.r[rcx], c.r[rsp] = 1<<47, 0xf000
		r.code(0x48, 0x0f, 0x07).steps(1)
		r.faults(vectorGP, 0, "")
		require.EqualValues(t, selCode64, r.top(2))
		require.EqualValues(t, 0xf000, r.top(4))
	})
	t.Run("SYSENTER and SYSEXIT", func(t *testing.T) {
		r := setup()
		r.enter(selUser64|3, selUserData|3)
		c := r.c
		c.setRFLAGS(flagIF, ^uint64(0))
		r.code(0x0f, 0x34).steps(1)
		require.EqualValues(t, 0x9900, c.rip)
		require.EqualValues(t, 0x7000, c.r[rsp])
		require.Zero(t, c.rflags&flagIF)
		require.Zero(t, c.cpl)
		c.r[rdx], c.r[rcx] = atCode, stack3
		r.code(0x48, 0x0f, 0x35).steps(1)
		require.EqualValues(t, atCode, c.rip)
		require.EqualValues(t, stack3, c.r[rsp])
		require.EqualValues(t, (selCode64+32)|3, c.seg[cs].sel)
		require.EqualValues(t, (selCode64+40)|3, c.seg[ss].sel)
	})
	for _, x := range []struct {
		about  string
		set    func(r *sysRig)
		code   []byte
		vector int
	}{
		{"SYSCALL without SCE", func(r *sysRig) { r.c.efer &^= eferSCE }, []byte{0x0f, 0x05}, vectorUD},
		{"SYSCALL in compatibility mode", func(r *sysRig) { r.enter(selUser32|3, selUserData|3) }, []byte{0x0f, 0x05}, vectorUD},
		{"SYSRET from user", func(r *sysRig) { r.enter(selUser64|3, selUserData|3) }, []byte{0x0f, 0x07}, vectorGP},
		{"SYSENTER without CS", func(r *sysRig) { r.c.msr.sysenterCS = 3 }, []byte{0x0f, 0x34}, vectorGP},
		{"SYSEXIT from user", func(r *sysRig) { r.enter(selUser64|3, selUserData|3) }, []byte{0x0f, 0x35}, vectorGP},
		{"SYSEXIT not canonical", func(r *sysRig) { r.c.r[rdx] = 1 << 50 }, []byte{0x48, 0x0f, 0x35}, vectorGP},
		{"SYSCALL to 57 bits", func(r *sysRig) { r.c.msr.lstar = 1 << 50 }, []byte{0x0f, 0x05}, vectorGP},
	} {
		t.Run(x.about, func(t *testing.T) {
			r := setup()
			x.set(r)
			r.code(x.code...).steps(1)
			r.faults(x.vector, 0, "")
		})
	}
}

func TestVirtual8086RoundTrip(t *testing.T) {
	r := protectedRig(t)
	c := r.c
	c.r[rsp] = 0xf000
	r.frame(4, 0x100, 0x800, flagVM|flagIF|flagIOPL|2, 0x200, 0x700, 0x11, 0x22, 0x33, 0x44)
	r.code(0xcf).steps(1)
	require.True(t, c.v86())
	require.EqualValues(t, 3, c.cpl)
	require.Equal(t, decode.Mode16, c.mode)
	require.EqualValues(t, 0x100, c.rip)
	require.EqualValues(t, 0x8000, c.bases[cs])
	require.EqualValues(t, 0x7000, c.bases[ss])
	require.EqualValues(t, 0x200, c.r[rsp])
	for i, seg := range []int{es, ds, fs, gs} {
		require.EqualValues(t, 0x11*(i+1), c.seg[seg].sel)
	}
	// MOV to a segment register works as in real mode.
	c.r[rax] = 0x1234
	r.code(0x8e, 0xd8).steps(1)
	require.EqualValues(t, 0x12340, c.bases[ds])
	// INT n with IOPL 3 goes through the protected-mode gate.
	r.code(0xcd, 0x40).steps(1)
	require.Equal(t, 0x40, r.vector())
	require.False(t, c.v86())
	require.Zero(t, c.cpl)
	require.EqualValues(t, stack0-36, c.r[rsp])
	for i, v := range []uint64{0x104, 0x800, flagVM | flagIF | flagIOPL | 2, 0x200, 0x700, 0x11, 0x1234, 0x33, 0x44} {
		require.Equal(t, v, r.top(i), i)
	}
	for _, seg := range []int{es, ds, fs, gs} {
		require.True(t, c.seg[seg].null)
	}
	r.code(0xcf).steps(1)
	require.True(t, c.v86())
	require.EqualValues(t, 0x104, c.rip)
	require.EqualValues(t, 0x12340, c.bases[ds])
}

func TestVirtual8086IsSensitiveToIOPL(t *testing.T) {
	for _, x := range []struct {
		about string
		code  []byte
	}{
		{"INT", []byte{0xcd, 0x40}}, {"IRET", []byte{0xcf}}, {"CLI", []byte{0xfa}}, {"STI", []byte{0xfb}},
		{"HLT", []byte{0xf4}}, {"MOV from CR0", []byte{0x0f, 0x20, 0xc0}},
	} {
		t.Run(x.about, func(t *testing.T) {
			r := protectedRig(t)
			r.c.r[rsp] = 0xf000
			r.frame(4, 0x100, 0x800, flagVM|2, 0x200, 0x700, 0, 0, 0, 0)
			r.code(0xcf).steps(1)
			r.code(x.code...).steps(1)
			r.faults(vectorGP, 0, "")
		})
	}
	t.Run("INT3 is not", func(t *testing.T) {
		r := protectedRig(t)
		r.c.r[rsp] = 0xf000
		r.frame(4, 0x100, 0x800, flagVM|2, 0x200, 0x700, 0, 0, 0, 0)
		r.code(0xcf).steps(1)
		r.code(0xcc).steps(1)
		require.Equal(t, vectorBP, r.vector())
	})
	t.Run("the gate must lead to CPL 0", func(t *testing.T) {
		r := protectedRig(t)
		r.put64(atIDT+0x40*8, gateOf(selConform, 0x9990, typeInterrupt, 3))
		r.c.r[rsp] = 0xf000
		r.frame(4, 0x100, 0x800, flagVM|flagIOPL|2, 0x200, 0x700, 0, 0, 0, 0)
		r.code(0xcf).steps(1)
		r.code(0xcd, 0x40).steps(1)
		r.faults(vectorGP, selConform, "")
	})
}
