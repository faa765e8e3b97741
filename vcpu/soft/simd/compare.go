package simd

// PCMPEQB64 to PCMPGTQ set all bits of the lanes that are equal, or greater as signed numbers.
func PCMPEQB64(a, b uint64) uint64 { return equal(a, b, top8, 8) }
func PCMPEQW64(a, b uint64) uint64 { return equal(a, b, top16, 16) }
func PCMPEQD64(a, b uint64) uint64 { return equal(a, b, top32, 32) }
func PCMPGTB64(a, b uint64) uint64 { return greaterSigned(a, b, top8, 8) }
func PCMPGTW64(a, b uint64) uint64 { return greaterSigned(a, b, top16, 16) }
func PCMPGTD64(a, b uint64) uint64 { return greaterSigned(a, b, top32, 32) }

func PCMPEQB(a, b Vec) Vec { return Vec{PCMPEQB64(a.Lo, b.Lo), PCMPEQB64(a.Hi, b.Hi)} }
func PCMPEQW(a, b Vec) Vec { return Vec{PCMPEQW64(a.Lo, b.Lo), PCMPEQW64(a.Hi, b.Hi)} }
func PCMPEQD(a, b Vec) Vec { return Vec{PCMPEQD64(a.Lo, b.Lo), PCMPEQD64(a.Hi, b.Hi)} }
func PCMPGTB(a, b Vec) Vec { return Vec{PCMPGTB64(a.Lo, b.Lo), PCMPGTB64(a.Hi, b.Hi)} }
func PCMPGTW(a, b Vec) Vec { return Vec{PCMPGTW64(a.Lo, b.Lo), PCMPGTW64(a.Hi, b.Hi)} }
func PCMPGTD(a, b Vec) Vec { return Vec{PCMPGTD64(a.Lo, b.Lo), PCMPGTD64(a.Hi, b.Hi)} }

func PCMPEQQ(a, b Vec) Vec { return Vec{bitMask(a.Lo == b.Lo), bitMask(a.Hi == b.Hi)} }
func PCMPGTQ(a, b Vec) Vec {
	return Vec{bitMask(int64(a.Lo) > int64(b.Lo)), bitMask(int64(a.Hi) > int64(b.Hi))}
}

func bitMask(c bool) uint64 {
	if c {
		return ^uint64(0)
	}
	return 0
}

// negate changes the sign of the lanes that are set in mask.
func negate(a, mask, top uint64) uint64 { return sub(a^mask, mask, top) }

func sign(a, b, top uint64, size uint) uint64 {
	return negate(a, fill(b&top, size), top) &^ equal(b, 0, top, size)
}

func abs(b, top uint64, size uint) uint64 { return negate(b, fill(b&top, size), top) }

// PSIGNB64 to PSIGND give lanes of a the sign of b: unchanged, zero or negated.
func PSIGNB64(a, b uint64) uint64 { return sign(a, b, top8, 8) }
func PSIGNW64(a, b uint64) uint64 { return sign(a, b, top16, 16) }
func PSIGND64(a, b uint64) uint64 { return sign(a, b, top32, 32) }

func PSIGNB(a, b Vec) Vec { return Vec{PSIGNB64(a.Lo, b.Lo), PSIGNB64(a.Hi, b.Hi)} }
func PSIGNW(a, b Vec) Vec { return Vec{PSIGNW64(a.Lo, b.Lo), PSIGNW64(a.Hi, b.Hi)} }
func PSIGND(a, b Vec) Vec { return Vec{PSIGND64(a.Lo, b.Lo), PSIGND64(a.Hi, b.Hi)} }

// PABSB64 to PABSD are absolute values; the least number stays.
func PABSB64(b uint64) uint64 { return abs(b, top8, 8) }
func PABSW64(b uint64) uint64 { return abs(b, top16, 16) }
func PABSD64(b uint64) uint64 { return abs(b, top32, 32) }

func PABSB(b Vec) Vec { return Vec{PABSB64(b.Lo), PABSB64(b.Hi)} }
func PABSW(b Vec) Vec { return Vec{PABSW64(b.Lo), PABSW64(b.Hi)} }
func PABSD(b Vec) Vec { return Vec{PABSD64(b.Lo), PABSD64(b.Hi)} }
