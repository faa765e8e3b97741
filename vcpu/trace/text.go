package trace

import (
	"fmt"
	"strings"

	"golang.org/x/arch/x86/x86asm"

	"gvmm/vcpu/soft/decode"
)

// textSlots is how many instructions' texts a processor keeps, by address: guests
// spend their time in loops.
const textSlots = 1 << 12

// text is an instruction's in Intel's syntax.
type text struct {
	rip  uint64
	code [decode.MaxLength]byte
	n    uint8
	mode decode.Mode
	s    string
}

// text disassembles the instruction of the bytes in code at rip.
func (c *cpu) text(mode decode.Mode, rip uint64, code []byte, in *decode.Inst) string {
	want := text{rip: rip, n: uint8(len(code)), mode: mode}
	copy(want.code[:], code)
	t := &c.texts[rip&(textSlots-1)]
	if want.s = t.s; *t != want || t.s == "" {
		want.s = disassemble(mode, rip, code, in)
		*t = want
	}
	return t.s
}

// disassemble names what in is where the disassembler does not know it, or sees it
// otherwise.
func disassemble(mode decode.Mode, rip uint64, code []byte, in *decode.Inst) string {
	name := strings.ToLower(in.Op.String())
	switch in.Op {
	case decode.SENDUIPI:
		return name + " " + registerNames[in.RM&15]
	case decode.UIRET, decode.TESTUI, decode.CLUI, decode.STUI:
		return name
	case decode.UD, decode.TOOLONG:
		return "(undefined)"
	}
	theirs, err := x86asm.Decode(code, 16<<mode)
	if err != nil || theirs.Len != int(in.Len) {
		return fmt.Sprintf("%s (operands unknown)", name)
	}
	return x86asm.IntelSyntax(theirs, rip, nil)
}
