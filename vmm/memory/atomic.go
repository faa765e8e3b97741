package memory

import "sync/atomic"

// word returns the width bytes at addr, which must be a multiple of width. An aligned word never crosses a slot, because slots are whole pages.
func (m *Memory) word(addr, width uint64) ([]byte, error) {
	if addr%width != 0 {
		return nil, ErrMisaligned
	}
	return m.View(addr, width)
}

// Load32 atomically loads the word at addr.
func (m *Memory) Load32(addr uint64) (uint32, error) {
	b, err := m.word(addr, 4)
	if err != nil {
		return 0, err
	}
	return Load32(b), nil
}

// Load64 atomically loads the word at addr.
func (m *Memory) Load64(addr uint64) (uint64, error) {
	b, err := m.word(addr, 8)
	if err != nil {
		return 0, err
	}
	return Load64(b), nil
}

// Store32 atomically stores v at addr.
func (m *Memory) Store32(addr uint64, v uint32) error {
	b, err := m.word(addr, 4)
	if err != nil {
		return err
	}
	Store32(b, v)
	return nil
}

// Store64 atomically stores v at addr.
func (m *Memory) Store64(addr, v uint64) error {
	b, err := m.word(addr, 8)
	if err != nil {
		return err
	}
	Store64(b, v)
	return nil
}

// Or64 atomically sets the bits of v in the word at addr and returns the word as it was.
func (m *Memory) Or64(addr, v uint64) (old uint64, err error) {
	b, err := m.word(addr, 8)
	if err != nil {
		return 0, err
	}
	return atomic.OrUint64(ptr64(b), v), nil
}

// Swap64 atomically stores v at addr and returns the word as it was.
func (m *Memory) Swap64(addr, v uint64) (old uint64, err error) {
	b, err := m.word(addr, 8)
	if err != nil {
		return 0, err
	}
	return atomic.SwapUint64(ptr64(b), v), nil
}

// CompareAndSwap64 atomically stores new at addr if the word there equals old, and reports whether it did.
func (m *Memory) CompareAndSwap64(addr, old, new uint64) (swapped bool, err error) {
	b, err := m.word(addr, 8)
	if err != nil {
		return false, err
	}
	return atomic.CompareAndSwapUint64(ptr64(b), old, new), nil
}

// CompareAndSwap128 is CompareAndSwap64 for the 16 bytes at addr (CMPXCHG16B); lo is the word at addr, hi the word at addr+8.
// The words as they were are returned either way.
func (m *Memory) CompareAndSwap128(addr, oldLo, oldHi, newLo, newHi uint64) (lo, hi uint64, swapped bool, err error) {
	b, err := m.word(addr, 16)
	if err != nil {
		return 0, 0, false, err
	}
	lo, hi, swapped = cas128(ptr128(b), oldLo, oldHi, newLo, newHi)
	return lo, hi, swapped, nil
}

// Load128 atomically loads the 16 bytes at addr: never one half of an old value beside the other half of a new one.
func (m *Memory) Load128(addr uint64) (lo, hi uint64, err error) {
	b, err := m.word(addr, 16)
	if err != nil {
		return 0, 0, err
	}
	lo, hi = Load128(b)
	return lo, hi, nil
}

// The functions below work on the first bytes of a view. A view that is shorter than the word or not aligned to it is a programming error: they panic.

// Load16 atomically loads the word at the start of b.
func Load16(b []byte) uint16 { return load16(ptr16(b)) }

// Store16 atomically stores v at the start of b, after every earlier store (release).
func Store16(b []byte, v uint16) { store16(ptr16(b), v) }

// Load32 atomically loads the word at the start of b.
func Load32(b []byte) uint32 { return atomic.LoadUint32(ptr32(b)) }

// Store32 atomically stores v at the start of b; it is a full barrier.
func Store32(b []byte, v uint32) { atomic.StoreUint32(ptr32(b), v) }

// Load64 atomically loads the word at the start of b.
func Load64(b []byte) uint64 { return atomic.LoadUint64(ptr64(b)) }

// Store64 atomically stores v at the start of b; it is a full barrier.
func Store64(b []byte, v uint64) { atomic.StoreUint64(ptr64(b), v) }

// Load128 atomically loads the 16 bytes at the start of b.
func Load128(b []byte) (lo, hi uint64) {
	p := ptr128(b)
	if atomicMOVDQA {
		return load128(p)
	}
	lo, hi, _ = cas128(p, 0, 0, 0, 0) // stores only what is already there
	return lo, hi
}
