package float

import (
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
)

const testPrec = 300

func ratioOf(n, d int64) *big.Float {
	return new(big.Float).SetPrec(testPrec).Quo(new(big.Float).SetPrec(testPrec).SetInt64(n), new(big.Float).SetPrec(testPrec).SetInt64(d))
}

// power sums z^(2k+1)/(2k+1), with alternating signs for the arc tangent, for z <= 1/2.
func power(z *big.Float, alternate bool) *big.Float {
	sum := new(big.Float).SetPrec(testPrec)
	p := new(big.Float).Copy(z)
	z2 := new(big.Float).SetPrec(testPrec).Mul(z, z)
	if alternate {
		z2.Neg(z2)
	}
	for k := int64(1); k < 2*testPrec; k += 2 {
		sum.Add(sum, new(big.Float).SetPrec(testPrec).Quo(p, ratioOf(k, 1)))
		p.Mul(p, z2)
	}
	return sum
}

// atanOf gives atan(n/d) <= pi/4, from atan(1/2) + atan(r) for the larger ones.
func atanOf(n, d int64) *big.Float {
	if 2*n <= d {
		return power(ratioOf(n, d), true)
	}
	return new(big.Float).SetPrec(testPrec).Add(power(ratioOf(1, 2), true), power(ratioOf(2*n-d, 2*d+n), true))
}

func TestConstantsAreRoundedTo128Bits(t *testing.T) {
	two := func(f *big.Float) *big.Float { return new(big.Float).SetPrec(testPrec).Mul(f, ratioOf(2, 1)) }
	ln2 := two(power(ratioOf(1, 3), false))
	ln10 := two(power(ratioOf(1, 9), false)) // ln(10/8)
	for range 3 {
		ln10.Add(ln10, ln2)
	}
	quo := func(a, b *big.Float) *big.Float { return new(big.Float).SetPrec(testPrec).Quo(a, b) }
	check := func(name string, w wide, f *big.Float) {
		t.Helper()
		want := new(big.Float).SetPrec(128).Set(f)
		got := new(big.Float).SetPrec(128).SetUint64(w.hi)
		got.SetMantExp(got, 64)
		got.Add(got, new(big.Float).SetUint64(w.lo))
		got.SetMantExp(got, int(w.exp)-127)
		require.Zero(t, want.Cmp(got), "%s: %v, not %v", name, got, want)
	}
	check("pi", wpi, two(two(atanOf(1, 1))))
	check("ln 2", wln2, ln2)
	check("log2 e", wlog2e, quo(ratioOf(1, 1), ln2))
	check("log2 10", wlog2t, quo(ln10, ln2))
	check("log10 2", wlog102, quo(ln2, ln10))
	for k := range atans {
		check("atan", atans[k], atanOf(int64(k+1), 8))
	}
}

func TestConstantsLoadAsTheHostLoadsThem(t *testing.T) {
	for name, load := range map[string]func(*Env) F80{
		"fldpi": (*Env).Pi, "fldln2": (*Env).Ln2, "fldl2e": (*Env).Log2E, "fldl2t": (*Env).Log2T, "fldlg2": (*Env).Lg2,
		"fld1": func(*Env) F80 { return One80 },
	} {
		qs := make([]query, 16)
		for i := range qs {
			qs[i].Ctl = 0x7F | uint32(i)<<8
		}
		for i, got := range ask(t, name, qs) {
			e := FromControl(uint16(qs[i].Ctl))
			require.Equal(t, get80(got.R), load(&e), "%s CW %04X", name, qs[i].Ctl)
			require.Zero(t, got.Flags&(c1|uint32(AllFlags)))
		}
	}
}
