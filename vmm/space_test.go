package vmm

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gvmm/vmm/pci"
)

// nowhere is a device that keeps nothing; its address tells it from others.
type nowhere struct{ _ byte }

func (*nowhere) ReadMMIO(_ uint64, p []byte) { clear(p) }
func (*nowhere) WriteMMIO(uint64, []byte)    {}

func TestSpaceRefusesWhatIsTaken(t *testing.T) {
	const ram = 0x10000
	for name, c := range map[string]struct{ base, size uint64 }{
		"RAM":               {0, 0x1000},
		"the end of RAM":    {ram - 1, 2},
		"a device's start":  {0x1ffff, 2},
		"inside a device":   {0x20800, 1},
		"a device's end":    {0x20fff, 0x1000},
		"around a device":   {0x1f000, 0x3000},
		"nothing":           {0x30000, 0},
		"past all memory":   {^uint64(0) - 0xf, 0x20},
		"the very same":     {0x20000, 0x1000},
		"everything at all": {0x10000, ^uint64(0)},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpace(func(addr uint64) bool { return addr < ram })
			require.NoError(t, s.Map(0x20000, 0x1000, new(nowhere)))
			require.ErrorIs(t, s.Map(c.base, c.size, new(nowhere)), errOverlap)
		})
	}
}

func TestAnAccessBelongsToOneDeviceOrNone(t *testing.T) {
	s := newSpace(func(uint64) bool { return false })
	d := new(nowhere)
	require.NoError(t, s.Map(0x1000, 0x100, d))
	for _, c := range []struct {
		addr uint64
		n    int
		hit  bool
	}{{0xfff, 1, false}, {0xfff, 2, false}, {0x1000, 1, true}, {0x10f8, 8, true}, {0x10f9, 8, false}, {0x1100, 1, false}, {^uint64(0), 8, false}} {
		r, off := s.at(c.addr, c.n)
		require.Equal(t, c.hit, r != nil, "%#x, %d bytes", c.addr, c.n)
		if c.hit {
			require.Equal(t, c.addr-0x1000, off)
		}
	}
	require.EqualValues(t, 2, s.accesses(0x1000))
	s.Unmap(0x1000)
	r, _ := s.at(0x1000, 1)
	require.Nil(t, r)
	require.Zero(t, s.accesses(0x1000))
}

func TestSpaceAgreesWithAMapOfBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 256
		s := newSpace(func(addr uint64) bool { return addr < 16 })
		var owner [limit]pci.Region
		base := make(map[pci.Region]uint64)
		t.Repeat(map[string]func(*rapid.T){
			"map": func(t *rapid.T) {
				from := rapid.Uint64Range(0, limit-1).Draw(t, "from")
				size := rapid.Uint64Range(0, limit-from).Draw(t, "size")
				free := size > 0 && from >= 16
				for _, o := range owner[from : from+size] {
					free = free && o == nil
				}
				d := new(nowhere)
				if err := s.Map(from, size, d); (err == nil) != free {
					t.Fatalf("Map(%d, %d): %v, free: %v", from, size, err, free)
				}
				if free {
					base[d] = from
					for i := from; i < from+size; i++ {
						owner[i] = d
					}
				}
			},
			"unmap": func(t *rapid.T) {
				at := rapid.Uint64Range(0, limit-1).Draw(t, "at")
				s.Unmap(at)
				if d := owner[at]; d != nil && base[d] == at {
					for i := range owner {
						if owner[i] == d {
							owner[i] = nil
						}
					}
				}
			},
			"": func(t *rapid.T) {
				for i, want := range owner {
					got, off := s.at(uint64(i), 1)
					if got != want || want != nil && off != uint64(i)-base[want] {
						t.Fatalf("at %d", i)
					}
				}
			},
		})
	})
}
