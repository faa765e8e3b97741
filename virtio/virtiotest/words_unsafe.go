package virtiotest

import (
	"sync/atomic"
	"unsafe"
)

// alignedBytes is zeroed memory aligned to a page, as a guest's is.
func alignedBytes(n int) []byte {
	b := make([]byte, n+PageSize)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) % PageSize
	return b[skip : skip+uintptr(n)]
}

func word(b []byte) *uint32 { return (*uint32)(unsafe.Pointer(unsafe.SliceData(b))) }

// Load16 reads a ring field.
func (m *Memory) Load16(addr uint64) uint16 {
	return uint16(atomic.LoadUint32(word(m.Bytes(addr&^3, 4))) >> (8 * (addr & 2)))
}

// Store16 writes a ring field and leaves its neighbour alone.
func (m *Memory) Store16(addr uint64, v uint16) {
	p, shift := word(m.Bytes(addr&^3, 4)), 8*(addr&2)
	for {
		old := atomic.LoadUint32(p)
		if atomic.CompareAndSwapUint32(p, old, old&^(0xFFFF<<shift)|uint32(v)<<shift) {
			return
		}
	}
}

// Store64 writes half a descriptor.
func (m *Memory) Store64(addr uint64, v uint64) {
	atomic.StoreUint64((*uint64)(unsafe.Pointer(unsafe.SliceData(m.Bytes(addr, 8)))), v)
}

// Load32 reads an event suppression structure.
func (m *Memory) Load32(addr uint64) uint32 { return atomic.LoadUint32(word(m.Bytes(addr, 4))) }

// Store32 writes one.
func (m *Memory) Store32(addr uint64, v uint32) { atomic.StoreUint32(word(m.Bytes(addr, 4)), v) }

// Load64 reads half a descriptor.
func (m *Memory) Load64(addr uint64) uint64 {
	return atomic.LoadUint64((*uint64)(unsafe.Pointer(unsafe.SliceData(m.Bytes(addr, 8)))))
}
