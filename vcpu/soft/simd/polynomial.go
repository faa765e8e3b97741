package simd

import "math/bits"

// PCLMULQDQ multiplies without carries the half imm[0] of a by the half imm[4] of b.
func PCLMULQDQ(a, b Vec, imm uint8) Vec {
	x, y := a.qword(uint(imm)), b.qword(uint(imm>>4))
	// Reversed operands have the reversed product, one bit further down.
	high := bits.Reverse64(clmulLow(bits.Reverse64(x), bits.Reverse64(y)))
	return Vec{clmulLow(x, y), high >> 1}
}

// clmulLow is the low half of a product without carries. Of numbers that have every
// fourth bit only, up to 16 products of bits meet in a sum: its low bit is what
// counts, its carries fall into the gaps, and the last one's beyond the top.
func clmulLow(x, y uint64) uint64 {
	const m = 0x1111111111111111
	x0, x1, x2, x3 := x&m, x&(m<<1), x&(m<<2), x&(m<<3)
	y0, y1, y2, y3 := y&m, y&(m<<1), y&(m<<2), y&(m<<3)
	return (x0*y0^x1*y3^x2*y2^x3*y1)&m |
		(x0*y1^x1*y0^x2*y3^x3*y2)&(m<<1) |
		(x0*y2^x1*y1^x2*y0^x3*y3)&(m<<2) |
		(x0*y3^x1*y2^x2*y1^x3*y0)&(m<<3)
}

// crcTables[k][i] is what byte i, followed by k zero bytes, makes of a CRC of 0.
var crcTables = func() (t [8][256]uint32) {
	const castagnoli = 0x82F63B78 // bits reversed
	for i := range t[0] {
		crc := uint32(i)
		for range 8 {
			crc = crc>>1 ^ crc&1*castagnoli
		}
		t[0][i] = crc
	}
	for k := 1; k < len(t); k++ {
		for i, crc := range t[k-1] {
			t[k][i] = crc>>8 ^ t[0][uint8(crc)]
		}
	}
	return t
}()

// CRC32x8 adds a byte to a CRC-32C, without the inversions around it.
func CRC32x8(crc uint32, x uint8) uint32 { return crc>>8 ^ crcTables[0][uint8(crc)^x] }

// CRC32x16 adds two bytes.
func CRC32x16(crc uint32, x uint16) uint32 {
	y := crc ^ uint32(x)
	return crc>>16 ^ crcTables[1][uint8(y)] ^ crcTables[0][uint8(y>>8)]
}

// CRC32x32 adds four bytes.
func CRC32x32(crc uint32, x uint32) uint32 {
	x ^= crc
	return crcTables[3][uint8(x)] ^ crcTables[2][uint8(x>>8)] ^ crcTables[1][uint8(x>>16)] ^ crcTables[0][x>>24]
}

// CRC32x64 adds eight bytes.
func CRC32x64(crc uint32, x uint64) uint32 {
	x ^= uint64(crc)
	return crcTables[7][uint8(x)] ^ crcTables[6][uint8(x>>8)] ^ crcTables[5][uint8(x>>16)] ^ crcTables[4][uint8(x>>24)] ^
		crcTables[3][uint8(x>>32)] ^ crcTables[2][uint8(x>>40)] ^ crcTables[1][uint8(x>>48)] ^ crcTables[0][x>>56]
}
