package decode

import (
	"bufio"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// requireConsistent checks what holds of every decode of b.
func requireConsistent(t *testing.T, b []byte, mode Mode) {
	t.Helper()
	in, err := Decode(b, mode)
	if err != nil {
		require.ErrorIs(t, err, ErrTruncated)
		require.Less(t, len(b), MaxLength)
		require.Zero(t, in)
		return
	}
	n := int(in.Len)
	require.True(t, 1 <= n && n <= MaxLength && n <= len(b), "length %d of %x", n, b)
	require.Less(t, int(in.Op), Ops)
	require.True(t, in.Base <= NoReg || in.Base == RIP)
	require.True(t, in.Index <= NoReg && in.Scale <= 3 && in.Seg <= GS)
	if in.Has(Mem) {
		require.Zero(t, in.RM, "RM of a memory operand in %x", b[:n])
	} else {
		require.True(t, in.Base|in.Index == NoReg || in.Op <= TOOLONG, "base of a register operand in %x", b[:n])
	}

	again, err := Decode(b[:n], mode)
	require.NoError(t, err)
	require.Equal(t, in, again, "%x decodes otherwise with its own bytes only", b[:n])
	for k := range n {
		part, err := Decode(b[:k], mode)
		if in.Op == UD && err == nil {
			require.Equal(t, UD, part.Op)
			continue
		}
		require.ErrorIs(t, err, ErrTruncated, "%x of %x", b[:k], b[:n])
	}
}

func FuzzDecode(f *testing.F) {
	golden, err := os.Open(goldenFile)
	require.NoError(f, err)
	defer golden.Close()
	for s := bufio.NewScanner(golden); s.Scan(); {
		field := strings.Fields(s.Text())
		b, err := hex.DecodeString(field[1])
		require.NoError(f, err)
		f.Add(b, uint8(slices.Index([]string{"16", "32", "64"}, field[0])))
	}
	f.Fuzz(func(t *testing.T, b []byte, mode uint8) {
		requireConsistent(t, b, Mode(mode%3))
	})
}

func TestRandomBytesDecodeConsistently(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	var b [MaxLength + 2]byte
	for i := range 60_000 {
		randomCode(r, b[:])
		requireConsistent(t, b[:r.IntN(len(b)+1)], Mode(i%3))
	}
}

func BenchmarkDecode(b *testing.B) {
	// What compiled code is made of.
	code, err := hex.DecodeString(strings.ReplaceAll(
		"4889c3 480fb6442408 4883c410 0f8412345678 55 4889e5 e812345678 7405 89c3 8b4508 "+
			"488d3d00000000 31c0 41c7442410ffffffff f30f1efa 4c8b24d8 c3", " ", ""))
	require.NoError(b, err)
	n := 0
	for b.Loop() {
		in, err := Decode(code[n:], Mode64)
		if err != nil {
			b.Fatal(err)
		}
		if n += int(in.Len); n == len(code) {
			n = 0
		}
	}
}
