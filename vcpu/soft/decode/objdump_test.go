package decode

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// slot is how far apart the instructions lie that objdump reads: one and NOPs.
const slot = 32

// binutils is the version that the excuses are for.
const binutils = "2.40"

// The machines of objdump by mode.
var machines = [3]string{Mode16: "i8086", Mode32: "i386", Mode64: "i386:x86-64"}

// listing is what objdump says of the instruction in one slot.
type listing struct {
	length int
	text   string
}

// disassemble has objdump read code, one instruction in each slot.
func disassemble(t *testing.T, code []byte, mode Mode) []listing {
	t.Helper()
	objdump, err := exec.LookPath("objdump")
	if err != nil {
		t.Skip("no objdump on this machine")
	}
	version, err := exec.Command(objdump, "--version").Output()
	require.NoError(t, err)
	if line, _, _ := bytes.Cut(version, []byte("\n")); !bytes.HasSuffix(line, []byte(" "+binutils)) {
		t.Skipf("%s: only %s's names and gaps are known", line, binutils)
	}
	file := filepath.Join(t.TempDir(), "code")
	require.NoError(t, os.WriteFile(file, code, 0o600))
	out, err := exec.Command(objdump, "-D", "-w", "-z", "-b", "binary", "-m", machines[mode], "-M", "intel,intel64", file).Output()
	require.NoError(t, err)

	list := make([]listing, len(code)/slot)
	s := bufio.NewScanner(bytes.NewReader(out))
	for s.Scan() {
		column := strings.SplitN(s.Text(), "\t", 3)
		if len(column) != 3 {
			continue
		}
		at, err := strconv.ParseInt(strings.Trim(column[0], " :"), 16, 64)
		if err != nil || at%slot != 0 {
			continue
		}
		list[at/slot] = listing{len(strings.Fields(column[1])), column[2]}
	}
	return list
}

// randomCode fills b with bytes that are often prefixes and often two- and
// three-byte opcodes.
func randomCode(r *rand.Rand, b []byte) {
	prefixes := []byte{0x66, 0xf2, 0xf3, 0x48, 0x67, 0x41, 0x44, 0x4f, 0xf0, 0x64, 0x2e}
	n := 0
	for n < 3 && r.IntN(3) == 0 {
		b[n] = prefixes[r.IntN(len(prefixes))]
		n++
	}
	switch r.IntN(5) {
	case 0, 1:
		b[n] = 0x0f
		n++
	case 2:
		b[n], b[n+1] = 0x0f, [2]byte{0x38, 0x3a}[r.IntN(2)]
		n += 2
	}
	for ; n < len(b); n++ {
		b[n] = byte(r.Uint32())
		if b[n] >= 0xc4 && b[n] <= 0xc5 && r.IntN(2) == 0 {
			copy(b[n:], []byte{0xc4, 0xe0 | 2 + byte(r.IntN(2)), byte(r.Uint32()) &^ 4, 0xf0 | byte(r.IntN(8))})
			n += 3
		}
	}
}

// TestEveryFieldAgainstObjdump compares lengths, operations and operands of
// random instructions with what binutils reads in the same bytes.
func TestEveryFieldAgainstObjdump(t *testing.T) {
	for mode := range Mode64 + 1 {
		t.Run(machines[mode], func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, uint64(mode)))
			code := bytes.Repeat([]byte{0x90}, 15_000*slot)
			insts := make([]Inst, len(code)/slot)
			for i := range insts {
				b := code[i*slot:][:MaxLength]
				for insts[i].Op <= TOOLONG || strayREX(b, mode) || insts[i].Has(Lock) && r.IntN(8) != 0 {
					randomCode(r, b)
					insts[i], _ = Decode(b, mode)
				}
				for n := int(insts[i].Len); n < len(b); n++ {
					b[n] = 0x90
				}
			}
			wrong := 0
			for i, want := range disassemble(t, code, mode) {
				in := insts[i]
				ours := intelSyntax(in, mode, uint64(i*slot))
				theirs := normal(want.text, in, mode)
				if !strings.Contains(theirs, "PTR") {
					ours = pointer.ReplaceAllString(ours, "")
				}
				if want.length == int(in.Len) && ours == theirs || excused(in, theirs, mode) {
					continue
				}
				t.Errorf("% x\n  ours   %2d %s\n  theirs %2d %s\n  (%s)", code[i*slot:][:max(int(in.Len), want.length)], in.Len, ours, want.length, theirs, want.text)
				if wrong++; wrong > 25 {
					t.FailNow()
				}
			}
		})
	}
}

// strayREX reports whether a REX prefix stands before another prefix: objdump
// makes an instruction of its own of it.
func strayREX(b []byte, mode Mode) bool {
	for i := 1; mode == Mode64 && i < len(b) && prefixOf[b[i-1]] != notPrefix; i++ {
		if prefixOf[b[i-1]] == rexPrefix && prefixOf[b[i]] != notPrefix {
			return true
		}
	}
	return false
}

var (
	prefixText = regexp.MustCompile(`^(rep[nz]*|lock|data16|data32|addr16|addr32|[cdefgs]s|bnd|notrack|xacquire|xrelease|rex(\.[WRXB]+)?) `)
	comment    = regexp.MustCompile(` +#.*$`)
	noIndex    = regexp.MustCompile(`\+[re]iz\*\d`)
	onlyDisp   = regexp.MustCompile(`\[[re]iz\*\d[-+]0x[0-9a-f]+\]`)
	doubleSeg  = regexp.MustCompile(`([c-gs]s:)ds:`)
	conditions = regexp.MustCompile(`^(j|set|cmov)(o|no|b|ae|e|ne|be|a|s|ns|p|np|l|ge|le|g)$`)
	compares   = regexp.MustCompile(`^cmp(eq|lt|le|unord|neq|nlt|nle|ord)([ps][sd])$`)
	carryless  = regexp.MustCompile(`^pclmul([lh])q([lh])qdq$`)
	sized      = regexp.MustCompile(`^(push|pop|pusha|popa|pushf|popf|call|jmp|ret|retf|iret|enter|leave|loopn?e?|sysret|sysexit|[sl][gi]dt|fldenv|fnstenv|fnsave|frstor)[bwdlq]$`)
	pointer    = regexp.MustCompile(`\b[A-Z]+ PTR `)
	flatText   = regexp.MustCompile(`\b[ecsd]s:`)
)

// The mnemonics that have another name with us.
var names = map[string]string{
	"cwde": "cbw", "cdqe": "cbw", "cdq": "cwd", "cqo": "cwd", "movabs": "mov", "sal": "shl",
	"prefetcht0": "prefetch", "prefetcht1": "prefetch", "prefetcht2": "prefetch", "prefetchnta": "prefetch",
	"prefetchw": "prefetch", "prefetchwt1": "prefetch",
	"endbr64": "endbr", "endbr32": "endbr", "fstcw": "fnstcw", "jecxz": "jcxz", "jrcxz": "jcxz",
	"fxsave64": "fxsave", "fxrstor64": "fxrstor", "xsave64": "xsave", "xrstor64": "xrstor", "xsaveopt64": "xsaveopt",
	"xsavec64": "xsavec", "xsaves64": "xsaves", "xrstors64": "xrstors", "vmmcall": "vmcall", "vmgexit": "vmcall",
	"loopel": "loope", "pcmpestrmq": "pcmpestrm", "pcmpestriq": "pcmpestri",
}

// normal is objdump's text without what only spells: prefixes and comments.
func normal(text string, in Inst, mode Mode) string {
	text = strings.TrimSpace(comment.ReplaceAllString(text, ""))
	for prefixText.MatchString(text) {
		text = prefixText.ReplaceAllString(text, "")
		text = strings.TrimSpace(text)
	}
	mnemonic, operands, _ := strings.Cut(text, " ")
	operands = strings.TrimSpace(operands)
	mnemonic = strings.TrimSuffix(strings.TrimSuffix(mnemonic, ",pt"), ",pn")
	if n, ok := names[mnemonic]; ok {
		mnemonic = n
	} else if sized.MatchString(mnemonic) {
		mnemonic = mnemonic[:len(mnemonic)-1]
	}
	if in.Op.Group() == GroupFlow && in.Form == FormNone && in.Size == 2 {
		if target, err := strconv.ParseUint(operands, 0, 64); err == nil {
			operands = fmt.Sprintf("0x%x", target&0xffff) // it does not wrap
		}
	}
	if c := conditions.FindStringSubmatch(mnemonic); c != nil {
		mnemonic = map[string]string{"j": "jcc", "set": "setcc", "cmov": "cmovcc"}[c[1]] + " " + c[2]
	} else if c := compares.FindStringSubmatch(mnemonic); c != nil {
		for i, p := range strings.Fields("eq lt le unord neq nlt nle ord") {
			if p == c[1] {
				operands += fmt.Sprintf(",0x%x", i)
			}
		}
		mnemonic = "cmp" + c[2]
	} else if c := carryless.FindStringSubmatch(mnemonic); c != nil {
		mnemonic = "pclmulqdq"
		operands += fmt.Sprintf(",0x%x", strings.Index("lh", c[1])|strings.Index("lh", c[2])<<4)
	}
	switch in.Op {
	case ROL, ROR, RCL, RCR, SHL, SHR, SAR:
		if o, ok := strings.CutSuffix(operands, ",0x1"); ok {
			operands = o + ",1"
		}
	case SHA256RNDS2, PBLENDVB, BLENDVPS, BLENDVPD:
		operands = strings.TrimSuffix(operands, ",xmm0")
	}
	operands = strings.ReplaceAll(noIndex.ReplaceAllString(operands, ""), "OWORD", "XMMWORD")
	if c := onlyDisp.FindStringSubmatch(operands); c != nil {
		operands = strings.Replace(operands, c[0], fmt.Sprintf("ds:0x%x", in.Disp&mask(in.Addr)), 1)
		operands = doubleSeg.ReplaceAllString(operands, "$1")
	}
	if mode == Mode64 {
		operands = flatText.ReplaceAllString(operands, "")
	}
	if in.MSize == 0 {
		operands = pointer.ReplaceAllString(operands, "")
	}
	operands = strings.ReplaceAll(operands, "+0x0]", "]")
	return strings.TrimSpace(mnemonic + " " + operands)
}

// undefined are the mnemonics of what this processor does not have, and of what
// objdump reads though prefixes or the mode forbid it.
var undefined = regexp.MustCompile(`^(v.*|k.*|{.*|` + // AVX
	`aadd|aand|aor|axor|enqcmds?|gf2p8.*|getsec|hreset|loadiwkey|encodekey.*|aes(enc|dec)(wide)?(128|256)kl|` + // newer
	`wrssd|wrssq|wrussd|wrussq|rstorssp|clrssbsy|setssbsy|saveprevssp|incssp[dq]|` + // CET
	`xabort|xbegin|xend|xtest|xsusldtrk|xresldtrk|ptwrite|pconfig|wrmsrns|(rd|wr)msrlist|xbeginw|[lms]fence|rdpru|mcommit|t.*|` +
	`encl[suv]|enclu|seam.*|tdcall|invept|invvpid|invlpga|invlpgb|tlbsync|rmp.*|p(val|smash)idate|psmash|pvalidate|` + // virtualisation
	`clgi|stgi|skinit|clzero|monitorx|mwaitx|movnts[sd]|extrq|insertq|` + // AMD
	`femms|pf.*|pi2f[dw]|pswapd|pavgusb|pmulhrw|montmul|xcrypt-.*|xsha.*|xstore-rng|frstpm.*|pcommit|` + // 3DNow!, VIA, 80287
	`ud[012]|wait|hint_nop.*|prefetch|` +
	`fxsave(64)?|fxrstor(64)?|xsave.*|xrstors?(64)?|ldmxcsr|stmxcsr|xgetbv|xsetbv|pmovmskb|rdpkru|wrpkru|clac|stac|serialize|[rw][dr]pkru|` + // a prefix
	`andn|bextr|blsi|blsmsk|blsr|bzhi|mulx|pdep|pext|rorx|sarx|shlx|shrx|` + // a prefix before VEX
	`swapgs|[rw][dr][fg]sbase|senduipi|uiret|testui|clui|stui)$`)

// noRegister are MOV's operands that name CS to write or a register that is none.
var noRegister = regexp.MustCompile(`^cs,|\?|\b([cdt]r|db)\d`)

// TestUndefinedIsOnlyWhatThisProcessorLacks looks at what objdump knows of the
// bytes that decode as UD.
func TestUndefinedIsOnlyWhatThisProcessorLacks(t *testing.T) {
	for mode := range Mode64 + 1 {
		t.Run(machines[mode], func(t *testing.T) {
			r := rand.New(rand.NewPCG(2, uint64(mode)))
			code := bytes.Repeat([]byte{0x90}, 8_000*slot)
			for i := range len(code) / slot {
				b := code[i*slot:][:MaxLength]
				for in := (Inst{Op: NOP}); in.Op != UD || strayREX(b, mode) || bytes.IndexByte(b, 0xf0) >= 0; {
					randomCode(r, b)
					in, _ = Decode(b, mode)
				}
			}
			for i, theirs := range disassemble(t, code, mode) {
				text := theirs.text
				for prefixText.MatchString(text) {
					text = strings.TrimSpace(prefixText.ReplaceAllString(text, ""))
				}
				mnemonic, operands, _ := strings.Cut(text, " ")
				operands = strings.TrimSpace(operands)
				special := mnemonic == "mov" && noRegister.MatchString(operands)
				if !strings.Contains(text, "(bad)") && !special && !undefined.MatchString(mnemonic) {
					t.Errorf("% x is %s", code[i*slot:][:theirs.length], theirs.text)
				}
			}
		})
	}
}
