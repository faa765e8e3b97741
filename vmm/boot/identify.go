package boot

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Kind is what an image is.
type Kind int

// Kinds of an Identity.
const (
	Unknown   Kind = iota
	ELF            // an x86 executable that says how it is entered, by a note or a multiboot header
	Vmlinux        // a Linux kernel as ELF
	BzImage        // a Linux kernel with its setup header
	UKI            // a unified kernel image: PE with a .linux section
	Multiboot      // an image with a multiboot 1 header that is no ELF
	RawDisk        // with a partition table or a file system that is known
	QCOW2          // a disk in QEMU's format
	Refused        // something known that cannot be booted, or not by this VMM
)

// String names the kind as a user does.
func (k Kind) String() string {
	switch k {
	case ELF:
		return "ELF executable"
	case Vmlinux:
		return "Linux vmlinux"
	case BzImage:
		return "Linux bzImage"
	case UKI:
		return "unified kernel image"
	case Multiboot:
		return "multiboot image"
	case RawDisk:
		return "raw disk"
	case QCOW2:
		return "qcow2 disk"
	case Refused:
		return "not bootable"
	}
	return "unknown"
}

// Linux tells a Linux kernel, however it comes.
func (k Kind) Linux() bool { return k == Vmlinux || k == BzImage || k == UKI }

// Disk tells a disk, in which a kernel may be found.
func (k Kind) Disk() bool { return k == RawDisk || k == QCOW2 }

// Identity is what an image was told to be by what is in it.
type Identity struct {
	Kind Kind
	// Detail says more: how a disk is divided; of what is refused, in one sentence, what it looks like and what would be right.
	Detail string
	// Version is a Linux kernel's version, as its builder wrote it; "" where the image does not say.
	Version string
}

// Err is nil for a kernel. For anything else it says what the image looks like and what would be right.
func (i Identity) Err() error {
	switch {
	case i.Kind == Unknown:
		return errUnknown
	case i.Kind == Refused:
		return errors.New(i.Detail)
	case i.Kind.Disk():
		return fmt.Errorf("a disk (%s: %s), not a kernel; give the kernel with --kernel and this with --disk", i.Kind, i.Detail)
	}
	return nil
}

// identifyBytes is how much of an image's beginning signatures lie in: btrfs has its at 64 KiB.
const identifyBytes = 68 << 10

// Identify tells what s is. Errors of reading count as its end.
func Identify(s Source) Identity {
	head := s.head(identifyBytes)
	switch {
	case isBzImage(s):
		return identifyBzImage(s)
	case hasAt(head, 0, "MZ"):
		return identifyPE(s, head)
	case hasAt(head, 0, elf.ELFMAG):
		return identifyELF(s)
	}
	if h, ok := findMultiboot(s); ok {
		if h.addressed() {
			return Identity{Kind: Multiboot}
		}
		return Identity{Kind: Refused, Detail: errUnaddressed.Error()}
	}
	return identifyData(head)
}

func hasAt(b []byte, at int, magic string) bool {
	return len(b) >= at+len(magic) && string(b[at:at+len(magic)]) == magic
}

func identifyBzImage(s Source) Identity {
	h, err := readSetup(s)
	if err != nil {
		return Identity{Kind: Refused, Detail: err.Error()}
	}
	return Identity{Kind: BzImage, Version: h.version(s)}
}

// identifyPE tells unified kernel images from other programs for EFI, and from kernels of other processors.
func identifyPE(s Source, head []byte) Identity {
	refuse := func(detail string) Identity { return Identity{Kind: Refused, Detail: detail} }
	switch {
	case hasAt(head, 0x38, "ARM\x64"):
		return refuse("a Linux kernel for arm64; give one for x86-64")
	case hasAt(head, 0x38, "RSC\x05"):
		return refuse("a Linux kernel for RISC-V; give one for x86-64")
	case hasAt(head, 4, "zimg"):
		return refuse("a packed EFI kernel (zboot) of another architecture; give a bzImage for x86-64")
	}
	u, err := openUKI(s)
	if err != nil {
		return refuse(err.Error())
	}
	if _, err := readSetup(u.Kernel); err != nil {
		return refuse("the kernel in the unified kernel image: " + err.Error())
	}
	return Identity{Kind: UKI, Version: u.Version, Detail: u.System}
}

func identifyELF(s Source) Identity {
	f, err := elf.NewFile(s)
	if err != nil {
		return Identity{}
	}
	if err := checkELF(f); err != nil {
		return Identity{Kind: Refused, Detail: err.Error()}
	}
	if isVmlinux(f) {
		return Identity{Kind: Vmlinux, Version: vmlinuxVersion(s, f)}
	}
	_, pvh, _ := readNotes(f)
	if _, multiboot := findMultiboot(s); !pvh && !multiboot {
		return Identity{Kind: Refused, Detail: errNoEntry.Error()}
	}
	return Identity{Kind: ELF}
}

// signatures are what files begin with that are neither kernels nor disks here.
var signatures = []struct {
	at          int
	magic, what string
}{
	{0, "\x1f\x8b", "a file packed with gzip; unpack it (gunzip) if it is a kernel, or give it with --initrd if it is an initial RAM disk"},
	{0, "\x28\xb5\x2f\xfd", "a file packed with zstd; unpack it (unzstd) if it is a kernel, or give it with --initrd if it is an initial RAM disk"},
	{0, xzMagic, "a file packed with xz; unpack it (unxz) if it is a kernel or a disk, or give it with --initrd if it is an initial RAM disk"},
	{0, "\x02\x21\x4c\x18", "a file packed with lz4; unpack it (unlz4) if it is a kernel, or give it with --initrd if it is an initial RAM disk"},
	{0, "BZh", "a file packed with bzip2; unpack it (bunzip2)"},
	{0, "PK\x03\x04", "a zip archive; unpack it"},
	{0, "07070", "a cpio archive, such as an initial RAM disk; give the kernel, and this with --initrd"},
	{257, "ustar", "a tar archive; give a kernel or a disk"},
	{0, "KDMV", "a VMDK disk; convert it: qemu-img convert -O qcow2"},
	{0, "# Disk Descriptor", "a VMDK disk's description; convert it: qemu-img convert -O qcow2"},
	{0, "vhdxfile", "a VHDX disk; convert it: qemu-img convert -O qcow2"},
	{0, "conectix", "a VHD disk; convert it: qemu-img convert -O qcow2"},
	{0, "QED\x00", "a QED disk; convert it: qemu-img convert -O qcow2"},
	{0x40, "\x7f\x10\xda\xbe", "a VDI disk; convert it: qemu-img convert -O qcow2"},
	{0x8001, "CD001", "an ISO 9660 image, such as an installer's; give the kernel and the initial RAM disk in it with --kernel and --initrd"},
	{0, "hsqs", "a squashfs file system without a boot loader; give its kernel with --kernel and this with --disk"},
}

// identifyData tells disks, and what else is known by a signature.
func identifyData(head []byte) Identity {
	if hasAt(head, 0, "QFI\xfb") {
		if len(head) < 8 {
			return Identity{Kind: Refused, Detail: "a qcow2 disk that is cut short in its header"}
		}
		if v := binary.BigEndian.Uint32(head[4:]); v != 2 && v != 3 {
			return Identity{Kind: Refused, Detail: fmt.Sprintf("a QEMU disk of version %d; convert it: qemu-img convert -O qcow2", v)}
		}
		return Identity{Kind: QCOW2, Detail: fmt.Sprintf("version %d", binary.BigEndian.Uint32(head[4:]))}
	}
	for _, s := range signatures {
		if hasAt(head, s.at, s.magic) {
			return Identity{Kind: Refused, Detail: s.what}
		}
	}
	if what := diskLayout(head); what != "" {
		return Identity{Kind: RawDisk, Detail: what}
	}
	return Identity{}
}

// Where disks have what tells them.
const (
	mbrEntries   = 0x1be // four of 16 bytes
	mbrEntry     = 16
	ext4Magic    = 0x438 // in the superblock at 1 KiB
	btrfsMagic   = 0x10040
	fatSignature = 0x36 // "FAT12   ", "FAT16   "
	fat32Type    = 0x52
)

// diskLayout names the partition table or file system that a disk begins with.
func diskLayout(head []byte) string {
	switch {
	case hasAt(head, 512, "EFI PART"):
		return "GPT"
	case hasAt(head, 4096, "EFI PART"):
		return "GPT with sectors of 4096 bytes"
	case hasAt(head, ext4Magic, "\x53\xef"):
		return "an ext file system"
	case hasAt(head, 0, "XFSB"):
		return "an XFS file system"
	case hasAt(head, btrfsMagic, "_BHRfS_M"):
		return "a btrfs file system"
	case !hasAt(head, bootFlag, "\x55\xaa"):
		return ""
	case hasAt(head, fatSignature, "FAT1"), hasAt(head, fat32Type, "FAT32"):
		return "a FAT file system"
	}
	used := false
	for e := head[mbrEntries:bootFlag]; len(e) >= mbrEntry; e = e[mbrEntry:] {
		if e[0]&0x7f != 0 { // active or not, and nothing else
			return ""
		}
		used = used || e[4] != 0
	}
	if !used {
		return ""
	}
	return "MBR"
}

// Of a Linux kernel as ELF: it is linked 16 MiB into the last 2 GiB of address space, loaded as much into RAM, and
// entered at a physical address.
const kernelMap = 0xffffffff80000000

// isVmlinux tells a Linux kernel by how it is linked.
func isVmlinux(f *elf.File) bool {
	if f.Class != elf.ELFCLASS64 {
		return false
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Vaddr-p.Paddr == kernelMap && f.Entry-p.Paddr < p.Memsz {
			return true
		}
	}
	return false
}

// versionPrefix begins what /proc/version shows.
const versionPrefix = "Linux version "

// versionLimit bounds a version's length, and with it what is shown of a hostile image.
const versionLimit = 256

// vmlinuxVersion looks the version up among what is loaded, in no more bytes than the image has.
func vmlinuxVersion(s Source, f *elf.File) string {
	const piece = 1 << 20
	b := make([]byte, min(piece+versionLimit, s.Size))
	left := s.Size
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD {
			continue
		}
		for off := int64(0); uint64(off) < p.Filesz && left > 0; off += piece {
			n, _ := p.ReadAt(b, off)
			if n == 0 {
				break
			}
			left -= int64(n)
			if at := bytes.Index(b[:n], []byte(versionPrefix)); at >= 0 {
				if v := printable(b[at+len(versionPrefix) : n]); v != "" && v[0] != '%' {
					return v
				}
			}
		}
	}
	return ""
}

// printable is the text that b begins with, on one line.
func printable(b []byte) string {
	b = b[:min(len(b), versionLimit)]
	end := bytes.IndexFunc(b, func(r rune) bool { return r < ' ' || r > '~' })
	if end < 0 {
		end = len(b)
	}
	return strings.TrimSpace(string(b[:end]))
}
