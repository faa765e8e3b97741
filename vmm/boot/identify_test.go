package boot

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vmm/boot/boottest"
)

// at is n bytes with others at offsets.
func at(n int, parts map[int]string) []byte {
	b := make([]byte, n)
	for off, s := range parts {
		copy(b[off:], s)
	}
	return b
}

// versioned is a bzImage with its version.
func versioned(b []byte, version string) []byte {
	binary.LittleEndian.PutUint16(b[setupKernel:], 0x300)
	copy(b[0x500:], version+"\x00")
	return b
}

func TestImagesAreToldByWhatIsInThem(t *testing.T) {
	const text = "Linux version 6.9.1 (somebody) #1 SMP\n"
	linux := linkedKernel([]byte(text), nil)
	mbr := func(status byte) []byte {
		return at(1<<20, map[int]string{0x1be: string([]byte{status, 0, 0, 0, 0x83}), 510: "\x55\xaa"})
	}
	bz := func() []byte { return versioned(bzImage([]byte("payload")), "6.1.0-test (somebody) #1") }
	for name, c := range map[string]struct {
		image   []byte
		kind    Kind
		version string
		says    string // in Detail, or in the error
	}{
		"bzImage":             {bz(), BzImage, "6.1.0-test (somebody) #1", ""},
		"bzImage with a stub": {append([]byte("MZ"), bz()[2:]...), BzImage, "6.1.0-test (somebody) #1", ""},
		"32-bit bzImage":      {at(4096, map[int]string{0x1fe: "\x55\xaa", 0x202: "HdrS\x0f\x02"}), Refused, "", "32-bit Linux kernel; give a 64-bit one"},
		"vmlinux":             {linux, Vmlinux, "6.9.1 (somebody) #1 SMP", ""},
		"ELF with a note":     {image(pvh), ELF, "", ""},
		"ELF without entry":   {image(), Refused, "", "PVH note"},
		"ELF of another":      {machine(image(pvh), elf.EM_AARCH64), Refused, "", "EM_AARCH64"},
		"multiboot":           {addressed(0x200000, 0, 0, 0x200030), Multiboot, "", ""},
		"multiboot, nowhere":  {append(header(0), make([]byte, 64)...), Refused, "", "without addresses"},
		"UKI": {
			boottest.PE(boottest.Section{Name: ".linux", Data: bz()}, boottest.Section{Name: ".osrel", Data: []byte("NAME=x\nPRETTY_NAME=\"Test 1\"\n")}),
			UKI, "6.1.0-test (somebody) #1", "Test 1",
		},
		"EFI application": {boottest.PE(boottest.Section{Name: ".text", Data: []byte("code")}), Refused, "", "no .linux section"},
		"DOS program":     {at(4096, map[int]string{0: "MZ"}), Refused, "", "neither"},
		"arm64 Image":     {at(4096, map[int]string{0: "MZ", 0x38: "ARM\x64"}), Refused, "", "arm64"},
		"RISC-V Image":    {at(4096, map[int]string{0: "MZ", 0x38: "RSC\x05"}), Refused, "", "RISC-V"},
		"zboot":           {at(4096, map[int]string{0: "MZ", 4: "zimg"}), Refused, "", "zboot"},
		"qcow2":           {at(512, map[int]string{0: "QFI\xfb\x00\x00\x00\x03"}), QCOW2, "", "version 3"},
		"qcow":            {at(512, map[int]string{0: "QFI\xfb\x00\x00\x00\x01"}), Refused, "", "version 1"},
		"half a qcow2":    {[]byte("QFI\xfb\x00"), Refused, "", "cut short"},
		"GPT":             {at(1<<20, map[int]string{510: "\x55\xaa", 512: "EFI PART"}), RawDisk, "", "GPT"},
		"GPT, 4 KiB":      {at(1<<20, map[int]string{4096: "EFI PART"}), RawDisk, "", "4096"},
		"MBR":             {mbr(0x80), RawDisk, "", "MBR"},
		"no MBR":          {mbr(0x12), Unknown, "", "not an ELF"},
		"an empty MBR":    {at(1<<20, map[int]string{510: "\x55\xaa"}), Unknown, "", "not an ELF"},
		"ext4":            {at(1<<20, map[int]string{0x438: "\x53\xef"}), RawDisk, "", "ext"},
		"FAT16":           {at(1<<20, map[int]string{0x36: "FAT16   ", 510: "\x55\xaa"}), RawDisk, "", "FAT"},
		"FAT32":           {at(1<<20, map[int]string{0x52: "FAT32   ", 510: "\x55\xaa"}), RawDisk, "", "FAT"},
		"XFS":             {at(1<<20, map[int]string{0: "XFSB"}), RawDisk, "", "XFS"},
		"btrfs":           {at(1<<20, map[int]string{0x10040: "_BHRfS_M"}), RawDisk, "", "btrfs"},
		"ISO":             {at(1<<20, map[int]string{0x8001: "CD001"}), Refused, "", "ISO 9660"},
		"VMDK":            {at(1024, map[int]string{0: "KDMV"}), Refused, "", "qemu-img convert"},
		"VDI":             {at(1024, map[int]string{0: "<<< ", 0x40: "\x7f\x10\xda\xbe"}), Refused, "", "VDI"},
		"gzip":            {packGzip(t, linux), Refused, "", "gunzip"},
		"zstd":            {packZstd(t, linux), Refused, "", "unzstd"},
		"xz":              {packXZ(t, linux), Refused, "", "unxz"},
		"lz4":             {packLZ4(t, linux), Refused, "", "unlz4"},
		"cpio":            {[]byte("070701000"), Refused, "", "--initrd"},
		"tar":             {at(512, map[int]string{257: "ustar"}), Refused, "", "tar"},
		"nothing":         {nil, Unknown, "", "not an ELF"},
		"text":            {[]byte("#!/bin/sh\n"), Unknown, "", "not an ELF"},
		"half an ELF":     {image(pvh)[:40], Unknown, "", "not an ELF"},
	} {
		t.Run(name, func(t *testing.T) {
			id := Identify(Bytes("image", c.image))
			require.Equal(t, c.kind, id.Kind, "%+v", id)
			require.Equal(t, c.version, id.Version)
			err := id.Err()
			switch c.kind {
			case Unknown, Refused, RawDisk, QCOW2:
				require.ErrorContains(t, err, c.says)
				require.NotContains(t, err.Error(), "\n")
				_, loading := Load(Bytes("image", c.image), make(ram, testRAM), Options{RAM: testRAM})
				require.ErrorContains(t, loading, c.says)
			default:
				require.NoError(t, err)
				require.Contains(t, id.Detail, c.says)
			}
		})
	}
}

func TestWaysHaveNames(t *testing.T) {
	for w := WayAuto; w <= WayMultiboot; w++ {
		got, err := ParseWay(w.String())
		require.NoError(t, err)
		require.Equal(t, w, got)
	}
	_, err := ParseWay("magic")
	require.ErrorIs(t, err, ErrWay)
}

func TestAWayThatAnImageDoesNotOfferIsRefused(t *testing.T) {
	linux := linkedKernel([]byte("text"), nil)
	for name, c := range map[string]struct {
		image []byte
		ways  []Way
	}{
		"bzImage of another": {bzImage(packGzip(t, image(segment{kind: elf.PT_LOAD, paddr: 0x100000, data: []byte("text")}, pvh))), []Way{WayLinux, WayMultiboot}},
		"ELF with a note":    {image(segment{kind: elf.PT_LOAD, paddr: 0x100000, data: []byte("text")}, pvh), []Way{WayLinux, WayBzImage, WayMultiboot}},
		"multiboot":          {addressed(0x200000, 0, 0, 0x200030), []Way{WayLinux, WayBzImage, WayPVH}},
		"multiboot ELF":      {image64(0x10000c, 0), []Way{WayLinux, WayBzImage, WayPVH}},
		"vmlinux":            {linux, []Way{WayBzImage, WayMultiboot}},
	} {
		for _, w := range c.ways {
			_, err := Load(Bytes("image", c.image), make(ram, testRAM), Options{RAM: testRAM, Way: w})
			require.ErrorIs(t, err, ErrWay, "%s %v", name, w)
		}
		_, err := Load(Bytes("image", c.image), make(ram, testRAM), Options{RAM: testRAM})
		require.NoError(t, err, name)
	}
}

func FuzzIdentify(f *testing.F) {
	f.Add([]byte("#!/bin/sh"))
	f.Add(versioned(bzImage(nil), "6.1"))
	f.Add(image(pvh))
	f.Add(linkedKernel([]byte("Linux version 6.1\n"), nil))
	f.Add(boottest.PE(boottest.Section{Name: ".linux", Data: bzImage(nil)}))
	f.Add(at(1024, map[int]string{0: "QFI\xfb\x00\x00\x00\x03"}))
	f.Add(addressed(0x200000, 0, 0, 0x200030))
	f.Fuzz(func(t *testing.T, b []byte) {
		id := Identify(Bytes("image", b))
		require.LessOrEqual(t, len(id.Version), versionLimit)
		for _, s := range []string{id.Version, id.Detail} {
			require.False(t, strings.ContainsFunc(s, func(r rune) bool { return r < ' ' }), "%q", s)
		}
		if err := id.Err(); err != nil {
			require.False(t, bytes.ContainsAny([]byte(err.Error()), "\n\x00"))
		}
	})
}

func TestADistributionsKernelIsTold(t *testing.T) {
	path := os.Getenv("GVMM_LINUX")
	if path == "" {
		t.Skip("no kernel in GVMM_LINUX")
	}
	id := Identify(openTest(t, path))
	require.True(t, id.Kind.Linux())
	require.NotEmpty(t, id.Version)
}
