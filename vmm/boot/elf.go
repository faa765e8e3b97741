package boot

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// ErrImage wraps everything that is wrong with an image.
var ErrImage = errors.New("boot: image")

// Memory is the guest-physical memory that an image is loaded into.
type Memory interface {
	View(addr, n uint64) ([]byte, error)
}

// Entry is where a loaded kernel starts, in 32-bit protected mode without paging. One
// of its addresses is not 0.
type Entry struct {
	PVH       uint32 // physical address of the entry that a PVH note names
	Multiboot uint32 // physical address of a multiboot image's entry
	Note      Note   // what the image says of itself to this VMM
	Image     string // with Multiboot: the image's name, the first word of its command line

	end uint64 // of what is loaded
}

// Note is GVMM_NOTE_* of guests/lib/abi.h: what an image made for this VMM says.
type Note uint32

// Bits of a Note.
const (
	NoteLight   Note = 1 << 0  // needs little of its kernel: one that is interpreted suits it
	NotePresent Note = 1 << 31 // there is a note at all; the exit port then takes the status as it is
)

// Address is the physical address of the first instruction.
func (e Entry) Address() uint32 {
	if e.PVH != 0 {
		return e.PVH
	}
	return e.Multiboot
}

// EAX is what the kernel finds there.
func (e Entry) EAX() uint32 {
	if e.PVH == 0 {
		return MultibootMagic
	}
	return 0
}

// Information writes what the kernel is told, in its own protocol, and returns the
// address, which it finds in EBX.
func (e Entry) Information(m Memory, i Info) (uint32, error) {
	if err := biosData(m); err != nil {
		return 0, err
	}
	if e.PVH == 0 {
		return multibootInfo(m, e.Image, i)
	}
	return startInfo(m, i)
}

// biosData leaves in the BIOS data area what kernels without a BIOS call read there:
// where COM1 is, and how much memory lies below 1 MiB.
func biosData(m Memory) error {
	const area, com1, baseKiB = 0x400, 0, 0x13
	b, err := m.View(area, 0x100)
	if err != nil {
		return fmt.Errorf("boot: BIOS data area: %w", err)
	}
	binary.LittleEndian.PutUint16(b[com1:], 0x3f8)
	binary.LittleEndian.PutUint16(b[baseKiB:], 640)
	return nil
}

// firstUsable is where RAM is an image's: below lie the start information and
// the vector tables of real mode.
const firstUsable = 0x10000

// loadLimit bounds the work that an image asks for: more than all RAM below the
// devices can only be segments over each other.
const loadLimit = 4 << 30

// source is an image to load.
type source interface {
	io.ReaderAt
	Size() int64
}

// Load reads the image at path into m, which has ram bytes from 0: a Linux bzImage, an ELF
// executable with a PVH note, else one with a multiboot 1 header, which need not be ELF.
func Load(path string, m Memory, ram uint64) (Entry, error) {
	f, err := openImage(path)
	if err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrImage, err)
	}
	defer f.Close()
	e, err := loadAny(f, m, ram)
	if err != nil {
		return Entry{}, fmt.Errorf("%w: %s: %w", ErrImage, path, err)
	}
	if e.Multiboot != 0 {
		e.Image = filepath.Base(path)
	}
	return e, nil
}

// imageFile is a regular file.
type imageFile struct {
	*os.File
	size int64
}

// Size implements source.
func (f imageFile) Size() int64 { return f.size }

func openImage(path string) (imageFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return imageFile{}, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		_ = f.Close()
		return imageFile{}, err
	}
	return imageFile{f, st.Size()}, nil
}

// loadAny tells what an image is.
func loadAny(r source, m Memory, ram uint64) (Entry, error) {
	if !isBzImage(r) {
		return loadImage(r, m)
	}
	payload, err := readPayload(r)
	if err != nil {
		return Entry{}, err
	}
	kernel, err := unpack(payload, ram)
	if err != nil {
		return Entry{}, err
	}
	e, err := loadImage(bytes.NewReader(kernel), m)
	switch {
	case errors.Is(err, errNoEntry):
		return e, errors.New("a Linux kernel without a PVH note; give one that is built with CONFIG_PVH=y")
	case err != nil:
		return e, fmt.Errorf("the vmlinux in the bzImage: %w", err)
	}
	return e, nil
}

// errNoEntry is an ELF executable that does not say how it is started.
var errNoEntry = errors.New("no PVH note (XEN_ELFNOTE_PHYS32_ENTRY) and no multiboot header; a kernel needs one to be started")

// loadImage loads an image by the first protocol that it offers.
func loadImage(r source, m Memory) (Entry, error) {
	h, multiboot := findMultiboot(r)
	f, err := elf.NewFile(r)
	if err != nil {
		switch {
		case multiboot && h.addressed():
			return loadAddressed(r, h, m)
		case multiboot:
			return Entry{}, errors.New("a multiboot header without addresses in what is not an ELF executable; set flag 16 and give addresses, or link as ELF")
		}
		return Entry{}, errors.New("not an ELF executable, no bzImage, and no multiboot header; give a Linux kernel, or an x86 ELF with a PVH note or with a multiboot header")
	}
	switch {
	case f.Type != elf.ET_EXEC, f.Data != elf.ELFDATA2LSB,
		(f.Class != elf.ELFCLASS64 || f.Machine != elf.EM_X86_64) && (f.Class != elf.ELFCLASS32 || f.Machine != elf.EM_386):
		return Entry{}, fmt.Errorf("ELF %v %v %v; give a 32 or 64-bit x86 executable", f.Class, f.Machine, f.Type)
	}
	entry, pvh, note := readNotes(f)
	if !pvh && multiboot && h.addressed() {
		return loadAddressed(r, h, m)
	}
	end, err := loadSegments(f, m)
	if err != nil {
		return Entry{}, err
	}
	switch {
	case pvh && entry == 0:
		return Entry{}, errors.New("a PVH note with entry 0; it must name the kernel's 32-bit entry")
	case pvh:
		return Entry{PVH: entry, Note: note, end: end}, nil
	case !multiboot:
		return Entry{}, errNoEntry
	}
	entry, err = multibootEntry(f, h)
	return Entry{Multiboot: entry, Note: note, end: end}, err
}

// readNotes collects what the image's notes say: the entry that the last PVH note
// names, and ours.
func readNotes(f *elf.File) (pvh uint32, found bool, ours Note) {
	for _, p := range f.Progs {
		if p.Type != elf.PT_NOTE {
			continue
		}
		eachNote(p, f.ByteOrder, func(name string, kind, value uint32) {
			switch {
			case name == xenName && kind == notePVH:
				pvh, found = value, true
			case name == ourName && kind == noteOurs:
				ours |= Note(value) | NotePresent
			}
		})
	}
	return pvh, found, ours
}

// loadSegments returns where what it loads ends.
func loadSegments(f *elf.File, m Memory) (end uint64, err error) {
	var loaded uint64
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD {
			continue
		}
		if err := loadSegment(p, m); err != nil {
			return 0, err
		}
		if loaded += p.Memsz; loaded > loadLimit {
			return 0, fmt.Errorf("segments of more than %#x bytes in all; they must overlap", uint64(loadLimit))
		}
		end = max(end, p.Paddr+p.Memsz)
	}
	return end, nil
}

func loadSegment(p *elf.Prog, m Memory) error {
	if p.Memsz == 0 {
		return nil
	}
	if p.Filesz > p.Memsz {
		return fmt.Errorf("segment at %#x has more bytes in the file than in memory", p.Paddr)
	}
	if p.Paddr < firstUsable {
		return fmt.Errorf("segment at %#x is below %#x, where the start information lies", p.Paddr, firstUsable)
	}
	if err := checkFirmware(p.Paddr, p.Memsz); err != nil {
		return err
	}
	view, err := m.View(p.Paddr, p.Memsz)
	if err != nil {
		return tooSmall(p.Paddr, p.Memsz)
	}
	if n, err := p.ReadAt(view[:p.Filesz], 0); uint64(n) != p.Filesz {
		return fmt.Errorf("segment at %#x is cut short: %w", p.Paddr, err)
	}
	clear(view[p.Filesz:])
	return nil
}

// checkFirmware refuses what would lie where firmware's tables do.
func checkFirmware(addr, n uint64) error {
	if addr < holeEnd && (addr >= firmwareBase || n > firmwareBase-addr) {
		return fmt.Errorf("%#x to %#x lies over %#x to %#x, where a PC has its firmware; link at 1 MiB or higher", addr, addr+n, firmwareBase, holeEnd)
	}
	return nil
}

func tooSmall(addr, n uint64) error {
	const MiB = 1 << 20
	return fmt.Errorf("memory too small: a segment needs %#x to %#x, give at least %d MiB", addr, addr+n, (addr+n+MiB-1)/MiB)
}

const (
	xenName   = "Xen\x00"
	notePVH   = 18 // XEN_ELFNOTE_PHYS32_ENTRY
	ourName   = "gvmm\x00"
	noteOurs  = 1       // GVMM_NOTE_TYPE
	noteLimit = 1 << 16 // of a note segment, bytes
)

// eachNote calls f with every note of a segment whose value is a word or more: a sequence
// of name size, descriptor size, type, name, descriptor, each padded to 4 bytes.
func eachNote(p *elf.Prog, order binary.ByteOrder, f func(name string, kind, value uint32)) {
	notes := make([]byte, min(p.Filesz, noteLimit))
	if n, _ := p.ReadAt(notes, 0); n < len(notes) {
		return
	}
	pad := func(n uint32) uint64 { return (uint64(n) + 3) &^ 3 }
	for len(notes) >= 12 {
		name, desc, kind := order.Uint32(notes), order.Uint32(notes[4:]), order.Uint32(notes[8:])
		body := notes[12:]
		if pad(name)+pad(desc) > uint64(len(body)) {
			return
		}
		value := body[pad(name):]
		if desc >= 4 {
			f(string(body[:name]), kind, order.Uint32(value))
		}
		notes = value[pad(desc):]
	}
}
