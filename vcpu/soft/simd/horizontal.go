package simd

// Horizontal operations make half as many lanes from a, then from b: a half of the
// result is what one operand, or one half of it, comes to.

// pairs makes two words from four.
func pairs(x uint64, f func(l, h int32) uint64) uint64 {
	return f(int32(int16(x)), int32(int16(x>>16))) | f(int32(int16(x>>32)), int32(int16(x>>48)))<<16
}

func phaddw(x uint64) uint64 {
	return pairs(x, func(l, h int32) uint64 { return uint64(uint16(l + h)) })
}

func phaddsw(x uint64) uint64 {
	return pairs(x, func(l, h int32) uint64 { return saturate16(l + h) })
}

func phsubw(x uint64) uint64 {
	return pairs(x, func(l, h int32) uint64 { return uint64(uint16(l - h)) })
}

func phsubsw(x uint64) uint64 {
	return pairs(x, func(l, h int32) uint64 { return saturate16(l - h) })
}

func phaddd(x uint64) uint64 {
	return uint64(uint32(x) + uint32(x>>32))
}

func phsubd(x uint64) uint64 {
	return uint64(uint32(x) - uint32(x>>32))
}

// PHADDW64 adds neighbouring words.
func PHADDW64(a, b uint64) uint64 { return phaddw(a) | phaddw(b)<<32 }

// PHADDW adds neighbouring words.
func PHADDW(a, b Vec) Vec { return Vec{PHADDW64(a.Lo, a.Hi), PHADDW64(b.Lo, b.Hi)} }

// PHADDSW64 adds neighbouring words, saturated.
func PHADDSW64(a, b uint64) uint64 { return phaddsw(a) | phaddsw(b)<<32 }

// PHADDSW adds neighbouring words, saturated.
func PHADDSW(a, b Vec) Vec { return Vec{PHADDSW64(a.Lo, a.Hi), PHADDSW64(b.Lo, b.Hi)} }

// PHSUBW64 subtracts each odd word from its lower neighbour.
func PHSUBW64(a, b uint64) uint64 { return phsubw(a) | phsubw(b)<<32 }

// PHSUBW subtracts each odd word from its lower neighbour.
func PHSUBW(a, b Vec) Vec { return Vec{PHSUBW64(a.Lo, a.Hi), PHSUBW64(b.Lo, b.Hi)} }

// PHSUBSW64 subtracts each odd word from its lower neighbour, saturated.
func PHSUBSW64(a, b uint64) uint64 { return phsubsw(a) | phsubsw(b)<<32 }

// PHSUBSW subtracts each odd word from its lower neighbour, saturated.
func PHSUBSW(a, b Vec) Vec { return Vec{PHSUBSW64(a.Lo, a.Hi), PHSUBSW64(b.Lo, b.Hi)} }

// PHADDD64 adds neighbouring 32-bit lanes.
func PHADDD64(a, b uint64) uint64 { return phaddd(a) | phaddd(b)<<32 }

// PHADDD adds neighbouring 32-bit lanes.
func PHADDD(a, b Vec) Vec { return Vec{PHADDD64(a.Lo, a.Hi), PHADDD64(b.Lo, b.Hi)} }

// PHSUBD64 subtracts each odd 32-bit lane from its lower neighbour.
func PHSUBD64(a, b uint64) uint64 { return phsubd(a) | phsubd(b)<<32 }

// PHSUBD subtracts each odd 32-bit lane from its lower neighbour.
func PHSUBD(a, b Vec) Vec { return Vec{PHSUBD64(a.Lo, a.Hi), PHSUBD64(b.Lo, b.Hi)} }
