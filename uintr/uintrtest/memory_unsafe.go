package uintrtest

import "unsafe"

// newPage is a zeroed page, 8-byte aligned.
func newPage() []byte {
	words := make([]uint64, pageSize/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), pageSize)
}
