package soft

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSegmentLoads(t *testing.T) {
	movDS, movSS := []byte{0x8e, 0xd8}, []byte{0x8e, 0xd0}
	for _, x := range []struct {
		about  string
		user   bool
		code   []byte
		sel    uint16
		vector int
		err    uint64
	}{
		{"DS", false, movDS, selData, -1, 0},
		{"DS null", false, movDS, 0, -1, 0},
		{"DS null with RPL", true, movDS, 3, -1, 0},
		{"DS read-only", false, movDS, selReadOnly, -1, 0},
		{"DS readable code", false, movDS, selCode32, -1, 0},
		{"DS conforming code from user", true, movDS, selConform | 3, -1, 0},
		{"DS of the LDT", false, movDS, 0xc, -1, 0},
		{"DS execute-only", false, movDS, selExecute, vectorGP, selExecute},
		{"DS a TSS", false, movDS, selTSS2, vectorGP, selTSS2},
		{"DS absent", false, movDS, selAbsent, vectorNP, selAbsent},
		{"DS beyond the GDT", false, movDS, selEnd | 1, vectorGP, selEnd},
		{"DS beyond the LDT", false, movDS, 0x104, vectorGP, 0x104},
		{"DS of DPL 0 from user", true, movDS, selData, vectorGP, selData},
		{"DS of DPL 0 with RPL 3", false, movDS, selData | 3, vectorGP, selData},
		{"SS", false, movSS, selData, -1, 0},
		{"SS null", false, movSS, 0, vectorGP, 0},
		{"SS read-only", false, movSS, selReadOnly, vectorGP, selReadOnly},
		{"SS code", false, movSS, selCode32, vectorGP, selCode32},
		{"SS RPL", false, movSS, selData | 1, vectorGP, selData},
		{"SS DPL", false, movSS, selUserData, vectorGP, selUserData},
		{"SS absent", false, movSS, selAbsent, vectorSS, selAbsent},
		{"CS", false, []byte{0x8e, 0xc8}, selCode32, vectorUD, 0},
	} {
		t.Run(x.about, func(t *testing.T) {
			r := protectedRig(t)
			c := r.c
			c.seg[ldtr] = segment{base: atLDT, limit: 0xff, sel: selLDT, attr: attrP | typeLDT}
			if x.user {
				r.enter(selUser32|3, selUserData|3)
			}
			before := c.seg
			c.r[rax] = uint64(x.sel)
			r.code(x.code...).steps(1)
			r.faults(x.vector, x.err, "")
			seg := ds
			if x.code[1] == 0xd0 {
				seg = ss
			}
			if x.vector >= 0 {
				require.Equal(t, before[seg].base, c.seg[seg].base)
				return
			}
			require.Equal(t, x.sel, c.seg[seg].sel)
			require.Equal(t, isNull(x.sel), c.seg[seg].null)
			if !isNull(x.sel) && x.sel&4 == 0 {
				require.NotZero(t, r.get64(uint64(atGDT+x.sel&^7))>>40&1, "accessed")
			}
		})
	}
}

func TestNullSSIn64BitMode(t *testing.T) {
	for _, x := range []struct {
		about  string
		user   bool
		sel    uint16
		vector int
	}{{"kernel", false, 0, -1}, {"kernel, RPL", false, 1, vectorGP}, {"user", true, 3, vectorGP}} {
		r := longRig(t)
		if x.user {
			r.enter(selUser64|3, selUserData|3)
		}
		r.c.r[rax] = uint64(x.sel)
		r.code(0x8e, 0xd0).steps(1)
		r.faults(x.vector, 0, x.about)
	}
}

func TestAccessThroughSegments(t *testing.T) {
	for _, x := range []struct {
		about  string
		sel    uint16
		at     uint64
		code   []byte
		vector int
	}{
		{"null", 0, 0x5000, []byte{0x8b, 0x08}, vectorGP},
		{"write to read-only", selReadOnly, 0x5000, []byte{0x89, 0x08}, vectorGP},
		{"write to code", selCode32, 0x5000, []byte{0x89, 0x08}, vectorGP},
		{"at the limit", selData16, 0xfffc, []byte{0x8b, 0x08}, -1},
		{"across the limit", selData16, 0xfffd, []byte{0x8b, 0x08}, vectorGP},
		{"expand-down below", selBig, 0xfff, []byte{0x8b, 0x08}, vectorGP},
		{"expand-down above", selBig, 0x1000, []byte{0x8b, 0x08}, -1},
	} {
		t.Run(x.about, func(t *testing.T) {
			r := protectedRig(t)
			r.c.r[rbx] = uint64(x.sel)
			r.c.r[rax] = x.at
			r.code(append([]byte{0x8e, 0xdb}, x.code...)...).steps(2)
			r.faults(x.vector, 0, "")
		})
	}
}

func TestPushAndPopOfSegments(t *testing.T) {
	r := protectedRig(t)
	c := r.c
	r.put32(stack0-4, 0xffffffff)
	r.code(0x06, 0x66, 0x06, 0x66, 0x1f, 0x1f).steps(1)
	require.EqualValues(t, 0xffff0000|selData, r.get32(stack0-4), "the upper half stays")
	r.steps(1)
	require.EqualValues(t, stack0-6, c.r[rsp])
	require.EqualValues(t, selData, r.get16(stack0-6))
	r.put16(stack0-6, selReadOnly)
	r.steps(1)
	require.EqualValues(t, selReadOnly, c.seg[ds].sel)
	r.steps(1)
	require.EqualValues(t, selData, c.seg[ds].sel)
	require.EqualValues(t, stack0, c.r[rsp])
	// A pop that faults leaves ESP.
	r.put32(stack0-4, selAbsent)
	c.r[rsp] = stack0 - 4
	r.code(0x1f)
	require.False(t, c.one())
	require.EqualValues(t, stack0-4, c.r[rsp])
}

func TestFarPointerLoads(t *testing.T) {
	r := protectedRig(t)
	c := r.c
	r.put32(atData, 0x12345678)
	r.put16(atData+4, selUserData)
	c.r[rbx] = atData
	r.code(0xc4, 0x0b, 0x0f, 0xb2, 0x0b).steps(1) // les ecx,[ebx]; lss ecx,[ebx]
	require.EqualValues(t, 0x12345678, c.r[rcx])
	require.EqualValues(t, selUserData, c.seg[es].sel)
	c.r[rcx] = 1
	r.steps(1)
	r.faults(vectorGP, selUserData, "LSS")
	require.EqualValues(t, 1, c.r[rcx])
}

func TestRealModeLoadsKeepTheLimit(t *testing.T) {
	r := realRig(t)
	c := r.c
	c.seg[ds].limit = 0xffffffff
	c.r[rax] = 0x1234
	r.code(0x8e, 0xd8).steps(1)
	require.EqualValues(t, 0x12340, c.bases[ds])
	require.EqualValues(t, 0xffffffff, c.seg[ds].limit)
}

func TestDescriptorTableRegisters(t *testing.T) {
	t.Run("64 bits", func(t *testing.T) {
		r := longRig(t)
		c := r.c
		c.r[rbx] = atData
		c.gdtr = table{0x1122334455667788 >> 8, 0xabcd}
		r.code(0x0f, 0x01, 0x03, 0x0f, 0x01, 0x13).steps(1)
		require.EqualValues(t, 0xabcd, r.get16(atData))
		require.EqualValues(t, 0x11223344556677, r.get64(atData+2))
		r.put64(atData+2, 0xff80000012345678)
		r.steps(1)
		require.Equal(t, table{0xff80000012345678, 0xabcd}, c.gdtr)
	})
	t.Run("not canonical", func(t *testing.T) {
		r := longRig(t)
		r.c.r[rbx] = atData
		r.put64(atData+2, 1<<60)
		r.code(0x0f, 0x01, 0x1b).steps(1)
		r.faults(vectorGP, 0, "")
	})
	t.Run("24 bits", func(t *testing.T) {
		r := protectedRig(t)
		r.c.r[rbx] = atData
		r.put32(atData+2, 0xaabbccdd)
		r.code(0x66, 0x0f, 0x01, 0x13).steps(1)
		require.EqualValues(t, 0xbbccdd, r.c.gdtr.base)
	})
	t.Run("LGDT from user", func(t *testing.T) {
		r := longRig(t)
		r.enter(selUser64|3, selUserData|3)
		r.c.r[rbx] = atData
		r.code(0x0f, 0x01, 0x13).steps(1)
		r.faults(vectorGP, 0, "")
	})
	for _, b := range [][]byte{{0x0f, 0x01, 0x03}, {0x0f, 0x01, 0x0b}, {0x0f, 0x00, 0xc0}, {0x0f, 0x00, 0xc8}, {0x0f, 0x01, 0xe0}} {
		r := longRig(t)
		r.enter(selUser64|3, selUserData|3)
		r.c.r[rbx] = atData
		r.code(append(b, b...)...).steps(1)
		require.Equal(t, -1, r.vector(), "% x", b)
		r.c.cr4 |= cr4UMIP
		r.steps(1)
		r.faults(vectorGP, 0, "UMIP")
	}
}

func TestLTRAndLLDT(t *testing.T) {
	ltr, lldt := []byte{0x0f, 0x00, 0xd8}, []byte{0x0f, 0x00, 0xd0}
	for _, x := range []struct {
		about  string
		long   bool
		code   []byte
		sel    uint16
		set    func(r *sysRig)
		vector int
		err    uint64
	}{
		{"LTR", true, ltr, selTSS, nil, -1, 0},
		{"LTR 32", false, ltr, selTSS2, nil, -1, 0},
		{"LTR 16", false, ltr, selTSS16, nil, -1, 0},
		{"LTR 16 in long mode", true, ltr, selTSS16, nil, vectorGP, selTSS16},
		{"LTR null", true, ltr, 0, nil, vectorGP, 0},
		{"LTR of the LDT", true, ltr, 0xc, nil, vectorGP, 0xc},
		{"LTR busy", true, ltr, selTSS, func(r *sysRig) { r.gdt(selTSS, desc(atTSS, 0x67, attrP|typeTSSBusy)) }, vectorGP, selTSS},
		{"LTR absent", true, ltr, selTSS, func(r *sysRig) { r.gdt(selTSS, desc(atTSS, 0x67, typeTSS)) }, vectorNP, selTSS},
		{"LTR data", true, ltr, selData, nil, vectorGP, selData},
		{"LTR upper type", true, ltr, selTSS, func(r *sysRig) { r.gdt(selTSS+8, 1<<40) }, vectorGP, selTSS},
		{"LTR not canonical", true, ltr, selTSS, func(r *sysRig) { r.gdt(selTSS+8, 1<<30) }, vectorGP, 0},
		{"LTR from user", true, ltr, selTSS, func(r *sysRig) { r.enter(selUser64|3, selUserData|3) }, vectorGP, 0},
		{"LLDT", true, lldt, selLDT, nil, -1, 0},
		{"LLDT null", true, lldt, 3, nil, -1, 0},
		{"LLDT of a TSS", true, lldt, selTSS, nil, vectorGP, selTSS},
		{"LLDT absent", true, lldt, selLDT, func(r *sysRig) { r.gdt(selLDT, desc(atLDT, 0xff, typeLDT)) }, vectorNP, selLDT},
		{"LLDT beyond", true, lldt, selEnd, nil, vectorGP, selEnd},
	} {
		t.Run(x.about, func(t *testing.T) {
			r := protectedRig(t)
			if x.long {
				r = longRig(t)
			}
			r.gdt(selTSS+8, 0)
			r.gdt(selLDT+8, 0)
			if x.set != nil {
				x.set(r)
			}
			r.c.r[rax] = uint64(x.sel)
			r.code(x.code...).steps(1)
			r.faults(x.vector, x.err, "")
			if x.vector >= 0 {
				return
			}
			if x.code[2] == 0xd8 {
				require.Equal(t, x.sel, r.c.seg[tr].sel)
				require.True(t, r.busy(x.sel))
			} else {
				require.Equal(t, x.sel, r.c.seg[ldtr].sel)
				require.Equal(t, isNull(x.sel), r.c.seg[ldtr].null)
			}
		})
	}
	for _, b := range [][]byte{ltr, lldt, {0x0f, 0x00, 0xc0}, {0x0f, 0x02, 0xc1}, {0x0f, 0x00, 0xe1}} {
		r := realRig(t)
		r.code(b...).steps(1)
		require.Equal(t, vectorUD, r.vector(), "% x in real mode", b)
	}
}

func TestSelectorTests(t *testing.T) {
	lar, lsl, verr, verw := []byte{0x0f, 0x02, 0xc1}, []byte{0x0f, 0x03, 0xc1}, []byte{0x0f, 0x00, 0xe1}, []byte{0x0f, 0x00, 0xe9}
	for _, x := range []struct {
		about string
		user  bool
		code  []byte
		sel   uint16
		zf    bool
		want  uint64
	}{
		{"LAR data", false, lar, selData, true, 0xcf9200},
		{"LAR null", false, lar, 0, false, 0},
		{"LAR beyond", false, lar, selEnd, false, 0},
		{"LAR TSS", false, lar, selTSS, true, 0x008900},
		{"LAR gate", false, lar, selTaskGate, true, 0x008500},
		{"LAR DPL", true, lar, selData, false, 0},
		{"LAR RPL", false, lar, selData | 3, false, 0},
		{"LAR conforming", true, lar, selConform | 3, true, 0xcf9e00},
		{"LAR absent", false, lar, selAbsent, true, 0xcf1200},
		{"LSL", false, lsl, selData, true, 0xffffffff},
		{"LSL bytes", false, lsl, selTSS2, true, 0x67},
		{"LSL gate", false, lsl, selTaskGate, false, 0},
		{"VERR", false, verr, selReadOnly, true, 0},
		{"VERR execute-only", false, verr, selExecute, false, 0},
		{"VERR TSS", false, verr, selTSS, false, 0},
		{"VERW", false, verw, selData, true, 0},
		{"VERW read-only", false, verw, selReadOnly, false, 0},
		{"VERW code", false, verw, selCode32, false, 0},
		{"VERW from user", true, verw, selUserData | 3, true, 0},
	} {
		t.Run(x.about, func(t *testing.T) {
			r := protectedRig(t)
			if x.user {
				r.enter(selUser32|3, selUserData|3)
			}
			c := r.c
			c.r[rcx], c.r[rax] = uint64(x.sel), 0x5555
			c.setArith(flagCF | flagSF | flagZF)
			r.code(x.code...).steps(1)
			require.Equal(t, x.zf, c.zero())
			require.EqualValues(t, flagCF|flagSF, c.arith()&^flagZF)
			switch {
			case !x.zf:
				require.EqualValues(t, 0x5555, c.r[rax])
			case x.want != 0:
				require.Equal(t, x.want, c.r[rax])
			}
		})
	}
	t.Run("gates of 16 bits do not exist in long mode", func(t *testing.T) {
		r := longRig(t)
		r.c.r[rcx] = selTaskGate
		r.code(lar...).steps(1)
		require.False(t, r.c.zero())
	})
}

func TestARPL(t *testing.T) {
	r := protectedRig(t)
	c := r.c
	c.r[rax], c.r[rcx] = 0x51, 0x3
	r.code(0x63, 0xc8, 0x63, 0xc8).steps(1)
	require.EqualValues(t, 0x53, c.r[rax])
	require.True(t, c.zero())
	r.steps(1)
	require.False(t, c.zero())
}

func TestBasesOfFSAndGS(t *testing.T) {
	r := longRig(t)
	c := r.c
	c.cr4 |= cr4FSGSBASE
	c.r[rax], c.msr.kernelGSBase = 0x123456789a, 0x7777
	r.code(0xf3, 0x48, 0x0f, 0xae, 0xd8, 0x0f, 0x01, 0xf8, 0xf3, 0x48, 0x0f, 0xae, 0xc9, 0xf3, 0x0f, 0xae, 0xd0).steps(1)
	require.EqualValues(t, 0x123456789a, c.bases[gs])
	r.steps(1)
	require.EqualValues(t, 0x7777, c.bases[gs])
	require.EqualValues(t, 0x123456789a, c.msr.kernelGSBase)
	r.steps(1)
	require.EqualValues(t, 0x7777, c.r[rcx])
	r.steps(1)
	require.EqualValues(t, 0x3456789a, c.bases[fs], "32 bits")
	c.r[rax] = 1 << 60
	r.code(0xf3, 0x48, 0x0f, 0xae, 0xd8).steps(1)
	r.faults(vectorGP, 0, "not canonical")
	c.cr4 &^= cr4FSGSBASE
	r.code(0xf3, 0x48, 0x0f, 0xae, 0xd8).steps(1)
	r.faults(vectorUD, 0, "not enabled")
	r.enter(selUser64|3, selUserData|3)
	r.code(0x0f, 0x01, 0xf8).steps(1)
	r.faults(vectorGP, 0, "SWAPGS from user")
}
