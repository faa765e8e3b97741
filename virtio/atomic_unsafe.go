package virtio

import (
	"sync/atomic"
	"unsafe"
)

// Atomic access to ring memory. Views are aligned to their width; ring fields
// are little-endian, as is every host this runs on.
//
// Go's atomics are sequentially consistent. On amd64 a store is XCHG, a full
// barrier: what follows it in program order, such as reading the driver's
// event index, cannot be done before the store is seen by the driver (§2.7.7.2,
// §2.7.10). On other hosts the compiler emits the fences that this needs.

func word(b []byte) *uint32 { return (*uint32)(unsafe.Pointer(unsafe.SliceData(b))) }

func loadWord(b []byte) uint32 { return atomic.LoadUint32(word(b)) }

func storeWord(b []byte, v uint32) { atomic.StoreUint32(word(b), v) }

func swapWord(b []byte, old, v uint32) bool { return atomic.CompareAndSwapUint32(word(b), old, v) }

// storeLong publishes a packed queue's used descriptor: length, buffer id and
// flags at once.
func storeLong(b []byte, v uint64) {
	atomic.StoreUint64((*uint64)(unsafe.Pointer(unsafe.SliceData(b))), v)
}

// load128 copies the 16 bytes of a descriptor, each half at once: what is
// judged is what is used, even while the driver writes. The half with the
// flags comes first: in a packed queue they make the other one valid.
func load128(b []byte) (lo, hi uint64) {
	p := (*[2]uint64)(unsafe.Pointer(unsafe.SliceData(b)))
	hi = atomic.LoadUint64(&p[1])
	return atomic.LoadUint64(&p[0]), hi
}
