package simd

// packsswb to packusdw narrow four words or two 32-bit lanes to 32 bits in all.

func packsswb(x uint64) uint64 {
	var r uint64
	for s := 0; s < 64; s += 16 {
		r |= saturate8(int16(x>>s)) << (s / 2)
	}
	return r
}

func packuswb(x uint64) uint64 {
	var r uint64
	for s := 0; s < 64; s += 16 {
		r |= saturateU8(int16(x>>s)) << (s / 2)
	}
	return r
}

func packssdw(x uint64) uint64 { return saturate16(int32(x)) | saturate16(int32(x>>32))<<16 }

func packusdw(x uint64) uint64 { return saturateU16(int32(x)) | saturateU16(int32(x>>32))<<16 }

// PACKSSWB64 narrows signed words to signed bytes, saturated: those of a, then those of b.
func PACKSSWB64(a, b uint64) uint64 { return packsswb(a) | packsswb(b)<<32 }

// PACKSSWB narrows signed words to signed bytes, saturated: those of a, then those of b.
func PACKSSWB(a, b Vec) Vec { return Vec{PACKSSWB64(a.Lo, a.Hi), PACKSSWB64(b.Lo, b.Hi)} }

// PACKUSWB64 narrows signed words to unsigned bytes, saturated: those of a, then those of b.
func PACKUSWB64(a, b uint64) uint64 { return packuswb(a) | packuswb(b)<<32 }

// PACKUSWB narrows signed words to unsigned bytes, saturated: those of a, then those of b.
func PACKUSWB(a, b Vec) Vec { return Vec{PACKUSWB64(a.Lo, a.Hi), PACKUSWB64(b.Lo, b.Hi)} }

// PACKSSDW64 narrows signed 32-bit lanes to signed words, saturated: those of a, then those of b.
func PACKSSDW64(a, b uint64) uint64 { return packssdw(a) | packssdw(b)<<32 }

// PACKSSDW narrows signed 32-bit lanes to signed words, saturated: those of a, then those of b.
func PACKSSDW(a, b Vec) Vec { return Vec{PACKSSDW64(a.Lo, a.Hi), PACKSSDW64(b.Lo, b.Hi)} }

// PACKUSDW narrows signed 32-bit lanes to unsigned words, saturated: those of a, then those of b.
func PACKUSDW(a, b Vec) Vec {
	return Vec{packusdw(a.Lo) | packusdw(a.Hi)<<32, packusdw(b.Lo) | packusdw(b.Hi)<<32}
}

// spread8 gives each of the low four bytes a word, spread16 each of the low two
// words 32 bits.

func spread8(x uint64) uint64 {
	x = uint64(uint32(x))
	x = (x | x<<16) & 0x0000FFFF0000FFFF
	return (x | x<<8) & 0x00FF00FF00FF00FF
}

func spread16(x uint64) uint64 { return x&0xFFFF | x<<16&0xFFFF00000000 }

// PUNPCKLBW64 to PUNPCKHDQ64 interleave the lanes of the low or high halves, a's first.
func PUNPCKLBW64(a, b uint64) uint64 { return spread8(a) | spread8(b)<<8 }
func PUNPCKLWD64(a, b uint64) uint64 { return spread16(a) | spread16(b)<<16 }
func PUNPCKLDQ64(a, b uint64) uint64 { return a&0xFFFFFFFF | b<<32 }
func PUNPCKHBW64(a, b uint64) uint64 { return PUNPCKLBW64(a>>32, b>>32) }
func PUNPCKHWD64(a, b uint64) uint64 { return PUNPCKLWD64(a>>32, b>>32) }
func PUNPCKHDQ64(a, b uint64) uint64 { return a>>32 | b&^0xFFFFFFFF }

// PUNPCKLBW to PUNPCKHQDQ interleave the lanes of the low or high halves, a's first.

func PUNPCKLBW(a, b Vec) Vec {
	return Vec{PUNPCKLBW64(a.Lo, b.Lo), PUNPCKHBW64(a.Lo, b.Lo)}
}

func PUNPCKLWD(a, b Vec) Vec {
	return Vec{PUNPCKLWD64(a.Lo, b.Lo), PUNPCKHWD64(a.Lo, b.Lo)}
}

func PUNPCKLDQ(a, b Vec) Vec {
	return Vec{PUNPCKLDQ64(a.Lo, b.Lo), PUNPCKHDQ64(a.Lo, b.Lo)}
}

func PUNPCKLQDQ(a, b Vec) Vec { return Vec{a.Lo, b.Lo} }

func PUNPCKHBW(a, b Vec) Vec {
	return Vec{PUNPCKLBW64(a.Hi, b.Hi), PUNPCKHBW64(a.Hi, b.Hi)}
}

func PUNPCKHWD(a, b Vec) Vec {
	return Vec{PUNPCKLWD64(a.Hi, b.Hi), PUNPCKHWD64(a.Hi, b.Hi)}
}

func PUNPCKHDQ(a, b Vec) Vec {
	return Vec{PUNPCKLDQ64(a.Hi, b.Hi), PUNPCKHDQ64(a.Hi, b.Hi)}
}

func PUNPCKHQDQ(a, b Vec) Vec { return Vec{a.Hi, b.Hi} }

// extend8 and extend16 copy the sign of a lane's low half to its high half.

func extend8(x uint64) uint64  { return sub(x^top16>>8, top16>>8, top16) }
func extend16(x uint64) uint64 { return sub(x^top32>>16, top32>>16, top32) }

// PMOVSXBW to PMOVZXDQ widen as many low lanes of b as fit, by the sign or by zeros.
func PMOVSXBW(b Vec) Vec { return Vec{extend8(spread8(b.Lo)), extend8(spread8(b.Lo >> 32))} }
func PMOVSXWD(b Vec) Vec { return Vec{extend16(spread16(b.Lo)), extend16(spread16(b.Lo >> 32))} }
func PMOVSXDQ(b Vec) Vec { return Vec{uint64(int64(int32(b.Lo))), uint64(int64(b.Lo) >> 32)} }
func PMOVSXBD(b Vec) Vec { return PMOVSXWD(Vec{Lo: extend8(spread8(b.Lo))}) }
func PMOVSXBQ(b Vec) Vec { return Vec{uint64(int64(int8(b.Lo))), uint64(int64(int8(b.Lo >> 8)))} }
func PMOVSXWQ(b Vec) Vec { return Vec{uint64(int64(int16(b.Lo))), uint64(int64(int16(b.Lo >> 16)))} }
func PMOVZXBW(b Vec) Vec { return Vec{spread8(b.Lo), spread8(b.Lo >> 32)} }
func PMOVZXWD(b Vec) Vec { return Vec{spread16(b.Lo), spread16(b.Lo >> 32)} }
func PMOVZXDQ(b Vec) Vec { return Vec{b.Lo & 0xFFFFFFFF, b.Lo >> 32} }
func PMOVZXBD(b Vec) Vec { return PMOVZXWD(Vec{Lo: spread8(b.Lo)}) }
func PMOVZXBQ(b Vec) Vec { return Vec{b.Lo & 0xFF, b.Lo >> 8 & 0xFF} }
func PMOVZXWQ(b Vec) Vec { return Vec{b.Lo & 0xFFFF, b.Lo >> 16 & 0xFFFF} }
