// Package decode turns the bytes of x86 instructions into Insts: position-independent
// records that an interpreter executes and a translator can compile. It knows the
// integer, system, x87, MMX and SSE instructions up to SSE4.2, BMI, ADX, AES,
// PCLMULQDQ, SHA and user interrupts; VEX only where it encodes general-purpose
// instructions. Everything else is UD.
//
// It judges what the encoding alone decides: whether LOCK may stand there, which
// operands are memory, what does not exist in 64-bit mode. What depends on a
// processor's state (privilege, control registers, feature bits) is not its
// business: SYSCALL decodes in every mode, VEX in 16-bit code, MOV DR4, PUSH of
// any size.
//
// Where the manual leaves a choice, or Inst could say it in two ways:
//
//	66H with a near branch in 64-bit mode    ignored, as Intel's processors do
//	ES, CS, SS, DS override in 64-bit mode   ignored: an FS or GS before it stays
//	REX before another prefix                ignored
//	F3 41 90                                 XCHG R8,rAX (F3 90 alone is PAUSE)
//	66H, F2H, F3H where the manual says NP   UD
//	F2H, F3H with the other integer opcodes  Repne, Rep in Prefix, no effect
//	MOV CR, MOV DR                           ModRM.mod is ignored
//	0F 0D and 0F 18 with a register          NOP
//	0F 1A, 0F 1B, 0F 1C, 0F 1E               NOP but for ENDBR32 and ENDBR64
//	LFENCE, MFENCE, SFENCE                   with any ModRM.rm
//	C0-D3 /6, F6-F7 /1, 82H                  SHL, TEST, 80H
//	x87 aliases                              what they alias; FENI, FDISI are FNOP
//	string instructions, XLAT, MASKMOVQ      no Mem; Seg is the source's (MASKMOVQ: destination's), Addr its width
//	MONITOR, UMONITOR                        no Mem; Seg and Addr; UMONITOR's address register is RM
//	operations without an operand            Size 0 where none matters
//	immediate bytes of SSE, shifts, bit      zero-extended, like ports, vectors, AAM's
//	tests, PINSR, PEXTR                      base, RET's and ENTER's sizes, far offsets; all others sign-extended
//	IN, OUT imm8                             FormMI with RM 0; with DX FormNone
//	x87 with ST(0) and ST(i)                 FormRM or FormMR by destination, FCOMPP too; alone (FLD, FST, FXCH, FFREE) FormM; MSize 10
//	x87 Size                                 2 or 4, which FNSTENV and its like need
//	FNSTSW AX                                FormM with RM 0
//	MOVD, PINSRx, PEXTRx, CVTxx2SI,          Size is the general register's; OpSize tells XMM (set)
//	CVTSI2xx, MOVMSKx, PMOVMSKB              from MMX (clear); MSize is rm's
//	PEXTRB and its like to a register        MSize is Size: all of it is written
//	CVTPI2PS, MOVQ2DQ; CVTPS2PI, MOVDQ2Q     Size is the destination's: 16; 8
//	PREFETCH                                 Reg is the hint, 0 to 7
//	MOVDIR64B                                MSize 0, Size is the address size
//	CMPXCHG8B, CMPXCHG16B                    Size 4, 8; MSize 8, 16
package decode
