package simd

func low(a, b uint16) uint16  { return a * b }
func high(a, b uint16) uint16 { return uint16(int32(int16(a)) * int32(int16(b)) >> 16) }

func highUnsigned(a, b uint16) uint16 { return uint16(uint32(a) * uint32(b) >> 16) }

func highRounded(a, b uint16) uint16 {
	return uint16((int32(int16(a))*int32(int16(b))>>14 + 1) >> 1)
}

// PMULLW64 is the low halves of the products of 16-bit lanes.
func PMULLW64(a, b uint64) uint64 {
	var r uint64
	for s := 0; s < 64; s += 16 {
		r |= uint64(low(uint16(a>>s), uint16(b>>s))) << s
	}
	return r
}

// PMULHW64 is the high halves of the signed products of 16-bit lanes.
func PMULHW64(a, b uint64) uint64 {
	var r uint64
	for s := 0; s < 64; s += 16 {
		r |= uint64(high(uint16(a>>s), uint16(b>>s))) << s
	}
	return r
}

// PMULHUW64 is the high halves of the unsigned products of 16-bit lanes.
func PMULHUW64(a, b uint64) uint64 {
	var r uint64
	for s := 0; s < 64; s += 16 {
		r |= uint64(highUnsigned(uint16(a>>s), uint16(b>>s))) << s
	}
	return r
}

// PMULHRSW64 is bits 30:15 of the signed products of 16-bit lanes, rounded.
func PMULHRSW64(a, b uint64) uint64 {
	var r uint64
	for s := 0; s < 64; s += 16 {
		r |= uint64(highRounded(uint16(a>>s), uint16(b>>s))) << s
	}
	return r
}

// PMADDWD64 multiplies signed 16-bit lanes and adds neighbouring products, which
// wrap around only where all four numbers are -32768.
func PMADDWD64(a, b uint64) uint64 {
	var r uint64
	for s := 0; s < 64; s += 32 {
		x := int32(int16(a>>s)) * int32(int16(b>>s))
		y := int32(int16(a>>(s+16))) * int32(int16(b>>(s+16)))
		r |= uint64(uint32(x+y)) << s
	}
	return r
}

// PMADDUBSW64 multiplies unsigned bytes of a with signed bytes of b and adds
// neighbouring products, saturated.
func PMADDUBSW64(a, b uint64) uint64 {
	var r uint64
	for s := 0; s < 64; s += 16 {
		x := int32(uint8(a>>s)) * int32(int8(b>>s))
		y := int32(uint8(a>>(s+8))) * int32(int8(b>>(s+8)))
		r |= saturate16(x+y) << s
	}
	return r
}

// PMULUDQ64 is the product of the low unsigned 32-bit lanes.
func PMULUDQ64(a, b uint64) uint64 { return uint64(uint32(a)) * uint64(uint32(b)) }

func muldq(a, b uint64) uint64 { return uint64(int64(int32(a)) * int64(int32(b))) }

func mulld(a, b uint64) uint64 {
	return uint64(uint32(a)*uint32(b)) | uint64(uint32(a>>32)*uint32(b>>32))<<32
}

// PSADBW64 is the sum of the differences of bytes, without their signs.
func PSADBW64(a, b uint64) uint64 {
	d := subUnsigned(a, b, top8, 8) | subUnsigned(b, a, top8, 8)
	d = d&0x00FF00FF00FF00FF + d>>8&0x00FF00FF00FF00FF
	return d * low16 >> 48
}

// The same on both halves.

func PMULLW(a, b Vec) Vec    { return Vec{PMULLW64(a.Lo, b.Lo), PMULLW64(a.Hi, b.Hi)} }
func PMULHW(a, b Vec) Vec    { return Vec{PMULHW64(a.Lo, b.Lo), PMULHW64(a.Hi, b.Hi)} }
func PMULHUW(a, b Vec) Vec   { return Vec{PMULHUW64(a.Lo, b.Lo), PMULHUW64(a.Hi, b.Hi)} }
func PMULHRSW(a, b Vec) Vec  { return Vec{PMULHRSW64(a.Lo, b.Lo), PMULHRSW64(a.Hi, b.Hi)} }
func PMADDWD(a, b Vec) Vec   { return Vec{PMADDWD64(a.Lo, b.Lo), PMADDWD64(a.Hi, b.Hi)} }
func PMADDUBSW(a, b Vec) Vec { return Vec{PMADDUBSW64(a.Lo, b.Lo), PMADDUBSW64(a.Hi, b.Hi)} }
func PMULUDQ(a, b Vec) Vec   { return Vec{PMULUDQ64(a.Lo, b.Lo), PMULUDQ64(a.Hi, b.Hi)} }
func PSADBW(a, b Vec) Vec    { return Vec{PSADBW64(a.Lo, b.Lo), PSADBW64(a.Hi, b.Hi)} }

// PMULDQ is the products of signed 32-bit lanes 0 and 2.
func PMULDQ(a, b Vec) Vec { return Vec{muldq(a.Lo, b.Lo), muldq(a.Hi, b.Hi)} }

// PMULLD is the low halves of the products of 32-bit lanes.
func PMULLD(a, b Vec) Vec { return Vec{mulld(a.Lo, b.Lo), mulld(a.Hi, b.Hi)} }

// MPSADBW compares four bytes of b with four bytes of a at eight places in a row:
// word i of the result is the sum of their differences at place i. imm selects the
// four bytes of b (1:0) and the first place in a (2).
func MPSADBW(a, b Vec, imm uint8) Vec {
	var r Vec
	from := uint(imm>>2&1) * 4
	block := b.Dword(uint(imm))
	for i := uint(0); i < 8; i++ {
		at := PALIGNR(Vec{}, a, uint8(from+i)).Lo
		r = r.insert(PSADBW64(at&0xFFFFFFFF, uint64(block)), 0xFFFF, i*16)
	}
	return r
}

// PHMINPOSUW is the least unsigned word in word 0 and the first place of it in word 1.
func PHMINPOSUW(b Vec) Vec {
	least, place := b.Word(0), uint(0)
	for i := uint(1); i < 8; i++ {
		if w := b.Word(i); w < least {
			least, place = w, i
		}
	}
	return Vec{Lo: uint64(least) | uint64(place)<<16}
}
