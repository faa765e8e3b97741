package decode

import (
	"fmt"
	"strings"
)

// The names of registers as Intel's syntax has them.
var (
	names8   = strings.Fields("al cl dl bl spl bpl sil dil r8b r9b r10b r11b r12b r13b r14b r15b ? ? ? ? ah ch dh bh")
	names16  = strings.Fields("ax cx dx bx sp bp si di r8w r9w r10w r11w r12w r13w r14w r15w")
	names32  = strings.Fields("eax ecx edx ebx esp ebp esi edi r8d r9d r10d r11d r12d r13d r14d r15d ? eip")
	names64  = strings.Fields("rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15 ? rip")
	namesSeg = strings.Fields("es cs ss ds fs gs ? ?")
	pointers = map[uint8]string{1: "BYTE PTR ", 2: "WORD PTR ", 4: "DWORD PTR ", 6: "FWORD PTR ", 8: "QWORD PTR ", 10: "TBYTE PTR ", 16: "XMMWORD PTR "}
)

// gpr names a general register of size bytes.
func gpr(n, size uint8) string {
	switch size {
	case 1:
		return names8[n]
	case 2:
		return names16[n]
	case 4:
		return names32[n]
	}
	return names64[n]
}

// vector names an MMX or XMM register.
func vector(n uint8, xmm bool) string {
	if xmm {
		return fmt.Sprintf("xmm%d", n)
	}
	return fmt.Sprintf("mm%d", n)
}

// regs names the two registers of ModRM, of which rm may stand for memory.
func regs(in Inst) (reg, rm string) {
	xmm := in.Has(OpSize)
	switch in.Op {
	case MOVD, PINSRB, PINSRW, PINSRD, PINSRQ, CVTSI2SS, CVTSI2SD:
		if in.Op == CVTSI2SS || in.Op == CVTSI2SD {
			xmm = true
		}
		return vector(in.Reg, xmm), gpr(in.RM, in.Size)
	case PEXTRB, PEXTRW, PEXTRD, PEXTRQ, EXTRACTPS:
		if in.Form == FormRMI {
			return gpr(in.Reg, in.Size), vector(in.RM, xmm)
		}
		return vector(in.Reg, true), gpr(in.RM, in.Size)
	case MOVMSKPS, MOVMSKPD, CVTTSS2SI, CVTTSD2SI, CVTSS2SI, CVTSD2SI:
		return gpr(in.Reg, in.Size), vector(in.RM, true)
	case PMOVMSKB:
		return gpr(in.Reg, in.Size), vector(in.RM, xmm)
	case CVTPI2PS, CVTPI2PD, MOVQ2DQ:
		return vector(in.Reg, true), vector(in.RM, false)
	case CVTPS2PI, CVTPD2PI, CVTTPS2PI, CVTTPD2PI, MOVDQ2Q:
		return vector(in.Reg, false), vector(in.RM, true)
	case MOVFROMSEG, MOVTOSEG:
		return namesSeg[in.Reg], gpr(in.RM, in.Size)
	case MOVFROMCR, MOVTOCR:
		return fmt.Sprintf("cr%d", in.Reg), gpr(in.RM, in.Size)
	case MOVFROMDR, MOVTODR:
		return fmt.Sprintf("dr%d", in.Reg), gpr(in.RM, in.Size)
	}
	switch in.Op.Group() {
	case GroupSIMD:
		return vector(in.Reg, in.Size == 16), vector(in.RM, in.Size == 16)
	case GroupX87:
		if in.Op == FNSTSW {
			return "", "ax"
		}
		return "st", fmt.Sprintf("st(%d)", in.RM)
	}
	size := in.Size
	switch in.Op {
	case MOVZX, MOVSX, CRC32, MOVSXD:
		size = in.MSize
	}
	if in.Op == SMSW || in.Op == NOP || in.Op == SLDT || in.Op == STR {
		size = in.Size
	}
	return gpr(in.Reg, in.Size), gpr(in.RM&31, size)
}

// address is a memory operand.
func address(in Inst, mode Mode) string {
	seg := ""
	if in.Has(Segment) {
		seg = namesSeg[in.Seg] + ":"
	}
	if in.Base == NoReg && in.Index == NoReg {
		if seg == "" {
			seg = "ds:"
		}
		return fmt.Sprintf("%s0x%x", seg, in.Disp&mask(in.Addr))
	}
	s := seg + "["
	if in.Base != NoReg {
		s += gpr(in.Base, in.Addr)
	}
	if in.Index != NoReg {
		if in.Base != NoReg {
			s += "+"
		}
		s += gpr(in.Index, in.Addr)
		if in.Addr != 2 {
			s += fmt.Sprintf("*%d", 1<<in.Scale)
		}
	}
	switch {
	case in.Base == RIP:
		return s + fmt.Sprintf("+0x%x]", in.Disp)
	case in.Disp == 0:
		return s + "]"
	}
	return s + fmt.Sprintf("%+#x]", int64(in.Disp))
}

func mask(size uint8) uint64 { return 1<<(8*uint(size)-1)<<1 - 1 }

// intelSyntax writes in, which lies at the address at, as objdump would.
func intelSyntax(in Inst, mode Mode, at uint64) string {
	name := strings.ToLower(in.Op.String())
	reg, rm := regs(in)
	if in.Has(Mem) {
		rm = pointers[in.MSize] + address(in, mode)
	}
	v := gpr(in.VReg, in.Size)
	imm := fmt.Sprintf("0x%x", in.Imm&mask(in.Size))
	switch in.Op {
	case JCC, SETCC, CMOVCC:
		name += " " + strings.Fields("o no b ae e ne be a s ns p np l ge le g")[in.CC]
	case MOVD:
		if in.Size == 8 {
			name = "movq"
		}
	case MOVSDX:
		name = "movsd"
	case CMPSDX:
		name = "cmpsd"
	case MOVFROMSEG, MOVTOSEG, MOVFROMCR, MOVTOCR, MOVFROMDR, MOVTODR:
		name = "mov"
	case CALLF, JMPF:
		name = name[:len(name)-1]
	}
	var o []string
	switch in.Form {
	case FormNone:
		o = implicit(in, at)
		switch in.Op {
		case PUSHSEG, POPSEG:
			name = name[:len(name)-3]
		}
	case FormM:
		o = []string{rm}
	case FormMR:
		o = []string{rm, reg}
	case FormRM:
		o = []string{reg, rm}
	case FormMI:
		o = []string{rm, imm}
	case FormMC:
		o = []string{rm, "cl"}
	case FormRMI:
		o = []string{reg, rm, imm}
	case FormMRI:
		o = []string{rm, reg, imm}
	case FormMRC:
		o = []string{rm, reg, "cl"}
	case FormRVM:
		o = []string{reg, v, rm}
	case FormRMV:
		o = []string{reg, rm, v}
	case FormVM:
		o = []string{v, rm}
	}
	switch in.Op {
	case FCOM, FCOMP, FUCOM, FUCOMP, FCOMPP, FUCOMPP, FXCH:
		if !in.Has(Mem) {
			o = []string{fmt.Sprintf("st(%d)", in.RM)}
		}
		if in.Op == FCOMPP || in.Op == FUCOMPP {
			o = nil
		}
	case ROL, ROR, RCL, RCR, SHL, SHR, SAR:
		if in.Form == FormMI && in.Imm == 1 {
			o[1] = "1"
		}
	case OUT:
		if in.Form == FormMI {
			o = []string{imm, gpr(0, in.Size)}
		}
	}
	text := strings.TrimSpace(name + " " + strings.Join(o, ","))
	if mode == Mode64 {
		text = flatText.ReplaceAllString(text, "")
	}
	return text
}

// implicit writes the operands that no ModRM has.
func implicit(in Inst, at uint64) []string {
	acc := gpr(0, max(in.Size, 1))
	imm := fmt.Sprintf("0x%x", in.Imm)
	seg := namesSeg[in.Seg] + ":"
	p := pointers[in.Size]
	src := p + seg + "[" + gpr(6, in.Addr) + "]"
	dst := p + "es:[" + gpr(7, in.Addr) + "]"
	switch in.Op {
	case JMP, JCC, CALL, LOOP, LOOPE, LOOPNE, JCXZ:
		return []string{fmt.Sprintf("0x%x", (at+uint64(in.Len)+in.Imm)&mask(in.Size))}
	case JMPF, CALLF:
		return []string{fmt.Sprintf("0x%x:0x%x", in.Imm2, in.Imm)}
	case PUSH:
		return []string{fmt.Sprintf("0x%x", in.Imm&mask(in.Size))}
	case RET, RETF:
		if in.Imm == 0 {
			return nil
		}
		return []string{imm}
	case INT, AAM, AAD:
		return []string{imm}
	case ENTER:
		return []string{imm, fmt.Sprintf("0x%x", in.Imm2)}
	case PUSHSEG, POPSEG:
		return []string{namesSeg[in.Reg]}
	case MOVS:
		return []string{dst, src}
	case CMPS:
		return []string{src, dst}
	case STOS:
		return []string{dst, acc}
	case SCAS:
		return []string{acc, dst}
	case LODS:
		return []string{acc, src}
	case INS:
		return []string{dst, "dx"}
	case OUTS:
		return []string{"dx", src}
	case IN:
		return []string{acc, "dx"}
	case OUT:
		return []string{"dx", acc}
	case XLAT:
		return []string{p + seg + "[" + gpr(3, in.Addr) + "]"}
	}
	return nil
}
