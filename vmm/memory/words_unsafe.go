package memory

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// atomicMOVDQA says that an aligned 16-byte load is one access: promised for every CPU that has AVX (SDM vol. 3, Guaranteed Atomic Operations).
var atomicMOVDQA = cpu.X86.HasAVX

//go:noescape
func load16(p *uint16) uint16

//go:noescape
func store16(p *uint16, v uint16)

//go:noescape
func load128(p *[2]uint64) (lo, hi uint64)

//go:noescape
func cas128(p *[2]uint64, oldLo, oldHi, newLo, newHi uint64) (lo, hi uint64, swapped bool)

func ptr16(b []byte) *uint16 { return (*uint16)(word(b, 2)) }

func ptr32(b []byte) *uint32 { return (*uint32)(word(b, 4)) }

func ptr64(b []byte) *uint64 { return (*uint64)(word(b, 8)) }

func ptr128(b []byte) *[2]uint64 { return (*[2]uint64)(word(b, 16)) }

// word returns the address of b's first width bytes, which it checks are there and aligned.
func word(b []byte, width uintptr) unsafe.Pointer {
	_ = b[width-1]
	p := unsafe.Pointer(&b[0])
	if uintptr(p)%width != 0 {
		panic("memory: misaligned view")
	}
	return p
}
