package simd_test

import (
	"testing"

	"gvmm/vcpu/soft/simd"
)

func BenchmarkOperation(b *testing.B) {
	x := simd.Vec{Lo: 0x0123456789ABCDEF, Hi: 0xFEDCBA9876543210}
	for _, c := range []struct {
		name string
		f    func(a, b simd.Vec) simd.Vec
	}{
		{"PXOR", simd.PXOR}, {"PADDB", simd.PADDB}, {"PADDSB", simd.PADDSB}, {"PCMPEQB", simd.PCMPEQB}, {"PMADDWD", simd.PMADDWD},
		{"PACKUSWB", simd.PACKUSWB}, {"PSHUFB", simd.PSHUFB}, {"AESENC", simd.AESENC}, {"AESDEC", simd.AESDEC}, {"SHA256RNDS2", func(a, b simd.Vec) simd.Vec { return simd.SHA256RNDS2(a, b, x) }},
		{"PCLMULQDQ", func(a, b simd.Vec) simd.Vec { return simd.PCLMULQDQ(a, b, 0) }},
		{"PCMPISTRI ordered", func(a, b simd.Vec) simd.Vec {
			i, _ := simd.PCMPISTRI(a, b, 0x0C)
			return simd.Vec{Lo: a.Lo + uint64(i), Hi: a.Hi}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			v := x
			for b.Loop() {
				v = c.f(v, x)
			}
		})
	}
}
