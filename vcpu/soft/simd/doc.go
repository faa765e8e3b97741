// Package simd has the operations of MMX, SSE to SSE4.2, AES, PCLMULQDQ, SHA and
// CRC32 that are not floating-point arithmetic, as functions over values: no
// registers, no memory, no exceptions, no allocation. What they do is SDM 2.
//
// A function has the manual's mnemonic. Of its operands a is the first one, which
// is also the destination, and b the second one, the source; an operation that
// does not read its destination has only b. An imm is the immediate byte, all
// values are good. A name that ends in 64 is the MMX operation, where lanes
// beyond the low 64 bits do not exist.
//
// Operations that differ from another one in name only are missing: ANDPS is PAND,
// UNPCKLPS is PUNPCKLDQ, EXTRACTPS is PEXTRD.
package simd
