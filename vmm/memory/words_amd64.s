#include "textflag.h"

// The 16-bit words of virtqueues have no counterpart in sync/atomic. Plain moves are atomic here, loads acquire and stores release (SDM vol. 3, Memory Ordering).

// func load16(p *uint16) uint16
TEXT ·load16(SB), NOSPLIT, $0-10
	MOVQ p+0(FP), AX
	MOVW (AX), CX
	MOVW CX, ret+8(FP)
	RET

// func store16(p *uint16, v uint16)
TEXT ·store16(SB), NOSPLIT, $0-10
	MOVQ p+0(FP), AX
	MOVW v+8(FP), CX
	MOVW CX, (AX)
	RET

// func load128(p *[2]uint64) (lo, hi uint64)
TEXT ·load128(SB), NOSPLIT, $0-24
	MOVQ  p+0(FP), AX
	MOVOA (AX), X0
	MOVQ  X0, lo+8(FP)
	PSRLO $8, X0
	MOVQ  X0, hi+16(FP)
	RET

// func cas128(p *[2]uint64, oldLo, oldHi, newLo, newHi uint64) (lo, hi uint64, swapped bool)
TEXT ·cas128(SB), NOSPLIT, $0-57
	MOVQ p+0(FP), DI
	MOVQ oldLo+8(FP), AX
	MOVQ oldHi+16(FP), DX
	MOVQ newLo+24(FP), BX
	MOVQ newHi+32(FP), CX
	LOCK
	CMPXCHG16B (DI)
	SETEQ swapped+56(FP)
	MOVQ AX, lo+40(FP)
	MOVQ DX, hi+48(FP)
	RET
