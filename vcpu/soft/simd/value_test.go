package simd_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gvmm/vcpu/soft/simd"
)

func TestLanesOfAVecAreLittleEndian(t *testing.T) {
	v := load([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
	require.Equal(t, uint8(9), v.Byte(9))
	require.Equal(t, uint16(0x0B0A), v.Word(5))
	require.Equal(t, uint32(0x0F0E0D0C), v.Dword(3))
	require.Equal(t, uint8(1), v.Byte(17), "modulo 16")
}

func TestMMXOperationsOnKnownValues(t *testing.T) {
	for name, c := range map[string]struct {
		f          func(a, b uint64) uint64
		a, b, want uint64
	}{
		"carries stay in bytes":                     {simd.PADDB64, 0x01FF_80FF_7F00_FFFF, 0x0101_8001_01FF_01FF, 0x0200_0000_80FF_00FE},
		"borrows stay in words":                     {simd.PSUBW64, 0x0000_8000_0001_FFFF, 0x0001_0001_0001_8000, 0xFFFF_7FFF_0000_7FFF},
		"signed sums saturate to their own side":    {simd.PADDSW64, 0x7FFF_8000_7000_8001, 0x0001_FFFF_1000_0001, 0x7FFF_8000_7FFF_8002},
		"signed differences saturate":               {simd.PSUBSB64, 0x7F80_0000_0000_00FF, 0xFF01_8000_0000_0001, 0x7F80_7F00_0000_00FE},
		"unsigned sums saturate":                    {simd.PADDUSB64, 0xFFFF_8080_0100, 0x01FF_8000_FF00, 0xFFFF_FF80_FF00},
		"unsigned differences stop at zero":         {simd.PSUBUSW64, 0x0000_0005_8000_FFFF, 0x0001_0004_8001_7FFF, 0x0000_0001_0000_8000},
		"means round up":                            {simd.PAVGB64, 0x00FF_0102, 0x01FF_0204, 0x01FF_0203},
		"comparison is signed":                      {simd.PCMPGTB64, 0x00FF_7F80, 0xFF00_807F, 0xFF00_FF00},
		"products of -32768 wrap around":            {simd.PMADDWD64, 0x8000_8000_0002_0003, 0x8000_8000_0004_FFFF, 0x8000_0000_0000_0005},
		"unsigned by signed bytes saturate":         {simd.PMADDUBSW64, 0xFFFF_FFFF_0201, 0x7F7F_8080_0304, 0x7FFF_8000_000A},
		"packing takes a's lanes first":             {simd.PACKUSWB64, 0x0100_00FF_FFFF_0001, 0x7FFF_8000_0002_0003, 0xFF00_0203_FFFF_0001},
		"interleaving takes a's lanes first":        {simd.PUNPCKLBW64, 0x4444_4444_4433_2211, 0x5555_5555_DDCC_BBAA, 0xDD44_CC33_BB22_AA11},
		"the least number has no absolute value":    {func(_, b uint64) uint64 { return simd.PABSW64(b) }, 0, 0x8000_FFFF_7FFF_0000, 0x8000_0001_7FFF_0000},
		"signs negate, clear or keep":               {simd.PSIGNW64, 0x8000_1234_1234_1234, 0x8000_0000_0001_FFFF, 0x8000_0000_1234_EDCC},
		"a shift by the lane's size clears":         {simd.PSLLW64, ^uint64(0), 16, 0},
		"a signed shift by more leaves signs":       {simd.PSRAD64, 0x8000_0000_7FFF_FFFF, 1 << 40, 0xFFFF_FFFF_0000_0000},
		"horizontal sums: a's below b's":            {simd.PHADDD64, 0x0000_0001_0000_0002, 0x0000_0003_0000_0004, 0x0000_0007_0000_0003},
		"a shuffle's top bit clears, 3 bits select": {simd.PSHUFB64, 0x7766_5544_3322_1100, 0x8007_0F00_0102_0304, 0x0077_7700_1122_3344},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, c.f(c.a, c.b)) })
	}
}

// chars is a string of bytes in a register.
func chars(s string) simd.Vec {
	var p [16]byte
	copy(p[:], s)
	return load(p[:])
}

func TestStringComparisonsFind(t *testing.T) {
	const found = simd.CF | simd.ZF | simd.SF
	for name, c := range map[string]struct {
		a, b         string
		imm          uint8
		index, flags uint32
	}{
		"any of a set":                       {"xyz", "pazy", 0x00, 2, found},
		"any of a set, the last":             {"xyz", "pazy", 0x40, 3, found},
		"none of a set":                      {"xyz", "aaaa", 0x00, 16, simd.ZF | simd.SF},
		"the first outside of ranges":        {"azAZ", "helloWorld!", 0x14, 10, found},
		"outside of ranges, in b only":       {"azAZ", "helloWorld", 0x34, 16, simd.ZF | simd.SF},
		"the first difference":               {"abcdef", "abcxef", 0x18, 3, found},
		"a substring":                        {"lo", "hello", 0x0C, 3, found},
		"a substring that b's end cuts":      {"lowly", "hello", 0x0C, 16, simd.ZF | simd.SF},
		"a substring that the register cuts": {"lowly", "0123456789abc lo", 0x0C, 14, simd.CF | simd.SF},
		"an empty string everywhere":         {"", "hello", 0x0C, 0, found | simd.OF},
	} {
		t.Run(name, func(t *testing.T) {
			index, flags := simd.PCMPISTRI(chars(c.a), chars(c.b), c.imm)
			require.Equal(t, c.index, index)
			require.Equal(t, c.flags, flags)
			// The explicit lengths of the same strings make no difference, nor do their signs.
			index, flags = simd.PCMPESTRI(chars(c.a), chars(c.b), -int64(len(c.a)), int64(len(c.b)), c.imm)
			require.Equal(t, c.index, index)
			require.Equal(t, c.flags, flags)
		})
	}
}

// An operation on lanes side by side is the same as on each lane alone.
func TestLanesDoNotMeet(t *testing.T) {
	operations := map[string]struct {
		f    func(a, b uint64) uint64
		size uint
	}{
		"PADDB": {simd.PADDB64, 8}, "PADDW": {simd.PADDW64, 16}, "PADDD": {simd.PADDD64, 32},
		"PSUBB": {simd.PSUBB64, 8}, "PSUBW": {simd.PSUBW64, 16}, "PSUBD": {simd.PSUBD64, 32},
		"PADDSB": {simd.PADDSB64, 8}, "PADDSW": {simd.PADDSW64, 16}, "PADDUSB": {simd.PADDUSB64, 8}, "PADDUSW": {simd.PADDUSW64, 16},
		"PSUBSB": {simd.PSUBSB64, 8}, "PSUBSW": {simd.PSUBSW64, 16}, "PSUBUSB": {simd.PSUBUSB64, 8}, "PSUBUSW": {simd.PSUBUSW64, 16},
		"PAVGB": {simd.PAVGB64, 8}, "PAVGW": {simd.PAVGW64, 16},
		"PMINUB": {simd.PMINUB64, 8}, "PMAXUB": {simd.PMAXUB64, 8}, "PMINSW": {simd.PMINSW64, 16}, "PMAXSW": {simd.PMAXSW64, 16},
		"PCMPEQB": {simd.PCMPEQB64, 8}, "PCMPEQW": {simd.PCMPEQW64, 16}, "PCMPEQD": {simd.PCMPEQD64, 32},
		"PCMPGTB": {simd.PCMPGTB64, 8}, "PCMPGTW": {simd.PCMPGTW64, 16}, "PCMPGTD": {simd.PCMPGTD64, 32},
		"PSIGNB": {simd.PSIGNB64, 8}, "PSIGNW": {simd.PSIGNW64, 16}, "PSIGND": {simd.PSIGND64, 32},
		"PMULLW": {simd.PMULLW64, 16}, "PMULHW": {simd.PMULHW64, 16}, "PMULHUW": {simd.PMULHUW64, 16}, "PMULHRSW": {simd.PMULHRSW64, 16},
		"PMADDWD": {simd.PMADDWD64, 32}, "PMADDUBSW": {simd.PMADDUBSW64, 16},
	}
	for name, c := range operations {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			a, b := rapid.Uint64().Draw(t, "a"), rapid.Uint64().Draw(t, "b")
			mask := uint64(1)<<c.size - 1
			all := c.f(a, b)
			for s := uint(0); s < 64; s += c.size {
				require.Equal(t, c.f(a>>s&mask, b>>s&mask)&mask, all>>s&mask, "lane at bit %d", s)
			}
		}))
	}
}

func TestOperationsAllocateNothing(t *testing.T) {
	all := operations()
	r := rand.New(rand.NewPCG(3, 4))
	in := randomInput(r, operation{lengths: true})
	var out output
	require.Zero(t, testing.AllocsPerRun(10, func() {
		for _, c := range all {
			c.do(&in, &out)
		}
	}))
}
