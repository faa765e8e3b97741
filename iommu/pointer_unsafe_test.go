package iommu

import "unsafe"

// pointerOffset is where p starts in b, if it does.
func pointerOffset(b, p []byte) (uint64, bool) {
	off := uintptr(unsafe.Pointer(unsafe.SliceData(p))) - uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return uint64(off), off < uintptr(len(b))
}
