package memory

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// model is guest memory as one map from address to byte, and the slot that owns each page.
type model struct {
	bytes map[uint64]byte
	owner map[uint64]int
}

func (m *model) add(id int, base, size uint64) bool {
	for a := base; a < base+size; a += page {
		if _, taken := m.owner[a]; taken {
			return false
		}
	}
	for a := base; a < base+size; a += page {
		m.owner[a] = id
	}
	return true
}

func (m *model) readable(addr, n uint64) bool {
	id, ok := m.owner[addr&^(page-1)]
	for a := addr; ok && a < addr+n; a++ {
		var here int
		here, ok = m.owner[a&^(page-1)]
		ok = ok && here == id
	}
	return ok
}

func (m *model) read(addr, n uint64) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = m.bytes[addr+uint64(i)]
	}
	return p
}

func TestMemoryMatchesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := New()
		defer m.Close()
		ref := &model{bytes: map[uint64]byte{}, owner: map[uint64]int{}}
		addr := rapid.Uint64Range(0, 10*page)
		slots := 0
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				base := rapid.Uint64Range(0, 8).Draw(t, "page") * page
				size := rapid.Uint64Range(1, 2).Draw(t, "pages") * page
				err := m.AddRAM(base, size)
				if !ref.add(slots, base, size) {
					require.ErrorIs(t, err, ErrOverlap)
					return
				}
				require.NoError(t, err)
				slots++
			},
			"write": func(t *rapid.T) {
				at := addr.Draw(t, "addr")
				data := rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "data")
				err := m.WriteAt(data, at)
				if !ref.readable(at, uint64(len(data))) {
					require.ErrorIs(t, err, ErrUnmapped)
					return
				}
				require.NoError(t, err)
				for i, b := range data {
					ref.bytes[at+uint64(i)] = b
				}
			},
			"read": func(t *rapid.T) {
				at, n := addr.Draw(t, "addr"), rapid.Uint64Range(0, 64).Draw(t, "n")
				b, err := m.View(at, n)
				if !ref.readable(at, n) {
					require.ErrorIs(t, err, ErrUnmapped)
					return
				}
				require.NoError(t, err)
				require.True(t, bytes.Equal(ref.read(at, n), b))
			},
			"segments": func(t *rapid.T) {
				at, n := addr.Draw(t, "addr"), rapid.Uint32Range(0, 3*page).Draw(t, "n")
				segs, err := m.DMA().Segments(nil, at, n, true)
				mapped := true
				for a := at &^ (page - 1); a < at+uint64(n); a += page {
					_, ok := ref.owner[a]
					mapped = mapped && (ok || n == 0)
				}
				if !mapped {
					require.ErrorIs(t, err, ErrUnmapped)
					return
				}
				require.NoError(t, err)
				require.True(t, bytes.Equal(ref.read(at, uint64(n)), bytes.Join(segs, nil)))
			},
		})
	})
}

func FuzzView(f *testing.F) {
	f.Add(uint64(0), uint64(page))
	f.Add(uint64(2*page-1), uint64(2))
	f.Add(^uint64(0), uint64(2))
	f.Add(uint64(1)<<32, ^uint64(0))
	m := newRAM(f, [2]uint64{0, 2 * page}, [2]uint64{1 << 32, page})
	f.Fuzz(func(t *testing.T, addr, n uint64) {
		b, err := m.View(addr, n)
		inside := false
		for _, s := range m.Slots() {
			inside = inside || addr >= s.Base && addr < s.Base+s.Size && n <= s.Base+s.Size-addr
		}
		if !inside {
			require.ErrorIs(t, err, ErrUnmapped)
			return
		}
		require.NoError(t, err)
		require.Len(t, b, int(n))
		for i := range b {
			b[i]++ // the whole view must be mapped
		}
	})
}
