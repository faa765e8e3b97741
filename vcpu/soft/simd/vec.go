// Package simd is the vector operations of MMX and SSE.
package simd

// Vec is an XMM register: byte 0 is the low byte of Lo.
type Vec struct{ Lo, Hi uint64 }
