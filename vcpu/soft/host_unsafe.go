package soft

import (
	"sync/atomic"
	"unsafe"
)

// hostPage is a page of guest RAM in host memory. Offsets and lengths stay
// within the page: who calls has checked.
type hostPage struct{ p unsafe.Pointer }

func (h hostPage) load(off uint64, n uint8) uint64 {
	p := unsafe.Add(h.p, off)
	switch n {
	case 8:
		return *(*uint64)(p)
	case 4:
		return uint64(*(*uint32)(p))
	case 2:
		return uint64(*(*uint16)(p))
	}
	return uint64(*(*uint8)(p))
}

func (h hostPage) store(off uint64, n uint8, v uint64) {
	p := unsafe.Add(h.p, off)
	switch n {
	case 8:
		*(*uint64)(p) = v
	case 4:
		*(*uint32)(p) = uint32(v)
	case 2:
		*(*uint16)(p) = uint16(v)
	default:
		*(*uint8)(p) = uint8(v)
	}
}

func (h hostPage) bytes(off uint64, n int) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(h.p, off)), n)
}

// modify replaces n bytes by f of them, in one atomic operation if locked.
func (h hostPage) modify(off uint64, n uint8, locked bool, f func(uint64) uint64) {
	if !locked {
		h.store(off, n, f(h.load(off, n)))
		return
	}
	for {
		old := h.load(off, n)
		if h.compareAndSwap(off, n, old, f(old)) {
			return
		}
	}
}

// compareAndSwap is atomic for operands of any alignment: the host's LOCK prefix
// is.
func (h hostPage) compareAndSwap(off uint64, n uint8, old, new uint64) bool {
	p := unsafe.Add(h.p, off)
	switch n {
	case 8:
		return atomic.CompareAndSwapUint64((*uint64)(p), old, new)
	case 4:
		return atomic.CompareAndSwapUint32((*uint32)(p), uint32(old), uint32(new))
	case 2:
		return cas16(p, uint16(old), uint16(new))
	}
	return cas8(p, uint8(old), uint8(new))
}

//go:noescape
func cas16(p unsafe.Pointer, old, new uint16) bool

//go:noescape
func cas8(p unsafe.Pointer, old, new uint8) bool

// hostAt is the page that holds byte off of a RAM slot.
func hostAt(ram []byte, off uint64) hostPage {
	return hostPage{unsafe.Pointer(&ram[off&^0xfff])}
}

// opSize is the distance of two ops.
const opSize = unsafe.Sizeof(op{})
