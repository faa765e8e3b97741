package simd

// Lanes of a uint64 computed side by side. The constants have the top bit of every
// lane, one for each lane size; the functions take one of them as top.
const (
	top8  = 0x8080808080808080
	top16 = 0x8000800080008000
	top32 = 0x8000000080000000

	low8  = top8 >> 7
	low16 = top16 >> 15
	low32 = top32 >> 31
)

// add adds lanes: carries stop below the top bits, which are added apart.
func add(a, b, top uint64) uint64 { return (a&^top + b&^top) ^ (a^b)&top }

// sub subtracts lanes: borrows stop at the top bits.
func sub(a, b, top uint64) uint64 { return ((a | top) - b&^top) ^ ^(a^b)&top }

// borrow has the top bit set of each lane where a < b, unsigned.
func borrow(a, b, top uint64) uint64 { return (^a&b | (^a|b)&sub(a, b, top)) & top }

// fill sets all bits of the lanes whose top bit is set in m, which has no others.
// size is the lane's in bits.
func fill(m uint64, size uint) uint64 { return m - m>>(size-1) | m }

// pick takes the lanes of a where mask is set, of b elsewhere.
func pick(a, b, mask uint64) uint64 { return a&mask | b&^mask }

// equal has all bits set of the lanes that are equal.
func equal(a, b, top uint64, size uint) uint64 {
	x := a ^ b
	return fill(^(x&^top+^top|x)&top, size)
}

// greater has all bits set of the lanes where a > b, unsigned.
func greater(a, b, top uint64, size uint) uint64 { return fill(borrow(b, a, top), size) }

// greaterSigned has all bits set of the lanes where a > b, signed.
func greaterSigned(a, b, top uint64, size uint) uint64 { return greater(a^top, b^top, top, size) }

// saturate puts the greatest number in place of the lanes of r whose top bit is set
// in overflow, or the least where a is negative.
func saturate(r, a, overflow, top uint64, size uint) uint64 {
	return pick(^top+a>>(size-1)&(top>>(size-1)), r, fill(overflow, size))
}

// Numbers that do not fit take the nearest one that does.

func saturate8(x int16) uint64   { return uint64(uint8(min(max(x, -128), 127))) }
func saturateU8(x int16) uint64  { return uint64(min(max(x, 0), 255)) }
func saturate16(x int32) uint64  { return uint64(uint16(min(max(x, -32768), 32767))) }
func saturateU16(x int32) uint64 { return uint64(min(max(x, 0), 65535)) }
