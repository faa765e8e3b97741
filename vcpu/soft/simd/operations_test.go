package simd_test

import (
	"strings"

	"gvmm/vcpu/soft/simd"
)

// operation is one instruction of the comparison with the host: as text, on the
// registers that input and output name, with I for the immediate, and as a function.
type operation struct {
	text    string
	feature string // as /proc/cpuinfo names it
	do      func(in *input, out *output)
	count   bool // b is a shift's count
	lengths bool // EAX and EDX are strings' lengths
	flags   bool // the flags are compared
}

// imms is how many immediates the operation has.
func (c operation) imms() int {
	if strings.Contains(c.text, "$I") {
		return 256
	}
	return 1
}

// The shapes of operations.

func vv(mnemonic, feature string, f func(a, b simd.Vec) simd.Vec) operation {
	return operation{text: mnemonic + " %xmm2, %xmm1", feature: feature, do: func(in *input, out *output) {
		out.XMM1 = f(in.A, in.B)
	}}
}

func mm(mnemonic, feature string, f func(a, b uint64) uint64) operation {
	return operation{text: mnemonic + " %mm2, %mm1", feature: feature, do: func(in *input, out *output) {
		out.MM1 = f(in.A.Lo, in.B.Lo)
	}}
}

func v(mnemonic, feature string, f func(b simd.Vec) simd.Vec) operation {
	return vv(mnemonic, feature, func(_, b simd.Vec) simd.Vec { return f(b) })
}

func m(mnemonic, feature string, f func(b uint64) uint64) operation {
	return mm(mnemonic, feature, func(_, b uint64) uint64 { return f(b) })
}

func vvi(mnemonic, feature string, f func(a, b simd.Vec, imm uint8) simd.Vec) operation {
	return operation{text: mnemonic + " $I, %xmm2, %xmm1", feature: feature, do: func(in *input, out *output) {
		out.XMM1 = f(in.A, in.B, uint8(in.Imm))
	}}
}

func mmi(mnemonic, feature string, f func(a, b uint64, imm uint8) uint64) operation {
	return operation{text: mnemonic + " $I, %mm2, %mm1", feature: feature, do: func(in *input, out *output) {
		out.MM1 = f(in.A.Lo, in.B.Lo, uint8(in.Imm))
	}}
}

func vi(mnemonic, feature string, f func(b simd.Vec, imm uint8) simd.Vec) operation {
	return vvi(mnemonic, feature, func(_, b simd.Vec, imm uint8) simd.Vec { return f(b, imm) })
}

// masked has its mask in XMM0.
func masked(mnemonic, feature string, f func(a, b, mask simd.Vec) simd.Vec) operation {
	return operation{text: mnemonic + " %xmm0, %xmm2, %xmm1", feature: feature, do: func(in *input, out *output) {
		out.XMM1 = f(in.A, in.B, in.C)
	}}
}

// shift is a shift by b and by an immediate, of XMM and MMX registers.
func shift(mnemonic string, f func(a simd.Vec, count uint64) simd.Vec, f64 func(a, count uint64) uint64) []operation {
	byB := vv(mnemonic, "sse2", func(a, b simd.Vec) simd.Vec { return f(a, b.Lo) })
	byB64 := mm(mnemonic, "mmx", f64)
	byB.count, byB64.count = true, true
	return []operation{byB, byB64, byImm(mnemonic, f), {
		text: mnemonic + " $I, %mm1", feature: "mmx", do: func(in *input, out *output) {
			out.MM1 = f64(in.A.Lo, uint64(in.Imm))
		}}}
}

func byImm(mnemonic string, f func(a simd.Vec, count uint64) simd.Vec) operation {
	return operation{text: mnemonic + " $I, %xmm1", feature: "sse2", do: func(in *input, out *output) {
		out.XMM1 = f(in.A, uint64(in.Imm))
	}}
}

// extract has its result in RCX.
func extract(text, feature string, f func(a simd.Vec, imm uint8) uint64) operation {
	return operation{text: text, feature: feature, do: func(in *input, out *output) {
		out.RCX = f(in.A, uint8(in.Imm))
	}}
}

func insert(text, feature string, f func(in *input, imm uint8) simd.Vec) operation {
	return operation{text: text, feature: feature, do: func(in *input, out *output) {
		out.XMM1 = f(in, uint8(in.Imm))
	}}
}

func crc(text string, f func(in *input) uint32) operation {
	return operation{text: text, feature: "sse4_2", do: func(in *input, out *output) { out.RAX = uint64(f(in)) }}
}

func text(mnemonic, feature string, do func(in *input, out *output)) operation {
	return operation{
		text: mnemonic + " $I, %xmm2, %xmm1", feature: feature, do: do,
		flags: true, lengths: strings.Contains(mnemonic, "estr"),
	}
}

func operations() []operation {
	all := []operation{
		vv("paddb", "sse2", simd.PADDB), mm("paddb", "mmx", simd.PADDB64),
		vv("paddw", "sse2", simd.PADDW), mm("paddw", "mmx", simd.PADDW64),
		vv("paddd", "sse2", simd.PADDD), mm("paddd", "mmx", simd.PADDD64),
		vv("psubb", "sse2", simd.PSUBB), mm("psubb", "mmx", simd.PSUBB64),
		vv("psubw", "sse2", simd.PSUBW), mm("psubw", "mmx", simd.PSUBW64),
		vv("psubd", "sse2", simd.PSUBD), mm("psubd", "mmx", simd.PSUBD64),
		vv("paddsb", "sse2", simd.PADDSB), mm("paddsb", "mmx", simd.PADDSB64),
		vv("paddsw", "sse2", simd.PADDSW), mm("paddsw", "mmx", simd.PADDSW64),
		vv("paddusb", "sse2", simd.PADDUSB), mm("paddusb", "mmx", simd.PADDUSB64),
		vv("paddusw", "sse2", simd.PADDUSW), mm("paddusw", "mmx", simd.PADDUSW64),
		vv("psubsb", "sse2", simd.PSUBSB), mm("psubsb", "mmx", simd.PSUBSB64),
		vv("psubsw", "sse2", simd.PSUBSW), mm("psubsw", "mmx", simd.PSUBSW64),
		vv("psubusb", "sse2", simd.PSUBUSB), mm("psubusb", "mmx", simd.PSUBUSB64),
		vv("psubusw", "sse2", simd.PSUBUSW), mm("psubusw", "mmx", simd.PSUBUSW64),
		vv("pcmpeqb", "sse2", simd.PCMPEQB), mm("pcmpeqb", "mmx", simd.PCMPEQB64),
		vv("pcmpeqw", "sse2", simd.PCMPEQW), mm("pcmpeqw", "mmx", simd.PCMPEQW64),
		vv("pcmpeqd", "sse2", simd.PCMPEQD), mm("pcmpeqd", "mmx", simd.PCMPEQD64),
		vv("pcmpgtb", "sse2", simd.PCMPGTB), mm("pcmpgtb", "mmx", simd.PCMPGTB64),
		vv("pcmpgtw", "sse2", simd.PCMPGTW), mm("pcmpgtw", "mmx", simd.PCMPGTW64),
		vv("pcmpgtd", "sse2", simd.PCMPGTD), mm("pcmpgtd", "mmx", simd.PCMPGTD64),
		vv("pmullw", "sse2", simd.PMULLW), mm("pmullw", "mmx", simd.PMULLW64),
		vv("pmulhw", "sse2", simd.PMULHW), mm("pmulhw", "mmx", simd.PMULHW64),
		vv("pmaddwd", "sse2", simd.PMADDWD), mm("pmaddwd", "mmx", simd.PMADDWD64),
		vv("packsswb", "sse2", simd.PACKSSWB), mm("packsswb", "mmx", simd.PACKSSWB64),
		vv("packssdw", "sse2", simd.PACKSSDW), mm("packssdw", "mmx", simd.PACKSSDW64),
		vv("packuswb", "sse2", simd.PACKUSWB), mm("packuswb", "mmx", simd.PACKUSWB64),
		vv("punpcklbw", "sse2", simd.PUNPCKLBW), mm("punpcklbw", "mmx", simd.PUNPCKLBW64),
		vv("punpcklwd", "sse2", simd.PUNPCKLWD), mm("punpcklwd", "mmx", simd.PUNPCKLWD64),
		vv("punpckldq", "sse2", simd.PUNPCKLDQ), mm("punpckldq", "mmx", simd.PUNPCKLDQ64),
		vv("punpckhbw", "sse2", simd.PUNPCKHBW), mm("punpckhbw", "mmx", simd.PUNPCKHBW64),
		vv("punpckhwd", "sse2", simd.PUNPCKHWD), mm("punpckhwd", "mmx", simd.PUNPCKHWD64),
		vv("punpckhdq", "sse2", simd.PUNPCKHDQ), mm("punpckhdq", "mmx", simd.PUNPCKHDQ64),
		vv("paddq", "sse2", simd.PADDQ), mm("paddq", "sse2", simd.PADDQ64),
		vv("psubq", "sse2", simd.PSUBQ), mm("psubq", "sse2", simd.PSUBQ64),
		vv("pmuludq", "sse2", simd.PMULUDQ), mm("pmuludq", "sse2", simd.PMULUDQ64),
		vv("pavgb", "sse2", simd.PAVGB), mm("pavgb", "sse2", simd.PAVGB64),
		vv("pavgw", "sse2", simd.PAVGW), mm("pavgw", "sse2", simd.PAVGW64),
		vv("pminub", "sse2", simd.PMINUB), mm("pminub", "sse2", simd.PMINUB64),
		vv("pmaxub", "sse2", simd.PMAXUB), mm("pmaxub", "sse2", simd.PMAXUB64),
		vv("pminsw", "sse2", simd.PMINSW), mm("pminsw", "sse2", simd.PMINSW64),
		vv("pmaxsw", "sse2", simd.PMAXSW), mm("pmaxsw", "sse2", simd.PMAXSW64),
		vv("pmulhuw", "sse2", simd.PMULHUW), mm("pmulhuw", "sse2", simd.PMULHUW64),
		vv("psadbw", "sse2", simd.PSADBW), mm("psadbw", "sse2", simd.PSADBW64),
		vv("pshufb", "ssse3", simd.PSHUFB), mm("pshufb", "ssse3", simd.PSHUFB64),
		vv("phaddw", "ssse3", simd.PHADDW), mm("phaddw", "ssse3", simd.PHADDW64),
		vv("phaddd", "ssse3", simd.PHADDD), mm("phaddd", "ssse3", simd.PHADDD64),
		vv("phaddsw", "ssse3", simd.PHADDSW), mm("phaddsw", "ssse3", simd.PHADDSW64),
		vv("phsubw", "ssse3", simd.PHSUBW), mm("phsubw", "ssse3", simd.PHSUBW64),
		vv("phsubd", "ssse3", simd.PHSUBD), mm("phsubd", "ssse3", simd.PHSUBD64),
		vv("phsubsw", "ssse3", simd.PHSUBSW), mm("phsubsw", "ssse3", simd.PHSUBSW64),
		vv("pmaddubsw", "ssse3", simd.PMADDUBSW), mm("pmaddubsw", "ssse3", simd.PMADDUBSW64),
		vv("psignb", "ssse3", simd.PSIGNB), mm("psignb", "ssse3", simd.PSIGNB64),
		vv("psignw", "ssse3", simd.PSIGNW), mm("psignw", "ssse3", simd.PSIGNW64),
		vv("psignd", "ssse3", simd.PSIGND), mm("psignd", "ssse3", simd.PSIGND64),
		vv("pmulhrsw", "ssse3", simd.PMULHRSW), mm("pmulhrsw", "ssse3", simd.PMULHRSW64),
		v("pabsb", "ssse3", simd.PABSB), m("pabsb", "ssse3", simd.PABSB64),
		v("pabsw", "ssse3", simd.PABSW), m("pabsw", "ssse3", simd.PABSW64),
		v("pabsd", "ssse3", simd.PABSD), m("pabsd", "ssse3", simd.PABSD64),
		vv("punpcklqdq", "sse2", simd.PUNPCKLQDQ),
		vv("punpckhqdq", "sse2", simd.PUNPCKHQDQ),
		vv("pand", "sse2", simd.PAND),
		vv("pandn", "sse2", simd.PANDN),
		vv("por", "sse2", simd.POR),
		vv("pxor", "sse2", simd.PXOR),
		vv("pminsb", "sse4_1", simd.PMINSB),
		vv("pminsd", "sse4_1", simd.PMINSD),
		vv("pminuw", "sse4_1", simd.PMINUW),
		vv("pminud", "sse4_1", simd.PMINUD),
		vv("pmaxsb", "sse4_1", simd.PMAXSB),
		vv("pmaxsd", "sse4_1", simd.PMAXSD),
		vv("pmaxuw", "sse4_1", simd.PMAXUW),
		vv("pmaxud", "sse4_1", simd.PMAXUD),
		vv("pcmpeqq", "sse4_1", simd.PCMPEQQ),
		vv("pmuldq", "sse4_1", simd.PMULDQ),
		vv("pmulld", "sse4_1", simd.PMULLD),
		vv("packusdw", "sse4_1", simd.PACKUSDW),
		vv("pcmpgtq", "sse4_2", simd.PCMPGTQ),
		vv("aesenc", "aes", simd.AESENC),
		vv("aesenclast", "aes", simd.AESENCLAST),
		vv("aesdec", "aes", simd.AESDEC),
		vv("aesdeclast", "aes", simd.AESDECLAST),
		vv("sha1nexte", "sha_ni", simd.SHA1NEXTE),
		vv("sha1msg1", "sha_ni", simd.SHA1MSG1),
		vv("sha1msg2", "sha_ni", simd.SHA1MSG2),
		vv("sha256msg1", "sha_ni", simd.SHA256MSG1),
		vv("sha256msg2", "sha_ni", simd.SHA256MSG2),
		v("pmovsxbw", "sse4_1", simd.PMOVSXBW),
		v("pmovsxbd", "sse4_1", simd.PMOVSXBD),
		v("pmovsxbq", "sse4_1", simd.PMOVSXBQ),
		v("pmovsxwd", "sse4_1", simd.PMOVSXWD),
		v("pmovsxwq", "sse4_1", simd.PMOVSXWQ),
		v("pmovsxdq", "sse4_1", simd.PMOVSXDQ),
		v("pmovzxbw", "sse4_1", simd.PMOVZXBW),
		v("pmovzxbd", "sse4_1", simd.PMOVZXBD),
		v("pmovzxbq", "sse4_1", simd.PMOVZXBQ),
		v("pmovzxwd", "sse4_1", simd.PMOVZXWD),
		v("pmovzxwq", "sse4_1", simd.PMOVZXWQ),
		v("pmovzxdq", "sse4_1", simd.PMOVZXDQ),
		v("phminposuw", "sse4_1", simd.PHMINPOSUW),
		v("movshdup", "pni", simd.MOVSHDUP),
		v("movsldup", "pni", simd.MOVSLDUP),
		v("movddup", "pni", simd.MOVDDUP),
		v("aesimc", "aes", simd.AESIMC),
		vvi("shufps", "sse2", simd.SHUFPS),
		vvi("shufpd", "sse2", simd.SHUFPD),
		vvi("palignr", "ssse3", simd.PALIGNR),
		vvi("insertps", "sse4_1", simd.INSERTPS),
		vvi("pblendw", "sse4_1", simd.PBLENDW),
		vvi("blendps", "sse4_1", simd.BLENDPS),
		vvi("blendpd", "sse4_1", simd.BLENDPD),
		vvi("mpsadbw", "sse4_1", simd.MPSADBW),
		vvi("pclmulqdq", "pclmulqdq", simd.PCLMULQDQ),
		vvi("sha1rnds4", "sha_ni", simd.SHA1RNDS4),
		vi("pshufd", "sse2", simd.PSHUFD),
		vi("pshuflw", "sse2", simd.PSHUFLW),
		vi("pshufhw", "sse2", simd.PSHUFHW),
		vi("aeskeygenassist", "aes", simd.AESKEYGENASSIST),
		masked("pblendvb", "sse4_1", simd.PBLENDVB),
		masked("blendvps", "sse4_1", simd.BLENDVPS),
		masked("blendvpd", "sse4_1", simd.BLENDVPD),
		masked("sha256rnds2", "sha_ni", simd.SHA256RNDS2),
		mmi("palignr", "ssse3", simd.PALIGNR64),
		mmi("pshufw", "sse2", func(_, b uint64, imm uint8) uint64 { return simd.PSHUFW64(b, imm) }),
		byImm("pslldq", simd.PSLLDQ), byImm("psrldq", simd.PSRLDQ),
		extract("pmovmskb %xmm1, %ecx", "sse2", func(a simd.Vec, _ uint8) uint64 { return uint64(simd.PMOVMSKB(a)) }),
		extract("pmovmskb %mm1, %ecx", "sse2", func(a simd.Vec, _ uint8) uint64 { return uint64(simd.PMOVMSKB64(a.Lo)) }),
		extract("movmskps %xmm1, %ecx", "sse2", func(a simd.Vec, _ uint8) uint64 { return uint64(simd.MOVMSKPS(a)) }),
		extract("movmskpd %xmm1, %ecx", "sse2", func(a simd.Vec, _ uint8) uint64 { return uint64(simd.MOVMSKPD(a)) }),
		extract("pextrb $I, %xmm1, %ecx", "sse4_1", func(a simd.Vec, imm uint8) uint64 { return uint64(simd.PEXTRB(a, imm)) }),
		extract("pextrw $I, %xmm1, %ecx", "sse2", func(a simd.Vec, imm uint8) uint64 { return uint64(simd.PEXTRW(a, imm)) }),
		extract("pextrw $I, %mm1, %ecx", "sse2", func(a simd.Vec, imm uint8) uint64 { return uint64(simd.PEXTRW64(a.Lo, imm)) }),
		extract("pextrd $I, %xmm1, %ecx", "sse4_1", func(a simd.Vec, imm uint8) uint64 { return uint64(simd.PEXTRD(a, imm)) }),
		extract("extractps $I, %xmm1, %ecx", "sse4_1", func(a simd.Vec, imm uint8) uint64 { return uint64(simd.PEXTRD(a, imm)) }),
		extract("pextrq $I, %xmm1, %rcx", "sse4_1", simd.PEXTRQ),
		insert("pinsrb $I, %edx, %xmm1", "sse4_1", func(in *input, imm uint8) simd.Vec { return simd.PINSRB(in.A, uint8(in.RDX), imm) }),
		insert("pinsrw $I, %edx, %xmm1", "sse2", func(in *input, imm uint8) simd.Vec { return simd.PINSRW(in.A, uint16(in.RDX), imm) }),
		insert("pinsrd $I, %edx, %xmm1", "sse4_1", func(in *input, imm uint8) simd.Vec { return simd.PINSRD(in.A, uint32(in.RDX), imm) }),
		insert("pinsrq $I, %rdx, %xmm1", "sse4_1", func(in *input, imm uint8) simd.Vec { return simd.PINSRQ(in.A, in.RDX, imm) }),
		{text: "pinsrw $I, %edx, %mm1", feature: "sse2", do: func(in *input, out *output) {
			out.MM1 = simd.PINSRW64(in.A.Lo, uint16(in.RDX), uint8(in.Imm))
		}},
		{text: "ptest %xmm2, %xmm1", feature: "sse4_1", flags: true, do: func(in *input, out *output) {
			out.Flags = uint64(simd.PTEST(in.A, in.B))
		}},
		crc("crc32b %dl, %eax", func(in *input) uint32 { return simd.CRC32x8(uint32(in.RAX), uint8(in.RDX)) }),
		crc("crc32w %dx, %eax", func(in *input) uint32 { return simd.CRC32x16(uint32(in.RAX), uint16(in.RDX)) }),
		crc("crc32l %edx, %eax", func(in *input) uint32 { return simd.CRC32x32(uint32(in.RAX), uint32(in.RDX)) }),
		crc("crc32q %rdx, %rax", func(in *input) uint32 { return simd.CRC32x64(uint32(in.RAX), in.RDX) }),
		text("pcmpistri", "sse4_2", func(in *input, out *output) {
			out.RCX, out.Flags = both(simd.PCMPISTRI(in.A, in.B, uint8(in.Imm)))
		}),
		text("pcmpestri", "sse4_2", func(in *input, out *output) {
			out.RCX, out.Flags = both(simd.PCMPESTRI(in.A, in.B, int64(int32(in.RAX)), int64(int32(in.RDX)), uint8(in.Imm)))
		}),
		text("pcmpestriq", "sse4_2", func(in *input, out *output) {
			out.RCX, out.Flags = both(simd.PCMPESTRI(in.A, in.B, int64(in.RAX), int64(in.RDX), uint8(in.Imm)))
		}),
		text("pcmpistrm", "sse4_2", func(in *input, out *output) {
			mask, flags := simd.PCMPISTRM(in.A, in.B, uint8(in.Imm))
			out.XMM0, out.Flags = mask, uint64(flags)
		}),
		text("pcmpestrm", "sse4_2", func(in *input, out *output) {
			mask, flags := simd.PCMPESTRM(in.A, in.B, int64(int32(in.RAX)), int64(int32(in.RDX)), uint8(in.Imm))
			out.XMM0, out.Flags = mask, uint64(flags)
		}),
		text("pcmpestrmq", "sse4_2", func(in *input, out *output) {
			mask, flags := simd.PCMPESTRM(in.A, in.B, int64(in.RAX), int64(in.RDX), uint8(in.Imm))
			out.XMM0, out.Flags = mask, uint64(flags)
		}),
	}

	all = append(all, shift("psllw", simd.PSLLW, simd.PSLLW64)...)
	all = append(all, shift("pslld", simd.PSLLD, simd.PSLLD64)...)
	all = append(all, shift("psllq", simd.PSLLQ, simd.PSLLQ64)...)
	all = append(all, shift("psrlw", simd.PSRLW, simd.PSRLW64)...)
	all = append(all, shift("psrld", simd.PSRLD, simd.PSRLD64)...)
	all = append(all, shift("psrlq", simd.PSRLQ, simd.PSRLQ64)...)
	all = append(all, shift("psraw", simd.PSRAW, simd.PSRAW64)...)
	all = append(all, shift("psrad", simd.PSRAD, simd.PSRAD64)...)
	return all
}

func both(index, flags uint32) (uint64, uint64) { return uint64(index), uint64(flags) }
