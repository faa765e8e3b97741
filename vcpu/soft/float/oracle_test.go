package float

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// query is one question to the host's CPU, answer what it did: see testdata/oracle.c.
type (
	query struct {
		Ctl, Imm uint32
		A, B     [16]byte
	}
	answer struct {
		R, S         [16]byte
		Flags, Extra uint32
	}
)

var oracle struct {
	sync.Once
	path, skip string
}

// ask runs op on the host's CPU for all the queries.
func ask(t *testing.T, op string, qs []query) []answer {
	t.Helper()
	oracle.Do(func() {
		if runtime.GOARCH != "amd64" || runtime.GOOS != "linux" {
			oracle.skip = "the oracle needs Linux on amd64"
			return
		}
		gcc, err := exec.LookPath("gcc")
		if err != nil {
			oracle.skip = "the oracle needs gcc"
			return
		}
		path := filepath.Join(oracleDir, "oracle")
		if out, err := exec.Command(gcc, "-O1", "-mno-red-zone", "-o", path, "testdata/oracle.c").CombinedOutput(); err != nil {
			oracle.skip = "gcc cannot make the oracle: " + string(out)
			return
		}
		oracle.path = path
	})
	if oracle.skip != "" {
		t.Skip(oracle.skip)
	}
	var in bytes.Buffer
	require.NoError(t, binary.Write(&in, binary.LittleEndian, qs))
	cmd := exec.Command(oracle.path, op)
	cmd.Stdin = &in
	out, err := cmd.Output()
	require.NoError(t, err, "oracle %s", op)
	as := make([]answer, len(qs))
	require.NoError(t, binary.Read(bytes.NewReader(out), binary.LittleEndian, as))
	return as
}

func put64(v uint64) (b [16]byte) {
	binary.LittleEndian.PutUint64(b[:], v)
	return b
}

func get64(b [16]byte) uint64 { return binary.LittleEndian.Uint64(b[:]) }
func get32(b [16]byte) uint32 { return binary.LittleEndian.Uint32(b[:]) }

func put80(f F80) (b [16]byte) {
	binary.LittleEndian.PutUint64(b[:], f.Man)
	binary.LittleEndian.PutUint16(b[8:], f.SE)
	return b
}

func get80(b [16]byte) F80 {
	return F80{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint16(b[8:])}
}

// gen makes operands: special ones, random ones, and pairs that are near each other
// or whose result is near a border of the range.
type gen struct{ *rand.Rand }

func newGen(seed uint64) gen { return gen{rand.New(rand.NewPCG(seed, 1))} }

// significand gives random bits, often with few ones, long runs, or near all ones.
func (g gen) significand(width uint) uint64 {
	m := g.Uint64() >> (64 - width)
	switch g.IntN(8) {
	case 0:
		m &= g.Uint64() & g.Uint64() & g.Uint64()
	case 1:
		m &= ^uint64(0) << g.IntN(int(width)+1)
	case 2:
		m |= ^uint64(0) << g.IntN(int(width)+1)
	case 3:
		m = uint64(g.IntN(4))
	case 4:
		m = -uint64(g.IntN(4)) - 1
	case 5:
		m = 1 << g.IntN(int(width))
	}
	return m & (1<<width - 1)
}

// exponent gives a biased exponent below 1<<width, near prev or near a border often.
func (g gen) exponent(width uint, frac int, prev int) int {
	limit := 1<<width - 1
	e := g.IntN(limit + 1)
	switch g.IntN(8) {
	case 0:
		e = g.IntN(4)
	case 1:
		e = limit - g.IntN(4)
	case 2, 3:
		e = prev + g.IntN(9) - 4
	case 4:
		e = prev + g.IntN(2*frac) - frac
	case 5:
		e = limit - prev + g.IntN(2*frac) - frac - limit/2 // a product near the least number
	case 6:
		e = limit/2 + g.IntN(2*frac) - frac
	}
	return max(0, min(limit, e))
}

func (g gen) f64(prev uint64) uint64 {
	e := g.exponent(11, 54, int(prev>>52&0x7FF))
	return uint64(g.IntN(2))<<63 | uint64(e)<<52 | g.significand(52)
}

func (g gen) f32(prev uint32) uint32 {
	e := g.exponent(8, 25, int(prev>>23&0xFF))
	return uint32(g.IntN(2))<<31 | uint32(e)<<23 | uint32(g.significand(23))
}

func (g gen) f80(prev F80) F80 {
	e := g.exponent(15, 66, int(prev.SE&0x7FFF))
	f := F80{Man: 1<<63 | g.significand(63), SE: uint16(g.IntN(2)<<15 | e)}
	if e == 0 || g.IntN(50) == 0 {
		f.Man &^= 1 << 63
		if g.IntN(3) == 0 {
			f.Man = 0
		}
	}
	return f
}

// near80 gives an operand of moderate size.
func (g gen) near80(span int) F80 {
	return F80{Man: 1<<63 | g.significand(63), SE: uint16(g.IntN(2)<<15 | bias80 + g.IntN(2*span) - span)}
}

// mxcsr gives control bits: masked to nearest half of the time.
func (g gen) mxcsr() uint32 {
	if g.IntN(2) == 0 {
		return 0x1F80 | uint32(g.IntN(2))*0x20
	}
	v := uint32(0x1F80) | uint32(g.IntN(4))<<mxcsrRC
	if g.IntN(3) == 0 {
		v &^= g.Uint32() & 0x1F80
	}
	if g.IntN(3) == 0 {
		v |= g.Uint32() & (mxcsrFTZ | mxcsrDAZ)
	}
	return v
}

// control gives an x87 control word.
func (g gen) control() uint32 {
	v := uint32(0x37F)
	if g.IntN(2) == 0 {
		v = 0x7F | uint32(g.IntN(16))<<8
	}
	if g.IntN(4) == 0 {
		v &^= g.Uint32() & 0x3F
	}
	return v
}
