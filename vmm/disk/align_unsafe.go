package disk

import "unsafe"

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// alignedBytes is n bytes whose address is a multiple of alignment.
func alignedBytes(n, alignment int) []byte {
	b := make([]byte, n+alignment)
	skip := -int(address(b)) & (alignment - 1)
	return b[skip:][:n:n]
}
