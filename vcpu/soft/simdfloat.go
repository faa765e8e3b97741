package soft

import (
	"math"

	"gvmm/vcpu/soft/decode"
	"gvmm/vcpu/soft/float"
	"gvmm/vcpu/soft/simd"
)

// float32Op and float64Op compute one lane.
type (
	float32Op func(e *float.Env, a, b uint32) uint32
	float64Op func(e *float.Env, a, b uint64) uint64
)

// floatEnv is MXCSR for the instruction under way. Where nothing can fault its flags
// accumulate in it, which makes arithmetic faster; else they are the instruction's own.
func (c *CPU) floatEnv() *float.Env {
	e := &c.vector.env
	e.SetMXCSR(c.mxcsr)
	if e.Masks != float.AllFlags {
		e.Flags = 0
	}
	return e
}

// floatDone adds the flags of all lanes to MXCSR. An exception that is not masked is
// #XM, or #UD if the system knows none; one that precedes the computation keeps
// those that follow it from being seen (SDM 1 §11.5.2).
func (c *CPU) floatDone(e *float.Env) bool {
	flags, raised := e.Flags, e.Raised()
	if raised == 0 {
		c.mxcsr |= uint32(flags)
		return true
	}
	if raised&float.Before != 0 {
		flags &= float.Before
	}
	c.mxcsr |= uint32(flags)
	if c.cr4&cr4OSXMMEXCPT == 0 {
		return c.ud()
	}
	return c.raise(vectorXM)
}

// floatBinary is reg = f(reg, rm), with floating-point exceptions.
func floatBinary(f func(e *float.Env, a, b simd.Vec) simd.Vec) simdFunc {
	return func(c *CPU, in *decode.Inst) bool {
		if !c.useXMM() {
			return false
		}
		b, ok := c.xmmRM(in)
		if !ok {
			return false
		}
		e, p := c.floatEnv(), &c.xmm[in.Reg&15]
		r := f(e, *p, b)
		if !c.floatDone(e) {
			return false
		}
		*p = r
		return true
	}
}

// floatImm is reg = f(reg, rm, imm), with floating-point exceptions.
func floatImm(f func(e *float.Env, a, b simd.Vec, imm uint8) simd.Vec) simdFunc {
	return func(c *CPU, in *decode.Inst) bool {
		if !c.useXMM() {
			return false
		}
		b, ok := c.xmmRM(in)
		if !ok {
			return false
		}
		e, p := c.floatEnv(), &c.xmm[in.Reg&15]
		r := f(e, *p, b, uint8(in.Imm))
		if !c.floatDone(e) {
			return false
		}
		*p = r
		return true
	}
}

func join32(lo, hi uint32) uint64 { return uint64(lo) | uint64(hi)<<32 }

// low32 replaces the low 32 bits.
func replaceLow(v simd.Vec, x uint32) simd.Vec {
	return simd.Vec{Lo: v.Lo&^0xffffffff | uint64(x), Hi: v.Hi}
}

// pair32 computes two lanes.
func pair32(e *float.Env, f float32Op, a, b uint64) uint64 {
	lo := f(e, uint32(a), uint32(b))
	return join32(lo, f(e, uint32(a>>32), uint32(b>>32)))
}

// An operation on lanes: all of them or the lowest, single or double.

func lanesPS(f float32Op) simdFunc {
	return floatBinary(func(e *float.Env, a, b simd.Vec) simd.Vec {
		lo := pair32(e, f, a.Lo, b.Lo)
		return simd.Vec{Lo: lo, Hi: pair32(e, f, a.Hi, b.Hi)}
	})
}

func lanesPD(f float64Op) simdFunc {
	return floatBinary(func(e *float.Env, a, b simd.Vec) simd.Vec {
		lo := f(e, a.Lo, b.Lo)
		return simd.Vec{Lo: lo, Hi: f(e, a.Hi, b.Hi)}
	})
}

func laneSS(f float32Op) simdFunc {
	return floatBinary(func(e *float.Env, a, b simd.Vec) simd.Vec {
		return replaceLow(a, f(e, uint32(a.Lo), uint32(b.Lo)))
	})
}

func laneSD(f float64Op) simdFunc {
	return floatBinary(func(e *float.Env, a, b simd.Vec) simd.Vec {
		return simd.Vec{Lo: f(e, a.Lo, b.Lo), Hi: a.Hi}
	})
}

func sqrtLane32(e *float.Env, _, b uint32) uint32 { return e.Sqrt32(b) }
func sqrtLane64(e *float.Env, _, b uint64) uint64 { return e.Sqrt64(b) }

// horizontalPS takes the two lanes of each pair as operands: those of a, then those of b.
func horizontalPS(f float32Op) simdFunc {
	return floatBinary(func(e *float.Env, a, b simd.Vec) simd.Vec {
		return simd.Vec{
			Lo: join32(f(e, uint32(a.Lo), uint32(a.Lo>>32)), f(e, uint32(a.Hi), uint32(a.Hi>>32))),
			Hi: join32(f(e, uint32(b.Lo), uint32(b.Lo>>32)), f(e, uint32(b.Hi), uint32(b.Hi>>32))),
		}
	})
}

func horizontalPD(f float64Op) simdFunc {
	return floatBinary(func(e *float.Env, a, b simd.Vec) simd.Vec {
		return simd.Vec{Lo: f(e, a.Lo, a.Hi), Hi: f(e, b.Lo, b.Hi)}
	})
}

// addsubPS subtracts even lanes and adds odd ones.
func addsubPS(e *float.Env, a, b simd.Vec) simd.Vec {
	half := func(a, b uint64) uint64 {
		return join32(e.Sub32(uint32(a), uint32(b)), e.Add32(uint32(a>>32), uint32(b>>32)))
	}
	return simd.Vec{Lo: half(a.Lo, b.Lo), Hi: half(a.Hi, b.Hi)}
}

func addsubPD(e *float.Env, a, b simd.Vec) simd.Vec {
	return simd.Vec{Lo: e.Sub64(a.Lo, b.Lo), Hi: e.Add64(a.Hi, b.Hi)}
}

// holds judges the predicate of CMPPS in imm[2:0]: equal, less, less or equal,
// unordered, and their negations. signals says which of them complain about any NaN.
func cmpHolds(o float.Order, imm uint8) bool {
	var v bool
	switch imm & 3 {
	case 0:
		v = o == float.Equal
	case 1:
		v = o == float.Less
	case 2:
		v = o == float.Less || o == float.Equal
	case 3:
		v = o == float.Unordered
	}
	return v != (imm&4 != 0)
}

func cmpSignals(imm uint8) bool { return imm&3 == 1 || imm&3 == 2 }

func cmpLane32(e *float.Env, a, b uint32, imm uint8) uint32 {
	if cmpHolds(e.Compare32(a, b, cmpSignals(imm)), imm) {
		return math.MaxUint32
	}
	return 0
}

func cmpLane64(e *float.Env, a, b uint64, imm uint8) uint64 {
	if cmpHolds(e.Compare64(a, b, cmpSignals(imm)), imm) {
		return math.MaxUint64
	}
	return 0
}

func cmpPS(e *float.Env, a, b simd.Vec, imm uint8) simd.Vec {
	half := func(a, b uint64) uint64 {
		return join32(cmpLane32(e, uint32(a), uint32(b), imm), cmpLane32(e, uint32(a>>32), uint32(b>>32), imm))
	}
	return simd.Vec{Lo: half(a.Lo, b.Lo), Hi: half(a.Hi, b.Hi)}
}

func cmpPD(e *float.Env, a, b simd.Vec, imm uint8) simd.Vec {
	return simd.Vec{Lo: cmpLane64(e, a.Lo, b.Lo, imm), Hi: cmpLane64(e, a.Hi, b.Hi, imm)}
}

func cmpSS(e *float.Env, a, b simd.Vec, imm uint8) simd.Vec {
	return replaceLow(a, cmpLane32(e, uint32(a.Lo), uint32(b.Lo), imm))
}

func cmpSD(e *float.Env, a, b simd.Vec, imm uint8) simd.Vec {
	return simd.Vec{Lo: cmpLane64(e, a.Lo, b.Lo, imm), Hi: a.Hi}
}

// compareFlags is COMISS to UCOMISD.
func compareFlags(compare func(e *float.Env, a, b uint64) float.Order) simdFunc {
	return func(c *CPU, in *decode.Inst) bool {
		if !c.useXMM() {
			return false
		}
		b, ok := c.xmmRM(in)
		if !ok {
			return false
		}
		e := c.floatEnv()
		o := compare(e, c.xmm[in.Reg&15].Lo, b.Lo)
		if !c.floatDone(e) {
			return false
		}
		c.setArith([...]uint64{
			float.Less: flagCF, float.Equal: flagZF, float.Greater: 0, float.Unordered: flagZF | flagPF | flagCF,
		}[o&3])
		return true
	}
}

func comiSS(e *float.Env, a, b uint64) float.Order  { return e.Compare32(uint32(a), uint32(b), true) }
func ucomiSS(e *float.Env, a, b uint64) float.Order { return e.Compare32(uint32(a), uint32(b), false) }
func comiSD(e *float.Env, a, b uint64) float.Order  { return e.Compare64(a, b, true) }
func ucomiSD(e *float.Env, a, b uint64) float.Order { return e.Compare64(a, b, false) }

// round32 rounds to an integer: imm[1:0] is the mode unless imm[2] asks for MXCSR's,
// imm[3] keeps Inexact quiet.
func roundLane32(e *float.Env, b uint32, imm uint8) uint32 {
	rc := float.Rounding(imm & 3)
	if imm&4 != 0 {
		rc = e.Rounding
	}
	return e.RoundToInt32(b, rc, imm&8 != 0)
}

func roundLane64(e *float.Env, b uint64, imm uint8) uint64 {
	rc := float.Rounding(imm & 3)
	if imm&4 != 0 {
		rc = e.Rounding
	}
	return e.RoundToInt64(b, rc, imm&8 != 0)
}

func roundPS(e *float.Env, _, b simd.Vec, imm uint8) simd.Vec {
	half := func(b uint64) uint64 {
		return join32(roundLane32(e, uint32(b), imm), roundLane32(e, uint32(b>>32), imm))
	}
	return simd.Vec{Lo: half(b.Lo), Hi: half(b.Hi)}
}

func roundPD(e *float.Env, _, b simd.Vec, imm uint8) simd.Vec {
	return simd.Vec{Lo: roundLane64(e, b.Lo, imm), Hi: roundLane64(e, b.Hi, imm)}
}

func roundSS(e *float.Env, a, b simd.Vec, imm uint8) simd.Vec {
	return replaceLow(a, roundLane32(e, uint32(b.Lo), imm))
}

func roundSD(e *float.Env, a, b simd.Vec, imm uint8) simd.Vec {
	return simd.Vec{Lo: roundLane64(e, b.Lo, imm), Hi: a.Hi}
}
