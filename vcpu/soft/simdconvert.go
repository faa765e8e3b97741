package soft

import (
	"gvmm/vcpu/soft/decode"
	"gvmm/vcpu/soft/float"
	"gvmm/vcpu/soft/simd"
)

// cvtToMMX is CVTPS2PI and its like: two integers from rm, of XMM register or memory,
// into an MMX register. #XM comes after the change of the x87 state, as it does on
// AMD's Zen 4.
func cvtToMMX(f func(e *float.Env, b simd.Vec) uint64) simdFunc {
	return func(c *CPU, in *decode.Inst) bool {
		if !c.useXMM() || !c.useMMX() {
			return false
		}
		b, ok := c.xmmRM(in)
		if !ok {
			return false
		}
		e := c.floatEnv()
		r := f(e, b)
		c.usedMMX()
		if !c.floatDone(e) {
			return false
		}
		c.setMMX(in.Reg, r)
		return true
	}
}

// cvtFromMMX is CVTPI2PS and CVTPI2PD: of two integers in an MMX register or in memory.
// Without an MMX register the x87 state stays what it is.
func cvtFromMMX(f func(e *float.Env, a simd.Vec, b uint64) simd.Vec) simdFunc {
	return func(c *CPU, in *decode.Inst) bool {
		if !c.useXMM() {
			return false
		}
		mmx := in.Prefix&decode.Mem == 0
		if mmx && !c.useMMX() {
			return false
		}
		b, ok := c.mmxRM(in)
		if !ok {
			return false
		}
		e, p := c.floatEnv(), &c.xmm[in.Reg&15]
		r := f(e, *p, b)
		if mmx {
			c.usedMMX()
		}
		if !c.floatDone(e) {
			return false
		}
		*p = r
		return true
	}
}

// cvtToInt is CVTSS2SI and its like: an integer of 32 or, with REX.W, 64 bits into a
// general-purpose register.
func cvtToInt(f32 func(e *float.Env, b uint64) int32, f64 func(e *float.Env, b uint64) int64) simdFunc {
	return func(c *CPU, in *decode.Inst) bool {
		if !c.useXMM() {
			return false
		}
		b, ok := c.xmmRM(in)
		if !ok {
			return false
		}
		e := c.floatEnv()
		var r uint64
		if in.Has(decode.REXW) {
			r = uint64(f64(e, b.Lo))
		} else {
			r = uint64(uint32(f32(e, b.Lo)))
		}
		if !c.floatDone(e) {
			return false
		}
		c.r[in.Reg&15] = r
		return true
	}
}

// cvtFromInt is CVTSI2SS and CVTSI2SD: of an integer of 32 or, with REX.W, 64 bits in a
// general-purpose register or in memory.
func cvtFromInt(f func(e *float.Env, a simd.Vec, v int64) simd.Vec) simdFunc {
	return func(c *CPU, in *decode.Inst) bool {
		if !c.useXMM() {
			return false
		}
		b, ok := c.readRM(in)
		if !ok {
			return false
		}
		v := int64(b)
		if !in.Has(decode.REXW) {
			v = int64(int32(b))
		}
		e, p := c.floatEnv(), &c.xmm[in.Reg&15]
		r := f(e, *p, v)
		if !c.floatDone(e) {
			return false
		}
		*p = r
		return true
	}
}

func intToSS(e *float.Env, a simd.Vec, v int64) simd.Vec { return replaceLow(a, e.To32FromInt(v)) }
func intToSD(e *float.Env, a simd.Vec, v int64) simd.Vec {
	return simd.Vec{Lo: e.To64FromInt(v), Hi: a.Hi}
}

func ssToInt32(e *float.Env, b uint64) int32 { return e.ToInt32From32(uint32(b), e.Rounding) }
func ssToInt64(e *float.Env, b uint64) int64 { return e.ToInt64From32(uint32(b), e.Rounding) }
func sdToInt32(e *float.Env, b uint64) int32 { return e.ToInt32From64(b, e.Rounding) }
func sdToInt64(e *float.Env, b uint64) int64 { return e.ToInt64From64(b, e.Rounding) }

func ssTruncate32(e *float.Env, b uint64) int32 { return e.ToInt32From32(uint32(b), float.Zero) }
func ssTruncate64(e *float.Env, b uint64) int64 { return e.ToInt64From32(uint32(b), float.Zero) }
func sdTruncate32(e *float.Env, b uint64) int32 { return e.ToInt32From64(b, float.Zero) }
func sdTruncate64(e *float.Env, b uint64) int64 { return e.ToInt64From64(b, float.Zero) }

// Two lanes at a time: 32 bits each of a uint64, or 64 bits each of a Vec.

func ints32(e *float.Env, b uint64, rc float.Rounding) uint64 {
	lo := uint32(e.ToInt32From32(uint32(b), rc))
	return join32(lo, uint32(e.ToInt32From32(uint32(b>>32), rc)))
}

func ints64(e *float.Env, b simd.Vec, rc float.Rounding) uint64 {
	lo := uint32(e.ToInt32From64(b.Lo, rc))
	return join32(lo, uint32(e.ToInt32From64(b.Hi, rc)))
}

func floats32(e *float.Env, b uint64) uint64 {
	lo := e.To32FromInt(int64(int32(b)))
	return join32(lo, e.To32FromInt(int64(b)>>32))
}

func floats64(e *float.Env, b uint64) simd.Vec {
	return simd.Vec{Lo: e.To64FromInt(int64(int32(b))), Hi: e.To64FromInt(int64(b) >> 32)}
}

func psToPI(e *float.Env, b simd.Vec) uint64       { return ints32(e, b.Lo, e.Rounding) }
func psTruncatePI(e *float.Env, b simd.Vec) uint64 { return ints32(e, b.Lo, float.Zero) }
func pdToPI(e *float.Env, b simd.Vec) uint64       { return ints64(e, b, e.Rounding) }
func pdTruncatePI(e *float.Env, b simd.Vec) uint64 { return ints64(e, b, float.Zero) }

func piToPS(e *float.Env, a simd.Vec, b uint64) simd.Vec {
	return simd.Vec{Lo: floats32(e, b), Hi: a.Hi}
}

func piToPD(e *float.Env, _ simd.Vec, b uint64) simd.Vec { return floats64(e, b) }

func dqToPS(e *float.Env, _, b simd.Vec) simd.Vec {
	return simd.Vec{Lo: floats32(e, b.Lo), Hi: floats32(e, b.Hi)}
}

func dqToPD(e *float.Env, _, b simd.Vec) simd.Vec { return floats64(e, b.Lo) }

func psToDQ(e *float.Env, _, b simd.Vec) simd.Vec {
	return simd.Vec{Lo: ints32(e, b.Lo, e.Rounding), Hi: ints32(e, b.Hi, e.Rounding)}
}

func psTruncateDQ(e *float.Env, _, b simd.Vec) simd.Vec {
	return simd.Vec{Lo: ints32(e, b.Lo, float.Zero), Hi: ints32(e, b.Hi, float.Zero)}
}

func pdToDQ(e *float.Env, _, b simd.Vec) simd.Vec { return simd.Vec{Lo: ints64(e, b, e.Rounding)} }

func pdTruncateDQ(e *float.Env, _, b simd.Vec) simd.Vec {
	return simd.Vec{Lo: ints64(e, b, float.Zero)}
}

func psToPD(e *float.Env, _, b simd.Vec) simd.Vec {
	return simd.Vec{Lo: e.To64From32(uint32(b.Lo)), Hi: e.To64From32(uint32(b.Lo >> 32))}
}

func pdToPS(e *float.Env, _, b simd.Vec) simd.Vec {
	lo := e.To32From64(b.Lo)
	return simd.Vec{Lo: join32(lo, e.To32From64(b.Hi))}
}

func ssToSD(e *float.Env, a, b simd.Vec) simd.Vec {
	return simd.Vec{Lo: e.To64From32(uint32(b.Lo)), Hi: a.Hi}
}

func sdToSS(e *float.Env, a, b simd.Vec) simd.Vec { return replaceLow(a, e.To32From64(b.Lo)) }
