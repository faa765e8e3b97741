package decode

// VectorOperands says what the operands of a vector instruction's encoding are.
type VectorOperands uint8

// The operands: reg, then rm.
const (
	VectorVV VectorOperands = iota // two XMM registers, the second of which may be memory
	VectorVG                       // XMM, general
	VectorGV                       // general, XMM
)

// VectorEncoding is how an instruction on XMM registers is encoded.
type VectorEncoding struct {
	Opcode   uint32 // its bytes, the first in the highest
	Prefix   byte   // mandatory: 0, 66H, F2H, F3H
	Operands VectorOperands
}

type vectorKey struct {
	op   Op
	form Form
}

// vectorEncodings are the opcode maps the other way round, for what only has XMM registers, general ones and memory.
var vectorEncodings = func() map[vectorKey]VectorEncoding {
	m := make(map[vectorKey]VectorEncoding)
	prefixes := [4]byte{0, 0x66, 0xf3, 0xf2}
	add := func(lead uint32, table *[256][4]entry) {
		for c := range table {
			for column, e := range table[c] {
				if e.op.Group() != GroupSIMD {
					continue
				}
				x := VectorEncoding{Opcode: lead | uint32(c), Prefix: prefixes[column]}
				switch e.shape {
				case vw, vwW, vwD, vwQ, wv, wvD, wvQ, vwU8, vwDU8, vwQU8:
				case vy, vEwU8, vEbU8, vEyU8, yv, ebVU8, ewVU8, edVU8, eyVU8:
					x.Operands = VectorVG
				case gyW, gyWd, gyWq, gyWU8:
					x.Operands = VectorGV
				default:
					continue
				}
				form := shapes[e.shape].form
				m[vectorKey{e.op, form}] = x
				if shapes[e.shape].fix == fixW {
					m[vectorKey{e.op + 1, form}] = x
				}
			}
		}
	}
	add(0x0f00, &twoByteSSE)
	add(0x0f3800, &map38)
	add(0x0f3a00, &map3A)
	for op, x := range map[Op]VectorEncoding{
		MOVLPS: {Opcode: 0x0f12}, MOVHLPS: {Opcode: 0x0f12}, MOVHPS: {Opcode: 0x0f16}, MOVLHPS: {Opcode: 0x0f16},
	} {
		m[vectorKey{op, FormRM}] = x
	}
	return m
}()

// Vector finds the encoding of an instruction on XMM registers that names them in ModRM. Its size is W.
func (in *Inst) Vector() (VectorEncoding, bool) {
	e, ok := vectorEncodings[vectorKey{in.Op, in.Form}]
	return e, ok
}
