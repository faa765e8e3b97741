package simd

import "math/bits"

// The AES instructions hold the state as FIPS 197 does: byte 4c+r is row r of column c.

// sbox and invSbox are FIPS 197 §5.1.1 and §5.3.2. mix and invMix are what byte 0
// of a column gives to MixColumns and InvMixColumns; other bytes give it rotated.
var (
	sbox, invSbox [256]uint8
	mix, invMix   [256]uint32
)

func init() {
	// 3 generates the field's non-zero elements: p runs through them, q through
	// their inverses.
	p, q := uint8(1), uint8(1)
	for {
		p ^= double(p)
		q ^= q << 1
		q ^= q << 2
		q ^= q << 4
		if q&0x80 != 0 {
			q ^= 0x09
		}
		sbox[p] = q ^ bits.RotateLeft8(q, 1) ^ bits.RotateLeft8(q, 2) ^ bits.RotateLeft8(q, 3) ^ bits.RotateLeft8(q, 4) ^ 0x63
		if p == 1 {
			break
		}
	}
	sbox[0] = 0x63
	for i, s := range sbox {
		invSbox[s] = uint8(i)
	}
	for i := range mix {
		x1 := uint8(i)
		x2 := double(x1)
		x4 := double(x2)
		x8 := double(x4)
		mix[i] = column(x2, x1, x1, x2^x1)
		invMix[i] = column(x8^x4^x2, x8^x1, x8^x4^x1, x8^x2^x1)
	}
}

// double multiplies by x in the field of FIPS 197 §4.2.
func double(a uint8) uint8 { return a<<1 ^ a>>7*0x1B }

func column(r0, r1, r2, r3 uint8) uint32 {
	return uint32(r0) | uint32(r1)<<8 | uint32(r2)<<16 | uint32(r3)<<24
}

// shifted is column c after ShiftRows, with step 1, or InvShiftRows, with step 3,
// and the bytes replaced.
func shifted(v Vec, c, step uint, box *[256]uint8) uint32 {
	return column(
		box[v.Byte(4*c)],
		box[v.Byte(4*(c+step)+1)],
		box[v.Byte(4*(c+2*step)+2)],
		box[v.Byte(4*(c+3*step)+3)])
}

func mixed(w uint32, m *[256]uint32) uint32 {
	return m[uint8(w)] ^ bits.RotateLeft32(m[uint8(w>>8)], 8) ^ bits.RotateLeft32(m[uint8(w>>16)], 16) ^ bits.RotateLeft32(m[w>>24], 24)
}

// AESENC is one round of encryption of a with the round key b.
func AESENC(a, b Vec) Vec {
	return PXOR(b, dwords(
		mixed(shifted(a, 0, 1, &sbox), &mix), mixed(shifted(a, 1, 1, &sbox), &mix),
		mixed(shifted(a, 2, 1, &sbox), &mix), mixed(shifted(a, 3, 1, &sbox), &mix)))
}

// AESENCLAST is the last round of encryption of a with the round key b.
func AESENCLAST(a, b Vec) Vec {
	return PXOR(b, dwords(
		shifted(a, 0, 1, &sbox), shifted(a, 1, 1, &sbox),
		shifted(a, 2, 1, &sbox), shifted(a, 3, 1, &sbox)))
}

// AESDEC is one round of the equivalent inverse cipher on a with the round key b.
func AESDEC(a, b Vec) Vec { return PXOR(b, AESIMC(AESDECLAST(a, Vec{}))) }

// AESDECLAST is the last round of the equivalent inverse cipher on a with the round key b.
func AESDECLAST(a, b Vec) Vec {
	return PXOR(b, dwords(
		shifted(a, 0, 3, &invSbox), shifted(a, 1, 3, &invSbox),
		shifted(a, 2, 3, &invSbox), shifted(a, 3, 3, &invSbox)))
}

// AESIMC is InvMixColumns of b.
func AESIMC(b Vec) Vec {
	return dwords(
		mixed(b.Dword(0), &invMix), mixed(b.Dword(1), &invMix),
		mixed(b.Dword(2), &invMix), mixed(b.Dword(3), &invMix))
}

// AESKEYGENASSIST is SubWord of the 32-bit lanes 1 and 3 of b, each followed by its
// RotWord with imm as the round constant.
func AESKEYGENASSIST(b Vec, imm uint8) Vec {
	x, y := subWord(b.Dword(1)), subWord(b.Dword(3))
	return dwords(x, bits.RotateLeft32(x, -8)^uint32(imm), y, bits.RotateLeft32(y, -8)^uint32(imm))
}

func subWord(w uint32) uint32 {
	return column(sbox[uint8(w)], sbox[uint8(w>>8)], sbox[uint8(w>>16)], sbox[w>>24])
}
