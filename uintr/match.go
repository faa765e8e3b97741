package uintr

// Op is one of the five instructions.
type Op uint8

// The instructions, `uintr.md §1.6`.
const (
	SENDUIPI Op = iota + 1 // F3 0F C7 /6, register form
	UIRET                  // F3 0F 01 EC
	TESTUI                 // F3 0F 01 ED
	CLUI                   // F3 0F 01 EE
	STUI                   // F3 0F 01 EF
)

var opNames = [...]string{"?", "SENDUIPI", "UIRET", "TESTUI", "CLUI", "STUI"}

// String implements fmt.Stringer.
func (o Op) String() string {
	if int(o) >= len(opNames) {
		o = 0
	}
	return opNames[o]
}

// Instruction is a recognised instruction.
type Instruction struct {
	Op     Op
	Reg    uint8 // SENDUIPI's operand: 0 RAX, 1 RCX ... 15 R15, in the encoding's order
	Length uint8 // in bytes
	Lock   bool  // a LOCK prefix: #UD
}

// MaxLength is the longest instruction of the architecture, in bytes.
const MaxLength = 15

// Match recognises the instruction at the start of insn, which may be shorter or longer than it, as 64-bit mode decodes
// it: 66H, 67H, segment overrides and REX.W do not matter, the last of F2H and F3H counts, and REX only as the last
// prefix. It is false for every other instruction, for one cut short, and for one longer than MaxLength.
func Match(insn []byte) (in Instruction, ok bool) {
	insn = insn[:min(len(insn), MaxLength)]
	p := scanPrefixes(insn)
	if p.repeat != 0xF3 || len(insn)-p.length < 3 || insn[p.length] != 0x0F {
		return Instruction{}, false
	}
	in = Instruction{Length: uint8(p.length + 3), Lock: p.lock}
	opcode, modrm := insn[p.length+1], insn[p.length+2]
	switch {
	case opcode == 0xC7 && modrm>>3 == 0b11_110:
		in.Op, in.Reg = SENDUIPI, modrm&7|p.rex&1<<3
	case opcode == 0x01 && modrm >= 0xEC && modrm <= 0xEF:
		in.Op = UIRET + Op(modrm-0xEC)
	default:
		return Instruction{}, false
	}
	return in, true
}

type prefixes struct {
	length int
	repeat byte // the last of F2H and F3H
	rex    byte // 0 if none, or if another prefix follows it
	lock   bool
}

func scanPrefixes(insn []byte) (p prefixes) {
	for ; p.length < len(insn); p.length++ {
		b := insn[p.length]
		switch b {
		case 0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67:
		case 0xF0:
			p.lock = true
		case 0xF2, 0xF3:
			p.repeat = b
		default:
			if b&0xF0 != 0x40 {
				return p
			}
			p.rex = b
			continue
		}
		p.rex = 0
	}
	return p
}
