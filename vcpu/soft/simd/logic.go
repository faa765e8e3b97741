package simd

// PAND is bitwise and.
func PAND(a, b Vec) Vec { return Vec{a.Lo & b.Lo, a.Hi & b.Hi} }

// PANDN is the bits of b that a has not.
func PANDN(a, b Vec) Vec { return Vec{b.Lo &^ a.Lo, b.Hi &^ a.Hi} }

// POR is bitwise or.
func POR(a, b Vec) Vec { return Vec{a.Lo | b.Lo, a.Hi | b.Hi} }

// PXOR is bitwise exclusive or.
func PXOR(a, b Vec) Vec { return Vec{a.Lo ^ b.Lo, a.Hi ^ b.Hi} }

// PTEST sets ZF where a and b have no bit in common, CF where a has all bits of b.
func PTEST(a, b Vec) uint32 {
	var flags uint32
	if (a.Lo&b.Lo)|(a.Hi&b.Hi) == 0 {
		flags |= ZF
	}
	if (b.Lo&^a.Lo)|(b.Hi&^a.Hi) == 0 {
		flags |= CF
	}
	return flags
}

// PMOVMSKB64 is the top bits of the eight bytes.
func PMOVMSKB64(b uint64) uint32 {
	// Bit 8i times 1<<(56-7i) is bit 56+i; nothing else gets there.
	return uint32(b & top8 >> 7 * 0x0102040810204080 >> 56)
}

// PMOVMSKB is the top bits of the sixteen bytes.
func PMOVMSKB(b Vec) uint32 { return PMOVMSKB64(b.Lo) | PMOVMSKB64(b.Hi)<<8 }

// MOVMSKPS is the top bits of the four 32-bit lanes.
func MOVMSKPS(b Vec) uint32 {
	return uint32(b.Lo>>31&1 | b.Lo>>63<<1 | b.Hi>>31&1<<2 | b.Hi>>63<<3)
}

// MOVMSKPD is the top bits of the two 64-bit lanes.
func MOVMSKPD(b Vec) uint32 { return uint32(b.Lo>>63 | b.Hi>>63<<1) }
