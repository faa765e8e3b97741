package boot

import (
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vmm/boot/boottest"
)

func readAll(t *testing.T, s Source) string {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(s, 0, s.Size))
	require.NoError(t, err)
	return string(b)
}

func TestTheUnifiedImagesPartsAreFound(t *testing.T) {
	kernel := versioned(bzImage([]byte("\x89LZO")), "5.5 (x)")
	section := func(name, data string) boottest.Section {
		return boottest.Section{Name: name, Data: []byte(data), Pad: 100}
	}
	b := boottest.PE(section(".osrel", "ID=debian\nPRETTY_NAME='Debian 12'\n"), section(".uname", "6.1.0-1\x00junk"), section(".cmdline", "root=/dev/vda1 quiet\n\x00"),
		section(".initrd", "archive"), section(".ucode", "microcode"), section(".sbat", "x"), boottest.Section{Name: ".linux", Data: kernel},
		section(".profile", "ID=other"), section(".cmdline", "root=/dev/other"))
	u, err := OpenUKI(Bytes("image", b))
	require.NoError(t, err)
	require.Equal(t, "root=/dev/vda1 quiet", u.Command)
	require.Equal(t, "6.1.0-1", u.Version)
	require.Equal(t, "Debian 12", u.System)
	require.Equal(t, string(kernel), readAll(t, u.Kernel))
	require.Len(t, u.Initrds, 2)
	require.Equal(t, "microcode", readAll(t, u.Initrds[0]))
	require.Equal(t, "archive", readAll(t, u.Initrds[1]))
	require.Equal(t, "image .ucode", u.Initrds[0].Name)
	require.Equal(t, Identity{Kind: UKI, Detail: "Debian 12", Version: "6.1.0-1"}, Identify(Bytes("image", b)))

	u, err = OpenUKI(Bytes("image", boottest.PE(boottest.Section{Name: ".linux", Data: kernel})))
	require.NoError(t, err)
	require.Empty(t, u.Command)
	require.Empty(t, u.Initrds)
	require.Equal(t, "5.5 (x)", u.Version)
}

func TestTheKernelInAUnifiedImageIsLoaded(t *testing.T) {
	text, table := addresses(false)
	kernel := linuxImage(linkedKernel(text, table), 0)
	e, err := Load(Bytes("image", boottest.PE(boottest.Section{Name: ".linux", Data: kernel})), make(ram, testRAM), Options{RAM: testRAM})
	require.NoError(t, err)
	require.Equal(t, WayLinux, e.Way)
}

func TestUnifiedImagesThatCannotBeReadAreRefused(t *testing.T) {
	kernel := boottest.Section{Name: ".linux", Data: bzImage(nil)}
	with := func(change func(b []byte) []byte, more ...boottest.Section) []byte {
		return change(boottest.PE(append([]boottest.Section{kernel}, more...)...))
	}
	same := func(b []byte) []byte { return b }
	le := binary.LittleEndian
	const machineAt, firstSection = 0x84, 0x84 + 20 + 240
	for name, c := range map[string]struct {
		image []byte
		wants string
	}{
		"another machine":    {with(func(b []byte) []byte { le.PutUint16(b[machineAt:], 0xaa64); return b }), "PE machine 0xaa64"},
		"cut short":          {with(func(b []byte) []byte { return b[:len(b)-1000] }), "cut short"},
		"a section far away": {with(func(b []byte) []byte { le.PutUint32(b[firstSection+20:], 1<<31); return b }), "cut short"},
		"a section too long": {with(func(b []byte) []byte {
			le.PutUint32(b[firstSection+16:], 1<<31)
			le.PutUint32(b[firstSection+8:], 0)
			return b
		}), "cut short"},
		"no kernel":           {boottest.PE(boottest.Section{Name: ".text", Data: []byte("x")}), "no .linux"},
		"another's kernel":    {boottest.PE(boottest.Section{Name: ".linux", Data: []byte("MZ arm64")}), "no bzImage"},
		"too long a line":     {with(same, boottest.Section{Name: ".cmdline", Data: []byte(strings.Repeat("x", 4096))}), "4095 are the longest"},
		"far too long a line": {with(same, boottest.Section{Name: ".cmdline", Data: make([]byte, 1<<20)}), "are the most"},
		"many sections":       {boottest.PE(make([]boottest.Section, 97)...), "97 sections"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := OpenUKI(Bytes("image", c.image))
			require.ErrorContains(t, err, c.wants)
			require.ErrorIs(t, err, ErrImage)
			require.NotContains(t, err.Error(), "\n")
			_, err = Load(Bytes("image", c.image), make(ram, testRAM), Options{RAM: testRAM})
			require.ErrorContains(t, err, c.wants)
		})
	}
}

func FuzzUKI(f *testing.F) {
	kernel := boottest.Section{Name: ".linux", Data: bzImage(nil)}
	f.Add(boottest.PE(kernel))
	f.Add(boottest.PE(kernel, boottest.Section{Name: ".cmdline", Data: []byte("quiet")}, boottest.Section{Name: ".osrel", Data: []byte("PRETTY_NAME=\"x")}))
	f.Add(boottest.PE(boottest.Section{Name: ".profile"}, kernel))
	f.Add([]byte("MZ"))
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := OpenUKI(Bytes("image", b))
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(u.Command), MaxCommandLine)
		require.LessOrEqual(t, int(InitrdBytes(u.Initrds...)), 2*len(b)+4)
		for _, s := range append(u.Initrds, u.Kernel) {
			readAll(t, s)
		}
	})
}
