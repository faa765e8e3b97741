package memory

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const page = PageSize

// newRAM returns a memory with the given {base, size} slots, closed when the test ends.
func newRAM(t testing.TB, slots ...[2]uint64) *Memory {
	t.Helper()
	m := New()
	for _, s := range slots {
		require.NoError(t, m.AddRAM(s[0], s[1]))
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func TestAddRAMRefusesBadRanges(t *testing.T) {
	for name, c := range map[string]struct {
		base, size uint64
		want       error
	}{
		"empty":              {0x10000, 0, ErrBadSlot},
		"misaligned base":    {0x10010, page, ErrBadSlot},
		"misaligned size":    {0x10000, page + 1, ErrBadSlot},
		"wraps":              {math.MaxUint64 - page + 1, 2 * page, ErrBadSlot},
		"ends at 2^64":       {math.MaxUint64 - page + 1, page, ErrBadSlot},
		"beyond int":         {0, 1 << 63, ErrBadSlot},
		"same range":         {0x4000, 0x4000, ErrOverlap},
		"tail overlaps":      {0x3000, 0x2000, ErrOverlap},
		"head overlaps":      {0x7000, 0x2000, ErrOverlap},
		"inside":             {0x5000, 0x1000, ErrOverlap},
		"around":             {0x0000, 0x10000, ErrOverlap},
		"host cannot map it": {1 << 40, 1 << 62, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := newRAM(t, [2]uint64{0x4000, 0x4000})
			err := m.AddRAM(c.base, c.size)
			require.Error(t, err)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
			}
			require.Len(t, m.Slots(), 1)
		})
	}
}

func TestSlotsAreSortedAndACopy(t *testing.T) {
	m := newRAM(t, [2]uint64{0x8000, page}, [2]uint64{0, page}, [2]uint64{0x4000, page})
	slots := m.Slots()
	require.Len(t, slots, 3)
	for i, base := range []uint64{0, 0x4000, 0x8000} {
		require.Equal(t, base, slots[i].Base)
		require.Len(t, slots[i].Host, page)
	}
	slots[0].Size = 1
	require.Equal(t, uint64(page), m.Slots()[0].Size)
}

func TestViewBounds(t *testing.T) {
	m := newRAM(t, [2]uint64{0x1000, page}, [2]uint64{0x2000, page}, [2]uint64{0x8000, page})
	for name, c := range map[string]struct {
		addr, n uint64
		ok      bool
	}{
		"whole slot":          {0x1000, page, true},
		"last byte":           {0x1fff, 1, true},
		"nothing in a slot":   {0x1fff, 0, true},
		"nothing at slot end": {0x9000, 0, false},
		"nothing in a hole":   {0x3000, 0, false},
		"below":               {0xfff, 1, false},
		"into the next slot":  {0x1fff, 2, false},
		"into a hole":         {0x2fff, 2, false},
		"hole":                {0x7fff, 1, false},
		"across a hole":       {0x2000, 0x6001, false},
		"wraps to a slot":     {math.MaxUint64, 0x1002, false},
		"length wraps":        {0x1000, math.MaxUint64, false},
		"length past int":     {0x1000, 1 << 63, false},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := m.View(c.addr, c.n)
			if !c.ok {
				require.ErrorIs(t, err, ErrUnmapped)
				require.Nil(t, b)
				return
			}
			require.NoError(t, err)
			require.Len(t, b, int(c.n))
			require.Equal(t, int(c.n), cap(b), "a view must not be growable")
		})
	}
}

func TestViewAliasesGuestMemory(t *testing.T) {
	m := newRAM(t, [2]uint64{0, page})
	b, err := m.View(0x10, 4)
	require.NoError(t, err)
	require.NoError(t, m.WriteAt([]byte{1, 2, 3, 4}, 0x10))
	require.Equal(t, []byte{1, 2, 3, 4}, b)
	b[0] = 9
	p := make([]byte, 4)
	require.NoError(t, m.ReadAt(p, 0x10))
	require.Equal(t, []byte{9, 2, 3, 4}, p)
}

func TestCopiesRefuseToCrossSlots(t *testing.T) {
	m := newRAM(t, [2]uint64{0, page}, [2]uint64{page, page})
	p := []byte{0xaa, 0xaa}
	require.ErrorIs(t, m.ReadAt(p, page-1), ErrUnmapped)
	require.Equal(t, []byte{0xaa, 0xaa}, p, "a refused read must not write")
	require.ErrorIs(t, m.WriteAt(p, page-1), ErrUnmapped)
	last := make([]byte, 1)
	require.NoError(t, m.ReadAt(last, page-1))
	require.Zero(t, last[0], "a refused write must not write its first half")
}

func TestAtomicWords(t *testing.T) {
	m := newRAM(t, [2]uint64{0, page})

	require.NoError(t, m.Store32(4, 0x11223344))
	v32, err := m.Load32(4)
	require.NoError(t, err)
	require.Equal(t, uint32(0x11223344), v32)
	p := make([]byte, 4)
	require.NoError(t, m.ReadAt(p, 4))
	require.Equal(t, []byte{0x44, 0x33, 0x22, 0x11}, p)

	require.NoError(t, m.Store64(8, 0xf0))
	old, err := m.Or64(8, 0x0f)
	require.NoError(t, err)
	require.Equal(t, uint64(0xf0), old)
	old, err = m.Swap64(8, 5)
	require.NoError(t, err)
	require.Equal(t, uint64(0xff), old)
	done, err := m.CompareAndSwap64(8, 4, 6)
	require.NoError(t, err)
	require.False(t, done)
	done, err = m.CompareAndSwap64(8, 5, 6)
	require.NoError(t, err)
	require.True(t, done)
	v64, err := m.Load64(8)
	require.NoError(t, err)
	require.Equal(t, uint64(6), v64)
}

func TestCompareAndSwap128(t *testing.T) {
	m := newRAM(t, [2]uint64{0, page})
	require.NoError(t, m.Store64(16, 1))
	require.NoError(t, m.Store64(24, 2))

	lo, hi, done, err := m.CompareAndSwap128(16, 1, 3, 8, 9)
	require.NoError(t, err)
	require.False(t, done, "the high half differs")
	require.Equal(t, [2]uint64{1, 2}, [2]uint64{lo, hi})

	lo, hi, done, err = m.CompareAndSwap128(16, 1, 2, 8, 9)
	require.NoError(t, err)
	require.True(t, done)
	require.Equal(t, [2]uint64{1, 2}, [2]uint64{lo, hi})

	lo, hi, err = m.Load128(16)
	require.NoError(t, err)
	require.Equal(t, [2]uint64{8, 9}, [2]uint64{lo, hi})
}

func TestLoad128NeverMixesHalves(t *testing.T) {
	for name, movdqa := range map[string]bool{"MOVDQA": true, "CMPXCHG16B": false} {
		t.Run(name, func(t *testing.T) {
			if movdqa && !atomicMOVDQA {
				t.Skip("this CPU has no AVX, so it does not promise 16-byte loads")
			}
			defer func(was bool) { atomicMOVDQA = was }(atomicMOVDQA)
			atomicMOVDQA = movdqa
			m := newRAM(t, [2]uint64{0, page})
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				for v := uint64(0); ; v++ {
					select {
					case <-stop:
						return
					default:
						_, _, _, _ = m.CompareAndSwap128(32, v, v, v+1, v+1)
					}
				}
			}()
			written := false
			deadline := time.Now().Add(5 * time.Second)
			for n := 0; n < 200_000 || !written && time.Now().Before(deadline); n++ {
				lo, hi, err := m.Load128(32)
				require.NoError(t, err)
				written = written || lo != 0
				if lo != hi {
					t.Errorf("torn load: %#x %#x", lo, hi)
					break
				}
			}
			close(stop)
			<-stopped
			require.True(t, written, "the writer never wrote")
		})
	}
}

func TestAtomicWordsRefuseMisalignedAndUnmapped(t *testing.T) {
	m := newRAM(t, [2]uint64{0, page})
	for name, c := range map[string]struct {
		width uint64
		op    func(addr uint64) error
	}{
		"Load32":            {4, func(a uint64) error { _, err := m.Load32(a); return err }},
		"Load64":            {8, func(a uint64) error { _, err := m.Load64(a); return err }},
		"Load128":           {16, func(a uint64) error { _, _, err := m.Load128(a); return err }},
		"Store32":           {4, func(a uint64) error { return m.Store32(a, 1) }},
		"Store64":           {8, func(a uint64) error { return m.Store64(a, 1) }},
		"Or64":              {8, func(a uint64) error { _, err := m.Or64(a, 1); return err }},
		"Swap64":            {8, func(a uint64) error { _, err := m.Swap64(a, 1); return err }},
		"CompareAndSwap64":  {8, func(a uint64) error { _, err := m.CompareAndSwap64(a, 0, 1); return err }},
		"CompareAndSwap128": {16, func(a uint64) error { _, _, _, err := m.CompareAndSwap128(a, 0, 0, 1, 1); return err }},
	} {
		t.Run(name, func(t *testing.T) {
			for off := uint64(1); off < c.width; off++ {
				require.ErrorIs(t, c.op(off), ErrMisaligned)
			}
			require.ErrorIs(t, c.op(page), ErrUnmapped)
			require.ErrorIs(t, c.op(math.MaxUint64-c.width+1), ErrUnmapped)
			require.NoError(t, c.op(page-c.width))
		})
	}
}

func TestViewWords(t *testing.T) {
	b, err := newRAM(t, [2]uint64{0, page}).View(0, 16)
	require.NoError(t, err)
	Store16(b[2:], 0xbeef)
	require.Equal(t, uint16(0xbeef), binary.LittleEndian.Uint16(b[2:]))
	require.Equal(t, uint16(0xbeef), Load16(b[2:]))
	require.Zero(t, Load16(b[4:]), "a 16-bit store must not spill")
	Store32(b[4:], 0xdeadbeef)
	require.Equal(t, uint32(0xdeadbeef), Load32(b[4:]))
	Store64(b[8:], 0x0123456789abcdef)
	require.Equal(t, uint64(0x0123456789abcdef), Load64(b[8:]))
}

func TestViewWordsPanicOnProgrammingErrors(t *testing.T) {
	b, err := newRAM(t, [2]uint64{0, page}).View(0, 32)
	require.NoError(t, err)
	for name, op := range map[string]func(){
		"Load16 misaligned":          func() { Load16(b[1:]) },
		"Store16 short":              func() { Store16(b[:1], 1) },
		"Load32 misaligned":          func() { Load32(b[2:]) },
		"Load32 short with capacity": func() { Load32(b[:3]) },
		"Store32 misaligned":         func() { Store32(b[2:], 1) },
		"Load64 short":               func() { Load64(b[:7]) },
		"Store64 misaligned":         func() { Store64(b[4:], 1) },
		"Load128 short":              func() { Load128(b[:15]) },
	} {
		t.Run(name, func(t *testing.T) { require.Panics(t, op) })
	}
}

func TestSegmentsFollowAdjacentSlots(t *testing.T) {
	m := newRAM(t, [2]uint64{0, page}, [2]uint64{page, page}, [2]uint64{4 * page, page})
	d := m.DMA()
	kept := [][]byte{{1}}

	out, err := d.Segments(kept, page-8, 16, true)
	require.NoError(t, err)
	require.Len(t, out, 3)
	require.Equal(t, []byte{1}, out[0])
	out[1][7], out[2][0] = 0xaa, 0xbb
	p := make([]byte, 1)
	require.NoError(t, m.ReadAt(p, page-1))
	require.Equal(t, byte(0xaa), p[0])
	require.NoError(t, m.ReadAt(p, page))
	require.Equal(t, byte(0xbb), p[0])

	out, err = d.Segments(kept, 2*page-8, 16, true)
	require.ErrorIs(t, err, ErrUnmapped)
	require.Equal(t, kept, out, "nothing is appended when the range runs into a hole")

	out, err = d.Segments(kept, 3*page, 0, false)
	require.NoError(t, err)
	require.Equal(t, kept, out)
}

func TestDMAViewRefusesNegativeLength(t *testing.T) {
	d := newRAM(t, [2]uint64{0, page}).DMA()
	_, err := d.View(0, -1, false)
	require.ErrorIs(t, err, ErrUnmapped)
	b, err := d.View(8, 16, false)
	require.NoError(t, err)
	require.Len(t, b, 16)
}

func TestEverythingFailsAfterClose(t *testing.T) {
	m := New()
	require.NoError(t, m.AddRAM(0, page))
	require.NoError(t, m.Close())
	p := make([]byte, 8)
	for name, op := range map[string]func() error{
		"Close":    m.Close,
		"AddRAM":   func() error { return m.AddRAM(page, page) },
		"View":     func() error { _, err := m.View(0, 8); return err },
		"ReadAt":   func() error { return m.ReadAt(p, 0) },
		"WriteAt":  func() error { return m.WriteAt(p, 0) },
		"Load32":   func() error { _, err := m.Load32(0); return err },
		"Load64":   func() error { _, err := m.Load64(0); return err },
		"Store32":  func() error { return m.Store32(0, 1) },
		"Store64":  func() error { return m.Store64(0, 1) },
		"Or64":     func() error { _, err := m.Or64(0, 1); return err },
		"Segments": func() error { _, err := m.DMA().Segments(nil, 0, 8, true); return err },
		"DMA view": func() error { _, err := m.DMA().View(0, 8, true); return err },
	} {
		require.ErrorIs(t, op(), ErrClosed, name)
	}
	require.Nil(t, m.Slots())
}

func TestAccessAllocatesNothing(t *testing.T) {
	m := newRAM(t, [2]uint64{0, page})
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, _ = m.View(0, 64)
		_, _ = m.View(1<<40, 64)
		_, _ = m.Or64(8, 1)
		_, _ = m.Load64(3)
	}))
}
