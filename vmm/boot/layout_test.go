package boot

import (
	"bytes"
	"encoding/binary"
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestThePCsMapHasItsHole(t *testing.T) {
	require.Equal(t, []Region{{0, 0xa0000, RAM}, {0xe0000, 0x20000, Reserved}, {0x100000, 0x300000, RAM}}, PCMap(4<<20))
	require.Equal(t, []Region{{0, 0xa0000, RAM}, {0xe0000, 0x20000, Reserved}}, PCMap(1<<20))
	reserved := Region{0xd0000000, 1 << 20, Reserved}
	require.Equal(t, []Region{
		{0, 0xa0000, RAM}, {0xe0000, 0x20000, Reserved}, {0x100000, 0xbff00000, RAM}, reserved, {1 << 32, 5 << 30, RAM},
	}, PCMap(8<<30, reserved))
	require.Equal(t, []Region{{0, 0xa0000, RAM}, {0xe0000, 0x20000, Reserved}, {0x100000, 0xbff00000, RAM}}, PCMap(3<<30))
}

func TestAnInitrdLiesHighBehindTheKernel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOfN(rapid.Byte(), 1, 10000).Draw(t, "initrd")
		kernel := rapid.Uint64Range(0, 8<<20).Draw(t, "kernel")
		size := rapid.Uint64Range(1, 10).Draw(t, "MiB") << 20
		m := make(ram, size)
		r, err := LoadInitrd(m, Entry{end: kernel}, size, Bytes("initrd", data))
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

func TestAnInitrdStaysWhereTheKernelAcceptsIt(t *testing.T) {
	const GiB = 1 << 30
	header := func(limit uint32, flags uint16) setup {
		h := bareSetup()
		binary.LittleEndian.PutUint32(h[setupInitrdMax:], limit)
		binary.LittleEndian.PutUint16(h[setupXLoad:], flags)
		return h
	}
	for name, c := range map[string]struct {
		entry     Entry
		ram, size uint64
		want      uint64 // base; 0: refused
	}{
		"below 2 GiB":             {Entry{}, 3 * GiB, 4096, 2*GiB - 4096},
		"below what it says":      {Entry{Linux: 1, setup: header(1<<28-1, 0)}, 3 * GiB, 4096, 1<<28 - 4096},
		"low though high is free": {Entry{Linux: 1}, 8 * GiB, 4097, 2*GiB - 8192},
		"high where it must":      {Entry{Linux: 1}, 8 * GiB, 3 * GiB, 9*GiB - 3*GiB},
		"high behind the kernel":  {Entry{Linux: 1, end: 2*GiB - 4096}, 4 * GiB, 8192, 5*GiB - 8192},
		"not high for PVH":        {Entry{PVH: 1}, 8 * GiB, 3 * GiB, 0},
		"nor without the flag":    {Entry{Linux: 1, setup: header(2*GiB-1, xloadKernel64)}, 8 * GiB, 3 * GiB, 0},
		"more than there is":      {Entry{Linux: 1}, 4 * GiB, 3 * GiB, 0},
		"nearly so":               {Entry{Linux: 1}, 8 * GiB, ^uint64(0) - 1<<13, 0},
		"beyond arithmetic":       {Entry{Linux: 1}, 8 * GiB, ^uint64(0), 0},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := placeInitrd(c.entry, c.size, c.ram)
			if c.want == 0 {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, Region{c.want, c.size, RAM}, r)
		})
	}
}

func TestInitrdsLieOneBehindTheOther(t *testing.T) {
	m := make(ram, testRAM)
	r, err := LoadInitrd(m, Entry{}, testRAM, Bytes("a", []byte("micro")), Bytes("b", []byte("archive")))
	require.NoError(t, err)
	require.Equal(t, "micro\x00\x00\x00archive", string(m[r.Base:r.Base+r.Size]))
	require.Equal(t, r.Size, InitrdBytes(Bytes("a", []byte("micro")), Bytes("b", []byte("archive"))))
}

func TestInitrdsThatCannotBeLoadedAreRefused(t *testing.T) {
	m := make(ram, testRAM)
	big := Bytes("big", make([]byte, 3<<20))
	for wants, disks := range map[string][]Source{
		"none: the file is empty": {Bytes("none", nil)},
		"give at least 5 MiB":     {big},
		"cannot be read":          {{Name: "cut", ReaderAt: bytes.NewReader(nil), Size: 8}},
	} {
		_, err := LoadInitrd(m, Entry{end: 0x1ff001}, testRAM, disks...)
		require.ErrorContains(t, err, wants)
	}
	huge := Source{Name: "huge", Size: math.MaxInt64}
	_, err := LoadInitrd(m, Entry{}, testRAM, huge, huge, Bytes("x", []byte("12")))
	require.ErrorContains(t, err, "do not fit")
	_, err = LoadInitrd(m, Entry{end: 0x100000}, testRAM, big)
	require.NoError(t, err)
	for wants, path := range map[string]string{"not a regular file": t.TempDir(), "no such file": filepath.Join(t.TempDir(), "none")} {
		_, err := Open(path)
		require.ErrorContains(t, err, wants)
	}
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
