package soft

import (
	"math"

	"gvmm/vcpu/soft/decode"
	"gvmm/vcpu/soft/simd"
)

// A dot product computes in stages. A later one's exceptions are seen only if an
// earlier one had none that is not masked.

// dotPS is DPPS: imm[7:4] selects the lanes to multiply, imm[3:0] those that get the sum.
func dotPS(c *CPU, in *decode.Inst) bool {
	if !c.useXMM() {
		return false
	}
	b, ok := c.xmmRM(in)
	if !ok {
		return false
	}
	e, a := c.floatEnv(), c.xmm[in.Reg&15]
	var product [4]uint32
	for i := range uint(4) {
		if in.Imm>>(4+i)&1 != 0 {
			product[i] = e.Mul32(a.Dword(i), b.Dword(i))
		}
	}
	if !c.floatDone(e) {
		return false
	}
	lo, hi := e.Add32(product[0], product[1]), e.Add32(product[2], product[3])
	if !c.floatDone(e) {
		return false
	}
	sum := uint64(e.Add32(lo, hi))
	if !c.floatDone(e) {
		return false
	}
	imm := in.Imm
	c.xmm[in.Reg&15] = simd.Vec{
		Lo: sum*(imm&1) | sum*(imm>>1&1)<<32,
		Hi: sum*(imm>>2&1) | sum*(imm>>3&1)<<32,
	}
	return true
}

// dotPD is DPPD: imm[5:4] selects the lanes to multiply, imm[1:0] those that get the sum.
func dotPD(c *CPU, in *decode.Inst) bool {
	if !c.useXMM() {
		return false
	}
	b, ok := c.xmmRM(in)
	if !ok {
		return false
	}
	e, a := c.floatEnv(), c.xmm[in.Reg&15]
	var lo, hi uint64
	if in.Imm>>4&1 != 0 {
		lo = e.Mul64(a.Lo, b.Lo)
	}
	if in.Imm>>5&1 != 0 {
		hi = e.Mul64(a.Hi, b.Hi)
	}
	if !c.floatDone(e) {
		return false
	}
	sum := e.Add64(lo, hi)
	if !c.floatDone(e) {
		return false
	}
	c.xmm[in.Reg&15] = simd.Vec{Lo: sum * (in.Imm & 1), Hi: sum * (in.Imm >> 1 & 1)}
	return true
}

// RCPPS and RSQRTPS promise a relative error of at most 1.5 * 2^-12 and no exceptions,
// and processors differ within it. Here results are correctly rounded. Denormal
// operands count as zeros, and tiny results are zeros.

const (
	sign32  = 1 << 31
	inf32   = 0x7f800000
	quiet32 = 1 << 22
)

func rcpLane(v uint32) uint32 {
	switch {
	case v&^sign32 > inf32:
		return v | quiet32
	case v&inf32 == 0:
		return v&sign32 | inf32
	}
	r := math.Float32bits(1 / math.Float32frombits(v))
	if r&inf32 == 0 {
		r &= sign32
	}
	return r
}

func rsqrtLane(v uint32) uint32 {
	switch {
	case v&^sign32 > inf32:
		return v | quiet32
	case v&inf32 == 0:
		return v&sign32 | inf32
	case v&sign32 != 0:
		return sign32 | inf32 | quiet32
	}
	return math.Float32bits(float32(1 / math.Sqrt(float64(math.Float32frombits(v)))))
}

// approximatePS and approximateSS take no part of MXCSR.

func approximatePS(f func(uint32) uint32) simdFunc {
	half := func(b uint64) uint64 { return join32(f(uint32(b)), f(uint32(b>>32))) }
	return vecUnary(func(b simd.Vec) simd.Vec { return simd.Vec{Lo: half(b.Lo), Hi: half(b.Hi)} }, nil)
}

func approximateSS(f func(uint32) uint32) simdFunc {
	return vecBinary(func(a, b simd.Vec) simd.Vec { return replaceLow(a, f(uint32(b.Lo))) }, nil)
}
