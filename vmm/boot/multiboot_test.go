package boot

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// words is little-endian words.
func words(v ...uint32) (b []byte) {
	for _, w := range v {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}

// header is a multiboot header with the right checksum.
func header(flags uint32, addresses ...uint32) []byte {
	return append(words(headerMagic, flags, -(headerMagic+flags)), words(addresses...)...)
}

// image32 makes a 32-bit ELF executable of one segment, and of a note where it is given one.
func image32(entry, vaddr, paddr uint32, data, note []byte) []byte {
	const first = 52 + 2*32
	h := elf.Header32{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', 1, 1, 1}, Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_386), Version: 1,
		Entry: entry, Phoff: 52, Ehsize: 52, Phentsize: 32, Phnum: 2, Shentsize: 40,
	}
	n, end := uint32(len(data)), uint32(first+len(data))
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, h)
	_ = binary.Write(&b, binary.LittleEndian, elf.Prog32{Type: uint32(elf.PT_LOAD), Off: first, Vaddr: vaddr, Paddr: paddr, Filesz: n, Memsz: n + 8})
	_ = binary.Write(&b, binary.LittleEndian, elf.Prog32{Type: uint32(elf.PT_NOTE), Off: end, Filesz: uint32(len(note))})
	return append(append(b.Bytes(), data...), note...)
}

// image64 is image with a multiboot header in its segment and an entry.
func image64(entry uint64, flags uint32, more ...segment) []byte {
	load := segment{kind: elf.PT_LOAD, paddr: 0x100000, data: append(header(flags), "code"...)}
	b := image(append([]segment{load}, more...)...)
	binary.LittleEndian.PutUint64(b[24:], entry)
	return b
}

func TestMultibootELFImagesAreLoaded(t *testing.T) {
	code := append(header(3), "code"...)
	for name, c := range map[string]struct {
		image []byte
		want  Entry
	}{
		"32 bits":                    {image32(0x10000c, 0x100000, 0x100000, code, nil), Entry{Multiboot: 0x10000c}},
		"linked high":                {image32(0xc010000c, 0xc0100000, 0x100000, code, nil), Entry{Multiboot: 0x10000c}},
		"linked high, physical":      {image32(0x10000d, 0xc0100000, 0x100000, code, nil), Entry{Multiboot: 0x10000d}},
		"64 bits":                    {image64(0x10000c, 0), Entry{Multiboot: 0x10000c}},
		"64 bits, with video":        {image64(0x10000c, wantsVideo), Entry{Multiboot: 0x10000c}},
		"64 bits with a PVH note":    {image64(0x10000c, 0, pvh), Entry{PVH: 0x100000}},
		"unknown flags, but a note":  {image64(0x10000c, 8, pvh), Entry{PVH: 0x100000}},
		"32 bits with a PVH note":    {image32(0x10000c, 0x100000, 0x100000, code, pvh.data), Entry{PVH: 0x100000}},
		"32 bits with only the note": {image32(0, 0x100000, 0x100000, []byte("0123456789abcode"), pvh.data), Entry{PVH: 0x100000}},
	} {
		t.Run(name, func(t *testing.T) {
			m := make(ram, testRAM)
			e, err := loadImage(Bytes("image", c.image), m, Options{RAM: testRAM})
			require.NoError(t, err)
			require.NotZero(t, e.end)
			require.Equal(t, c.want, Entry{PVH: e.PVH, Multiboot: e.Multiboot})
			require.Equal(t, "code", string(m[0x10000c:0x100010]))
		})
	}
}

// addressed is an image that is no ELF, with its header 16 bytes into it.
func addressed(load, loadEnd, bssEnd, entry uint32) []byte {
	b := append([]byte("0123456789abcdef"), header(hasAddresses, load+16, load, loadEnd, bssEnd, entry)...)
	return append(b, "code and data"...)
}

func TestImagesWithAddressesAreLoadedByThem(t *testing.T) {
	const at, size = 0x200000, 16 + 32 + 13
	executable := image(segment{kind: elf.PT_NULL, data: header(hasAddresses, at, at, 0, 0, at+32)},
		segment{kind: elf.PT_LOAD, paddr: 0x300000, data: []byte("not this")})
	for name, c := range map[string]struct {
		image     []byte
		from, end uint32 // of the image
	}{
		"to the end of the file": {addressed(at, 0, 0, at+48), 0, size},
		"with BSS":               {addressed(at, 0, at+size+100, at+48), 0, size},
		"a part":                 {addressed(at, at+52, at+152, at+48), 0, 52},
		"not from its beginning": {append(make([]byte, 512), addressed(at, 0, 0, at+48)...), 512, 512 + size},
		"even an ELF":            {executable, 64 + 2*56, uint32(len(executable))},
	} {
		t.Run(name, func(t *testing.T) {
			m := make(ram, testRAM)
			for i := range m {
				m[i] = 0xaa
			}
			e, err := loadImage(Bytes("image", c.image), m, Options{RAM: testRAM})
			require.NoError(t, err)
			require.NotZero(t, e.Multiboot)
			require.Equal(t, c.image[c.from:c.end], []byte(m[at:at+c.end-c.from]))
			require.EqualValues(t, 0xaa, m[at-1])
			require.EqualValues(t, 0xaa, m[0x300000])
			rest := m[at+c.end-c.from:]
			if name == "with BSS" || name == "a part" {
				require.Equal(t, make([]byte, 100), []byte(rest[:100]))
				rest = rest[100:]
			}
			require.EqualValues(t, 0xaa, rest[0])
		})
	}
}

func TestMultibootImagesThatCannotBeLoadedAreRefused(t *testing.T) {
	const at = 0x200000
	wrongSum := addressed(at, 0, 0, at)
	wrongSum[16+8]++
	for name, c := range map[string]struct {
		image []byte
		wants string
	}{
		"unknown flags":               {image64(0x10000c, 8), "flags 0x8"},
		"unknown flags, no ELF":       {header(hasAddresses|0x10, at, at, 0, 0, at), "flags 0x10"},
		"no ELF and no addresses":     {append(header(0), "code"...), "set flag 16"},
		"a wrong sum":                 {wrongSum, "no multiboot header"},
		"not aligned":                 {append([]byte("ab"), addressed(at, 0, 0, at)...), "no multiboot header"},
		"a header too late":           {append(make([]byte, multibootSearch-8), addressed(at, 0, 0, at)...), "no multiboot header"},
		"half a header":               {header(hasAddresses, at, at), "no multiboot header"},
		"entry outside":               {image64(0x200000, 0), "entry 0x200000"},
		"entry far outside":           {image64(1<<63, 0), "entry 0x8000000000000000"},
		"entry 0":                     {image64(0, 0), "entry 0x0"},
		"PVH entry 0":                 {image(segment{kind: elf.PT_NOTE, data: note(xenName, notePVH, 0, 0, 0, 0)}), "entry 0"},
		"low":                         {addressed(0x8000, 0, 0, 0x8000), "below"},
		"over the firmware":           {addressed(0xdfff0, 0, 0, 0xdfff0), "firmware"},
		"ELF over the firmware":       {image(segment{kind: elf.PT_LOAD, paddr: 0xf0000, data: []byte("text")}, pvh), "firmware"},
		"beyond RAM":                  {addressed(testRAM, 0, 0, testRAM), "memory too small"},
		"BSS beyond RAM":              {addressed(at, 0, testRAM+1, at), "give at least 5 MiB"},
		"load address after header":   {header(hasAddresses, at, at+4, 0, 0, at+4), "do not fit"},
		"load address before file":    {header(hasAddresses, at+4, at, 0, 0, at), "do not fit"},
		"load end before load":        {addressed(at, at-1, 0, at), "load end"},
		"load end after file":         {addressed(at, at+1000, 0, at), "cut short"},
		"BSS end before load end":     {addressed(at, 0, at+4, at), "BSS end"},
		"entry before what is loaded": {addressed(at, 0, 0, at-1), "entry address"},
		"entry after what is loaded":  {addressed(at, at+48, 0, at+48), "entry address"},
		"ELF for another machine":     {machine(image64(0x10000c, 0), elf.EM_AARCH64), "x86 executable"},
		"ELF of mixed width":          {machine(image64(0x10000c, 0), elf.EM_386), "x86 executable"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := loadImage(Bytes("image", c.image), make(ram, testRAM), Options{RAM: testRAM})
			require.ErrorContains(t, err, c.wants)
		})
	}
}

func machine(image []byte, m elf.Machine) []byte {
	binary.LittleEndian.PutUint16(image[18:], uint16(m))
	return image
}

func TestAMultibootKernelIsToldInItsProtocol(t *testing.T) {
	m := make(ram, testRAM)
	path := filepath.Join(t.TempDir(), "kernel")
	require.NoError(t, os.WriteFile(path, image64(0x10000c, 0), 0o600))
	e, err := Load(openTest(t, path), m, Options{RAM: testRAM})
	require.NoError(t, err)
	require.Equal(t, "kernel", e.Image)
	require.Equal(t, WayMultiboot, e.Way)
	require.EqualValues(t, 0x10000c, e.Address())
	require.EqualValues(t, 0x2badb002, e.EAX())
	at, err := e.Information(m, Info{Command: "a=b c", Map: []Region{{0, testRAM, RAM}, {1 << 32, 6 << 30, RAM}}})
	require.NoError(t, err)

	le := binary.LittleEndian
	info := m[at:]
	word := func(at uint32) uint32 { return le.Uint32(m[at:]) }
	text := func(at uint32) string { return string(m[at : at+uint32(bytes.IndexByte(m[at:], 0))]) }
	require.EqualValues(t, 1<<0|1<<2|1<<3|1<<6|1<<9, le.Uint32(info))
	require.EqualValues(t, 640, le.Uint32(info[4:]))
	require.EqualValues(t, (testRAM-1<<20)>>10, le.Uint32(info[8:]))
	require.Equal(t, "kernel a=b c", text(le.Uint32(info[16:])))
	require.Zero(t, le.Uint32(info[20:]), "no modules")
	require.Equal(t, "gvmm", text(le.Uint32(info[64:])))
	length, entries := le.Uint32(info[44:]), le.Uint32(info[48:])
	var ram []Region
	for p := entries; p < entries+length; p += word(p) + 4 { // as kernels walk it
		ram = append(ram, Region{le.Uint64(m[p+4:]), le.Uint64(m[p+12:]), RAM})
		require.EqualValues(t, 1, word(p+20))
	}
	require.Equal(t, []Region{{0, testRAM, RAM}, {1 << 32, 6 << 30, RAM}}, ram)
	require.Less(t, at+0xfff, uint32(firstUsable))

	require.Zero(t, Entry{PVH: 1}.EAX())
	require.EqualValues(t, 1, Entry{PVH: 1}.Address())
	at, err = Entry{PVH: 1}.Information(m, Info{Command: ""})
	require.NoError(t, err)
	require.EqualValues(t, pvhMagic, word(at))
}

func TestMultibootInformationThatDoesNotFitIsRefused(t *testing.T) {
	m := make(ram, testRAM)
	_, err := multibootInfo(m, "kernel", Info{Command: string(make([]byte, MaxCommandLine-7))})
	require.NoError(t, err)
	_, err = multibootInfo(m, "kernel", Info{Command: string(make([]byte, MaxCommandLine-6))})
	require.Error(t, err)
	_, err = multibootInfo(m, "", Info{Command: "", Map: make([]Region, 1000)})
	require.Error(t, err)
	_, err = multibootInfo(make(ram, 0x7000), "", Info{Command: ""})
	require.Error(t, err)
	at, err := multibootInfo(m, "", Info{Command: "", Map: []Region{{0, 1 << 19, RAM}, {1 << 32, 1 << 62, RAM}}})
	require.NoError(t, err)
	require.EqualValues(t, 512, binary.LittleEndian.Uint32(m[at+4:]))
	require.Zero(t, binary.LittleEndian.Uint32(m[at+8:]), "none above 1 MiB")
	at, err = multibootInfo(m, "", Info{Command: "", Map: []Region{{0, 1 << 62, RAM}}})
	require.NoError(t, err)
	require.Equal(t, ^uint32(0), binary.LittleEndian.Uint32(m[at+8:]))
}

// FuzzMultiboot puts a header with any addresses at any place of any image.
func FuzzMultiboot(f *testing.F) {
	f.Add([]byte("code"), uint16(4), uint32(hasAddresses), uint32(0x200000), uint32(0x200000), uint32(0), uint32(0x200100), uint32(0x200020))
	f.Add(image64(0x10000c, 0), uint16(200), uint32(3), uint32(0), uint32(0), uint32(0), uint32(0), uint32(0))
	f.Add(image32(0x10000c, 0x100000, 0x100000, header(0), pvh.data), uint16(0), uint32(0), uint32(0), uint32(0), uint32(0), uint32(0), uint32(0))
	m := make(ram, testRAM)
	f.Fuzz(func(t *testing.T, b []byte, at uint16, flags, head, load, loadEnd, bssEnd, entry uint32) {
		if at != 0 && int(at) <= len(b) {
			b = append(append(bytes.Clone(b[:at]), header(flags, head, load, loadEnd, bssEnd, entry)...), b[at:]...)
		}
		clear(m[:firstUsable])
		e, err := loadImage(Bytes("image", b), m, Options{RAM: testRAM})
		require.Equal(t, make([]byte, firstUsable), []byte(m[:firstUsable]), "the information's place is not the image's")
		if err == nil {
			require.NotZero(t, e.Address())
			_, err = e.Information(m, Info{Command: "a", Map: []Region{{0, testRAM, RAM}}})
			require.NoError(t, err)
		}
	})
}
