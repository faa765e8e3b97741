#include "textflag.h"

// func cas16(p unsafe.Pointer, old, new uint16) bool
TEXT ·cas16(SB), NOSPLIT, $0-17
	MOVQ p+0(FP), BX
	MOVW old+8(FP), AX
	MOVW new+10(FP), CX
	LOCK
	CMPXCHGW CX, (BX)
	SETEQ ret+16(FP)
	RET

// func cas8(p unsafe.Pointer, old, new uint8) bool
TEXT ·cas8(SB), NOSPLIT, $0-17
	MOVQ p+0(FP), BX
	MOVB old+8(FP), AX
	MOVB new+9(FP), CX
	LOCK
	CMPXCHGB CX, (BX)
	SETEQ ret+16(FP)
	RET
