package decode

import (
	"bufio"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write testdata/golden.txt anew; compare it with objdump first")

const goldenFile = "testdata/golden.txt"

var formNames = [...]string{"-", "M", "MR", "RM", "MI", "MC", "RMI", "MRI", "MRC", "RVM", "RMV", "VM"}

// describe writes the fields of in that are not as in most instructions.
func describe(in Inst) string {
	s := fmt.Sprintf("%v %s %d size=%d", in.Op, formNames[in.Form], in.Len, in.Size)
	field := func(name string, v, usual uint64) {
		if v != usual {
			s += fmt.Sprintf(" %s=%#x", name, v)
		}
	}
	field("msize", uint64(in.MSize), uint64(in.Size))
	field("addr", uint64(in.Addr), 8)
	field("reg", uint64(in.Reg), 0)
	field("rm", uint64(in.RM), 0)
	field("vreg", uint64(in.VReg), 0)
	field("seg", uint64(in.Seg), DS)
	field("base", uint64(in.Base), NoReg)
	field("index", uint64(in.Index), NoReg)
	field("scale", uint64(in.Scale), 0)
	field("disp", in.Disp, 0)
	field("imm", in.Imm, 0)
	field("imm2", uint64(in.Imm2), 0)
	field("prefix", uint64(in.Prefix), 0)
	field("cc", uint64(in.CC), 0)
	return s
}

// TestGoldenEncodings decodes an encoding of every operation in each form and
// size that it has.
func TestGoldenEncodings(t *testing.T) {
	if *update {
		writeGolden(t)
	}
	f, err := os.Open(goldenFile)
	require.NoError(t, err)
	defer f.Close()
	seen := map[Op]bool{}
	for s := bufio.NewScanner(f); s.Scan(); {
		var mode Mode
		var code, want string
		line := strings.SplitN(s.Text(), " ", 3)
		mode = Mode(slices.Index([]string{"16", "32", "64"}, line[0]))
		code, want = line[1], line[2]
		b, err := hex.DecodeString(code)
		require.NoError(t, err)
		in, err := Decode(b, mode)
		require.NoError(t, err, s.Text())
		assert.Equal(t, want, describe(in), "%s %s", line[0], code)
		seen[in.Op] = true
	}
	for op := range Op(Ops) {
		assert.True(t, seen[op], "no encoding of %v", op)
	}
}

// writeGolden looks for encodings among random ones and keeps the first of each
// kind.
func writeGolden(t *testing.T) {
	type kind struct {
		mode   Mode
		op     Op
		form   Form
		size   uint8
		memory bool
	}
	kept := map[kind]bool{}
	var lines []string
	for _, mode := range []Mode{Mode64, Mode32, Mode16} {
		r := rand.New(rand.NewPCG(3, uint64(mode)))
		var b [MaxLength]byte
		for range 20_000_000 {
			randomCode(r, b[:])
			in, err := Decode(b[:], mode)
			require.NoError(t, err)
			k := kind{mode: mode, op: in.Op}
			if mode == Mode64 {
				k = kind{mode, in.Op, in.Form, in.Size, in.Has(Mem)}
				if in.Op.Group() >= GroupState && in.Op.Group() < GroupSIMD {
					k.size = 0
				}
			}
			if kept[k] || strayREX(b[:], mode) || in.Op <= TOOLONG ||
				mode != Mode64 && in.Op.Group() > GroupSystem {
				continue
			}
			kept[k] = true
			lines = append(lines, fmt.Sprintf("%s %x %s", []string{"16", "32", "64"}[mode], b[:in.Len], describe(in)))
		}
	}
	slices.SortFunc(lines, func(a, b string) int {
		return strings.Compare(a[:2]+strings.SplitN(a, " ", 3)[2], b[:2]+strings.SplitN(b, " ", 3)[2])
	})
	lines = append(lines, "64 0f0b "+describe(Inst{Op: UD, Len: 2}), "64 "+strings.Repeat("66", 15)+" "+describe(Inst{Op: TOOLONG, Len: 15}))
	require.NoError(t, os.MkdirAll("testdata", 0o755))
	require.NoError(t, os.WriteFile(goldenFile, []byte(strings.Join(lines, "\n")+"\n"), 0o644))
}
