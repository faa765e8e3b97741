package decode

// Mode is the width that a code segment decodes with.
type Mode uint8

// The modes: real mode and 16-bit segments, 32-bit segments (compatibility mode
// too), 64-bit mode.
const (
	Mode16 Mode = iota
	Mode32
	Mode64
)

// Form says where an instruction's operands are.
type Form uint8

// The forms. "rm" is ModRM.rm: memory if Mem is set, else register RM. An
// operand that the opcode names (PUSH r, AL, moffs) comes as rm or reg too.
const (
	FormNone Form = iota // implicit, or Imm alone (relative branches, INT n, PUSH imm)
	FormM                // rm
	FormMR               // rm, reg: rm is the destination
	FormRM               // reg, rm: reg is the destination
	FormMI               // rm, Imm
	FormMC               // rm, CL
	FormRMI              // reg, rm, Imm
	FormMRI              // rm, reg, Imm
	FormMRC              // rm, reg, CL
	FormRVM              // reg, VReg, rm (VEX: ANDN, MULX, PDEP, PEXT)
	FormRMV              // reg, rm, VReg (VEX: BEXTR, BZHI, SARX, SHLX, SHRX)
	FormVM               // VReg, rm (VEX: BLSI, BLSMSK, BLSR)
)

// Prefix holds what is left to know of an instruction's prefixes.
type Prefix uint16

// Bits of a Prefix. Of REP and REPNE the last one counts and the other is clear;
// where the opcode takes one as mandatory it is not set.
const (
	Lock    Prefix = 1 << iota // F0H, on an instruction that takes it
	Rep                        // F3H
	Repne                      // F2H
	OpSize                     // 66H
	REX                        // any REX prefix
	REXW                       // REX.W or VEX.W
	Mem                        // rm is memory
	Segment                    // a segment override that counts
)

// Registers beyond the sixteen that a field may name.
const (
	NoReg = 16 // no base, no index: reads as 0
	RIP   = 17 // base of a RIP-relative operand
	AH    = 20 // 8-bit registers AH, CH, DH, BH are 20 to 23
)

// Segment registers as the encoding numbers them.
const (
	ES = iota
	CS
	SS
	DS
	FS
	GS
)

// Inst is one decoded instruction, position-independent: 40 bytes without
// pointers. A memory operand's offset is
// (r[Base] + r[Index]<<Scale + Disp) mod 2^(8*Addr); where Base is RIP, r[RIP] is
// the address of the NEXT instruction.
type Inst struct {
	Imm  uint64 // immediate, sign-extended; the byte offset of relative branches; the offset of a far pointer; the condition of JCC, SETCC and CMOVCC is CC
	Disp uint64 // displacement, sign-extended; the whole address of moffs
	Imm2 uint16 // ENTER's nesting level; selector of a far pointer

	Op     Op
	Prefix Prefix
	Form   Form
	Len    uint8 // in bytes, 1 to 15
	Size   uint8 // operand size in bytes: 1, 2, 4, 8; 8 or 16 for MMX and XMM registers
	MSize  uint8 // size in bytes of rm as it is read or written: 1, 2, 4, 6, 8, 10, 16; 0 where it is only an address, or its size is not an operand's (LEA, INVLPG, FXSAVE)
	Addr   uint8 // address size in bytes: 2, 4, 8
	Reg    uint8 // ModRM.reg with REX.R: GPR (8-bit ones as RM), MMX, XMM, segment, control or debug register
	RM     uint8 // the register where Mem is not set, or the opcode's; 8-bit ones without REX: 4 to 7 as AH to BH
	Base   uint8 // 0-15, NoReg or RIP
	Index  uint8 // 0-15 or NoReg
	Scale  uint8 // 0-3: a shift
	Seg    uint8 // of the memory operand, default or override
	VReg   uint8 // VEX.vvvv
	CC     uint8 // condition: low four bits of the opcode
}

// Has reports whether any of the bits is set.
func (in *Inst) Has(p Prefix) bool { return in.Prefix&p != 0 }
