package simd

// Vec is the value of an XMM register. Lanes are little-endian: byte 0 is the low
// byte of Lo.
type Vec struct{ Lo, Hi uint64 }

// Flags that PTEST and the string comparisons define, where EFLAGS has them. They
// clear the other arithmetic flags.
const (
	CF uint32 = 1 << 0
	ZF uint32 = 1 << 6
	SF uint32 = 1 << 7
	OF uint32 = 1 << 11
)

// Byte is byte i, modulo 16.
func (v Vec) Byte(i uint) uint8 { return uint8(v.qword(i>>3) >> (i & 7 * 8)) }

// Word is the 16-bit lane i, modulo 8.
func (v Vec) Word(i uint) uint16 { return uint16(v.qword(i>>2) >> (i & 3 * 16)) }

// Dword is the 32-bit lane i, modulo 4.
func (v Vec) Dword(i uint) uint32 { return uint32(v.qword(i>>1) >> (i & 1 * 32)) }

func (v Vec) qword(i uint) uint64 {
	if i&1 != 0 {
		return v.Hi
	}
	return v.Lo
}

// insert replaces the lane of v that starts at bit shift and is as wide as mask.
func (v Vec) insert(x, mask uint64, shift uint) Vec {
	if shift < 64 {
		v.Lo = v.Lo&^(mask<<shift) | x<<shift
	} else {
		v.Hi = v.Hi&^(mask<<(shift-64)) | x<<(shift-64)
	}
	return v
}

// dwords joins four 32-bit lanes, lowest first.
func dwords(d0, d1, d2, d3 uint32) Vec {
	return Vec{uint64(d0) | uint64(d1)<<32, uint64(d2) | uint64(d3)<<32}
}
