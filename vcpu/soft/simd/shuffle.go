package simd

// PSHUFW64 places word imm[2i+1:2i] of b at word i; MMX's PSHUFW.
func PSHUFW64(b uint64, imm uint8) uint64 {
	var r uint64
	for s := 0; s < 64; s += 16 {
		r |= b >> (imm & 3 * 16) & 0xFFFF << s
		imm >>= 2
	}
	return r
}

// PSHUFLW is PSHUFW64 on the low half.
func PSHUFLW(b Vec, imm uint8) Vec { return Vec{PSHUFW64(b.Lo, imm), b.Hi} }

// PSHUFHW is PSHUFW64 on the high half.
func PSHUFHW(b Vec, imm uint8) Vec { return Vec{b.Lo, PSHUFW64(b.Hi, imm)} }

// PSHUFD places 32-bit lane imm[2i+1:2i] of b at lane i.
func PSHUFD(b Vec, imm uint8) Vec { return SHUFPS(b, b, imm) }

// SHUFPS takes its low two 32-bit lanes from a and the others from b, lane
// imm[2i+1:2i] for lane i.
func SHUFPS(a, b Vec, imm uint8) Vec {
	i := uint(imm)
	return dwords(a.Dword(i), a.Dword(i>>2), b.Dword(i>>4), b.Dword(i>>6))
}

// SHUFPD takes the 64-bit lane imm[0] of a and the lane imm[1] of b.
func SHUFPD(a, b Vec, imm uint8) Vec {
	return Vec{a.qword(uint(imm)), b.qword(uint(imm >> 1))}
}

// PSHUFB64 places byte b[i] modulo 8 of a at byte i, or zero where b[i] is negative.
func PSHUFB64(a, b uint64) uint64 {
	var r uint64
	for s := 0; s < 64; s += 8 {
		r |= a >> (b >> s & 7 * 8) & 0xFF << s
	}
	return r &^ fill(b&top8, 8)
}

// PSHUFB places byte b[i] modulo 16 of a at byte i, or zero where b[i] is negative.
func PSHUFB(a, b Vec) Vec { return Vec{a.shuffled(b.Lo), a.shuffled(b.Hi)} }

func (v Vec) shuffled(by uint64) uint64 {
	var lo, hi uint64
	for s := 0; s < 64; s += 8 {
		at := by >> s & 7 * 8
		lo |= v.Lo >> at & 0xFF << s
		hi |= v.Hi >> at & 0xFF << s
	}
	return pick(hi, lo, fill(by<<4&top8, 8)) &^ fill(by&top8, 8)
}

// MOVSHDUP copies odd 32-bit lanes of b to the even ones below them.
func MOVSHDUP(b Vec) Vec { return SHUFPS(b, b, 0b11_11_01_01) }

// MOVSLDUP copies even 32-bit lanes of b to the odd ones above them.
func MOVSLDUP(b Vec) Vec { return SHUFPS(b, b, 0b10_10_00_00) }

// MOVDDUP copies the low half of b to both.
func MOVDDUP(b Vec) Vec { return Vec{b.Lo, b.Lo} }

// PINSRB replaces byte imm[3:0].
func PINSRB(a Vec, x uint8, imm uint8) Vec { return a.insert(uint64(x), 0xFF, uint(imm&15)*8) }

// PINSRW64 replaces word imm[1:0].
func PINSRW64(a uint64, x uint16, imm uint8) uint64 {
	return Vec{Lo: a}.insert(uint64(x), 0xFFFF, uint(imm&3)*16).Lo
}

// PINSRW replaces word imm[2:0].
func PINSRW(a Vec, x uint16, imm uint8) Vec { return a.insert(uint64(x), 0xFFFF, uint(imm&7)*16) }

// PINSRD replaces the 32-bit lane imm[1:0].
func PINSRD(a Vec, x uint32, imm uint8) Vec {
	return a.insert(uint64(x), 0xFFFFFFFF, uint(imm&3)*32)
}

// PINSRQ replaces the half imm[0].
func PINSRQ(a Vec, x uint64, imm uint8) Vec {
	if imm&1 != 0 {
		return Vec{a.Lo, x}
	}
	return Vec{x, a.Hi}
}

// PEXTRB is byte imm[3:0].
func PEXTRB(b Vec, imm uint8) uint8 { return b.Byte(uint(imm)) }

// PEXTRW64 is word imm[1:0].
func PEXTRW64(b uint64, imm uint8) uint16 { return uint16(b >> (imm & 3 * 16)) }

// PEXTRW is word imm[2:0].
func PEXTRW(b Vec, imm uint8) uint16 { return b.Word(uint(imm)) }

// PEXTRD is the 32-bit lane imm[1:0]; so is EXTRACTPS.
func PEXTRD(b Vec, imm uint8) uint32 { return b.Dword(uint(imm)) }

// PEXTRQ is the half imm[0].
func PEXTRQ(b Vec, imm uint8) uint64 { return b.qword(uint(imm)) }

// INSERTPS replaces the 32-bit lane imm[5:4] of a with the lane imm[7:6] of b, then
// clears the lanes in imm[3:0]. A memory operand is b's lane 0 and imm[7:6] counts as 0.
func INSERTPS(a, b Vec, imm uint8) Vec {
	r := PINSRD(a, b.Dword(uint(imm>>6)), imm>>4)
	return PANDN(spreadBits(imm, top32, 32), r)
}

// spreadBits gives bit i of imm the lane i, as all ones or zeros.
func spreadBits(imm uint8, top uint64, size uint) Vec {
	var lo, hi uint64
	n := 64 / size
	for i := uint(0); i < n; i++ {
		at := (i+1)*size - 1
		lo |= uint64(imm>>i&1) << at
		hi |= uint64(imm>>(i+n)&1) << at
	}
	return Vec{fill(lo&top, size), fill(hi&top, size)}
}

func blend(a, b, mask Vec) Vec {
	return Vec{pick(b.Lo, a.Lo, mask.Lo), pick(b.Hi, a.Hi, mask.Hi)}
}

// PBLENDW takes the words of b whose bit is set in imm.
func PBLENDW(a, b Vec, imm uint8) Vec { return blend(a, b, spreadBits(imm, top16, 16)) }

// BLENDPS takes the 32-bit lanes of b whose bit is set in imm.
func BLENDPS(a, b Vec, imm uint8) Vec { return blend(a, b, spreadBits(imm, top32, 32)) }

// BLENDPD takes the halves of b whose bit is set in imm.
func BLENDPD(a, b Vec, imm uint8) Vec { return blend(a, b, spreadBits(imm, 1<<63, 64)) }

// PBLENDVB takes the bytes of b whose mask is negative; the mask is XMM0.
func PBLENDVB(a, b, mask Vec) Vec {
	return blend(a, b, Vec{fill(mask.Lo&top8, 8), fill(mask.Hi&top8, 8)})
}

// BLENDVPS takes the 32-bit lanes of b whose mask is negative.
func BLENDVPS(a, b, mask Vec) Vec {
	return blend(a, b, Vec{fill(mask.Lo&top32, 32), fill(mask.Hi&top32, 32)})
}

// BLENDVPD takes the halves of b whose mask is negative.
func BLENDVPD(a, b, mask Vec) Vec {
	return blend(a, b, Vec{bitMask(int64(mask.Lo) < 0), bitMask(int64(mask.Hi) < 0)})
}
