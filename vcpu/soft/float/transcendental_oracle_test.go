package float

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// specials80 are the operands that transcendental functions treat apart.
func specials80() []F80 {
	var s []F80
	for _, sign := range []uint16{0, 1 << 15} {
		for _, f := range []F80{
			{0, 0}, {1, 0}, {1<<63 - 1, 0}, {1 << 63, 0}, {1 << 63, 1}, {1<<64 - 1, 0x7FFE},
			{1 << 63, bias80}, {1<<63 + 1, bias80}, {1<<64 - 1, bias80 - 1}, {1 << 63, bias80 - 1}, {3 << 62, bias80},
			{1 << 63, bias80 + 1}, {1 << 63, bias80 - 3}, {1 << 63, bias80 + 62}, {1<<64 - 1, bias80 + 62}, {1 << 63, bias80 + 63},
			{1 << 63, 0x7FFF}, {1<<63 + 5, 0x7FFF}, {3<<62 + 3, 0x7FFF}, {1 << 62, 0x7FFF}, {1 << 62, bias80},
		} {
			f.SE |= sign
			s = append(s, f)
		}
	}
	return s
}

// transcendental is a function with ST0 = a and ST1 = b before it.
type transcendental struct {
	name string
	two  bool
	in   func(g gen) (a, b F80)
	do   func(e *Env, a, b Num) (r, s F80, partial bool)
}

func one(f func(*Env, Num) F80) func(e *Env, a, b Num) (r, s F80, partial bool) {
	return func(e *Env, a, _ Num) (F80, F80, bool) { return f(e, a), F80{}, false }
}

// two has y = a and x = b, as the oracle exchanges them.
func two(f func(e *Env, y, x Num) F80) func(e *Env, a, b Num) (r, s F80, partial bool) {
	return func(e *Env, a, b Num) (F80, F80, bool) { return f(e, a, b), F80{}, false }
}

func transcendentals() []transcendental {
	within := func(lo, hi int) func(g gen) (a, b F80) {
		one := func(g gen) F80 {
			return F80{Man: 1<<63 | g.significand(63), SE: uint16(g.IntN(2)<<15 | bias80 + lo + g.IntN(hi-lo))}
		}
		return func(g gen) (a, b F80) { return one(g), one(g) }
	}
	positive := func(lo, hi int) func(g gen) (a, b F80) {
		return func(g gen) (a, b F80) {
			a, b = within(lo, hi)(g)
			b.SE &= 0x7FFF
			return a, b
		}
	}
	return []transcendental{
		{"f2xm1", false, within(-70, 0), one((*Env).Exp2m1)},
		{"fyl2x", true, positive(-6, 6), two((*Env).Log2)},
		{"fyl2x", true, positive(-8000, 8000), two((*Env).Log2)},
		{"fyl2xp1", true, within(-70, -2), two((*Env).Log2p1)},
		{"fpatan", true, within(-8, 8), two((*Env).Atan)},
		{"fpatan", true, within(-100, 100), two((*Env).Atan)},
		{"fsin", false, within(-40, 8), func(e *Env, a, _ Num) (F80, F80, bool) { r, p := e.Sin(a); return r, F80{}, p }},
		{"fcos", false, within(-40, 62), func(e *Env, a, _ Num) (F80, F80, bool) { r, p := e.Cos(a); return r, F80{}, p }},
		{"fptan", false, within(-40, 20), func(e *Env, a, _ Num) (F80, F80, bool) {
			r, p := e.Tan(a)
			switch n := r.Num(); {
			case p:
				return r, F80{}, true
			case n.isNaN():
				return r, r, false
			}
			return One80, r, p
		}},
		{"fsincos", false, within(-40, 62), func(e *Env, a, _ Num) (F80, F80, bool) {
			sin, cos, p := e.SinCos(a)
			if p {
				return sin, F80{}, true
			}
			return cos, sin, p
		}},
	}
}

// distance gives how many values of the format lie between two results, or a large
// number where they differ in sign or kind.
func distance(a, b F80) uint64 {
	if a == b {
		return 0
	}
	x, y := a.Num(), b.Num()
	if a.Neg() != b.Neg() || x.class != finite || y.class != finite {
		return 1 << 32
	}
	d := int64(a.Man-b.Man) + 0
	switch e := int(a.SE) - int(b.SE); e {
	case 0:
	case 1: // a is the next binade's first value or so
		d = int64(a.Man-1<<63) + int64(-b.Man)
	case -1:
		d = int64(b.Man-1<<63) + int64(-a.Man)
	default:
		return 1 << 32
	}
	return uint64(max(d, -d))
}

func TestTranscendentalsTreatSpecialOperandsAsTheHostDoes(t *testing.T) {
	for _, f := range transcendentals() {
		t.Run(f.name, func(t *testing.T) {
			var qs []query
			for _, a := range specials80() {
				for _, b := range specials80() {
					if !f.two && b != One80 {
						continue
					}
					qs = append(qs, query{Ctl: 0x37F, A: put80(a), B: put80(b)})
				}
			}
			bad := 0
			for i, got := range ask(t, f.name, qs) {
				e := FromControl(0x37F)
				r, _, partial := f.do(&e, n80(qs[i].A), n80(qs[i].B))
				if distance(r, get80(got.R)) <= 1 && uint32(e.Flags) == got.Flags&uint32(AllFlags) && partial == (got.Flags&c2 != 0) {
					continue
				}
				t.Errorf("%X %X: %04X:%016X %02X %v, the host has %X %04X", rev(qs[i].A), rev(qs[i].B), r.SE, r.Man, e.Flags, partial, rev(got.R), got.Flags)
				if bad++; bad > 15 {
					t.FailNow()
				}
			}
		})
	}
}

func TestTranscendentalsDifferFromTheHostByAUnitAtMost(t *testing.T) {
	for _, f := range transcendentals() {
		t.Run(f.name, func(t *testing.T) {
			g := newGen(uint64(len(f.name)))
			qs := make([]query, 4000)
			for i := range qs {
				a, b := f.in(g)
				qs[i] = query{Ctl: 0x37F, A: put80(a), B: put80(b)}
			}
			same := 0
			for i, got := range ask(t, f.name, qs) {
				e := FromControl(0x37F)
				r, s, partial := f.do(&e, n80(qs[i].A), n80(qs[i].B))
				require.False(t, partial)
				d := distance(r, get80(got.R))
				if s != (F80{}) {
					d = max(d, distance(s, get80(got.S)))
				}
				require.LessOrEqual(t, d, uint64(1), "%X %X: %04X:%016X, the host has %X", rev(qs[i].A), rev(qs[i].B), r.SE, r.Man, rev(got.R))
				require.Equal(t, uint32(e.Flags), got.Flags&uint32(AllFlags))
				if d == 0 {
					same++
				}
			}
			t.Logf("%d of %d are the host's in every bit", same, len(qs))
		})
	}
}
