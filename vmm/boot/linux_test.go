package boot

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const testBase = 1 << 20 // where the tests' kernels are linked

// linkedKernel is a vmlinux with text at testBase, and a relocation table behind it.
func linkedKernel(text []byte, table []uint32) []byte {
	b := image(segment{kind: elf.PT_LOAD, paddr: testBase, data: text})
	le := binary.LittleEndian
	le.PutUint64(b[0x18:], testBase) // entry
	le.PutUint64(b[64+16:], kernelMap+testBase)
	for _, v := range table {
		b = le.AppendUint32(b, v)
	}
	return b
}

// linuxImage is a bzImage of a kernel that is linked at testBase and can be moved by pages.
func linuxImage(payload []byte, needs uint32) []byte {
	b := bzImage(payload)
	le := binary.LittleEndian
	b[setupJump] = setupBytes + 8 - setupMagic
	le.PutUint64(b[setupPreferred:], testBase)
	le.PutUint32(b[setupInitSize:], needs)
	le.PutUint32(b[setupAlign:], pageSize)
	le.PutUint32(b[setupInitrdMax:], 1<<31-1)
	le.PutUint32(b[setupLongest:], 2047)
	return b
}

const testText = 0x40 // bytes of text in the tests' kernels, of which 4 doublewords and 4 quadwords are addresses

// addresses is text that holds the kernel's own addresses, with the tables that say where: of kernels from 6.15 on if new.
func addresses(new bool) (text []byte, table []uint32) {
	le := binary.LittleEndian
	text = make([]byte, testText)
	var longs, inverse, quads []uint32
	for i := range 4 {
		low := uint32(0x80000000 + testBase) // of kernelMap + testBase
		le.PutUint32(text[4*i:], low+uint32(i))
		longs = append(longs, low+uint32(4*i))
		le.PutUint64(text[16+8*i:], kernelMap+testBase+uint64(i))
		quads = append(quads, low+16+uint32(8*i))
	}
	le.PutUint32(text[0x30:], 0x1000)
	inverse = append(inverse, 0x80000000+testBase+0x30)
	table = append([]uint32{0}, quads...)
	if !new {
		table = append(append(table, 0), inverse...)
	}
	return text, append(append(table, 0), longs...)
}

// counting is a source of randomness.
func counting(seed uint64) io.Reader {
	return rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
}

func TestAKernelIsRandomisedByItsRelocations(t *testing.T) {
	const needs = 0x3000
	le := binary.LittleEndian
	rapid.Check(t, func(t *rapid.T) {
		recent := rapid.Bool().Draw(t, "recent")
		text, table := addresses(recent)
		b := linuxImage(linkedKernel(text, table), needs)
		initrd := rapid.Uint64Range(0, 4<<20).Draw(t, "initrd")
		m := make(ram, testRAM)
		e, err := Load(Bytes("image", b), m, Options{
			RAM: testRAM, Command: "quiet", Random: counting(rapid.Uint64Range(0, 1<<16-1).Draw(t, "seed")), Initrd: initrd,
		})
		require.NoError(t, err)
		require.Equal(t, WayLinux, e.Way)
		require.True(t, e.Randomised)
		require.Zero(t, e.KASLR%pageSize)
		require.Zero(t, e.Moved%pageSize)
		require.LessOrEqual(t, testBase+e.KASLR+needs, uint64(kernelMapSize))
		require.EqualValues(t, testBase+e.Moved, e.Linux)
		require.Equal(t, Region{testBase + e.Moved, needs, RAM}, e.Range())
		if e.Moved != 0 {
			require.LessOrEqual(t, testBase+e.Moved+needs+initrd, uint64(testRAM))
		}
		got := m[e.Linux:]
		for i := range 4 {
			require.Equal(t, uint32(0x80000000+testBase+i)+uint32(e.KASLR), le.Uint32(got[4*i:]))
			require.Equal(t, kernelMap+testBase+uint64(i)+e.KASLR, le.Uint64(got[16+8*i:]))
		}
		want := uint32(0x1000)
		if !recent {
			want -= uint32(e.KASLR)
		}
		require.Equal(t, want, le.Uint32(got[0x30:]))
		at, err := e.Information(m, Info{})
		require.NoError(t, err)
		require.EqualValues(t, flagKASLR, m[at+setupLoadFlags]&flagKASLR)
	})
}

func TestRandomisedKernelsDiffer(t *testing.T) {
	text, table := addresses(false)
	linear, physical := make(map[uint64]bool), make(map[uint64]bool)
	for range 8 {
		e, err := Load(Bytes("image", linuxImage(linkedKernel(text, table), 0)), make(ram, testRAM), Options{RAM: testRAM})
		require.NoError(t, err)
		linear[e.KASLR], physical[e.Moved] = true, true
	}
	require.Greater(t, len(linear), 4)
	require.Greater(t, len(physical), 4)
}

func TestAKernelStaysWhereItIsIfItMust(t *testing.T) {
	text, table := addresses(false)
	for name, c := range map[string]struct {
		image   []byte
		command string
	}{
		"nokaslr":  {linuxImage(linkedKernel(text, table), 0), "quiet nokaslr"},
		"no table": {linuxImage(linkedKernel(text, nil), 0), ""},
		"vmlinux":  {linkedKernel(text, nil), ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := make(ram, testRAM)
			e, err := Load(Bytes("image", c.image), m, Options{RAM: testRAM, Command: c.command})
			require.NoError(t, err)
			require.EqualValues(t, testBase, e.Linux)
			require.False(t, e.Randomised)
			require.Equal(t, text, []byte(m[testBase:testBase+testText]))
			at, err := e.Information(m, Info{})
			require.NoError(t, err)
			require.Zero(t, m[at+setupLoadFlags]&flagKASLR)
		})
	}
}

func TestWhatIsNotKnownHereIsLeftToTheKernelsOwnCode(t *testing.T) {
	text, table := addresses(false)
	for name, payload := range map[string][]byte{
		"compression":                  []byte("\x89LZO\x00\r\n\x1a\n"),
		"a fourth list of relocations": linkedKernel(text, append(table, 0, 0x80100000)),
		"no list":                      linkedKernel(text, []uint32{1, 2}),
		"half a relocation":            append(linkedKernel(text, table), 1),
		"a relocation outside":         linkedKernel(text, append(table, 0x80100000+testText-3)),
	} {
		t.Run(name, func(t *testing.T) {
			b := linuxImage(payload, 0x8000)
			m := make(ram, testRAM)
			e, err := Load(Bytes("image", b), m, Options{RAM: testRAM})
			require.NoError(t, err)
			require.Equal(t, WayBzImage, e.Way)
			require.EqualValues(t, testBase+entry64, e.Linux)
			require.Equal(t, Region{testBase, 0x8000, RAM}, e.Range())
			code := b[4*sector:]
			require.Equal(t, code, []byte(m[testBase:testBase+len(code)]))
			_, err = Load(Bytes("image", b), make(ram, testRAM), Options{RAM: testRAM, Way: WayLinux})
			require.ErrorContains(t, err, "--boot bzimage")
		})
	}
}

func TestLinuxKernelsWithoutRoomAreRefused(t *testing.T) {
	text, table := addresses(false)
	good := func(change func(b []byte)) []byte {
		b := linuxImage(linkedKernel(text, table), 2<<20)
		change(b)
		return b
	}
	le := binary.LittleEndian
	for wants, b := range map[string][]byte{
		"the kernel needs 8 MiB, give at least 9 MiB": good(func(b []byte) { le.PutUint32(b[setupInitSize:], 8<<20) }),
		"linked at 16 MiB":                            good(func(b []byte) { le.PutUint64(b[setupPreferred:], 1<<40) }),
		"wants to be at 0x0":                          good(func(b []byte) { le.PutUint64(b[setupPreferred:], 0) }),
		"give at least 18 MiB":                        good(func(b []byte) { le.PutUint64(b[setupPreferred:], 16<<20) }),
	} {
		for _, w := range []Way{WayLinux, WayBzImage} {
			_, err := Load(Bytes("image", b), make(ram, testRAM), Options{RAM: testRAM, Way: w})
			require.ErrorContains(t, err, wants, w)
		}
	}
	_, err := Load(Bytes("image", good(func(b []byte) { le.PutUint64(b[setupPreferred:], testBase+pageSize) })), make(ram, testRAM), Options{RAM: testRAM})
	require.ErrorContains(t, err, "linked at 0x100000, but its header says 0x101000")
	_, err = Load(Bytes("image", good(func([]byte) {})), make(ram, testRAM), Options{RAM: testRAM, Random: bytes.NewReader(nil)})
	require.ErrorContains(t, err, "no random numbers")
}

func TestLinuxIsToldInItsProtocol(t *testing.T) {
	m := make(ram, testRAM)
	b := linuxImage([]byte("\x89LZO"), 0x8000)
	e, err := Load(Bytes("image", b), m, Options{RAM: testRAM})
	require.NoError(t, err)
	in := Info{Command: "quiet a=b", Map: PCMap(6 << 30), Initrd: Region{1<<32 + 0x3000, 1<<32 + 5, RAM}, RSDP: 0xe0000}
	at, err := e.Information(m, in)
	require.NoError(t, err)
	le := binary.LittleEndian
	p := m[at:]
	require.Equal(t, b[setupMagic:setupLoader], []byte(p[setupMagic:setupLoader]))
	require.Equal(t, b[setupPreferred:setupBytes], []byte(p[setupPreferred:setupBytes]))
	require.EqualValues(t, 0xff, p[setupLoader])
	require.Zero(t, p[0x1ef], "the sentinel")
	require.EqualValues(t, 0xe0000, le.Uint64(p[paramsRSDP:]))
	require.Equal(t, "quiet a=b\x00", string(m[le.Uint32(p[setupCommand:]):][:10]))
	require.EqualValues(t, 0x3000, le.Uint32(p[setupInitrd:]))
	require.EqualValues(t, 5, le.Uint32(p[setupInitrd+4:]))
	require.EqualValues(t, 1, le.Uint32(p[0xc0:]))
	require.EqualValues(t, 1, le.Uint32(p[0xc4:]))
	require.EqualValues(t, 3<<20-1<<10, le.Uint32(p[paramsAltMem:]))
	require.EqualValues(t, 4, p[paramsE820])
	require.EqualValues(t, 1<<32, le.Uint64(p[paramsMap+3*20:]))
	require.EqualValues(t, 3<<30, le.Uint64(p[paramsMap+3*20+8:]))
	require.EqualValues(t, 1, le.Uint32(p[paramsMap+3*20+16:]))
	require.Equal(t, E820(in.Map), []byte(p[paramsMap:paramsMap+4*20]))
	require.EqualValues(t, 0x00af9b000000ffff, le.Uint64(m[LinuxGDT+0x10:]))
	require.Equal(t, make([]byte, firstUsable-0xf000), []byte(m[0xf000:firstUsable]))
	require.Equal(t, "\x89LZO", string(m[testBase+0x40:testBase+0x44]), "what was loaded stays")

	for _, bad := range []Info{{Command: string(make([]byte, 2048))}, {Map: make([]Region, 129)}} {
		_, err = e.Information(m, bad)
		require.Error(t, err)
	}
	_, err = e.Information(make(ram, 0x8000), in)
	require.Error(t, err)
}

// TestTheFirstGiBsAreMappedToThemselves walks the page tables as a processor does.
func TestTheFirstGiBsAreMappedToThemselves(t *testing.T) {
	m := make(ram, testRAM)
	_, err := Entry{Linux: 1}.Information(m, Info{})
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		linear := rapid.Uint64Range(0, 1<<33).Draw(t, "linear")
		table := uint64(LinuxCR3)
		for _, shift := range []int{39, 30, 21} {
			e := binary.LittleEndian.Uint64(m[table+8*(linear>>shift&511):])
			if e == 0 {
				require.GreaterOrEqual(t, linear, uint64(mappedGiB<<30))
				return
			}
			require.EqualValues(t, pagePW, e&pagePW)
			if table = e &^ 0xfff; shift == 21 {
				require.NotZero(t, e&0x80)
				require.Equal(t, linear&^(largePage-1), table)
				return
			}
			require.Zero(t, e&0x80)
		}
	})
}

// FuzzRelocations gives any table to a kernel of a page.
func FuzzRelocations(f *testing.F) {
	text, table := addresses(false)
	var b []byte
	for _, v := range table {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	f.Add(b, uint64(1))
	f.Add([]byte{}, uint64(0))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0}, uint64(0))
	f.Add([]byte{0, 0, 0, 0, 0xff, 0xff, 0x0f, 0x80, 0, 0, 0, 0}, uint64(7))
	m := make(ram, testRAM)
	f.Fuzz(func(t *testing.T, table []byte, seed uint64) {
		clear(m)
		payload := append(linkedKernel(text, nil), table...)
		e, err := Load(Bytes("image", linuxImage(payload, 0)), m, Options{RAM: testRAM, Way: WayLinux, Random: counting(seed)})
		if err != nil {
			return
		}
		// What is not the kernel's was not written.
		start, end := e.Range().Base, e.Range().Base+e.Range().Size
		require.Equal(t, -1, bytes.IndexFunc(m[:start], func(r rune) bool { return r != 0 }))
		require.Equal(t, -1, bytes.IndexFunc(m[end:], func(r rune) bool { return r != 0 }))
	})
}

// FuzzLinuxHeader gives a kernel that can be moved any header.
func FuzzLinuxHeader(f *testing.F) {
	text, table := addresses(true)
	f.Add([]byte{}, uint16(0), uint8(WayAuto))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff"), uint16(setupPreferred), uint8(WayBzImage))
	f.Add([]byte("\x00\xf0\xff\xff"), uint16(setupInitSize), uint8(WayLinux))
	f.Add([]byte("\xff"), uint16(setupSectors), uint8(WayBzImage))
	f.Add([]byte("\xff"), uint16(setupJump), uint8(WayLinux))
	m := make(ram, testRAM)
	f.Fuzz(func(t *testing.T, head []byte, at uint16, way uint8) {
		b := linuxImage(linkedKernel(text, table), 0)
		if int(at) < setupBytes {
			copy(b[at:setupBytes], head)
		}
		clear(m[:firstUsable])
		e, err := Load(Bytes("image", b), m, Options{RAM: testRAM, Way: Way(way % 5), Random: counting(uint64(at))})
		require.Equal(t, make([]byte, firstUsable), []byte(m[:firstUsable]))
		if err != nil {
			return
		}
		r := e.Range()
		require.LessOrEqual(t, r.Base+r.Size, uint64(testRAM))
		_, _ = e.Information(m, Info{Command: "quiet", Map: PCMap(testRAM)})
		if d, err := placeInitrd(e, 4096, testRAM); err == nil {
			require.GreaterOrEqual(t, d.Base, r.Base+r.Size)
		}
	})
}
