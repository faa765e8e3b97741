package simd

// The count of a shift is the whole 64-bit operand, or the immediate: one that is
// larger than the lane shifts everything out.

// PSLLW64 shifts 16-bit lanes left.
func PSLLW64(a, count uint64) uint64 {
	if count > 15 {
		return 0
	}
	return a & (low16 * (0xFFFF >> count)) << count
}

// PSLLD64 shifts 32-bit lanes left.
func PSLLD64(a, count uint64) uint64 {
	if count > 31 {
		return 0
	}
	return a & (low32 * (0xFFFFFFFF >> count)) << count
}

// PSLLQ64 shifts left.
func PSLLQ64(a, count uint64) uint64 { return a << count }

// PSRLW64 shifts 16-bit lanes right and zeros in.
func PSRLW64(a, count uint64) uint64 {
	if count > 15 {
		return 0
	}
	return a >> count & (low16 * (0xFFFF >> count))
}

// PSRLD64 shifts 32-bit lanes right and zeros in.
func PSRLD64(a, count uint64) uint64 {
	if count > 31 {
		return 0
	}
	return a >> count & (low32 * (0xFFFFFFFF >> count))
}

// PSRLQ64 shifts right and zeros in.
func PSRLQ64(a, count uint64) uint64 { return a >> count }

// PSRAW64 shifts 16-bit lanes right and the sign in.
func PSRAW64(a, count uint64) uint64 {
	count = min(count, 15)
	sign := uint64(top16) >> count
	return sub(PSRLW64(a, count)^sign, sign, top16)
}

// PSRAD64 shifts 32-bit lanes right and the sign in.
func PSRAD64(a, count uint64) uint64 {
	count = min(count, 31)
	sign := uint64(top32) >> count
	return sub(PSRLD64(a, count)^sign, sign, top32)
}

// The same on both halves.

func PSLLW(a Vec, count uint64) Vec { return Vec{PSLLW64(a.Lo, count), PSLLW64(a.Hi, count)} }
func PSLLD(a Vec, count uint64) Vec { return Vec{PSLLD64(a.Lo, count), PSLLD64(a.Hi, count)} }
func PSLLQ(a Vec, count uint64) Vec { return Vec{a.Lo << count, a.Hi << count} }
func PSRLW(a Vec, count uint64) Vec { return Vec{PSRLW64(a.Lo, count), PSRLW64(a.Hi, count)} }
func PSRLD(a Vec, count uint64) Vec { return Vec{PSRLD64(a.Lo, count), PSRLD64(a.Hi, count)} }
func PSRLQ(a Vec, count uint64) Vec { return Vec{a.Lo >> count, a.Hi >> count} }
func PSRAW(a Vec, count uint64) Vec { return Vec{PSRAW64(a.Lo, count), PSRAW64(a.Hi, count)} }
func PSRAD(a Vec, count uint64) Vec { return Vec{PSRAD64(a.Lo, count), PSRAD64(a.Hi, count)} }

// PSLLDQ shifts the whole register left by bytes.
func PSLLDQ(a Vec, bytes uint64) Vec {
	if bytes >= 8 {
		return Vec{0, a.Lo << (min(bytes-8, 8) * 8)}
	}
	return Vec{a.Lo << (bytes * 8), a.Hi<<(bytes*8) | a.Lo>>(64-bytes*8)}
}

// PSRLDQ shifts the whole register right by bytes.
func PSRLDQ(a Vec, bytes uint64) Vec {
	if bytes >= 8 {
		return Vec{a.Hi >> (min(bytes-8, 8) * 8), 0}
	}
	return Vec{a.Lo>>(bytes*8) | a.Hi<<(64-bytes*8), a.Hi >> (bytes * 8)}
}

// PALIGNR is what stands imm bytes above the low end of a:b, zeros beyond a.
func PALIGNR(a, b Vec, imm uint8) Vec {
	if imm >= 16 {
		return PSRLDQ(a, uint64(imm)-16)
	}
	return POR(PSRLDQ(b, uint64(imm)), PSLLDQ(a, 16-uint64(imm)))
}

// PALIGNR64 is PALIGNR of a:b with 16 bytes in all.
func PALIGNR64(a, b uint64, imm uint8) uint64 { return PSRLDQ(Vec{b, a}, uint64(imm)).Lo }
