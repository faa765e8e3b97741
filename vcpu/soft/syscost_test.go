package soft

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// paths are loops through what a kernel does often: user code that enters the
// kernel and comes back.
func paths(t testing.TB) map[string]*sysRig {
	enter := func() *sysRig {
		r := longRig(t)
		r.c.msr.star, r.c.msr.lstar = selCode64<<32|selUser32<<48, 0x9908
		copy(r.ram[0x9908:], []byte{0x0f, 0x01, 0xf8, 0x0f, 0x01, 0xf8, 0x48, 0x0f, 0x07}) // swapgs; swapgs; sysretq
		copy(r.ram[handler(0x40):], []byte{0x48, 0xcf})
		r.enter(selUser64|3, selUserData|3)
		return r
	}
	return map[string]*sysRig{
		"system call": enter().code(0x0f, 0x05, 0xeb, 0xfc),
		"interrupt":   enter().code(0xcd, 0x40, 0xeb, 0xfc),
		"time stamp":  enter().code(0x0f, 0x31, 0xeb, 0xfc),
	}
}

func TestPrivilegedPathsDoNotAllocate(t *testing.T) {
	for about, r := range paths(t) {
		require.NoError(t, r.c.Slice(1000))
		require.Zero(t, testing.AllocsPerRun(10, func() { _ = r.c.Slice(1000) }), about)
		require.Equal(t, -1, r.vector(), about)
	}
	r := longRig(t)
	c := r.c
	c.idtr.limit = 0x40 * 16
	for _, n := range []uint32{0, 1, 4, 7, 0xb, 0xd, 0x15, 0x80000002} {
		require.Zero(t, testing.AllocsPerRun(10, func() { c.leafOf(n, 0); c.portOut(0x80, 1, 0); c.portIn(0x80, 4) }))
	}
}

func BenchmarkPrivileged(b *testing.B) {
	for about, r := range paths(b) {
		b.Run(about, func(b *testing.B) {
			start := r.c.Retired()
			for b.Loop() {
				_ = r.c.Slice(1000)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(r.c.Retired()-start), "ns/insn")
		})
	}
}
