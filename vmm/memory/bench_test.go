package memory

import "testing"

func BenchmarkView(b *testing.B) {
	m := newRAM(b, [2]uint64{0, 1 << 20}, [2]uint64{1 << 32, 1 << 20})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.View(1<<32+64, 64); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoad64(b *testing.B) {
	m := newRAM(b, [2]uint64{0, 1 << 20}, [2]uint64{1 << 32, 1 << 20})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Load64(1<<32 + 64); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStore16(b *testing.B) {
	w, err := newRAM(b, [2]uint64{0, page}).View(0, 8)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		Store16(w, 7)
	}
}
