package soft

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gvmm/vcpu/soft/decode"
	"gvmm/vcpu/soft/simd"
)

// Instructions of the tests, with RDI as the memory operand's base.
var (
	paddbXMM    = []byte{0x66, 0x0f, 0xfc, 0xca}             // paddb xmm1, xmm2
	paddbMMX    = []byte{0x0f, 0xfc, 0xca}                   // paddb mm1, mm2
	paddbMemory = []byte{0x66, 0x0f, 0xfc, 0x0f}             // paddb xmm1, [rdi]
	loadMMX     = []byte{0x0f, 0x6f, 0x0f}                   // movq mm1, [rdi]
	storeMMX    = []byte{0x0f, 0x7f, 0x0f}                   // movq [rdi], mm1
	movups      = []byte{0x0f, 0x10, 0x0f}                   // movups xmm1, [rdi]
	movupsStore = []byte{0x0f, 0x11, 0x0f}                   // movups [rdi], xmm1
	movapsStore = []byte{0x0f, 0x29, 0x0f}                   // movaps [rdi], xmm1
	divps       = []byte{0x0f, 0x5e, 0xca}                   // divps xmm1, xmm2
	cvtps2pi    = []byte{0x0f, 0x2d, 0xca}                   // cvtps2pi mm1, xmm2
	cvtpi2ps    = []byte{0x0f, 0x2a, 0x0f}                   // cvtpi2ps xmm1, [rdi]
	maskmovdqu  = []byte{0x66, 0x0f, 0xf7, 0xca}             // maskmovdqu xmm1, xmm2
	maskmovq    = []byte{0x0f, 0xf7, 0xca}                   // maskmovq mm1, mm2
	pcmpistri   = []byte{0x66, 0x0f, 0x3a, 0x63, 0x0f, 0x08} // pcmpistri xmm1, [rdi], 8
	maskmovES   = []byte{0x64, 0x66, 0x0f, 0xf7, 0xca}       // fs: maskmovdqu xmm1, xmm2
)

func TestSIMDNeedsWhatTheSystemEnabled(t *testing.T) {
	for _, test := range []struct {
		name     string
		code     []byte
		cr0, cr4 uint64 // bits to change
		status   uint16
		vector   int // -1: none
	}{
		{"XMM, enabled", paddbXMM, 0, 0, 0, -1},
		{"XMM without an x87 unit", paddbXMM, cr0EM, 0, 0, vectorUD},
		{"XMM without FXSAVE in the system", paddbXMM, 0, cr4OSFXSR, 0, vectorUD},
		{"XMM after a task switch", paddbXMM, cr0TS, 0, 0, vectorNM},
		{"XMM: undefined goes before not available", paddbXMM, cr0TS, cr4OSFXSR, 0, vectorUD},
		{"XMM does not look at x87 exceptions", paddbXMM, 0, 0, swES, -1},
		{"MMX, enabled", paddbMMX, 0, 0, 0, -1},
		{"MMX does not need FXSAVE", paddbMMX, 0, cr4OSFXSR, 0, -1},
		{"MMX without an x87 unit", paddbMMX, cr0EM, 0, 0, vectorUD},
		{"MMX after a task switch", paddbMMX, cr0TS, 0, swES, vectorNM},
		{"MMX takes a pending x87 exception", paddbMMX, 0, 0, swES, vectorMF},
		{"both kinds: FXSAVE", cvtps2pi, 0, cr4OSFXSR, 0, vectorUD},
		{"both kinds: a pending x87 exception", cvtps2pi, 0, 0, swES, vectorMF},
		{"integers in memory are no MMX register", cvtpi2ps, 0, 0, swES, -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, _ := simdRig(t)
			c.r[rdi] = simdRAM
			c.cr0 ^= test.cr0
			c.cr4 ^= test.cr4
			c.fpu.status |= test.status
			before := c.xmm
			ok := execSIMD(t, c, test.code...)
			require.Equal(t, test.vector < 0, ok)
			if !ok {
				require.Equal(t, test.vector, int(c.fault.vector))
				require.False(t, c.fault.hasCode)
				require.Equal(t, before, c.xmm)
			}
		})
	}
}

func TestSIMDFloatingPointFaultsLeaveOperandsAlone(t *testing.T) {
	for _, test := range []struct {
		name   string
		cr4    uint64
		mxcsr  uint32
		flags  uint32
		vector uint8
	}{
		{"invalid hides what came after", 0, 0x1f00, 0x01, vectorXM},
		{"inexact comes with all the others", 0, 0x0f80, 0x21, vectorXM},
		{"a system that knows no #XM gets #UD", cr4OSXMMEXCPT, 0x1f00, 0x01, vectorUD},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, _ := simdRig(t)
			c.cr4 ^= test.cr4
			c.mxcsr = test.mxcsr
			one, three := uint64(0x3f800000), uint64(0x40400000)
			a, b := simd.Vec{Lo: one}, simd.Vec{Lo: three, Hi: one} // 1/3 and 0/0
			c.xmm[1], c.xmm[2] = a, b
			require.False(t, execSIMD(t, c, divps...))
			require.Equal(t, test.vector, c.fault.vector)
			require.Equal(t, test.mxcsr|test.flags, c.mxcsr)
			require.Equal(t, a, c.xmm[1])
		})
	}
}

func TestSIMDStickyFlagsDoNotFault(t *testing.T) {
	c, _ := simdRig(t)
	c.mxcsr = 0x1f00 | 1 // invalid is not masked, and was raised before
	one := uint64(0x3f800000)
	v := simd.Vec{Lo: one | one<<32, Hi: one | one<<32}
	c.xmm[1], c.xmm[2] = v, v
	require.True(t, execSIMD(t, c, divps...))
	require.Equal(t, v, c.xmm[1])
	require.Equal(t, uint32(0x1f01), c.mxcsr)
}

// simdPaging maps linear 4 GiB and the page behind it to two pages of RAM, the
// second one with the given entry bits.
func simdPaging(t *testing.T, c *CPU, store func(pa, v uint64), second uint64) uint64 {
	t.Helper()
	const la, table = 1 << 32, 0x20000
	for level := range uint64(3) {
		at := table + level*0x1000 + la>>(39-9*level)&511*8
		store(at, table+(level+1)*0x1000|pteP|pteW|pteU)
	}
	store(table+0x3000, simdRAM|pteP|pteW|pteU)
	store(table+0x3008, (simdRAM+0x5000)|second)
	c.cr3 = table
	c.cr4 |= cr4PAE
	c.cr0 |= cr0PG | cr0WP
	c.updateMode()
	return la
}

func TestSIMDMemoryOperandsOverTwoPages(t *testing.T) {
	for _, test := range []struct {
		name   string
		second uint64
		code   []byte
		ok     bool
	}{
		{"load", pteP | pteW | pteU, movups, true},
		{"store", pteP | pteW | pteU, movupsStore, true},
		{"load of a page that is not there", 0, movups, false},
		{"store to a page that is not there", 0, movupsStore, false},
		{"store to a page that is read only", pteP | pteU, movupsStore, false},
		{"string of a page that is not there", 0, pcmpistri, false},
		{"MMX load of a page that is not there", 0, loadMMX, false},
		{"MMX store to a page that is not there", 0, storeMMX, false},
	} {
		for in := range 32 { // how much of the operand is in the second page, and whether the first one is known
			inSecond, warm := in/2, in&1 != 0
			n := 16
			if test.code[1] == 0x6f || test.code[1] == 0x7f {
				n = 8
			}
			if inSecond == 0 || inSecond >= n {
				continue
			}
			t.Run(test.name, func(t *testing.T) {
				c, mem := simdRig(t)
				require.NoError(t, mem.AddRAM(1<<30, 1<<12)) // memory has more than one slot
				la := simdPaging(t, c, func(pa, v uint64) { require.NoError(t, mem.Store64(pa, v)) }, test.second)
				v := simd.Vec{Lo: 0x0706050403020100, Hi: 0x0f0e0d0c0b0a0908}
				inFirst := uint64(n - inSecond)
				lower, err := mem.View(simdRAM+0x1000-inFirst, inFirst)
				require.NoError(t, err)
				upper, err := mem.View(simdRAM+0x5000, uint64(inSecond))
				require.NoError(t, err)
				const text = "abcdefghijklmnop"
				copy(lower, text)
				copy(upper, text[inFirst:])
				if warm { // the translation of the first page is known
					c.r[rdi] = la + 8
					require.True(t, execSIMD(t, c, movupsStore...))
				}
				c.xmm[1] = v
				c.fpu.status, c.fpu.tag = 0x3800, 0x55
				c.r[rdi] = la + 0x1000 - inFirst
				ok := execSIMD(t, c, test.code...)
				require.Equal(t, test.ok, ok)
				loads := test.code[1] == 0x10
				switch {
				case !ok:
					require.EqualValues(t, vectorPF, c.fault.vector)
					require.Equal(t, la+0x1000, c.fault.address)
					require.Equal(t, text[:n], string(lower)+string(upper))
					require.Equal(t, v, c.xmm[1])
					require.EqualValues(t, 0x3800, c.fpu.status, "no change to MMX state")
					require.EqualValues(t, 0x55, c.fpu.tag)
				case loads:
					require.Equal(t, "abcdefgh", string(binary.LittleEndian.AppendUint64(nil, c.xmm[1].Lo)))
					require.Equal(t, "ijklmnop", string(binary.LittleEndian.AppendUint64(nil, c.xmm[1].Hi)))
				default:
					require.Equal(t, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f", string(lower)+string(upper))
				}
			})
		}
	}
}

// simdDevice answers reads with their addresses and records writes.
type simdDevice struct {
	nobody
	wrote map[uint64][]byte
}

func (simdDevice) MemoryRead(pa uint64, p []byte) {
	for i := range p {
		p[i] = byte(pa) + byte(i)
	}
}

func (d simdDevice) MemoryWrite(pa uint64, p []byte) { d.wrote[pa] = append([]byte{}, p...) }

func TestSIMDAccessesDevicesInHalves(t *testing.T) {
	c, _ := simdRig(t)
	device := simdDevice{wrote: map[uint64][]byte{}}
	c.handler = device
	c.r[rdi] = 0x80000010
	require.True(t, execSIMD(t, c, movups...))
	want := simd.Vec{Lo: 0x1716151413121110, Hi: 0x1f1e1d1c1b1a1918}
	require.Equal(t, want, c.xmm[1])
	require.True(t, execSIMD(t, c, movupsStore...))
	require.Equal(t, map[uint64][]byte{
		0x80000010: binary.LittleEndian.AppendUint64(nil, want.Lo),
		0x80000018: binary.LittleEndian.AppendUint64(nil, want.Hi),
	}, device.wrote)
}

func TestSIMDMisalignedOperandsAreGeneralProtection(t *testing.T) {
	for _, code := range [][]byte{paddbMemory, movapsStore} {
		c, _ := simdRig(t)
		c.r[rdi] = simdRAM + 8
		require.False(t, execSIMD(t, c, code...))
		require.Equal(t, fault{vector: vectorGP, hasCode: true}, c.fault)
	}
}

func TestMASKMOVTouchesOnlyBytesOfTheMask(t *testing.T) {
	c, mem := simdRig(t)
	la := simdPaging(t, c, func(pa, v uint64) { require.NoError(t, mem.Store64(pa, v)) }, 0)
	page, err := mem.View(simdRAM, 4096)
	require.NoError(t, err)
	c.xmm[1] = simd.Vec{Lo: 0x0706050403020100, Hi: 0x0f0e0d0c0b0a0908}
	c.xmm[2] = simd.Vec{Lo: 0x80ff00007f008000}
	c.r[rdi] = la + 0xff8 // its upper half is on a page that is not there
	require.True(t, execSIMD(t, c, maskmovdqu...))
	require.Equal(t, []byte{0, 1, 0, 0, 0, 0, 6, 7}, page[0xff8:])

	clear(page)
	c.xmm[2].Hi = 0x80
	require.False(t, execSIMD(t, c, maskmovdqu...))
	require.EqualValues(t, vectorPF, c.fault.vector)
	require.Equal(t, la+0x1000, c.fault.address)
	require.Equal(t, make([]byte, 8), page[0xff8:], "nothing was stored before the fault")

	c.bases[fs], c.r[rdi] = la+0x100, 0x10
	require.True(t, execSIMD(t, c, maskmovES...))
	require.Equal(t, []byte{0, 1, 0, 0, 0, 0, 6, 7, 8}, page[0x110:0x119])

	c.setMMX(1, 0x1122334455667788)
	c.setMMX(2, 0x8000000000000080)
	c.r[rdi] = la + 0x200
	require.True(t, execSIMD(t, c, maskmovq...))
	require.Equal(t, []byte{0x88, 0, 0, 0, 0, 0, 0, 0x11, 0}, page[0x200:0x209])
	require.EqualValues(t, 0xff, c.fpu.tag)
}

func TestApproximationsKeepTheirPromise(t *testing.T) {
	const bound = 1.5 / 4096
	run := func(t require.TestingT, opcode byte, v uint32) uint32 {
		c := &CPU{cr4: cr4OSFXSR}
		c.xmm[2].Lo = uint64(v)
		in, err := decode.Decode([]byte{0xf3, 0x0f, opcode, 0xca}, decode.Mode64)
		require.NoError(t, err)
		require.True(t, c.execute(&in))
		require.Zero(t, c.mxcsr, "no exceptions")
		return uint32(c.xmm[1].Lo)
	}
	const rcp, rsqrt = 0x53, 0x52
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Uint32Range(0x00800000, 0x7e000000).Draw(t, "number") // with a normal reciprocal
		x := float64(math.Float32frombits(v))
		got := float64(math.Float32frombits(run(t, rcp, v)))
		require.InEpsilon(t, 1/x, got, bound)
		got = float64(math.Float32frombits(run(t, rsqrt, v)))
		require.InEpsilon(t, 1/math.Sqrt(x), got, bound)
	})
	const inf, indefinite = 0x7f800000, 0xffc00000
	for v, want := range map[uint32][2]uint32{
		0:          {inf, inf},
		sign32:     {sign32 | inf, sign32 | inf},
		1:          {inf, inf},
		sign32 | 1: {sign32 | inf, sign32 | inf},
		inf:        {0, 0},
		0xff800000: {sign32, indefinite},
		0xbf800000: {0xbf800000, indefinite},
		0x7f800001: {0x7fc00001, 0x7fc00001},
		0xffc00002: {0xffc00002, 0xffc00002},
		0x7f000000: {0, 0x1fb504f3}, // the reciprocal is denormal
	} {
		require.Equal(t, want[0], run(t, rcp, v), "RCPSS of %#x", v)
		require.Equal(t, want[1], run(t, rsqrt, v), "RSQRTSS of %#x", v)
	}
}

// simdEncodings are all opcodes of the group, with registers and with memory.
func simdEncodings(t *testing.T) (all []decode.Inst) {
	for _, prefix := range [][]byte{nil, {0x66}, {0xf3}, {0xf2}} {
		for _, opcodes := range [][]byte{{0x0f}, {0x0f, 0x38}, {0x0f, 0x3a}} {
			for opcode := range 256 {
				for _, modrm := range []byte{0xca, 0x0f, 0xd2, 0xfa} {
					code := append(append(append([]byte{}, prefix...), opcodes...), byte(opcode), modrm, 0x11)
					in, err := decode.Decode(append(code, make([]byte, decode.MaxLength)...), decode.Mode64)
					require.NoError(t, err)
					if in.Op.Group() == decode.GroupSIMD {
						all = append(all, in)
					}
				}
			}
		}
	}
	return all
}

func TestSIMDAllocatesNothing(t *testing.T) {
	c, _ := simdRig(t)
	s := randomSIMD(rand.New(rand.NewPCG(7, 8)))
	s.put(c, make([]byte, 64))
	c.fpu.status = 0
	encodings := simdEncodings(t)
	require.Greater(t, len(encodings), 500)
	require.Zero(t, testing.AllocsPerRun(20, func() {
		for i := range encodings {
			for _, mxcsr := range []uint32{0x1f80, 0} {
				c.mxcsr = mxcsr
				c.r[rdi] = simdRAM + 0xff0
				c.execute(&encodings[i])
				c.r[rdi] = simdRAM + 0xff9 // over two pages
				c.execute(&encodings[i])
			}
		}
	}))
}

// Whatever the decoder lets through, executing it neither panics nor writes where a
// fault was raised.
func FuzzSIMD(f *testing.F) {
	for _, code := range [][]byte{paddbXMM, paddbMMX, movups, divps, maskmovdqu, pcmpistri, cvtps2pi} {
		f.Add(code, uint64(1))
	}
	f.Fuzz(func(t *testing.T, code []byte, seed uint64) {
		in, err := decode.Decode(append(code, make([]byte, decode.MaxLength)...), decode.Mode64)
		require.NoError(t, err)
		if in.Op.Group() != decode.GroupSIMD {
			return
		}
		c, mem := simdRig(t)
		ram, err := mem.View(simdRAM, 64)
		require.NoError(t, err)
		s := randomSIMD(rand.New(rand.NewPCG(seed, 0)))
		s.put(c, ram)
		c.rip, c.next = 0x1000, 0x1000+uint64(in.Len)
		before := c.r
		xmm := c.xmm
		if !c.execute(&in) {
			require.Equal(t, before, c.r)
			require.Equal(t, xmm, c.xmm)
		}
	})
}

func BenchmarkSIMD(b *testing.B) {
	for name, code := range map[string][]byte{"PADDB": paddbXMM, "PADDB memory": paddbMemory, "MOVUPS": movups, "DIVPS": divps} {
		b.Run(name, func(b *testing.B) {
			c, _ := simdRig(b)
			c.r[rdi] = simdRAM
			one := uint64(0x3f800000)
			c.xmm[2] = simd.Vec{Lo: one | one<<32, Hi: one | one<<32}
			c.mxcsr |= 0x20
			in, err := decode.Decode(code, decode.Mode64)
			require.NoError(b, err)
			for b.Loop() {
				c.execute(&in)
			}
		})
	}
}
