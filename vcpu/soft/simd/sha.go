package simd

import "math/bits"

// The SHA instructions keep the first of four values in the highest lane. FIPS 180-4
// has the functions and constants.

var sha1K = [4]uint32{0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6}

// SHA1RNDS4 is four rounds on A to D in a; b is the message, with E added to the
// first word. imm[1:0] selects the function and the constant.
func SHA1RNDS4(a, b Vec, imm uint8) Vec {
	A, B, C, D, E := a.Dword(3), a.Dword(2), a.Dword(1), a.Dword(0), uint32(0)
	for i := uint(0); i < 4; i++ {
		var f uint32
		switch imm & 3 {
		case 0:
			f = B&C ^ ^B&D
		case 2:
			f = B&C ^ B&D ^ C&D
		default:
			f = B ^ C ^ D
		}
		t := bits.RotateLeft32(A, 5) + f + E + b.Dword(3-i) + sha1K[imm&3]
		A, B, C, D, E = t, A, bits.RotateLeft32(B, 30), C, D
	}
	return dwords(D, C, B, A)
}

// SHA1NEXTE adds the E that follows from a's A to the first word of the message b.
func SHA1NEXTE(a, b Vec) Vec {
	return dwords(b.Dword(0), b.Dword(1), b.Dword(2), b.Dword(3)+bits.RotateLeft32(a.Dword(3), 30))
}

// SHA1MSG1 begins the message schedule of four words: a has W0 to W3, b begins with W4.
func SHA1MSG1(a, b Vec) Vec {
	return PXOR(a, Vec{b.Hi, a.Lo})
}

// SHA1MSG2 ends it: a is from SHA1MSG1 and W8, b has W12 to W15.
func SHA1MSG2(a, b Vec) Vec {
	w16 := bits.RotateLeft32(a.Dword(3)^b.Dword(2), 1)
	w17 := bits.RotateLeft32(a.Dword(2)^b.Dword(1), 1)
	w18 := bits.RotateLeft32(a.Dword(1)^b.Dword(0), 1)
	w19 := bits.RotateLeft32(a.Dword(0)^w16, 1)
	return dwords(w19, w18, w17, w16)
}

// SHA256RNDS2 is two rounds: a has C, D, G, H; b has A, B, E, F; wk, XMM0, has the
// sums of message and constant in its low half, the first one lowest.
func SHA256RNDS2(a, b, wk Vec) Vec {
	C, D, G, H := a.Dword(3), a.Dword(2), a.Dword(1), a.Dword(0)
	A, B, E, F := b.Dword(3), b.Dword(2), b.Dword(1), b.Dword(0)
	for i := uint(0); i < 2; i++ {
		t := E&F ^ ^E&G
		t += bits.RotateLeft32(E, -6) ^ bits.RotateLeft32(E, -11) ^ bits.RotateLeft32(E, -25)
		t += wk.Dword(i) + H
		u := A&B ^ A&C ^ B&C
		u += bits.RotateLeft32(A, -2) ^ bits.RotateLeft32(A, -13) ^ bits.RotateLeft32(A, -22)
		A, B, C, D, E, F, G, H = t+u, A, B, C, t+D, E, F, G
	}
	return dwords(F, E, B, A)
}

// SHA256MSG1 begins the message schedule: a has W0 to W3, lowest first, b begins with W4.
func SHA256MSG1(a, b Vec) Vec {
	s := func(x uint32) uint32 {
		return bits.RotateLeft32(x, -7) ^ bits.RotateLeft32(x, -18) ^ x>>3
	}
	return PADDD(a, dwords(s(a.Dword(1)), s(a.Dword(2)), s(a.Dword(3)), s(b.Dword(0))))
}

// SHA256MSG2 ends it: a is from SHA256MSG1 and W9 to W12, b has W12 to W15.
func SHA256MSG2(a, b Vec) Vec {
	s := func(x uint32) uint32 {
		return bits.RotateLeft32(x, -17) ^ bits.RotateLeft32(x, -19) ^ x>>10
	}
	w16 := a.Dword(0) + s(b.Dword(2))
	w17 := a.Dword(1) + s(b.Dword(3))
	return dwords(w16, w17, a.Dword(2)+s(w16), a.Dword(3)+s(w17))
}
