package difftest_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu/soft/decode"
	"gvmm/vcpu/soft/difftest"
)

func start(t *testing.T) *difftest.Oracle {
	t.Helper()
	o, err := difftest.Start(t.TempDir())
	if errors.Is(err, difftest.ErrUnavailable) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, o.Close()) })
	return o
}

func newCase(code ...byte) difftest.Case {
	c := difftest.Case{Bytes: code}
	c.RFLAGS, c.FX = 0x202, difftest.ResetFX()
	c.GPR[0], c.GPR[1], c.GPR[4] = difftest.Scratch+0x100, 5, difftest.Scratch+0x1000
	return c
}

func TestOracleTellsWhereAndHowACaseEnded(t *testing.T) {
	o := start(t)
	tests := []struct {
		name string
		code []byte
		want difftest.Result // but for the registers
	}{
		{"to its end", []byte{0x90, 0x90}, difftest.Result{RIP: difftest.Entry + 2, Trap: difftest.NoTrap}},
		{"by a branch", []byte{0xeb, 0x20}, difftest.Result{RIP: difftest.Entry + 0x22, Trap: 3}},
		{"by #GP", []byte{0x90, 0xf4}, difftest.Result{RIP: difftest.Entry + 1, Trap: 13}},
		{"by #UD", []byte{0x0f, 0x0b}, difftest.Result{RIP: difftest.Entry, Trap: 6}},
		{"by #DE", []byte{0x31, 0xd2, 0xf7, 0xf2}, difftest.Result{RIP: difftest.Entry + 2, Trap: 0}},
		{"by a write into nothing", []byte{0x89, 0x88, 0, 0, 1, 0}, difftest.Result{RIP: difftest.Entry, Trap: 14, Error: 6, CR2: difftest.Scratch + 0x10100}},
		{"by a branch to data", []byte{0xff, 0xe0}, difftest.Result{RIP: difftest.Scratch + 0x100, Trap: 14, Error: 0x15, CR2: difftest.Scratch + 0x100}},
		{"with a store", []byte{0x89, 0x08}, difftest.Result{RIP: difftest.Entry + 2, Trap: difftest.NoTrap, Offset: 0x100, Memory: []byte{5, 0, 0, 0, 7, 7, 7, 7}}},
	}
	var cases []difftest.Case
	for _, test := range tests {
		cases = append(cases, newCase(test.code...))
	}
	results, err := o.Run(bytes.Repeat([]byte{7}, difftest.ScratchSize), cases, nil)
	require.NoError(t, err)
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := results[i]
			got.State = difftest.State{}
			require.Equal(t, test.want, got)
		})
	}
}

func TestOracleLoadsAndStoresAllRegisters(t *testing.T) {
	o := start(t)
	c := newCase(0x90)
	for i := range c.GPR {
		c.GPR[i] = uint64(i+1) << 60 >> 4
		c.FX.SetXMM(i, uint64(i), uint64(i)<<8)
	}
	c.RFLAGS = 0xad7
	c.FX.SetMXCSR(0x9fc0)
	narrow := c
	narrow.Narrow = true
	narrow.Bytes = []byte{0x40} // inc eax

	results, err := o.Run(make([]byte, difftest.ScratchSize), []difftest.Case{c, narrow}, nil)

	require.NoError(t, err)
	require.Equal(t, c.GPR, results[0].GPR)
	require.Equal(t, c.RFLAGS, results[0].RFLAGS)
	require.Equal(t, c.FX.MXCSR(), results[0].FX.MXCSR())
	for i := range c.GPR {
		low, high := results[0].FX.XMM(i)
		require.Equal(t, [2]uint64{uint64(i), uint64(i) << 8}, [2]uint64{low, high})
	}
	require.EqualValues(t, uint32(c.GPR[0])+1, results[1].GPR[0])
}

func TestOracleRefusesABatchThatDoesNotFit(t *testing.T) {
	o := start(t)
	_, err := o.Run(nil, nil, nil)
	require.Error(t, err)
	_, err = o.Run(make([]byte, difftest.ScratchSize), make([]difftest.Case, difftest.Batch+1), nil)
	require.Error(t, err)
}

func TestGeneratorMakesOnlyWhatIsWanted(t *testing.T) {
	for _, narrow := range []bool{false, true} {
		g := difftest.NewGenerator(rand.New(rand.NewPCG(1, 2)), func(in *decode.Inst) bool { return in.Op == decode.ADD || in.Op == decode.JCC })
		g.Narrow = narrow
		g.Memory()
		for range 500 {
			c := g.Case(4)
			require.LessOrEqual(t, len(c.Bytes), difftest.MaxCode)
			for at := 0; at < len(c.Bytes); {
				in, err := decode.Decode(c.Bytes[at:], c.Mode())
				require.NoError(t, err)
				at += int(in.Len)
				require.True(t, in.Op == decode.ADD || in.Op == decode.JCC && at == len(c.Bytes), in.Op)
			}
		}
	}
}
