package float

import (
	"encoding/binary"
	"testing"
)

// The x87 status word's condition codes.
const (
	c0     = 1 << 8
	c1     = 1 << 9
	c2     = 1 << 10
	c3     = 1 << 14
	ccMask = c0 | c1 | c2 | c3
)

// outcome is what an x87 instruction leaves: two results, the condition codes that
// it sets beside C1, and whether it raised what keeps the results away.
type outcome struct {
	r, s  [16]byte
	cc    uint32
	noS   bool
	noC1  bool
	store bool // the result goes to memory: no result with anything unmasked but Inexact
}

// x87Op is an x87 instruction with ST0 = a and ST1 or memory = b.
type x87Op struct {
	name string
	in   func(g gen) (a, b [16]byte)
	do   func(e *Env, a, b [16]byte) outcome
}

func pair80(g gen) (a, b [16]byte) {
	x := g.f80(One80)
	y := g.f80(x)
	if g.IntN(20) == 0 {
		y.Man = x.Man
	}
	return put80(x), put80(y)
}

func moderate80(span int) func(g gen) (a, b [16]byte) {
	return func(g gen) (a, b [16]byte) {
		if g.IntN(4) == 0 {
			return pair80(g)
		}
		return put80(g.near80(span)), put80(g.near80(span))
	}
}

func with64(g gen) (a, b [16]byte) {
	x := g.f64(1)
	a = put80(g.f80(F80{SE: uint16(x>>52&0x7FF) + bias80 - 1023}))
	return a, put64(x)
}

func with32(g gen) (a, b [16]byte) {
	x := g.f32(1)
	return put80(g.f80(F80{SE: uint16(x>>23&0xFF) + bias80 - 127})), put64(uint64(x))
}

func withInt(g gen) (a, b [16]byte) {
	a, _ = pair80(g)
	return a, put64(anyInt(g, 0))
}

// near gives operands about the size of the least and greatest numbers of a format.
func near(emin, emax int) func(g gen) (a, b [16]byte) {
	return func(g gen) ([16]byte, [16]byte) {
		a := g.f80(One80)
		if g.IntN(4) != 0 {
			e := emax
			if g.IntN(2) == 0 {
				e = emin
			}
			a = F80{Man: 1<<63 | g.significand(63), SE: uint16(g.IntN(2)<<15 | bias80 + e + g.IntN(60) - 55)}
		}
		return put80(a), put80(One80)
	}
}

func n80(b [16]byte) Num { return get80(b).Num() }

func codes(o Order) uint32 {
	return [4]uint32{Less: c0, Equal: c3, Greater: 0, Unordered: c0 | c2 | c3}[o]
}

func binary80(name string, f func(*Env, Num, Num) F80) x87Op {
	return x87Op{name, pair80, func(e *Env, a, b [16]byte) outcome {
		return outcome{r: put80(f(e, n80(a), n80(b))), s: b}
	}}
}

func compare80(name string, signals bool) x87Op {
	return x87Op{name, pair80, func(e *Env, a, b [16]byte) outcome {
		return outcome{r: a, s: b, cc: codes(e.Compare(n80(a), n80(b), signals))}
	}}
}

func rem80(name string, f func(*Env, Num, Num) (F80, uint8, bool)) x87Op {
	return x87Op{name, moderate80(80), func(e *Env, a, b [16]byte) outcome {
		r, q, partial := f(e, n80(a), n80(b))
		o := outcome{r: put80(r), s: b, cc: uint32(q>>2&1)*c0 | uint32(q>>1&1)*c3 | uint32(q&1)*c1, noC1: true}
		if partial {
			o.cc = c2
		}
		return o
	}}
}

func store80(name string, in func(gen) (a, b [16]byte), f func(*Env, Num) uint64) x87Op {
	return x87Op{name, in, func(e *Env, a, _ [16]byte) outcome {
		return outcome{r: put64(f(e, n80(a))), noS: true, store: true}
	}}
}

func storeInt(name string, width uint, trunc bool) x87Op {
	return store80(name, near(0, int(width)), func(e *Env, a Num) uint64 {
		rc := e.Rounding
		if trunc {
			rc = Zero
		}
		return uint64(e.StoreInt(a, width, rc)) & (^uint64(0) >> (64 - width))
	})
}

func load80(name string, in func(gen) (a, b [16]byte), f func(*Env, uint64) F80) x87Op {
	return x87Op{name, in, func(e *Env, _, b [16]byte) outcome {
		return outcome{r: put80(f(e, get64(b))), noS: true}
	}}
}

func x87Ops() []x87Op {
	mem := func(name string, in func(gen) (a, b [16]byte), f func(e *Env, a Num, m uint64) F80) x87Op {
		return x87Op{name, in, func(e *Env, a, b [16]byte) outcome {
			return outcome{r: put80(f(e, n80(a), get64(b))), s: [16]byte(b)}
		}}
	}
	return []x87Op{
		binary80("fadd", (*Env).Add), binary80("fsub", (*Env).Sub), binary80("fmul", (*Env).Mul), binary80("fdiv", (*Env).Div),
		binary80("fsqrt", func(e *Env, a, _ Num) F80 { return e.Sqrt(a) }),
		compare80("fcom", true), compare80("fucom", false),
		rem80("fprem", (*Env).Rem), rem80("fprem1", (*Env).RemNearest),
		{"fprem", pair80, rem80("", (*Env).Rem).do},
		{"fprem1", pair80, rem80("", (*Env).RemNearest).do},
		binary80("fscale", (*Env).Scale),
		{"fscale", moderate80(20), binary80("", (*Env).Scale).do},
		binary80("frndint", func(e *Env, a, _ Num) F80 { return e.RoundInt(a) }),
		{"frndint", moderate80(70), binary80("", func(e *Env, a, _ Num) F80 { return e.RoundInt(a) }).do},
		{"fxtract", pair80, func(e *Env, a, _ [16]byte) outcome {
			exp, man := e.Extract(n80(a))
			return outcome{r: put80(man), s: put80(exp)}
		}},
		mem("fadds", with32, func(e *Env, a Num, m uint64) F80 { return e.Add(a, Num32(uint32(m))) }),
		mem("faddl", with64, func(e *Env, a Num, m uint64) F80 { return e.Add(a, Num64(m)) }),
		mem("fdivrl", with64, func(e *Env, a Num, m uint64) F80 { return e.Div(Num64(m), a) }),
		mem("fiaddl", withInt, func(e *Env, a Num, m uint64) F80 { return e.Add(a, NumInt(int64(int32(m)))) }),
		{"fcoml", with64, func(e *Env, a, b [16]byte) outcome {
			return outcome{r: a, s: b, cc: codes(e.Compare(n80(a), Num64(get64(b)), true))}
		}},
		load80("flds", with32, func(e *Env, m uint64) F80 { return e.Load32(uint32(m)) }),
		load80("fldl", with64, func(e *Env, m uint64) F80 { return e.Load64(m) }),
		load80("filds", withInt, func(e *Env, m uint64) F80 { return e.LoadInt(int64(int16(m))) }),
		load80("fildl", withInt, func(e *Env, m uint64) F80 { return e.LoadInt(int64(int32(m))) }),
		load80("fildq", withInt, func(e *Env, m uint64) F80 { return e.LoadInt(int64(m)) }),
		{"fbld", func(g gen) (a, b [16]byte) {
			for i := range 9 {
				b[i] = byte(g.IntN(10) | g.IntN(10)<<4)
			}
			b[9] = byte(g.IntN(2) << 7)
			return put80(One80), b
		}, func(e *Env, _, b [16]byte) outcome {
			return outcome{r: put80(e.LoadBCD(BCD(b[:10]))), noS: true}
		}},
		store80("fstl", near(-1022, 1023), func(e *Env, a Num) uint64 { return e.Store64(a) }),
		store80("fsts", near(-126, 127), func(e *Env, a Num) uint64 { return uint64(e.Store32(a)) }),
		storeInt("fists", 16, false), storeInt("fistl", 32, false), storeInt("fistq", 64, false),
		storeInt("fisttps", 16, true), storeInt("fisttpl", 32, true), storeInt("fisttpq", 64, true),
		{"fbstp", near(0, 60), func(e *Env, a, _ [16]byte) outcome {
			o := outcome{noS: true, store: true}
			d := e.StoreBCD(n80(a))
			copy(o.r[:], d[:])
			return o
		}},
	}
}

// agrees compares an outcome with the host's, Env's flags and C1 included.
func agrees(e *Env, o outcome, got answer) bool {
	want := uint32(e.Flags) | o.cc
	if e.C1 && !o.noC1 {
		want |= c1
	}
	if want != got.Flags&(ccMask|uint32(AllFlags)) {
		return false
	}
	stop := e.Raised() & Before
	if o.store {
		stop = e.Raised() &^ Inexact
	}
	return stop != 0 || o.r == got.R && (o.noS || o.s == got.S)
}

func TestX87AgreesWithTheHostInResultAndFlags(t *testing.T) {
	n := 6000
	for _, op := range x87Ops() {
		t.Run(op.name, func(t *testing.T) {
			g := newGen(uint64(len(op.name)) + 7)
			qs := make([]query, n)
			for i := range qs {
				qs[i].Ctl = g.control()
				qs[i].A, qs[i].B = op.in(g)
			}
			bad := 0
			for i, got := range ask(t, op.name, qs) {
				e := FromControl(uint16(qs[i].Ctl))
				o := op.do(&e, qs[i].A, qs[i].B)
				if agrees(&e, o, got) {
					continue
				}
				w := uint32(e.Flags) | o.cc
				if e.C1 {
					w |= c1
				}
				t.Errorf("CW %04X %X %X: %X %X SW %04X, the host has %X %X SW %04X", qs[i].Ctl, rev(qs[i].A), rev(qs[i].B),
					rev(o.r), rev(o.s), w, rev(got.R), rev(got.S), got.Flags)
				if bad++; bad > 5 {
					t.FailNow()
				}
			}
		})
	}
}

// rev gives an operand's bytes as they read.
func rev(b [16]byte) []byte {
	r := binary.BigEndian.AppendUint16(nil, binary.LittleEndian.Uint16(b[8:]))
	return binary.BigEndian.AppendUint64(r, binary.LittleEndian.Uint64(b[:]))
}
