package simd

import "math/bits"

// The imm of a string comparison, SDM 2 §4.1.
const (
	strWords    = 1 << 0 // elements are words, else bytes
	strSigned   = 1 << 1
	strHow      = 3 << 2 // aggregation
	strAny      = 0 << 2 // which elements of b are in the set a
	strRanges   = 1 << 2 // which are in one of the ranges, pairs in a
	strEach     = 2 << 2 // which equal a's at the same place
	strOrdered  = 3 << 2 // where a as a string begins in b
	strNegative = 1 << 4
	strMasked   = 1 << 5 // negate valid elements of b only
	strLast     = 1 << 6 // index: of the last; mask: of whole elements
)

// PCMPESTRI compares strings of la and lb elements, which count without their signs
// and not beyond the register. The index is of the first or last element found, or
// 16 or 8 where there is none.
func PCMPESTRI(a, b Vec, la, lb int64, imm uint8) (index, flags uint32) {
	n := elements(imm)
	found, flags := compare(a, b, length(la, n), length(lb, n), imm)
	return strIndex(found, imm), flags
}

// PCMPISTRI compares strings that end before their first zero element; else it is
// PCMPESTRI.
func PCMPISTRI(a, b Vec, imm uint8) (index, flags uint32) {
	found, flags := compare(a, b, terminated(a, imm), terminated(b, imm), imm)
	return strIndex(found, imm), flags
}

// PCMPESTRM is PCMPESTRI with all that were found as a mask, of bits or of elements.
func PCMPESTRM(a, b Vec, la, lb int64, imm uint8) (mask Vec, flags uint32) {
	n := elements(imm)
	found, flags := compare(a, b, length(la, n), length(lb, n), imm)
	return strMask(found, imm), flags
}

// PCMPISTRM is PCMPISTRI with all that were found as a mask, of bits or of elements.
func PCMPISTRM(a, b Vec, imm uint8) (mask Vec, flags uint32) {
	found, flags := compare(a, b, terminated(a, imm), terminated(b, imm), imm)
	return strMask(found, imm), flags
}

// elements is how many a register holds.
func elements(imm uint8) uint {
	if imm&strWords != 0 {
		return 8
	}
	return 16
}

func length(l int64, n uint) uint {
	if l < 0 {
		l = -l
	}
	return uint(min(uint64(l), uint64(n))) // the least number, its own negative, is large too
}

func terminated(v Vec, imm uint8) uint {
	zeros := equalElements(v, Vec{}, imm)
	return min(uint(bits.TrailingZeros32(zeros)), elements(imm))
}

// compare finds elements of b. la and lb are lengths, no larger than the register.
func compare(a, b Vec, la, lb uint, imm uint8) (found, flags uint32) {
	n := elements(imm)
	all, validA, validB := uint32(1)<<n-1, uint32(1)<<la-1, uint32(1)<<lb-1
	switch imm & strHow {
	case strAny:
		for i := uint(0); i < la; i++ {
			found |= equalElements(element(a, i, imm), b, imm)
		}
		found &= validB
	case strRanges:
		for i := uint(0); i+1 < la; i += 2 {
			outside := greaterElements(element(a, i, imm), b, imm) | greaterElements(b, element(a, i+1, imm), imm)
			found |= ^outside
		}
		found &= validB
	case strEach:
		found = equalElements(a, b, imm)&validA&validB | all&^validA&^validB
	default:
		// Where a goes beyond the register's end, what is in it decides.
		found = all
		for i := uint(0); i < la; i++ {
			found &= equalElements(element(a, i, imm), b, imm)&validB>>i | ^(all >> i)
		}
	}
	if imm&strNegative != 0 {
		if imm&strMasked != 0 {
			found ^= validB
		} else {
			found ^= all
		}
	}
	if found != 0 {
		flags |= CF
	}
	if lb < n {
		flags |= ZF
	}
	if la < n {
		flags |= SF
	}
	if found&1 != 0 {
		flags |= OF
	}
	return found, flags
}

func strIndex(found uint32, imm uint8) uint32 {
	switch {
	case found == 0:
		return uint32(elements(imm))
	case imm&strLast != 0:
		return uint32(bits.Len32(found)) - 1
	}
	return uint32(bits.TrailingZeros32(found))
}

func strMask(found uint32, imm uint8) Vec {
	switch {
	case imm&strLast == 0:
		return Vec{Lo: uint64(found)}
	case imm&strWords != 0:
		return spreadBits(uint8(found), top16, 16)
	}
	lo, hi := spreadBits(uint8(found), top8, 8), spreadBits(uint8(found>>8), top8, 8)
	return Vec{lo.Lo, hi.Lo}
}

// element is a register full of element i.
func element(v Vec, i uint, imm uint8) Vec {
	var x uint64
	if imm&strWords != 0 {
		x = uint64(v.Word(i)) * low16
	} else {
		x = uint64(v.Byte(i)) * low8
	}
	return Vec{x, x}
}

// equalElements has bit i set where elements i are equal.
func equalElements(a, b Vec, imm uint8) uint32 {
	if imm&strWords != 0 {
		return wordBits(PCMPEQW(a, b))
	}
	return PMOVMSKB(PCMPEQB(a, b))
}

// greaterElements has bit i set where element i of a is greater, as imm sees the signs.
func greaterElements(a, b Vec, imm uint8) uint32 {
	var flip uint64 // unsigned numbers compare as signed ones with another top bit
	if imm&strWords != 0 {
		if imm&strSigned == 0 {
			flip = top16
		}
		return wordBits(PCMPGTW(Vec{a.Lo ^ flip, a.Hi ^ flip}, Vec{b.Lo ^ flip, b.Hi ^ flip}))
	}
	if imm&strSigned == 0 {
		flip = top8
	}
	return PMOVMSKB(PCMPGTB(Vec{a.Lo ^ flip, a.Hi ^ flip}, Vec{b.Lo ^ flip, b.Hi ^ flip}))
}

// wordBits has a bit for each word that is all ones.
func wordBits(v Vec) uint32 { return PMOVMSKB(PACKSSWB(v, Vec{})) }
