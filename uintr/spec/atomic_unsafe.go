package spec

import (
	"sync/atomic"
	"unsafe"
)

// word is the aligned 64-bit word at off. The layouts are little-endian, as is every machine this runs on.
func word(b []byte, off int) *uint64 {
	p := unsafe.Pointer(unsafe.SliceData(b[off : off+8 : off+8]))
	if uintptr(p)&7 != 0 {
		panic("uintr: misaligned word")
	}
	return (*uint64)(p)
}

func load64(b []byte, off int) uint64           { return atomic.LoadUint64(word(b, off)) }
func store64(b []byte, off int, v uint64)       { atomic.StoreUint64(word(b, off), v) }
func or64(b []byte, off int, v uint64)          { atomic.OrUint64(word(b, off), v) }
func and64(b []byte, off int, v uint64)         { atomic.AndUint64(word(b, off), v) }
func swap64(b []byte, off int, v uint64) uint64 { return atomic.SwapUint64(word(b, off), v) }
func cas64(b []byte, off int, old, next uint64) bool {
	return atomic.CompareAndSwapUint64(word(b, off), old, next)
}
