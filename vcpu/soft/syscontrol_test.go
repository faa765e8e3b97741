package soft

import (
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gvmm/vcpu"
	"gvmm/vcpu/soft/decode"
)

func TestControlRegisterWrites(t *testing.T) {
	const cr0 = cr0PE | cr0ET | cr0PG | cr0WP | cr0NE
	for _, x := range []struct {
		about string
		long  bool
		reg   byte
		set   func(c *CPU)
		value uint64
		ok    bool
	}{
		{"CR0 upper half", true, 0, nil, cr0 | 1<<32, false},
		{"CR0 PG without PE", true, 0, nil, cr0 &^ cr0PE, false},
		{"CR0 NW without CD", true, 0, nil, cr0 | cr0NW, false},
		{"CR0 CD and NW", true, 0, nil, cr0 | cr0NW | cr0CD, true},
		{"CR0 PG off in 64-bit mode", true, 0, nil, cr0 &^ cr0PG, false},
		{"CR0 reserved bit is ignored", true, 0, nil, cr0 | 1<<10, true},
		{"CR0 long mode without PAE", false, 0, func(c *CPU) { c.efer = eferLME }, cr0, false},
		{"CR0 long mode with CS.L", false, 0, func(c *CPU) { c.efer, c.cr4 = eferLME, cr4PAE; c.seg[cs].attr |= attrL }, cr0, false},
		{"CR0 long mode with a 16-bit TSS", false, 0, func(c *CPU) { c.efer, c.cr4 = eferLME, cr4PAE; c.seg[tr].attr = attrP | typeTSS16Busy }, cr0, false},
		{"CR0 long mode", false, 0, func(c *CPU) { c.efer, c.cr4 = eferLME, cr4PAE }, cr0, true},
		{"CR3 reserved", true, 3, nil, 1 << physicalBits, false},
		{"CR3 no flush without PCIDE", true, 3, nil, atPML4 | cr3NoFlush, false},
		{"CR3 no flush", true, 3, func(c *CPU) { c.cr4 |= cr4PCIDE }, atPML4 | cr3NoFlush, true},
		{"CR4 PAE off in long mode", true, 4, nil, 0, false},
		{"CR4 LA57 in long mode", true, 4, nil, cr4PAE | cr4LA57, false},
		{"CR4 LA57", false, 4, nil, cr4LA57, true},
		{"CR4 VME", true, 4, nil, cr4PAE | cr4VME, false},
		{"CR4 VMXE", true, 4, nil, cr4PAE | 1<<13, false},
		{"CR4 PKE", true, 4, nil, cr4PAE | 1<<22, false},
		{"CR4 UINTR", true, 4, nil, cr4PAE | cr4UINTR, true},
		{"CR4 UINTR not shown", true, 4, func(c *CPU) { c.config.UINTR = false }, cr4PAE | cr4UINTR, false},
		{"CR4 PCIDE outside long mode", false, 4, nil, cr4PCIDE, false},
		{"CR4 PCIDE with a PCID", true, 4, func(c *CPU) { c.cr3 |= 1 }, cr4PAE | cr4PCIDE, false},
		{"CR4 PCIDE", true, 4, nil, cr4PAE | cr4PCIDE, true},
		{"CR8", true, 8, nil, 15, true},
		{"CR8 above 15", true, 8, nil, 16, false},
		{"CR1", true, 1, nil, 0, false},
	} {
		t.Run(x.about, func(t *testing.T) {
			r := protectedRig(t)
			if x.long {
				r = longRig(t)
			}
			c := r.c
			if x.set != nil {
				x.set(c)
			}
			c.r[rax] = x.value
			b := []byte{0x0f, 0x22, 0xc0 | x.reg&7<<3}
			if x.reg == 8 {
				b = append([]byte{0x44}, b...)
			}
			r.code(b...)
			if !x.long && x.reg == 0 && x.ok {
				require.True(t, c.one())
				require.True(t, c.long())
				require.Equal(t, decode.Mode32, c.mode)
				return
			}
			require.Equal(t, x.ok, c.one())
			if x.reg == 8 && x.ok {
				require.EqualValues(t, 0xf0, r.apic.tpr)
			}
			if !x.ok && x.reg != 1 {
				require.EqualValues(t, vectorGP, c.fault.vector)
			}
		})
	}
	for _, b := range [][]byte{{0x0f, 0x22, 0xc0}, {0x0f, 0x20, 0xc0}, {0x0f, 0x06}, {0xf4}, {0x0f, 0x09}, {0x0f, 0x08}, {0x0f, 0x01, 0x38}, {0x0f, 0x30}, {0x0f, 0x32}, {0x0f, 0x21, 0xc0}, {0x0f, 0x01, 0xf0}} {
		r := longRig(t)
		r.enter(selUser64|3, selUserData|3)
		r.code(b...).steps(1)
		r.faults(vectorGP, 0, "from user")
	}
}

func TestTheWayIntoLongMode(t *testing.T) {
	r := longRig(t) // for its tables
	c := r.c
	c.SetEntry(atCode, 0, 0x1234)
	require.Equal(t, decode.Mode32, c.mode)
	require.EqualValues(t, 0x1234, c.r[rbx])
	c.gdtr = table{atGDT, selEnd - 1}
	code := []byte{
		0x0f, 0x20, 0xe0, 0x83, 0xc8, 0x20, 0x0f, 0x22, 0xe0, // mov eax,cr4; or eax,20h; mov cr4,eax
		0xb8, 0, 0, 2, 0, 0x0f, 0x22, 0xd8, // mov eax,atPML4; mov cr3,eax
		0xb9, 0x80, 0, 0, 0xc0, 0x0f, 0x32, 0x0d, 0, 1, 0, 0, 0x0f, 0x30, // mov ecx,EFER; rdmsr; or eax,LME; wrmsr
		0x0f, 0x20, 0xc0, 0x0d, 0, 0, 0, 0x80, 0x0f, 0x22, 0xc0, // mov eax,cr0; or eax,PG; mov cr0,eax
		0xea, 0x08, 0x98, 0, 0, selCode64, 0, // jmp 8:9808h
	}
	r.code(code...).steps(13)
	require.EqualValues(t, 0x9808, c.rip)
	require.Equal(t, decode.Mode64, c.mode)
	require.EqualValues(t, eferLME|eferLMA, c.efer)
	// And out of it: to compatibility mode, then paging off.
	r.put32(atData, 0x9908)
	r.put16(atData+4, selCode32)
	c.r[rbx] = atData
	r.code(0xff, 0x2b).steps(1)
	r.code(0x0f, 0x20, 0xc0, 0x25, 0xff, 0xff, 0xff, 0x7f, 0x0f, 0x22, 0xc0).steps(3)
	require.False(t, c.long())
	require.EqualValues(t, eferLME, c.efer)
}

func TestSetLong64(t *testing.T) {
	r := longRig(t)
	r.c.SetLong64(0x9808, atPML4, 0x77, 0x8000, 32)
	require.Equal(t, decode.Mode64, r.c.mode)
	require.EqualValues(t, 0x77, r.c.r[rsi])
	require.Equal(t, table{base: 0x8000, limit: 31}, r.c.gdtr)
	r.code(0x48, 0x89, 0xf0).steps(1)
	require.EqualValues(t, 0x77, r.c.r[rax])
}

func TestTranslationsGoWithTheirPageTables(t *testing.T) {
	const at = 0x50000
	load := []byte{0x8b, 0x08, 0x8b, 0x08}
	for _, x := range []struct {
		about string
		pte   uint64 // more bits
		cr4   uint64
		do    []byte
		fresh bool
	}{
		{"nothing", 0, cr4PGE, []byte{0x90}, false},
		{"INVLPG", 0, cr4PGE, []byte{0x0f, 0x01, 0x38}, true},
		{"INVLPG global", pteG, cr4PGE, []byte{0x0f, 0x01, 0x38}, true},
		{"MOV CR3", 0, cr4PGE, []byte{0x0f, 0x22, 0xda}, true},
		{"MOV CR3, global", pteG, cr4PGE, []byte{0x0f, 0x22, 0xda}, false},
		{"MOV CR3, global without PGE", pteG, 0, []byte{0x0f, 0x22, 0xda}, true},
		{"INVPCID all", pteG, cr4PGE, []byte{0x66, 0x0f, 0x38, 0x82, 0x3b}, true},
	} {
		t.Run(x.about, func(t *testing.T) {
			r := longRig(t)
			c := r.c
			c.cr4 |= x.cr4
			r.put64(atPT+8*0x50, at|7|x.pte)
			r.put32(at, 1)
			r.put32(at+0x1000, 2)
			c.r[rax], c.r[rdx], c.r[rdi], c.r[rbx] = at, atPML4, 2, atData
			r.code(append(append(load[:2:2], x.do...), load[:2]...)...).steps(1)
			require.EqualValues(t, 1, c.r[rcx])
			r.put64(atPT+8*0x50, at+0x1000|7|x.pte)
			r.steps(2)
			require.Equal(t, x.fresh, c.r[rcx] == 2)
		})
	}
}

func TestINVPCIDJudgesItsOperand(t *testing.T) {
	for _, x := range []struct {
		about    string
		kind     uint64
		pcid, la uint64
		cr4      uint64
		ok       bool
	}{
		{"type 4", 4, 0, 0, cr4PCIDE, false}, {"reserved", 0, 1 << 12, 0, cr4PCIDE, false}, {"not canonical", 0, 0, 1 << 60, cr4PCIDE, false},
		{"PCID without PCIDE", 1, 5, 0, 0, false}, {"PCID", 1, 5, 0, cr4PCIDE, true}, {"address", 0, 5, atData, cr4PCIDE, true}, {"all", 3, 0, 1 << 60, 0, true},
	} {
		r := longRig(t)
		c := r.c
		c.cr4 |= x.cr4
		c.r[rax], c.r[rbx] = x.kind, atData
		r.put64(atData, x.pcid)
		r.put64(atData+8, x.la)
		r.code(0x66, 0x0f, 0x38, 0x82, 0x03)
		require.Equal(t, x.ok, c.one(), x.about)
	}
}

func TestMSRs(t *testing.T) {
	const no = ^uint64(0)
	for _, x := range []struct {
		about string
		n     uint32
		v     uint64
		ok    bool
		want  uint64 // read back; no if it is what was written
	}{
		{"EFER", msrEFER, eferSCE | eferLME | eferLMA | eferNXE, true, no},
		{"EFER LMA is not writable", msrEFER, eferLME, true, eferLME | eferLMA},
		{"EFER LME under paging", msrEFER, eferLMA, false, 0},
		{"EFER reserved", msrEFER, eferLME | 1<<12, false, 0},
		{"FS", msrFSBase, 0xffff800000001000, true, no},
		{"FS not canonical", msrFSBase, 1 << 60, false, 0},
		{"GS, 57 bits", msrGSBase, 1 << 55, true, no},
		{"KERNEL_GS", msrKernelGSBase, 1 << 57, false, 0},
		{"STAR", msrSTAR, 0x123456789abcdef0, true, no},
		{"LSTAR", msrLSTAR, 1 << 60, false, 0},
		{"FMASK", msrFMASK, 1 << 32, false, 0},
		{"SYSENTER_ESP", msrSysenterESP, 0xffffffff81000000, true, no},
		{"TSC_AUX", msrTSCAux, 1 << 32, false, 0},
		{"PAT", msrPAT, 0x0007010600070106, true, no},
		{"PAT reserved type", msrPAT, 0x0007040600070402, false, 0},
		{"MTRR type", 0x200, 2, false, 0},
		{"MTRR base", 0x202, 0xc0000006, true, no},
		{"MTRR mask", 0x203, (1<<46-1)&^0xfff | 1<<11, true, no},
		{"MTRR fixed", 0x250, 0x0606060606060606, true, no},
		{"MTRR fixed type", 0x250, 0x0606060606060602, false, 0},
		{"MTRR default", msrMTRRDefType, 0xc06, true, no},
		{"MTRR default reserved", msrMTRRDefType, 0x1006, false, 0},
		{"MTRRcap", msrMTRRCap, 0, false, 0},
		{"XSS", msrXSS, 1 << 14, true, no},
		{"XSS other", msrXSS, 1 << 8, false, 0},
		{"UINTR handler", 0x986, 0x1000, true, no},
		{"UINTR misc reserved", 0x988, 1 << 40, false, 0},
		{"BIOS_SIGN_ID", msrBIOSSignID, 0, true, microcodeReset},
		{"ARCH_CAPABILITIES", msrArchCaps, 0, false, 0},
		{"FEATURE_CONTROL locked", msrFeatureControl, 1, false, 0},
		{"x2APIC", 0x808, 0x20, true, no},
		{"handler", 0x1234, 5, true, no},
		{"nobody's", 0x7777, 5, false, 0},
		{"UMWAIT_CONTROL", msrUMWaitControl, 100000 &^ 3, true, no},
		{"UMWAIT_CONTROL reserved", msrUMWaitControl, 2, false, 0},
		{"MISC_ENABLE monitor", msrMiscEnable, miscFastStrings | miscNoBTS | miscNoPEBS | miscMonitor, true, no},
		{"MISC_ENABLE read-only", msrMiscEnable, 0, false, 0},
	} {
		t.Run(x.about, func(t *testing.T) {
			r := longRig(t)
			c := r.c
			c.r[rcx], c.r[rax], c.r[rdx] = uint64(x.n)|7<<32, x.v&0xffffffff|9<<32, x.v>>32
			r.code(0x0f, 0x30, 0x0f, 0x32)
			require.Equal(t, x.ok, c.one())
			if !x.ok {
				require.EqualValues(t, vectorGP, c.fault.vector)
				return
			}
			require.True(t, c.one())
			want := x.want
			if want == no {
				want = x.v
			}
			require.Equal(t, want, c.edxEAX())
			require.Zero(t, c.r[rax]>>32)
		})
	}
}

func TestUINTRRegistersNeedTheFeature(t *testing.T) {
	r := longRig(t)
	r.c.config.UINTR = false
	r.c.r[rcx] = 0x986
	r.code(0x0f, 0x32).steps(1)
	r.faults(vectorGP, 0, "")
	_, ok := r.c.readMSR(0x985)
	require.False(t, ok)
}

func TestExitsOfMSRsAndPortsAreCounted(t *testing.T) {
	r := longRig(t)
	c := r.c
	c.readMSR(0x1234)
	c.writeMSR(0x1234, 3)
	c.writeMSR(0x808, 0)
	require.EqualValues(t, 1, c.exits[vcpu.MSRRead].Load())
	require.EqualValues(t, 1, c.exits[vcpu.MSRWrite].Load())
	require.EqualValues(t, 1, c.exits[vcpu.APICAccess].Load())
	c.r[rdx] = 0x70
	r.code(0xed, 0xe6, 0x80).steps(2)
	require.EqualValues(t, 0x70707070, c.r[rax])
	require.EqualValues(t, 0x70, r.out.wrote[0x80])
	require.EqualValues(t, 1, c.exits[vcpu.PortRead].Load())
	require.EqualValues(t, 1, c.exits[vcpu.PortWrite].Load())
}

func TestTimeStampCounter(t *testing.T) {
	r := longRig(t)
	c := r.c
	require.True(t, c.writeDeadline(c.tsc()+1000000))
	require.True(t, c.writeMSR(msrTSC, 1<<40))
	require.InDelta(t, 1<<40, c.tsc(), 1e5)
	require.EqualValues(t, c.msr.tscOffset, c.msr.tscAdjust)
	require.EqualValues(t, 1, r.apic.msr[msrTSCDeadline], "the deadline is past now")
	require.True(t, c.writeMSR(msrTSCAdjust, 0))
	require.Zero(t, c.msr.tscOffset)
	c.cr4 |= cr4TSD
	r.enter(selUser64|3, selUserData|3)
	r.code(0x0f, 0x31).steps(1)
	r.faults(vectorGP, 0, "TSD")
}

func TestCPUID(t *testing.T) {
	r := longRig(t)
	c := r.c
	c.config.CPUs = 4
	c.config.Leaves = []vcpu.Leaf{{Function: 0x40000100, EAX: 1, EBX: 2, ECX: 3, EDX: 4}}
	get := func(n, sub uint32) leaf { return c.leafOf(n, sub) }
	require.Equal(t, leaf{maxBasic, 0x756e6547, 0x6c65746e, 0x49656e69}, get(0, 0))
	require.Equal(t, get(0x1f, 1), get(0x20, 1), "beyond the highest is the highest basic leaf")
	require.Equal(t, get(0x1f, 0), get(0x80000009, 0))
	require.Equal(t, leaf{1, 2, 3, 4}, get(0x40000100, 0))
	require.Equal(t, leaf{}, get(0x40000000, 0))
	require.Equal(t, leaf{0, 1, 0x100, 0}, get(0xb, 0))
	require.Equal(t, leaf{2, 4, 0x201, 0}, get(0xb, 1))
	require.Equal(t, leaf{0, 0, 2, 0}, get(0xb, 2))
	require.NotZero(t, get(7, 0)[3]&featureUINTR)
	require.Equal(t, leaf{48, 0, 1, 0}, get(0xd, 14))
	require.EqualValues(t, 1<<14, get(0xd, 1)[2])
	require.EqualValues(t, 576, get(0xd, 1)[1])
	c.msr.xss = 1 << 14
	require.EqualValues(t, 624, get(0xd, 1)[1])
	c.config.UINTR = false
	require.Zero(t, get(7, 0)[3]&featureUINTR)
	require.Equal(t, leaf{}, get(0xd, 14))
	require.Zero(t, get(1, 0)[2]&featureOSXSAVE)
	c.cr4 |= cr4OSXSAVE
	require.NotZero(t, get(1, 0)[2]&featureOSXSAVE)
	require.NotZero(t, get(0x80000001, 0)[3]&featureSYSCALL)
	c.mode = decode.Mode32
	require.Zero(t, get(0x80000001, 0)[3]&featureSYSCALL)
	var name []byte
	for n := uint32(0x80000002); n <= 0x80000004; n++ {
		for _, w := range get(n, 0) {
			name = append(name, byte(w), byte(w>>8), byte(w>>16), byte(w>>24))
		}
	}
	require.Equal(t, brand, string(name[:len(brand)]))
	c.mode = decode.Mode64
	c.r[rax], c.r[rcx] = 0xffffffff00000000, 0
	r.code(0x0f, 0xa2).steps(1)
	require.EqualValues(t, maxBasic, c.r[rax])
}

func TestCPUIDShowsNothingThatIsNotExecuted(t *testing.T) {
	r := longRig(t)
	one, seven := r.c.leafOf(1, 0), r.c.leafOf(7, 0)
	for about, bits := range map[string]uint32{
		"VMX": one[2] & (1 << 5), "AVX": one[2] & (1 << 28), "FMA": one[2] & (1 << 12), "F16C": one[2] & (1 << 29), "VME": one[3] & (1 << 1),
		"AVX2": seven[1] & (1 << 5), "HLE": seven[1] & (1 << 4), "RTM": seven[1] & (1 << 11), "AVX512F": seven[1] & (1 << 16),
		"PKU": seven[2] & (1 << 3), "CET": seven[2]&(1<<7) | seven[3]&(1<<20), "monitor": one[2] & (1 << 3),
	} {
		require.Zero(t, bits, about)
	}
}

// The ratio must reproduce the frequency, also in Linux's 32-bit arithmetic.
func TestTSCRatio(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hz := rapid.Uint64Range(1e8, 6e9).Draw(t, "hz")
		crystal := rapid.SampledFrom([]uint64{25e6, 19_200_000, 24e6, 1e8, 38_400_000}).Draw(t, "crystal")
		num, den := tscRatio(hz, crystal)
		require.NotZero(t, num)
		require.NotZero(t, den)
		require.LessOrEqual(t, crystal/1000*uint64(num), uint64(1<<32-1))
		got := new(big.Rat).Mul(new(big.Rat).SetFrac64(int64(num), int64(den)), new(big.Rat).SetInt64(int64(crystal)))
		off := new(big.Rat).Sub(got, new(big.Rat).SetInt64(int64(hz)))
		off.Quo(off.Abs(off), new(big.Rat).SetInt64(int64(hz)))
		ppm, _ := off.Float64()
		require.Less(t, ppm, float64(crystal/1000)/(1<<32)) // a step of the greatest numerator
	})
	num, den := tscRatio(2_000_000_000, 25_000_000)
	require.EqualValues(t, 80, num)
	require.EqualValues(t, 1, den)
}

func TestPortsByIOPLAndBitmap(t *testing.T) {
	for _, x := range []struct {
		about string
		iopl  uint64
		set   func(r *sysRig)
		port  uint16
		code  []byte
		ok    bool
	}{
		{"IOPL", flagIOPL, nil, 0x70, []byte{0xec}, true},
		{"allowed", 0, nil, 0x70, []byte{0xec}, true},
		{"denied", 0, func(r *sysRig) { r.ram[atTSS+0x68+0x70/8] = 1 }, 0x70, []byte{0xec}, false},
		{"denied for the second byte", 0, func(r *sysRig) { r.ram[atTSS+0x68+0x70/8] = 2 }, 0x70, []byte{0x66, 0xed}, false},
		{"across bytes", 0, func(r *sysRig) { r.ram[atTSS+0x68+0x78/8] = 1 }, 0x77, []byte{0x66, 0xed}, false},
		{"beyond the limit", 0, func(r *sysRig) { r.c.seg[tr].limit = 0x68 + 0xe }, 0x70, []byte{0xec}, false},
		{"no bitmap", 0, func(r *sysRig) { r.put16(atTSS+tssIOMap, 0xffff) }, 0x70, []byte{0xec}, false},
		{"16-bit TSS", 0, func(r *sysRig) { r.c.seg[tr].attr = attrP | typeTSS16Busy }, 0x70, []byte{0xec}, false},
	} {
		t.Run(x.about, func(t *testing.T) {
			r := longRig(t)
			r.enter(selUser64|3, selUserData|3)
			c := r.c
			c.rflags |= x.iopl
			if x.set != nil {
				x.set(r)
			}
			c.r[rdx] = uint64(x.port)
			r.code(x.code...)
			require.Equal(t, x.ok, c.one())
			if !x.ok {
				require.EqualValues(t, vectorGP, c.fault.vector)
			}
		})
	}
}

func TestXSETBV(t *testing.T) {
	for _, x := range []struct {
		ecx, v uint64
		ok     bool
	}{{0, 3, true}, {0, 1, true}, {0, 2, false}, {0, 7, false}, {1, 3, false}} {
		r := longRig(t)
		c := r.c
		c.cr4 |= cr4OSXSAVE
		c.r[rcx], c.r[rax], c.r[rdx] = x.ecx, x.v, 0
		r.code(0x0f, 0x01, 0xd1)
		require.Equal(t, x.ok, c.one(), "%+v", x)
		if x.ok {
			require.Equal(t, x.v, c.xcr0)
		}
	}
	r := longRig(t)
	r.code(0x0f, 0x01, 0xd0).steps(1)
	r.faults(vectorUD, 0, "XGETBV without OSXSAVE")
}

func TestMachineStatusWord(t *testing.T) {
	r := longRig(t)
	c := r.c
	c.r[rax] = 0xfff0 | cr0TS | cr0EM
	r.code(0x0f, 0x01, 0xf0, 0x0f, 0x06).steps(1)
	require.EqualValues(t, cr0PE|cr0ET|cr0PG|cr0WP|cr0NE|cr0TS|cr0EM, c.cr0)
	r.steps(1)
	require.Zero(t, c.cr0&cr0TS)
}
