package boot

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/stretchr/testify/require"
	"github.com/ulikunitz/xz"
)

// calls is data with much that looks like CALL and JMP rel32, near and over each other.
func calls(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		switch r.IntN(8) {
		case 0, 1:
			b[i] = 0xe8 + byte(r.IntN(2))
		case 2, 3:
			b[i] = 0
		case 4, 5:
			b[i] = 0xff
		default:
			b[i] = byte(r.Uint32())
		}
	}
	return b
}

// sized is what Linux's build makes of a packed kernel: the unpacked size behind it.
func sized(packed []byte, size int) []byte {
	return binary.LittleEndian.AppendUint32(bytes.Clone(packed), uint32(size))
}

func packGzip(t testing.TB, b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(b)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

func packZstd(t testing.TB, b []byte) []byte {
	w, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	return sized(w.EncodeAll(b, nil), len(b))
}

func packLZ4(t testing.TB, b []byte) []byte {
	var out bytes.Buffer
	w := lz4.NewWriter(&out)
	require.NoError(t, w.Apply(lz4.LegacyOption(true)))
	_, err := w.Write(b)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return sized(out.Bytes(), len(b))
}

func packXZ(t testing.TB, b []byte) []byte {
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	require.NoError(t, err)
	_, err = w.Write(b)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return sized(out.Bytes(), len(b))
}

// bzImage is a kernel of boot protocol 2.15 with a payload.
func bzImage(payload []byte) []byte {
	const sectors, offset = 3, 0x40
	b := make([]byte, (sectors+1)*sector+offset)
	le := binary.LittleEndian
	b[setupSectors] = sectors
	le.PutUint16(b[bootFlag:], bootFlagValue)
	copy(b[setupMagic:], "HdrS")
	le.PutUint16(b[setupVersion:], 0x20f)
	le.PutUint16(b[setupXLoad:], xloadKernel64)
	le.PutUint32(b[payloadOffset:], offset)
	le.PutUint32(b[payloadLength:], uint32(len(payload)))
	return append(append(b, payload...), "what follows"...)
}

// vmlinux is an ELF image of more than one of lz4's blocks.
func vmlinux(notes ...segment) []byte {
	load := segment{kind: elf.PT_LOAD, paddr: 0x100000, data: []byte("text"), memsize: 16}
	rest := segment{kind: elf.PT_NULL, data: append(calls(1<<16), make([]byte, lz4Block)...)}
	return image(append([]segment{load, rest}, notes...)...)
}

func TestTheKernelInABzImageIsEnteredByItsNote(t *testing.T) {
	kernel := vmlinux(pvh)
	for name, payload := range map[string][]byte{
		"not packed": kernel,
		"gzip":       packGzip(t, kernel),
		"zstd":       packZstd(t, kernel),
		"lz4":        packLZ4(t, kernel),
		"xz":         packXZ(t, kernel),
	} {
		t.Run(name, func(t *testing.T) {
			m := make(ram, testRAM)
			e, err := loadAny(Bytes("image", bzImage(payload)), m, Options{RAM: 64 << 20})
			require.NoError(t, err)
			require.Equal(t, Entry{PVH: 0x100000, Way: WayPVH, start: 0x100000, end: 0x100010}, e)
			require.Equal(t, "text", string(m[0x100000:0x100004]))
		})
	}
}

func TestBzImagesThatCannotBeLoadedAreRefused(t *testing.T) {
	kernel := image(segment{kind: elf.PT_LOAD, paddr: 0x100000, data: []byte("text")}, pvh)
	with := func(change func(b []byte)) []byte {
		b := bzImage(packGzip(t, kernel))
		change(b)
		return b
	}
	le := binary.LittleEndian
	lying := packGzip(t, kernel)
	le.PutUint32(lying[len(lying)-4:], 65<<20)
	short := packZstd(t, kernel)
	le.PutUint32(short[len(short)-4:], uint32(len(kernel)-1))
	long := packLZ4(t, kernel)
	le.PutUint32(long[len(long)-4:], uint32(len(kernel)+1))
	damaged := packXZ(t, kernel)
	damaged[len(damaged)/3] ^= 1
	for name, c := range map[string]struct {
		image []byte
		wants string
	}{
		"32 bits":                {with(func(b []byte) { b[setupXLoad] = 0 }), "32-bit Linux kernel"},
		"an old protocol":        {with(func(b []byte) { le.PutUint16(b[setupVersion:], 0x20b) }), "boot protocol 2.11"},
		"half a header":          {bzImage(nil)[:0x240], "cut short in its setup header"},
		"no payload":             {bzImage(nil), "cut short"},
		"a payload too long":     {with(func(b []byte) { le.PutUint32(b[payloadLength:], 1<<31) }), "cut short"},
		"a payload far away":     {with(func(b []byte) { le.PutUint32(b[payloadOffset:], ^uint32(0)) }), "cut short"},
		"lzo":                    {bzImage([]byte("\x89LZO\x00\r\n\x1a\n")), "packed with lzo"},
		"lzma":                   {bzImage([]byte("\x5d\x00\x00\x80\x00\xff")), "packed with lzma"},
		"bzip2":                  {bzImage([]byte("BZh91AY")), "packed with bzip2"},
		"something else":         {bzImage([]byte("something else")), "not known here"},
		"nothing but a magic":    {bzImage([]byte("\x1f\x8b")), "cut short"},
		"more than RAM":          {bzImage(lying), "give at least 65 MiB"},
		"more than it says":      {bzImage(short), "more than the"},
		"less than it says":      {bzImage(long), "cut short"},
		"damaged xz":             {bzImage(damaged), "packed with xz, cannot be unpacked"},
		"damaged gzip":           {with(func(b []byte) { b[len(b)-40] ^= 1 }), "packed with gzip, cannot be unpacked"},
		"no note":                {bzImage(packGzip(t, vmlinux())), "CONFIG_PVH=y"},
		"not a kernel":           {bzImage(packGzip(t, []byte("no kernel at all"))), "the vmlinux in the bzImage: not an ELF"},
		"segments beyond memory": {bzImage(packGzip(t, image(segment{kind: elf.PT_LOAD, paddr: testRAM, data: []byte("text")}, pvh))), "give at least 5 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := loadAny(Bytes("image", c.image), make(ram, testRAM), Options{RAM: 64 << 20, Way: WayPVH})
			require.ErrorContains(t, err, c.wants)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestTheX86FilterOfXZIsUndone(t *testing.T) {
	// Made by xz --x86 of calls(16384).
	packed, err := os.ReadFile("testdata/calls.xz")
	require.NoError(t, err)
	got, err := unpack(sized(packed, 16384), 1<<20)
	require.NoError(t, err)
	require.Equal(t, calls(16384), got)
}

func TestWhatTheXZToolPacksIsUnpacked(t *testing.T) {
	tool, err := exec.LookPath("xz")
	if err != nil {
		t.Skip("no xz on PATH: ", err)
	}
	data := append(calls(300_000), make([]byte, 100_000)...)
	path := filepath.Join(t.TempDir(), "data")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	for name, options := range map[string][]string{
		"as Linux does": {"--check=crc32", "--x86", "--lzma2=dict=32MiB"},
		"offset":        {"--check=crc64", "--x86=start=65536", "--lzma2=dict=1MiB,lc=1,lp=2,pb=1"},
		"no filter":     {"--check=sha256", "-0"},
		"no check":      {"--check=none"},
		"blocks":        {"--check=crc32", "--block-size=65536", "--x86", "--lzma2"},
		"sizes":         {"--check=crc32", "-T2", "--block-size=100000", "--x86", "--lzma2"},
	} {
		t.Run(name, func(t *testing.T) {
			packed, err := exec.Command(tool, append(options, "-c", path)...).Output()
			require.NoError(t, err)
			got, err := unpack(sized(packed, len(data)), 1<<20)
			require.NoError(t, err)
			require.True(t, bytes.Equal(data, got))
			if name == "no check" {
				return
			}
			packed[len(packed)/2] ^= 0x10
			_, err = unpack(sized(packed, len(data)), 1<<20)
			require.Error(t, err)
		})
	}
	packed, err := exec.Command(tool, "--arm", "--lzma2", "-c", path).Output()
	require.NoError(t, err)
	_, err = unpack(sized(packed, len(data)), 1<<20)
	require.ErrorContains(t, err, "filter 0x7")
}

// FuzzBzImage gives any payload, and any header over the right one, little memory.
func FuzzBzImage(f *testing.F) {
	kernel := image(segment{kind: elf.PT_LOAD, paddr: 0x100000, data: []byte("text")}, pvh)
	for _, pack := range []func(testing.TB, []byte) []byte{packGzip, packZstd, packLZ4, packXZ} {
		f.Add([]byte{}, uint16(0), pack(f, kernel))
	}
	if b, err := os.ReadFile("testdata/calls.xz"); err == nil {
		f.Add([]byte{}, uint16(0), sized(b, 16384))
	}
	f.Add([]byte("\x0b\x02"), uint16(setupVersion), kernel)
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff"), uint16(payloadOffset), kernel)
	m := make(ram, testRAM)
	f.Fuzz(func(t *testing.T, head []byte, at uint16, payload []byte) {
		b := bzImage(payload)
		if int(at) < setupBytes {
			copy(b[at:setupBytes], head)
		}
		clear(m[:firstUsable])
		e, err := loadAny(Bytes("image", b), m, Options{RAM: testRAM})
		require.Equal(t, make([]byte, firstUsable), []byte(m[:firstUsable]))
		if err == nil {
			require.NotZero(t, e.Address())
		}
	})
}
