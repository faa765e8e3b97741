package simd

// PADDB64 to PADDQ add lanes and wrap around.
func PADDB64(a, b uint64) uint64 { return add(a, b, top8) }
func PADDW64(a, b uint64) uint64 { return add(a, b, top16) }
func PADDD64(a, b uint64) uint64 { return add(a, b, top32) }
func PADDQ64(a, b uint64) uint64 { return a + b }

func PADDB(a, b Vec) Vec { return Vec{PADDB64(a.Lo, b.Lo), PADDB64(a.Hi, b.Hi)} }
func PADDW(a, b Vec) Vec { return Vec{PADDW64(a.Lo, b.Lo), PADDW64(a.Hi, b.Hi)} }
func PADDD(a, b Vec) Vec { return Vec{PADDD64(a.Lo, b.Lo), PADDD64(a.Hi, b.Hi)} }
func PADDQ(a, b Vec) Vec { return Vec{PADDQ64(a.Lo, b.Lo), PADDQ64(a.Hi, b.Hi)} }

// PSUBB64 to PSUBQ subtract lanes and wrap around.
func PSUBB64(a, b uint64) uint64 { return sub(a, b, top8) }
func PSUBW64(a, b uint64) uint64 { return sub(a, b, top16) }
func PSUBD64(a, b uint64) uint64 { return sub(a, b, top32) }
func PSUBQ64(a, b uint64) uint64 { return a - b }

func PSUBB(a, b Vec) Vec { return Vec{PSUBB64(a.Lo, b.Lo), PSUBB64(a.Hi, b.Hi)} }
func PSUBW(a, b Vec) Vec { return Vec{PSUBW64(a.Lo, b.Lo), PSUBW64(a.Hi, b.Hi)} }
func PSUBD(a, b Vec) Vec { return Vec{PSUBD64(a.Lo, b.Lo), PSUBD64(a.Hi, b.Hi)} }
func PSUBQ(a, b Vec) Vec { return Vec{PSUBQ64(a.Lo, b.Lo), PSUBQ64(a.Hi, b.Hi)} }

func addSigned(a, b, top uint64, size uint) uint64 {
	r := add(a, b, top)
	return saturate(r, a, ^(a^b)&(a^r)&top, top, size)
}

func subSigned(a, b, top uint64, size uint) uint64 {
	r := sub(a, b, top)
	return saturate(r, a, (a^b)&(a^r)&top, top, size)
}

func addUnsigned(a, b, top uint64, size uint) uint64 {
	r := add(a, b, top)
	return r | fill((a&b|(a|b)&^r)&top, size)
}

func subUnsigned(a, b, top uint64, size uint) uint64 {
	return sub(a, b, top) &^ fill(borrow(a, b, top), size)
}

// PADDSB64 to PSUBUSW saturate: signed, or unsigned with US in the name.
func PADDSB64(a, b uint64) uint64  { return addSigned(a, b, top8, 8) }
func PADDSW64(a, b uint64) uint64  { return addSigned(a, b, top16, 16) }
func PADDUSB64(a, b uint64) uint64 { return addUnsigned(a, b, top8, 8) }
func PADDUSW64(a, b uint64) uint64 { return addUnsigned(a, b, top16, 16) }
func PSUBSB64(a, b uint64) uint64  { return subSigned(a, b, top8, 8) }
func PSUBSW64(a, b uint64) uint64  { return subSigned(a, b, top16, 16) }
func PSUBUSB64(a, b uint64) uint64 { return subUnsigned(a, b, top8, 8) }
func PSUBUSW64(a, b uint64) uint64 { return subUnsigned(a, b, top16, 16) }

func PADDSB(a, b Vec) Vec  { return Vec{PADDSB64(a.Lo, b.Lo), PADDSB64(a.Hi, b.Hi)} }
func PADDSW(a, b Vec) Vec  { return Vec{PADDSW64(a.Lo, b.Lo), PADDSW64(a.Hi, b.Hi)} }
func PADDUSB(a, b Vec) Vec { return Vec{PADDUSB64(a.Lo, b.Lo), PADDUSB64(a.Hi, b.Hi)} }
func PADDUSW(a, b Vec) Vec { return Vec{PADDUSW64(a.Lo, b.Lo), PADDUSW64(a.Hi, b.Hi)} }
func PSUBSB(a, b Vec) Vec  { return Vec{PSUBSB64(a.Lo, b.Lo), PSUBSB64(a.Hi, b.Hi)} }
func PSUBSW(a, b Vec) Vec  { return Vec{PSUBSW64(a.Lo, b.Lo), PSUBSW64(a.Hi, b.Hi)} }
func PSUBUSB(a, b Vec) Vec { return Vec{PSUBUSB64(a.Lo, b.Lo), PSUBUSB64(a.Hi, b.Hi)} }
func PSUBUSW(a, b Vec) Vec { return Vec{PSUBUSW64(a.Lo, b.Lo), PSUBUSW64(a.Hi, b.Hi)} }

// PAVGB64 to PAVGW are the mean of unsigned lanes, halves rounded up.
func PAVGB64(a, b uint64) uint64 { return (a | b) - (a^b)&^low8>>1 }
func PAVGW64(a, b uint64) uint64 { return (a | b) - (a^b)&^low16>>1 }

func PAVGB(a, b Vec) Vec { return Vec{PAVGB64(a.Lo, b.Lo), PAVGB64(a.Hi, b.Hi)} }
func PAVGW(a, b Vec) Vec { return Vec{PAVGW64(a.Lo, b.Lo), PAVGW64(a.Hi, b.Hi)} }

// The minimum or maximum of lanes, signed with S in the name. What has MMX forms comes first.
func PMINUB64(a, b uint64) uint64 { return pick(a, b, greater(b, a, top8, 8)) }
func PMAXUB64(a, b uint64) uint64 { return pick(a, b, greater(a, b, top8, 8)) }
func PMINSW64(a, b uint64) uint64 { return pick(a, b, greaterSigned(b, a, top16, 16)) }
func PMAXSW64(a, b uint64) uint64 { return pick(a, b, greaterSigned(a, b, top16, 16)) }

func PMINUB(a, b Vec) Vec { return Vec{PMINUB64(a.Lo, b.Lo), PMINUB64(a.Hi, b.Hi)} }
func PMAXUB(a, b Vec) Vec { return Vec{PMAXUB64(a.Lo, b.Lo), PMAXUB64(a.Hi, b.Hi)} }
func PMINSW(a, b Vec) Vec { return Vec{PMINSW64(a.Lo, b.Lo), PMINSW64(a.Hi, b.Hi)} }
func PMAXSW(a, b Vec) Vec { return Vec{PMAXSW64(a.Lo, b.Lo), PMAXSW64(a.Hi, b.Hi)} }

func PMINSB(a, b Vec) Vec {
	return Vec{pick(a.Lo, b.Lo, greaterSigned(b.Lo, a.Lo, top8, 8)), pick(a.Hi, b.Hi, greaterSigned(b.Hi, a.Hi, top8, 8))}
}

func PMAXSB(a, b Vec) Vec {
	return Vec{pick(a.Lo, b.Lo, greaterSigned(a.Lo, b.Lo, top8, 8)), pick(a.Hi, b.Hi, greaterSigned(a.Hi, b.Hi, top8, 8))}
}

func PMINUW(a, b Vec) Vec {
	return Vec{pick(a.Lo, b.Lo, greater(b.Lo, a.Lo, top16, 16)), pick(a.Hi, b.Hi, greater(b.Hi, a.Hi, top16, 16))}
}

func PMAXUW(a, b Vec) Vec {
	return Vec{pick(a.Lo, b.Lo, greater(a.Lo, b.Lo, top16, 16)), pick(a.Hi, b.Hi, greater(a.Hi, b.Hi, top16, 16))}
}

func PMINSD(a, b Vec) Vec {
	return Vec{pick(a.Lo, b.Lo, greaterSigned(b.Lo, a.Lo, top32, 32)), pick(a.Hi, b.Hi, greaterSigned(b.Hi, a.Hi, top32, 32))}
}

func PMAXSD(a, b Vec) Vec {
	return Vec{pick(a.Lo, b.Lo, greaterSigned(a.Lo, b.Lo, top32, 32)), pick(a.Hi, b.Hi, greaterSigned(a.Hi, b.Hi, top32, 32))}
}

func PMINUD(a, b Vec) Vec {
	return Vec{pick(a.Lo, b.Lo, greater(b.Lo, a.Lo, top32, 32)), pick(a.Hi, b.Hi, greater(b.Hi, a.Hi, top32, 32))}
}

func PMAXUD(a, b Vec) Vec {
	return Vec{pick(a.Lo, b.Lo, greater(a.Lo, b.Lo, top32, 32)), pick(a.Hi, b.Hi, greater(a.Hi, b.Hi, top32, 32))}
}
