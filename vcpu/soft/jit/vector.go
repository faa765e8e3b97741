package jit

import (
	"golang.org/x/sys/cpu"

	"gvmm/vcpu/soft/decode"
)

// vectorClass is what executing an operation on XMM registers asks for.
type vectorClass uint8

const (
	vectorPlain   vectorClass = iota // SSE to SSE4.2, without rounding
	vectorFloat                      // MXCSR
	vectorAES                        // a host that has it
	vectorProduct                    // a host with PCLMULQDQ
	vectorOther                      // the interpreter
)

// classOf is an operation's class.
func classOf(op decode.Op) vectorClass {
	switch op {
	case decode.RSQRTPS, decode.RSQRTSS, decode.RCPPS, decode.RCPSS, // the interpreter rounds them
		decode.PCMPESTRM, decode.PCMPESTRI, decode.PCMPISTRM, decode.PCMPISTRI, // implicit registers
		decode.SHA1NEXTE, decode.SHA1MSG1, decode.SHA1MSG2, decode.SHA256RNDS2, decode.SHA256MSG1, decode.SHA256MSG2, decode.SHA1RNDS4,
		decode.MASKMOVQ, decode.MASKMOVDQU, decode.MOVNTQ, decode.MOVQ2DQ, decode.MOVDQ2Q,
		decode.CVTPI2PS, decode.CVTPI2PD, decode.CVTPS2PI, decode.CVTTPS2PI, decode.CVTPD2PI, decode.CVTTPD2PI:
		return vectorOther
	case decode.AESIMC, decode.AESENC, decode.AESENCLAST, decode.AESDEC, decode.AESDECLAST, decode.AESKEYGENASSIST:
		return vectorAES
	case decode.PCLMULQDQ:
		return vectorProduct
	case decode.ANDPS, decode.ANDPD, decode.ANDNPS, decode.ANDNPD, decode.ORPS, decode.ORPD, decode.XORPS, decode.XORPD,
		decode.SHUFPS, decode.SHUFPD, decode.UNPCKLPS, decode.UNPCKHPS, decode.UNPCKLPD, decode.UNPCKHPD:
		return vectorPlain
	}
	if op >= decode.ADDPS && op <= decode.CVTTPD2DQ || op >= decode.ROUNDPS && op <= decode.ROUNDSD || op == decode.DPPS || op == decode.DPPD {
		return vectorFloat
	}
	return vectorPlain
}

// vectorHost says that the host has SSE to SSE4.2.
func vectorHost() bool { return cpu.X86.HasSSSE3 && cpu.X86.HasSSE41 && cpu.X86.HasSSE42 }

// shiftExtensions are those of the shifts by an immediate; the opcode is 0F71H to 0F73H.
var shifts = map[decode.Op]struct {
	opcode uint32
	ext    reg
}{
	decode.PSRLW: {0x0f71, 2}, decode.PSRAW: {0x0f71, 4}, decode.PSLLW: {0x0f71, 6},
	decode.PSRLD: {0x0f72, 2}, decode.PSRAD: {0x0f72, 4}, decode.PSLLD: {0x0f72, 6},
	decode.PSRLQ: {0x0f73, 2}, decode.PSRLDQ: {0x0f73, 3}, decode.PSLLQ: {0x0f73, 6}, decode.PSLLDQ: {0x0f73, 7},
}

// vector emits an instruction on XMM registers. It is false, with nothing emitted, for one that the interpreter executes.
func (t *Translator) vector(in *decode.Inst) bool {
	if !t.vectors {
		return false
	}
	switch class := classOf(in.Op); class {
	case vectorOther:
		return false
	case vectorFloat:
		if !t.block.Floats {
			return false
		}
	case vectorAES:
		if !cpu.X86.HasAES {
			return false
		}
	case vectorProduct:
		if !cpu.X86.HasPCLMULQDQ {
			return false
		}
	}
	if in.Form == decode.FormMI {
		s, ok := shifts[in.Op]
		if !ok || in.Size != 16 {
			return false
		}
		t.rr(opcode{prefix: 0x66, bytes: s.opcode}, s.ext, reg(in.RM))
		t.imm(in.Imm, 1)
		return true
	}
	e, ok := in.Vector()
	if !ok || in.Size == 8 && e.Operands == decode.VectorVV || in.Op == decode.MOVD && in.Prefix&decode.OpSize == 0 {
		return false
	}
	if (in.Op == decode.PEXTRW || in.Op == decode.PINSRW || in.Op == decode.PMOVMSKB) && in.Prefix&decode.OpSize == 0 {
		return false
	}
	t.encoded(in, e)
	return true
}

// encoded emits an instruction in its own encoding.
func (t *Translator) encoded(in *decode.Inst, e decode.VectorEncoding) {
	o := opcode{prefix: e.Prefix, bytes: e.Opcode, wide: e.Operands != decode.VectorVV && in.Size == 8}
	writes := in.Form == decode.FormMR || in.Form == decode.FormMRI
	r, general := reg(in.Reg), operand{}
	if in.Prefix&decode.Mem != 0 {
		t.address(in)
		t.probe(access{size: in.MSize, write: writes, aligned: in.MSize == 16 && !unaligned(in.Op)})
		if e.Operands == decode.VectorGV {
			general = t.use(in.Reg, 8, host15)
			r = general.host
		}
		t.rm(o, r, operandMemory)
	} else {
		rm := reg(in.RM)
		switch e.Operands {
		case decode.VectorVG:
			general = t.use(in.RM, 8, host15)
			rm = general.host
		case decode.VectorGV:
			general = t.use(in.Reg, 8, host15)
			r = general.host
		}
		t.rr(o, r, rm)
	}
	if in.Form == decode.FormRMI || in.Form == decode.FormMRI {
		t.imm(in.Imm, 1)
	}
	if e.Operands == decode.VectorGV || e.Operands == decode.VectorVG && writes && in.Prefix&decode.Mem == 0 {
		t.done(general)
	}
}

// unaligned reports an operation whose 16 bytes of memory may lie anywhere.
func unaligned(op decode.Op) bool {
	return op == decode.MOVDQU || op == decode.MOVUPS || op == decode.MOVUPD || op == decode.LDDQU
}

// xmm is the state's field of an XMM register.
func (t *Translator) xmm(i reg) memory { return state(t.layout.Vectors + 16*int32(i)) }

// needVectors has the guest's XMM registers and MXCSR in the host's from here on.
func (t *Translator) needVectors() {
	t.load(hostCX, t.field(controlLoaded))
	t.lea(hostCX, memory{base: hostCX, index: noReg, disp: -1})
	away := t.unlessZero()
	back := t.pos
	t.misses = append(t.misses, miss{jump: away, back: back})
}

// loadVectors is what that goes to. r14 says where to go on.
func (t *Translator) loadVectors() {
	t.loadAt = t.pos
	for i := range reg(16) {
		t.rm(opcode{bytes: 0x0f10}, i, t.xmm(i)) // MOVUPS
	}
	t.rm(opcode{bytes: 0x0fae}, 2, state(t.layout.MXCSR)) // LDMXCSR
	t.store32(t.field(controlLoaded), 1)
	t.rr(opcode{bytes: 0xff}, 4, host14)
}

// storeVectors brings them back, if they are there, and sets the host's MXCSR again. It uses RCX.
func (t *Translator) storeVectors() {
	t.load(hostCX, t.field(controlLoaded))
	t.lea(hostCX, memory{base: hostCX, index: noReg, disp: -1})
	away := t.unlessZero()
	for i := range reg(16) {
		t.rm(opcode{bytes: 0x0f11}, i, t.xmm(i))
	}
	t.rm(opcode{bytes: 0x0fae}, 3, state(t.layout.MXCSR)) // STMXCSR
	t.rm(opcode{bytes: 0x0fae}, 2, t.field(controlMXCSR))
	t.store32(t.field(controlLoaded), 0)
	t.patch(away, t.pos)
}
