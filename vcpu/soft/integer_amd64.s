#include "textflag.h"

// func cas128(p unsafe.Pointer, oldLow, oldHigh, newLow, newHigh uint64) (low, high uint64, done bool)
TEXT ·cas128(SB), NOSPLIT, $0-57
	MOVQ p+0(FP), DI
	MOVQ oldLow+8(FP), AX
	MOVQ oldHigh+16(FP), DX
	MOVQ newLow+24(FP), BX
	MOVQ newHigh+32(FP), CX
	LOCK
	CMPXCHG16B (DI)
	MOVQ AX, low+40(FP)
	MOVQ DX, high+48(FP)
	SETEQ done+56(FP)
	RET
