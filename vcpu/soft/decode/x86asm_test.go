package decode

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/arch/x86/x86asm"
)

// TestLengthsAndNamesAgainstX86asm compares what both know.
func TestLengthsAndNamesAgainstX86asm(t *testing.T) {
	for mode := range Mode64 + 1 {
		r := rand.New(rand.NewPCG(5, uint64(mode)))
		compared, wrong := 0, 0
		for range 100_000 {
			var b [MaxLength]byte
			randomCode(r, b[:])
			in, _ := Decode(b[:], mode)
			theirs, err := x86asm.Decode(b[:], 16<<mode)
			if err != nil || in.Op <= TOOLONG || strayREX(b[:], mode) || skipX86asm(in, theirs, mode) {
				continue
			}
			compared++
			if int(in.Len) == theirs.Len && sameName(in.Op, theirs.Op.String()) {
				continue
			}
			t.Errorf("mode %d: % x is %v of %d bytes, with x86asm %v of %d", mode, b[:max(int(in.Len), theirs.Len)], in.Op, in.Len, theirs, theirs.Len)
			if wrong++; wrong > 20 {
				break
			}
		}
		if compared < 30_000 {
			t.Errorf("mode %d: only %d compared", mode, compared)
		}
	}
}

// skipX86asm reports whether x86asm is known to read an instruction otherwise.
func skipX86asm(in Inst, theirs x86asm.Inst, mode Mode) bool {
	if theirs.Op == 0 { // does not know it
		return true
	}
	switch in.Op {
	case MOVFROMCR, MOVTOCR, MOVFROMDR, MOVTODR: // takes ModRM.mod for one that counts
		return int(in.Len) < theirs.Len
	}
	return false
}

// x86asmNames are x86asm's names where they are not ours, or ours and a size.
var x86asmNames = map[Op]*regexp.Regexp{
	JCC:        regexp.MustCompile(`^J([ABGL]E?|NE|E|N?[OPS])$`),
	SETCC:      regexp.MustCompile(`^SET`),
	CMOVCC:     regexp.MustCompile(`^CMOV`),
	JCXZ:       regexp.MustCompile(`^J[ER]?CXZ$`),
	CBW:        regexp.MustCompile(`^(CBW|CWDE|CDQE)$`),
	CWD:        regexp.MustCompile(`^(CWD|CDQ|CQO)$`),
	PUSHSEG:    regexp.MustCompile(`^PUSH$`),
	POPSEG:     regexp.MustCompile(`^POP$`),
	RETF:       regexp.MustCompile(`^LRET$`),
	JMPF:       regexp.MustCompile(`^LJMP$`),
	CALLF:      regexp.MustCompile(`^LCALL$`),
	INT1:       regexp.MustCompile(`^ICEBP$`),
	INT3:       regexp.MustCompile(`^INT$`),
	MOVSDX:     regexp.MustCompile(`^MOVSD_XMM$`),
	CMPSDX:     regexp.MustCompile(`^CMPSD_XMM$`),
	MOVD:       regexp.MustCompile(`^MOV[DQ]$`),
	XLAT:       regexp.MustCompile(`^XLATB$`),
	PREFETCH:   regexp.MustCompile(`^PREFETCH`),
	MOVFROMSEG: regexp.MustCompile(`^MOV$`), MOVTOSEG: regexp.MustCompile(`^MOV$`),
	MOVFROMCR: regexp.MustCompile(`^MOV$`), MOVTOCR: regexp.MustCompile(`^MOV$`),
	MOVFROMDR: regexp.MustCompile(`^MOV$`), MOVTODR: regexp.MustCompile(`^MOV$`),
}

// sameName reports whether theirs is x86asm's name of op.
func sameName(op Op, theirs string) bool {
	if r := x86asmNames[op]; r != nil {
		return r.MatchString(theirs)
	}
	size, ok := strings.CutPrefix(theirs, op.String())
	if !ok {
		return false
	}
	switch op {
	case MOVS, CMPS, SCAS, LODS, STOS, INS, OUTS, PUSHA, POPA, PUSHF, POPF, IRET, SYSEXIT, SYSRET,
		FXSAVE, FXRSTOR, XSAVE, XSAVEOPT, XRSTOR, XSAVEC, XSAVES, XRSTORS:
		return size == "" || strings.Contains("B W D Q 64", size)
	}
	return size == ""
}
