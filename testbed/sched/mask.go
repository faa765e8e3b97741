package sched

import "math/bits"

// A Mask is a set of CPUs: bit c%64 of word c/64.
type Mask []uint64

// MaskOf is the set of these CPUs.
func MaskOf(cpus ...int) Mask {
	var m Mask
	for _, c := range cpus {
		for len(m) <= c/64 {
			m = append(m, 0)
		}
		m.set(c)
	}
	return m
}

// Has tells whether c is in the set.
func (m Mask) Has(c int) bool { return c/64 < len(m) && m[c/64]>>(c%64)&1 != 0 }

func (m Mask) set(c int)   { m[c/64] |= 1 << (c % 64) }
func (m Mask) clear(c int) { m[c/64] &^= 1 << (c % 64) }

func (m Mask) put(c int, in bool) {
	if in {
		m.set(c)
	} else {
		m.clear(c)
	}
}

// after is the first CPU of m ∩ n ∩ o past c, going round, or -1. They are equally long.
func after(m, n, o Mask, c int) int {
	words := len(m)
	first := c / 64
	for i := range words + 1 {
		w := (first + i) % words
		both := m[w] & n[w] & o[w]
		switch i {
		case 0:
			both &= ^uint64(0) << (c % 64) << 1
		case words:
			both &= ^(^uint64(0) << (c % 64) << 1)
		}
		if both != 0 {
			return w*64 + bits.TrailingZeros64(both)
		}
	}
	return -1
}
