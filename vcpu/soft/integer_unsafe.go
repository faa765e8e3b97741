package soft

import "unsafe"

// compareAndSwap16 replaces the 16 bytes at off, which is a multiple of 16, in one
// atomic operation if they are oldLow and oldHigh. It returns what they were.
func (h hostPage) compareAndSwap16(off, oldLow, oldHigh, newLow, newHigh uint64) (low, high uint64, done bool) {
	return cas128(unsafe.Add(h.p, off), oldLow, oldHigh, newLow, newHigh)
}

//go:noescape
func cas128(p unsafe.Pointer, oldLow, oldHigh, newLow, newHigh uint64) (low, high uint64, done bool)
