package boot

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestThePCsMapHasItsHole(t *testing.T) {
	require.Equal(t, []Region{{0, 0xa0000, RAM}, {0xe0000, 0x20000, Reserved}, {0x100000, 0x300000, RAM}}, PCMap(4<<20))
	require.Equal(t, []Region{{0, 0xa0000, RAM}, {0xe0000, 0x20000, Reserved}}, PCMap(1<<20))
}

// hole is memory that has no more than its last bytes, at base.
type hole struct {
	base uint64
	ram  ram
}

func (h hole) View(addr, n uint64) ([]byte, error) { return h.ram.View(addr-h.base, n) }

func TestAnInitrdLiesHighBehindTheKernel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOfN(rapid.Byte(), 1, 10000).Draw(t, "initrd")
		kernel := rapid.Uint64Range(0, 8<<20).Draw(t, "kernel")
		size := rapid.Uint64Range(1, 10).Draw(t, "MiB") << 20
		m := make(ram, size)
		r, err := placeInitrd(bytes.NewReader(data), m, kernel, size)
		if err != nil {
			require.ErrorContains(t, err, "memory too small")
			require.Greater(t, max(kernel, 1<<20)+uint64(len(data)), size-2*pageSize)
			return
		}
		require.Zero(t, r.Base%pageSize)
		require.GreaterOrEqual(t, r.Base, kernel)
		require.Less(t, size-(r.Base+r.Size), uint64(pageSize))
		require.Equal(t, data, []byte(m[r.Base:r.Base+r.Size]))
	})
}

func TestAnInitrdStaysBelowWhatKernelsAccept(t *testing.T) {
	h := hole{2<<30 - 4096, make(ram, 8192)}
	r, err := placeInitrd(bytes.NewReader(make([]byte, 4096)), h, 1<<20, 3<<30)
	require.NoError(t, err)
	require.Equal(t, Region{2<<30 - 4096, 4096, RAM}, r)
}

func TestInitrdsThatCannotBeLoadedAreRefused(t *testing.T) {
	dir := t.TempDir()
	empty, big := filepath.Join(dir, "empty"), filepath.Join(dir, "big")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	require.NoError(t, os.WriteFile(big, make([]byte, 3<<20), 0o600))
	m := make(ram, testRAM)
	for path, wants := range map[string]string{
		empty: "empty", big: "give at least 5 MiB", dir: "not a regular file", filepath.Join(dir, "none"): "no such file",
	} {
		_, err := LoadInitrd(path, m, Entry{end: 0x1ff001}, testRAM)
		require.ErrorContains(t, err, wants)
	}
	_, err := LoadInitrd(big, m, Entry{end: 0x100000}, testRAM)
	require.NoError(t, err)
}

func TestKernelsAreToldOfTheInitrdAndOfACPI(t *testing.T) {
	m := make(ram, testRAM)
	in := Info{Command: "quiet", Map: PCMap(testRAM), Initrd: Region{0x300000, 0x1234, RAM}, RSDP: 0xe0000}
	le := binary.LittleEndian
	at, err := Entry{PVH: 1}.Information(m, in)
	require.NoError(t, err)
	s := m[at:]
	require.EqualValues(t, 1, le.Uint32(s[12:]))
	module := m[le.Uint64(s[16:]):]
	require.EqualValues(t, 0x300000, le.Uint64(module))
	require.EqualValues(t, 0x1234, le.Uint64(module[8:]))
	require.Zero(t, le.Uint64(module[16:]))
	require.EqualValues(t, 0xe0000, le.Uint64(s[32:]))
	require.EqualValues(t, 3, le.Uint32(s[48:]))
	entries := m[le.Uint64(s[40:]):]
	require.EqualValues(t, 2, le.Uint32(entries[24+16:]))

	at, err = Entry{Multiboot: 1, Image: "kernel"}.Information(m, in)
	require.NoError(t, err)
	s = m[at:]
	require.EqualValues(t, 1, le.Uint32(s[20:]))
	module = m[le.Uint32(s[24:]):]
	require.EqualValues(t, 0x300000, le.Uint32(module))
	require.EqualValues(t, 0x301234, le.Uint32(module[4:]))
	require.Zero(t, m[le.Uint32(module[8:])])
	require.EqualValues(t, 640, le.Uint32(s[4:]))
	require.EqualValues(t, 3072, le.Uint32(s[8:]))
	require.Equal(t, "gvmm\x00", string(m[le.Uint32(s[64:]):][:5]))
}
