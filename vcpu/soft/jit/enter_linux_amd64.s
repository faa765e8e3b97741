#include "textflag.h"

// func enter(state unsafe.Pointer, code uintptr)
// The code saves SP and BP in the state and returns by RET with both restored; it uses one word below SP. All other
// registers are the callee's to change; what Go keeps in R14 and X15 the wrapper sets again.
TEXT ·enter(SB), NOSPLIT|NOFRAME, $0-16
	MOVQ state+0(FP), DI
	MOVQ code+8(FP), AX
	JMP  AX
