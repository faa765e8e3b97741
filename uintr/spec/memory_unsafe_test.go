package spec

import "unsafe"

// newBytes is zeroed memory that is 8-byte aligned; n is a multiple of 8.
func newBytes(n int) []byte {
	words := make([]uint64, n/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), n)
}
