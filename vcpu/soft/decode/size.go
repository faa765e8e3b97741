package decode

// The classes of bytes before the opcode.
const (
	notPrefix = iota
	rexPrefix
	flatSegment
	baseSegment
	opSizePrefix
	addrSizePrefix
	repPrefix
	repnePrefix
	lockPrefix
)

// prefixOf is the class of each byte.
var prefixOf = [256]uint8{
	0x26: flatSegment, 0x2e: flatSegment, 0x36: flatSegment, 0x3e: flatSegment,
	0x40: rexPrefix, 0x41: rexPrefix, 0x42: rexPrefix, 0x43: rexPrefix,
	0x44: rexPrefix, 0x45: rexPrefix, 0x46: rexPrefix, 0x47: rexPrefix,
	0x48: rexPrefix, 0x49: rexPrefix, 0x4a: rexPrefix, 0x4b: rexPrefix,
	0x4c: rexPrefix, 0x4d: rexPrefix, 0x4e: rexPrefix, 0x4f: rexPrefix,
	0x64: baseSegment, 0x65: baseSegment,
	0x66: opSizePrefix, 0x67: addrSizePrefix,
	0xf0: lockPrefix, 0xf2: repnePrefix, 0xf3: repPrefix,
}

// addressSizes are the address sizes in bytes by mode, without and with 67H.
var addressSizes = [3][2]uint8{Mode16: {2, 4}, Mode32: {4, 2}, Mode64: {8, 4}}

// size is how an instruction comes to its operand size. Fixed sizes are their own
// names.
type size uint8

const (
	s0       size = iota
	s1            // byte
	s2            // word
	s4            // doubleword
	s8            // quadword or MMX register
	s16           // XMM register
	sV            // by mode, 66H and REX.W
	sZ            // as sV, but never 8
	sY            // 4, or 8 with REX.W
	sS            // the stack's: as sV, but 8 instead of 4 in 64-bit mode
	sF            // near branches, descriptor tables: as sV, but 8 in 64-bit mode
	sN            // native: 8 in 64-bit mode, else 4
	sA            // the address size
	numSizes      // how many
)

// sizes gives operand sizes in bytes by mode, 66H and REX.W (decoder.variant).
var sizes = [numSizes][16]uint8{
	s1:  {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
	s2:  {2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2},
	s4:  {4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4},
	s8:  {8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8},
	s16: {16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16},
	sV:  {2, 2, 4, 4 /**/, 4, 4, 2, 2 /**/, 4, 8, 2, 8},
	sZ:  {2, 2, 4, 4 /**/, 4, 4, 2, 2 /**/, 4, 4, 2, 4},
	sY:  {4, 4, 4, 4 /**/, 4, 4, 4, 4 /**/, 4, 8, 4, 8},
	sS:  {2, 2, 4, 4 /**/, 4, 4, 2, 2 /**/, 8, 8, 2, 8},
	sF:  {2, 2, 4, 4 /**/, 4, 4, 2, 2 /**/, 8, 8, 8, 8},
	sN:  {4, 4, 4, 4 /**/, 4, 4, 4, 4 /**/, 8, 8, 8, 8},
}

// msize is the size of rm. Small ones are sizes in bytes.
type msize uint8

const (
	m0  msize = 0
	m1  msize = 1
	m2  msize = 2
	m4  msize = 4
	m8  msize = 8
	m10 msize = 10
	m16 msize = 16
)

const (
	mSame   msize = iota + 32 // the operand size
	mFar                      // a far pointer: offset and selector
	mTwice                    // BOUND's pair, CMPXCHG8B
	mTable                    // a descriptor table's limit and base
	mV                        // sV
	mD                        // a doubleword, or less where the operand is
	m1OrReg                   // a byte of memory; of a register the operand size
	m2OrReg                   // a word of memory; of a register the operand size
	m4OrReg                   // a doubleword of memory; of a register the operand size
)

// imm is what an opcode has for an immediate.
type imm uint8

const (
	immNone  imm = iota
	imm1         // none: it is 1
	imm8         // byte, sign-extended
	immU8        // byte
	immU16       // word
	immZ         // word or doubleword, sign-extended
	immV         // as wide as the operand
	immFar       // offset and selector
	immEnter     // word and byte
	immMoffs     // an address
)

// fix is what needs more than a table.
type fix uint8

const (
	fixNone    fix = iota
	fixNOP         // NOP, PAUSE
	fixW           // REX.W makes it the next operation
	fixFromSeg     // reg is a segment register
	fixToSeg       // reg is a segment register, not CS
	fixCR          // reg is a control register
	fixDR          // reg is a debug register
	fixVVVV        // VEX.vvvv must not name a register
)
