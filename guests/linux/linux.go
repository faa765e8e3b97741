// Package linux holds what a Linux guest's image gets besides Debian's packages: the
// initial RAM disk's init, the start-up of its root file system, and gvmm-exit, by which a
// program in the guest ends the machine with a status.
package linux

import (
	"bytes"
	"debug/elf"
	"embed"
	"encoding/binary"
	"io/fs"
)

//go:embed initramfs root
var files embed.FS

// InitramfsInit is the initial RAM disk's /init.
func InitramfsInit() ([]byte, error) { return files.ReadFile("initramfs/init") }

// Root is what the root file system gets, by its paths. Files that begin with "#!" are
// programs.
func Root() (fs.FS, error) { return fs.Sub(files, "root") }

// exitCode is exit.S, assembled (TestExitCodeIsAssembledFromItsSource).
var exitCode = []byte{
	0x48, 0x8b, 0x74, 0x24, 0x10, 0x31, 0xdb, 0x48, 0x85, 0xf6, 0x74, 0x15,
	0x0f, 0xb6, 0x06, 0x48, 0xff, 0xc6, 0x83, 0xe8, 0x30, 0x83, 0xf8, 0x09,
	0x77, 0x07, 0x6b, 0xdb, 0x0a, 0x01, 0xc3, 0xeb, 0xeb, 0xbf, 0xf4, 0x00,
	0x00, 0x00, 0xbe, 0x01, 0x00, 0x00, 0x00, 0xba, 0x01, 0x00, 0x00, 0x00,
	0xb8, 0xad, 0x00, 0x00, 0x00, 0x0f, 0x05, 0x85, 0xc0, 0x75, 0x08, 0xba,
	0xf4, 0x00, 0x00, 0x00, 0x89, 0xd8, 0xee, 0xbf, 0x01, 0x00, 0x00, 0x00,
	0xb8, 0x3c, 0x00, 0x00, 0x00, 0x0f, 0x05,
}

// loadAddress is where gvmm-exit lies in its address space.
const loadAddress = 0x400000

// ExitProgram is gvmm-exit: a static ELF executable that is one segment, headers and code.
func ExitProgram() []byte {
	const headers = 64 + 56
	size := uint64(headers + len(exitCode))
	h := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Entry: loadAddress + headers,
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1, Shentsize: 64,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	p := elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: loadAddress, Paddr: loadAddress,
		Filesz: size, Memsz: size, Align: 4096,
	}
	var b bytes.Buffer
	// Writes to a buffer of values of fixed size cannot fail.
	_ = binary.Write(&b, binary.LittleEndian, h)
	_ = binary.Write(&b, binary.LittleEndian, p)
	b.Write(exitCode)
	return b.Bytes()
}
