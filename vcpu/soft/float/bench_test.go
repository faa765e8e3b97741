package float

import "testing"

func BenchmarkBinary64(b *testing.B) {
	const x, y = 0x3FF123456789ABCD, 0x4001123456789ABC
	for name, e := range map[string]Env{"native": {Masks: AllFlags, Flags: Inexact}, "software": {Masks: AllFlags, Rounding: Up}} {
		for op, f := range map[string]func(*Env, uint64, uint64) uint64{
			"add": (*Env).Add64, "mul": (*Env).Mul64, "div": (*Env).Div64,
			"sqrt": func(e *Env, a, _ uint64) uint64 { return e.Sqrt64(a) },
		} {
			b.Run(op+"/"+name, func(b *testing.B) {
				r := uint64(x)
				for b.Loop() {
					r = f(&e, r, y)
					r = r&(1<<52-1) | 0x3FF<<52
				}
			})
		}
	}
}

func BenchmarkX87(b *testing.B) {
	e := Env{Precision: 64, Masks: AllFlags}
	x, y := F80{0xC123456789ABCDEF, bias80}, F80{0x9123456789ABCDEF, bias80}
	for op, f := range map[string]func(Num, Num) F80{
		"add": func(a, b Num) F80 { return e.Add(a, b) }, "mul": func(a, b Num) F80 { return e.Mul(a, b) },
		"div":  func(a, b Num) F80 { return e.Div(a, b) },
		"sqrt": func(a, _ Num) F80 { return e.Sqrt(a) },
		"sin":  func(a, _ Num) F80 { r, _ := e.Sin(a); return r },
		"log2": func(a, b Num) F80 { return e.Log2(a, b) },
		"atan": func(a, b Num) F80 { return e.Atan(a, b) },
	} {
		b.Run(op, func(b *testing.B) {
			for b.Loop() {
				f(x.Num(), y.Num())
			}
		})
	}
}
