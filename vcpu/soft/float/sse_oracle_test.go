package float

import (
	"fmt"
	"testing"
)

// sseOp is an SSE instruction: b and for two operands a, as 64 bits of a register;
// the result as what the oracle leaves in R or S.
type sseOp struct {
	name string
	wide bool // binary64 operands
	in   func(g gen, a uint64) uint64
	do   func(e *Env, a, b uint64) uint64
	out  func(a answer) uint64
}

func low64(a answer) uint64 { return get64(a.R) }
func low32(a answer) uint64 { return uint64(get32(a.R)) }
func rax(a answer) uint64   { return get64(a.S) }
func eax(a answer) uint64   { return uint64(get32(a.S)) }

// order gives what a compare sets in ZF, PF and CF.
func order(a answer) uint64 {
	switch zf, pf, cf := a.Extra>>6&1 != 0, a.Extra>>2&1 != 0, a.Extra&1 != 0; {
	case pf:
		return uint64(Unordered)
	case zf:
		return uint64(Equal)
	case cf:
		return uint64(Less)
	}
	return uint64(Greater)
}

func any64(g gen, a uint64) uint64 { return g.f64(a) }
func any32(g gen, a uint64) uint64 { return uint64(g.f32(uint32(a))) }
func anyInt(g gen, _ uint64) uint64 {
	return uint64(int64(g.Uint64()) >> g.IntN(64))
}

// int64ish gives values about the size of integers.
func int64ish(g gen, a uint64) uint64 {
	if g.IntN(4) == 0 {
		return g.f64(a)
	}
	return uint64(g.IntN(2))<<63 | uint64(1023-3+g.IntN(68))<<52 | g.significand(52)
}

func int32ish(g gen, a uint64) uint64 {
	if g.IntN(4) == 0 {
		return uint64(g.f32(uint32(a)))
	}
	return uint64(g.IntN(2))<<31 | uint64(127-3+g.IntN(68))<<23 | g.significand(23)
}

func sseOps() []sseOp {
	var ops []sseOp
	add64 := func(name string, f func(*Env, uint64, uint64) uint64) {
		ops = append(ops, sseOp{name, true, any64, f, low64})
	}
	add32 := func(name string, f func(*Env, uint32, uint32) uint32) {
		ops = append(ops, sseOp{name, false, any32, func(e *Env, a, b uint64) uint64 { return uint64(f(e, uint32(a), uint32(b))) }, low32})
	}
	add64("addsd", (*Env).Add64)
	add64("subsd", (*Env).Sub64)
	add64("mulsd", (*Env).Mul64)
	add64("divsd", (*Env).Div64)
	add64("minsd", (*Env).Min64)
	add64("maxsd", (*Env).Max64)
	add64("sqrtsd", func(e *Env, _, b uint64) uint64 { return e.Sqrt64(b) })
	add32("addss", (*Env).Add32)
	add32("subss", (*Env).Sub32)
	add32("mulss", (*Env).Mul32)
	add32("divss", (*Env).Div32)
	add32("minss", (*Env).Min32)
	add32("maxss", (*Env).Max32)
	add32("sqrtss", func(e *Env, _, b uint32) uint32 { return e.Sqrt32(b) })
	for _, signals := range []bool{false, true} {
		u := map[bool]string{false: "u"}[signals]
		ops = append(ops,
			sseOp{u + "comisd", true, any64, func(e *Env, a, b uint64) uint64 { return uint64(e.Compare64(a, b, signals)) }, order},
			sseOp{u + "comiss", false, any32, func(e *Env, a, b uint64) uint64 { return uint64(e.Compare32(uint32(a), uint32(b), signals)) }, order})
	}
	ops = append(ops,
		sseOp{"cvtss2sd", false, any32, func(e *Env, _, b uint64) uint64 { return e.To64From32(uint32(b)) }, low64},
		sseOp{"cvtsd2ss", true, func(g gen, _ uint64) uint64 {
			if g.IntN(3) == 0 {
				return g.f64(1)
			}
			return uint64(g.IntN(2))<<63 | uint64(1023-127+g.exponent(8, 25, 0))<<52 | g.significand(52)
		}, func(e *Env, _, b uint64) uint64 { return uint64(e.To32From64(b)) }, low32},
		sseOp{"cvtsi2sdl", true, anyInt, func(e *Env, _, b uint64) uint64 { return e.To64FromInt(int64(int32(b))) }, low64},
		sseOp{"cvtsi2sdq", true, anyInt, func(e *Env, _, b uint64) uint64 { return e.To64FromInt(int64(b)) }, low64},
		sseOp{"cvtsi2ssl", true, anyInt, func(e *Env, _, b uint64) uint64 { return uint64(e.To32FromInt(int64(int32(b)))) }, low32},
		sseOp{"cvtsi2ssq", true, anyInt, func(e *Env, _, b uint64) uint64 { return uint64(e.To32FromInt(int64(b))) }, low32})
	for _, trunc := range []bool{false, true} {
		rc := func(e *Env) Rounding {
			if trunc {
				return Zero
			}
			return e.Rounding
		}
		cvt := map[bool]string{false: "cvt", true: "cvtt"}[trunc]
		ops = append(ops,
			sseOp{cvt + "sd2sil", true, int64ish, func(e *Env, _, b uint64) uint64 { return uint64(uint32(e.ToInt32From64(b, rc(e)))) }, eax},
			sseOp{cvt + "sd2siq", true, int64ish, func(e *Env, _, b uint64) uint64 { return uint64(e.ToInt64From64(b, rc(e))) }, rax},
			sseOp{cvt + "ss2sil", false, int32ish, func(e *Env, _, b uint64) uint64 { return uint64(uint32(e.ToInt32From32(uint32(b), rc(e)))) }, eax},
			sseOp{cvt + "ss2siq", false, int32ish, func(e *Env, _, b uint64) uint64 { return uint64(e.ToInt64From32(uint32(b), rc(e))) }, rax})
	}
	for _, imm := range []uint8{0, 1, 2, 3, 4, 8, 9, 10, 11, 12} {
		rc := func(e *Env) Rounding {
			if imm&4 != 0 {
				return e.Rounding
			}
			return Rounding(imm & 3)
		}
		ops = append(ops,
			sseOp{fmt.Sprint("roundsd", imm), true, int64ish, func(e *Env, _, b uint64) uint64 { return e.RoundToInt64(b, rc(e), imm&8 != 0) }, low64},
			sseOp{fmt.Sprint("roundss", imm), false, int32ish, func(e *Env, _, b uint64) uint64 {
				return uint64(e.RoundToInt32(uint32(b), rc(e), imm&8 != 0))
			}, low32})
	}
	for imm := range 4 {
		want := func(o Order) bool { return [4]bool{o == Equal, o == Less, o <= Equal, o == Unordered}[imm] }
		signals := imm == 1 || imm == 2
		ops = append(ops,
			sseOp{fmt.Sprint("cmpsd", imm), true, any64, func(e *Env, a, b uint64) uint64 {
				if want(e.Compare64(a, b, signals)) {
					return ^uint64(0)
				}
				return 0
			}, low64},
			sseOp{fmt.Sprint("cmpss", imm), false, any32, func(e *Env, a, b uint64) uint64 {
				if want(e.Compare32(uint32(a), uint32(b), signals)) {
					return 1<<32 - 1
				}
				return 0
			}, low32})
	}
	return ops
}

func TestSSEAgreesWithTheHostInResultAndFlags(t *testing.T) {
	n := 6000
	for _, op := range sseOps() {
		t.Run(op.name, func(t *testing.T) {
			g := newGen(uint64(len(op.name)))
			qs := make([]query, n)
			for i := range qs {
				a := g.f64(1)
				if !op.wide {
					a = uint64(g.f32(1))
				}
				b := op.in(g, a)
				if g.IntN(20) == 0 {
					b = a
				}
				qs[i] = query{Ctl: g.mxcsr(), A: put64(a), B: put64(b)}
			}
			bad := 0
			for i, got := range ask(t, op.name, qs) {
				e := FromMXCSR(qs[i].Ctl)
				a, b := get64(qs[i].A), get64(qs[i].B)
				r := op.do(&e, a, b)
				if uint32(e.Flags) == got.Flags && (r == op.out(got) || (e.Flags&^Flags(qs[i].Ctl))&^e.Masks != 0) {
					continue
				}
				t.Errorf("MXCSR %04X %016X %016X: %X flags %02X, the host has %X flags %02X",
					qs[i].Ctl, a, b, r, e.Flags, op.out(got), got.Flags)
				if bad++; bad > 5 {
					t.FailNow()
				}
			}
		})
	}
}
