package irqchip

import (
	"math/bits"
	"sync/atomic"
)

// vectorSet is a register of 256 bits that only one goroutine uses: ISR.
type vectorSet [4]uint64

func (s *vectorSet) set(v uint8)   { s[v>>6] |= 1 << (v & 63) }
func (s *vectorSet) clear(v uint8) { s[v>>6] &^= 1 << (v & 63) }

// highest is the highest vector in s, -1 if there is none.
func (s *vectorSet) highest() int {
	for i := 3; i >= 0; i-- {
		if s[i] != 0 {
			return i<<6 + bits.Len64(s[i]) - 1
		}
	}
	return -1
}

// word32 is the i'th 32 bits, as registers show them.
func (s *vectorSet) word32(i reg) uint32 { return uint32(s[i>>1&3] >> (i & 1 * 32)) }

// sharedVectors is a register of 256 bits that any goroutine changes: IRR and TMR.
type sharedVectors [4]atomic.Uint64

func (s *sharedVectors) set(v uint8)      { s[v>>6].Or(1 << (v & 63)) }
func (s *sharedVectors) clear(v uint8)    { s[v>>6].And(^uint64(1 << (v & 63))) }
func (s *sharedVectors) has(v uint8) bool { return s[v>>6].Load()>>(v&63)&1 != 0 }

func (s *sharedVectors) clearAll() {
	for i := range s {
		s[i].Store(0)
	}
}

func (s *sharedVectors) highest() int {
	for i := 3; i >= 0; i-- {
		if w := s[i].Load(); w != 0 {
			return i<<6 + bits.Len64(w) - 1
		}
	}
	return -1
}

func (s *sharedVectors) word32(i reg) uint32 { return uint32(s[i>>1&3].Load() >> (i & 1 * 32)) }
