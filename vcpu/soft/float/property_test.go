package float

import (
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var bigModes = [4]big.RoundingMode{big.ToNearestEven, big.ToNegativeInf, big.ToPositiveInf, big.ToZero}

// big gives a finite value exactly.
func (n Num) big() *big.Float {
	f := new(big.Float).SetPrec(64).SetUint64(n.man)
	if n.class == zero {
		f.SetInt64(0)
	}
	f.SetMantExp(f, int(n.exp)-63)
	if n.neg {
		f.Neg(f)
	}
	return f
}

func drawNum(t *rapid.T, name string) Num {
	return Num{
		man: rapid.Uint64().Draw(t, name) | 1<<63,
		kind: kind{
			exp:   rapid.Int32Range(-100, 100).Draw(t, name+" exponent"),
			class: finite,
			neg:   rapid.Bool().Draw(t, name+" sign"),
		},
	}
}

func TestArithmeticRoundsTheExactResultOnce(t *testing.T) {
	ops := []struct {
		name string
		do   func(e *Env, a, b Num) F80
		want func(z, a, b *big.Float) *big.Float
	}{
		{"add", (*Env).Add, (*big.Float).Add},
		{"sub", (*Env).Sub, (*big.Float).Sub},
		{"mul", (*Env).Mul, (*big.Float).Mul},
		{"div", (*Env).Div, (*big.Float).Quo},
		{"sqrt", func(e *Env, a, _ Num) F80 { a.neg = false; return e.Sqrt(a) }, func(z, a, _ *big.Float) *big.Float {
			root := new(big.Float).SetPrec(200).Sqrt(a.Abs(a)) // it is not rounded in z's mode
			return z.Set(root)
		}},
	}
	for _, op := range ops {
		t.Run(op.name, rapid.MakeCheck(func(t *rapid.T) {
			a, b := drawNum(t, "a"), drawNum(t, "b")
			rc := Rounding(rapid.IntRange(0, 3).Draw(t, "rounding"))
			prec := rapid.SampledFrom([]uint8{24, 53, 64}).Draw(t, "precision")
			e := Env{Rounding: rc, Precision: prec, Masks: AllFlags}

			got := op.do(&e, a, b)

			want := new(big.Float).SetPrec(uint(prec)).SetMode(bigModes[rc])
			op.want(want, a.big(), b.big())
			require.Zero(t, want.Cmp(got.Num().big()), "%v %v: %v, not %v", a.big(), b.big(), got.Num().big(), want)
			if op.name != "sqrt" { // the accuracy of big.Float's root is not told
				require.Equal(t, want.Acc() != big.Exact, e.Flags == Inexact)
			}
		}))
	}
}

func TestBinary64IsTheMachinesToNearest(t *testing.T) {
	ops := []struct {
		name string
		do   func(e *Env, a, b uint64) uint64
		want func(a, b float64) float64
	}{
		{"add", (*Env).Add64, func(a, b float64) float64 { return a + b }},
		{"sub", (*Env).Sub64, func(a, b float64) float64 { return a - b }},
		{"mul", (*Env).Mul64, func(a, b float64) float64 { return a * b }},
		{"div", (*Env).Div64, func(a, b float64) float64 { return a / b }},
		{"sqrt", func(e *Env, a, _ uint64) uint64 { return e.Sqrt64(a) }, func(a, _ float64) float64 { return math.Sqrt(a) }},
	}
	for _, op := range ops {
		t.Run(op.name, func(t *testing.T) {
			g := newGen(3)
			for range 20000 {
				a := g.f64(1)
				b := g.f64(a)
				for _, flags := range []Flags{0, Inexact} {
					e := Env{Masks: AllFlags, Flags: flags}
					got := math.Float64frombits(op.do(&e, a, b))
					want := op.want(math.Float64frombits(a), math.Float64frombits(b))
					if got != want && (got == got || want == want) || math.Signbit(got) != math.Signbit(want) && want == want {
						t.Fatalf("%016X %016X flags %v: %v, not %v", a, b, flags, got, want)
					}
				}
			}
		})
	}
}

func TestRemainderIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawNum(t, "a"), drawNum(t, "b")
		nearest := rapid.Bool().Draw(t, "nearest")
		e := Env{Precision: 64, Masks: AllFlags}
		r, quot, partial := e.rem(a, b, nearest)
		steps := 0
		for ; partial; steps++ {
			r, quot, partial = e.rem(r.Num(), b, nearest)
		}
		require.Less(t, steps, 8)
		require.Zero(t, e.Flags)

		q := new(big.Float).SetPrec(400).Sub(a.big(), r.Num().big())
		q.Quo(q, b.big()).Abs(q)
		n, acc := q.Int(nil)
		require.Equal(t, big.Exact, acc, "a-r is a multiple of b")
		require.Equal(t, quot, uint8(new(big.Int).And(n, big.NewInt(7)).Uint64()))
		limit := b.big()
		if limit.Abs(limit); nearest {
			limit.Quo(limit, big.NewFloat(2))
			require.LessOrEqual(t, new(big.Float).Abs(r.Num().big()).Cmp(limit), 0)
			return
		}
		require.Negative(t, new(big.Float).Abs(r.Num().big()).Cmp(limit))
		if r.Man != 0 {
			require.Equal(t, a.neg, r.Neg())
		}
	})
}

func TestBCDGoesThereAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Int64Range(-999999999999999999, 999999999999999999).Draw(t, "v")
		e := Env{Precision: 64, Masks: AllFlags}
		b := e.StoreBCD(NumInt(v))
		require.Equal(t, v, e.StoreInt(e.LoadBCD(b).Num(), 64, Nearest))
		require.Zero(t, e.Flags)
	})
}

func TestMXCSRGoesThereAndBack(t *testing.T) {
	for v := range uint32(1 << 16) {
		e := FromMXCSR(v)
		require.Equal(t, v, e.MXCSR())
	}
}

// f80 of a float64 and back.
func of(v float64) Num { return Num64(math.Float64bits(v)) }

func toFloat(f F80) float64 {
	e := Env{Masks: AllFlags}
	return math.Float64frombits(e.Store64(f.Num()))
}

func TestTranscendentalsAgreeWithPackageMath(t *testing.T) {
	near := func(name string, args []float64, got F80, want float64) {
		t.Helper()
		require.InEpsilon(t, want, toFloat(got), 1e-14, "%s%v", name, args)
	}
	g := newGen(5)
	for range 5000 {
		x, y := g.Float64()*2-1, g.Float64()*200-100
		e := Env{Precision: 64, Masks: AllFlags}
		near("exp2m1", []float64{x}, e.Exp2m1(of(x)), math.Expm1(x*math.Ln2))
		near("atan", []float64{y, x}, e.Atan(of(y), of(x)), math.Atan2(y, x))
		near("log2", []float64{y}, e.Log2(of(3), of(math.Abs(y))), 3*math.Log2(math.Abs(y)))
		near("log2p1", []float64{x / 4}, e.Log2p1(of(3), of(x/4)), 3*math.Log1p(x/4)/math.Ln2)
		sin, cos, _ := e.SinCos(of(y))
		tan, _ := e.Tan(of(y))
		near("sin", []float64{y}, sin, math.Sin(y))
		near("cos", []float64{y}, cos, math.Cos(y))
		near("tan", []float64{y}, tan, math.Tan(y))
	}
}

func FuzzNoOperandStopsArithmetic(f *testing.F) {
	f.Add(uint64(1)<<63, uint16(0x3FFF), uint64(3)<<62, uint16(0xC03E), uint16(0x37F), uint32(0x1F80))
	f.Add(uint64(0), uint16(0x7FFF), uint64(1), uint16(0), uint16(0), uint32(0xFFFF))
	f.Fuzz(func(t *testing.T, am uint64, as uint16, bm uint64, bs uint16, cw uint16, mxcsr uint32) {
		e := FromControl(cw)
		a, b := F80{am, as}.Num(), F80{bm, bs}.Num()
		for _, op := range []func(*Env, Num, Num) F80{
			(*Env).Add, (*Env).Sub, (*Env).Mul, (*Env).Div, (*Env).Scale, (*Env).Atan, (*Env).Log2, (*Env).Log2p1,
		} {
			op(&e, a, b)
		}
		for _, op := range []func(*Env, Num) F80{(*Env).Sqrt, (*Env).RoundInt, (*Env).Exp2m1} {
			op(&e, a)
		}
		e.Rem(a, b)
		e.RemNearest(a, b)
		e.Extract(a)
		e.SinCos(a)
		e.Tan(a)
		e.StoreBCD(a)
		e.StoreInt(a, 16, Zero)
		e.Store32(a)
		e.Store64(a)
		e = FromMXCSR(mxcsr)
		for _, op := range []func(*Env, uint64, uint64) uint64{(*Env).Add64, (*Env).Sub64, (*Env).Mul64, (*Env).Div64, (*Env).Min64} {
			op(&e, am, bm)
		}
		for _, op := range []func(*Env, uint32, uint32) uint32{(*Env).Add32, (*Env).Sub32, (*Env).Mul32, (*Env).Div32, (*Env).Max32} {
			op(&e, uint32(am), uint32(bm))
		}
		e.Sqrt64(am)
		e.RoundToInt64(am, e.Rounding, false)
		e.ToInt32From64(am, e.Rounding)
		e.To32From64(am)
		e.To64From32(uint32(am))
		require.Zero(t, e.Flags&^AllFlags)
	})
}
