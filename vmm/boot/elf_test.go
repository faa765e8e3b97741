package boot

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ram is memory from 0.
type ram []byte

func (r ram) View(addr, n uint64) ([]byte, error) {
	if addr > uint64(len(r)) || n > uint64(len(r))-addr {
		return nil, errors.New("not RAM")
	}
	return r[addr : addr+n], nil
}

const testRAM = 4 << 20

type segment struct {
	kind              elf.ProgType
	paddr             uint64
	data              []byte
	filesize, memsize uint64 // 0: of data
	offset            uint64 // 0: where data lies
}

func note(name string, kind uint32, desc ...byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(name)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(desc)))
	b = binary.LittleEndian.AppendUint32(b, kind)
	b = append(b, name...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return append(b, desc...)
}

var pvh = segment{kind: elf.PT_NOTE, data: note(xenName, notePVH, 0, 0, 0x10, 0)} // 0x100000

// image makes an ELF executable.
func image(segments ...segment) []byte {
	var head, data bytes.Buffer
	first := uint64(64 + 56*len(segments))
	h := elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', 2, 1, 1}, Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1,
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: uint16(len(segments)), Shentsize: 64,
	}
	_ = binary.Write(&head, binary.LittleEndian, h)
	for _, s := range segments {
		p := elf.Prog64{Type: uint32(s.kind), Off: first + uint64(data.Len()), Paddr: s.paddr, Filesz: uint64(len(s.data))}
		if s.filesize != 0 {
			p.Filesz = s.filesize
		}
		if s.offset != 0 {
			p.Off = s.offset
		}
		p.Memsz = max(p.Filesz, s.memsize)
		if s.memsize != 0 {
			p.Memsz = s.memsize
		}
		_ = binary.Write(&head, binary.LittleEndian, p)
		data.Write(s.data)
	}
	return append(head.Bytes(), data.Bytes()...)
}

func openTest(t *testing.T, path string) Source {
	f, err := Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f.Source
}

func TestAnImageIsLoadedWithItsZeroedRest(t *testing.T) {
	m := make(ram, testRAM)
	for i := range m {
		m[i] = 0xaa
	}
	path := filepath.Join(t.TempDir(), "kernel")
	load := segment{kind: elf.PT_LOAD, paddr: 0x100000, data: []byte("text"), memsize: 16}
	require.NoError(t, os.WriteFile(path, image(load, pvh), 0o600))
	e, err := Load(openTest(t, path), m, Options{RAM: testRAM})
	require.NoError(t, err)
	require.Equal(t, Entry{PVH: 0x100000, Way: WayPVH, start: 0x100000, end: 0x100010}, e)
	require.Equal(t, append([]byte("text"), make([]byte, 12)...), []byte(m[0x100000:0x100010]))
	require.EqualValues(t, 0xaa, m[0x100010])
	require.EqualValues(t, 0xaa, m[0xfffff])
}

func TestImagesThatCannotBeLoadedAreRefused(t *testing.T) {
	load := segment{kind: elf.PT_LOAD, paddr: 0x100000, data: []byte("text")}
	with := func(change func(*segment)) []byte {
		s := load
		change(&s)
		return image(s, pvh)
	}
	for name, c := range map[string]struct {
		image []byte
		wants string
	}{
		"nothing":           {nil, "not an ELF"},
		"half a header":     {image(load, pvh)[:40], "not an ELF"},
		"half a table":      {image(load, pvh)[:100], "not an ELF"},
		"no note":           {image(load), "PVH note"},
		"another's note":    {image(load, segment{kind: elf.PT_NOTE, data: note("GNU\x00", notePVH, 0, 0, 0x10, 0)}), "PVH note"},
		"another note":      {image(load, segment{kind: elf.PT_NOTE, data: note(xenName, 1, 0, 0, 0x10, 0)}), "PVH note"},
		"a short note":      {image(load, segment{kind: elf.PT_NOTE, data: note(xenName, notePVH, 0, 0)}), "PVH note"},
		"an endless note":   {image(load, segment{kind: elf.PT_NOTE, data: append(pvh.data[:4:4], bytes.Repeat([]byte{0xff}, 20)...)}), "PVH note"},
		"low":               {with(func(s *segment) { s.paddr = 0x6000 }), "below"},
		"beyond RAM":        {with(func(s *segment) { s.paddr = testRAM }), "memory too small"},
		"partly beyond RAM": {with(func(s *segment) { s.paddr = testRAM - 3 }), "memory too small"},
		"huge":              {with(func(s *segment) { s.memsize = 1 << 62 }), "memory too small"},
		"wrapping":          {with(func(s *segment) { s.paddr = ^uint64(0) - 1 }), "memory too small"},
		"more file":         {with(func(s *segment) { s.memsize = 2 }), "more bytes in the file"},
		"past the end":      {with(func(s *segment) { s.filesize = 1 << 16 }), "cut short"},
		"an offset outside": {with(func(s *segment) { s.offset = 1 << 40 }), "cut short"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := loadImage(Bytes("image", c.image), make(ram, testRAM), Options{RAM: testRAM})
			require.ErrorContains(t, err, c.wants)
		})
	}
}

func TestManyProgramHeadersEndSoon(t *testing.T) {
	segments := make([]segment, 0xfff0)
	for i := range segments {
		segments[i] = segment{kind: elf.PT_LOAD, paddr: 0x100000, memsize: 3 << 20}
	}
	data := image(append(segments, pvh)...)
	done := make(chan error, 1)
	go func() {
		_, err := loadImage(Bytes("image", data), make(ram, testRAM), Options{RAM: testRAM})
		done <- err
	}()
	select {
	case err := <-done:
		require.ErrorContains(t, err, "overlap")
	case <-time.After(5 * time.Second):
		t.Fatal("loading takes too long")
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(image(segment{kind: elf.PT_LOAD, paddr: 0x100000, data: []byte("text"), memsize: 16}, pvh))
	f.Add(image(pvh))
	f.Add([]byte("\x7fELF"))
	m := make(ram, testRAM)
	f.Fuzz(func(t *testing.T, b []byte) {
		clear(m[:firstUsable])
		_, _ = loadImage(Bytes("image", b), m, Options{RAM: testRAM})
		require.Equal(t, make([]byte, firstUsable), []byte(m[:firstUsable]), "the start information's place is not the image's")
	})
}

func TestStartInfoSaysWhatTheKernelGets(t *testing.T) {
	m := make(ram, testRAM)
	at, err := startInfo(m, Info{Command: "depth=1 hash=0", Map: []Region{{0, testRAM, RAM}, {1 << 32, 1 << 30, RAM}}})
	require.NoError(t, err)
	le := binary.LittleEndian
	s := m[at:]
	require.EqualValues(t, 0x336ec578, le.Uint32(s))
	require.EqualValues(t, 1, le.Uint32(s[4:]))
	line := m[le.Uint64(s[24:]):]
	require.Equal(t, "depth=1 hash=0\x00", string(line[:15]))
	entries := m[le.Uint64(s[40:]):]
	require.EqualValues(t, 2, le.Uint32(s[48:]))
	require.EqualValues(t, testRAM, le.Uint64(entries[8:]))
	require.EqualValues(t, 1, le.Uint32(entries[16:]))
	require.EqualValues(t, 1<<32, le.Uint64(entries[24:]))

	_, err = startInfo(m, Info{Command: string(make([]byte, MaxCommandLine+1))})
	require.Error(t, err)
	_, err = startInfo(m, Info{Command: "", Map: make([]Region, 1000)})
	require.Error(t, err)
	_, err = startInfo(make(ram, 0x7000), Info{})
	require.Error(t, err)
}
