package boot

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

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

// errNoEntry is an ELF executable that does not say how it is started.
var errNoEntry = errors.New("no PVH note (XEN_ELFNOTE_PHYS32_ENTRY) and no multiboot header; a kernel needs one to be started")

var (
	errUnknown = errors.New("not an ELF executable, no bzImage or unified kernel image, no multiboot header, and no disk that is known; " +
		"give a Linux kernel, or an x86 ELF with a PVH note or with a multiboot header")
	errUnaddressed = errors.New("a multiboot header without addresses in what is not an ELF executable; set flag 16 and give addresses, or link as ELF")
)

// loadImage loads an image by the first protocol that it offers.
func loadImage(s Source, m Memory, o Options) (Entry, error) {
	f, err := elf.NewFile(s)
	if err == nil {
		return loadELF(s, f, m, o)
	}
	if h, ok := findMultiboot(s); ok && h.addressed() {
		if o.Way != WayAuto && o.Way != WayMultiboot {
			return Entry{}, errNotOffered(o.Way, Multiboot.String())
		}
		return loadAddressed(s, h, m)
	}
	if err := Identify(s).Err(); err != nil {
		return Entry{}, err
	}
	return Entry{}, errUnknown
}

// checkELF refuses executables for other machines.
func checkELF(f *elf.File) error {
	switch {
	case f.Type != elf.ET_EXEC, f.Data != elf.ELFDATA2LSB,
		(f.Class != elf.ELFCLASS64 || f.Machine != elf.EM_X86_64) && (f.Class != elf.ELFCLASS32 || f.Machine != elf.EM_386):
		return fmt.Errorf("ELF %v %v %v; give a 32 or 64-bit x86 executable", f.Class, f.Machine, f.Type)
	}
	return nil
}

// loadELF loads an executable by the way asked for, or by the first that it offers: as Linux, by its PVH note, by a
// multiboot header.
func loadELF(s Source, f *elf.File, m Memory, o Options) (Entry, error) {
	if err := checkELF(f); err != nil {
		return Entry{}, err
	}
	h, multiboot := findMultiboot(s)
	entry, pvh, note := readNotes(f)
	way := o.Way
	if way == WayAuto {
		switch {
		case isVmlinux(f):
			way = WayLinux
		case pvh:
			way = WayPVH
		case multiboot:
			way = WayMultiboot
		}
	}
	switch {
	case way == WayLinux && isVmlinux(f):
		return loadVmlinux(f, nil, nil, m, o)
	case way == WayPVH && pvh:
		if entry == 0 {
			return Entry{}, errors.New("a PVH note with entry 0; it must name the kernel's 32-bit entry")
		}
		start, end, err := loadSegments(f, m, 0)
		return Entry{PVH: entry, Way: way, Note: note, start: start, end: end}, err
	case way == WayMultiboot && multiboot && h.addressed():
		return loadAddressed(s, h, m)
	case way == WayMultiboot && multiboot:
		start, end, err := loadSegments(f, m, 0)
		if err != nil {
			return Entry{}, err
		}
		entry, err := multibootEntry(f, h)
		return Entry{Multiboot: entry, Way: way, Note: note, start: start, end: end}, err
	case way == WayAuto, way == WayPVH && !multiboot:
		return Entry{}, errNoEntry
	}
	return Entry{}, errNotOffered(way, "ELF executable")
}

// errNotOffered is an image that cannot be entered by the way that was asked for.
func errNotOffered(way Way, kind string) error {
	return fmt.Errorf("%w %v: this %s cannot be entered so; auto takes what it offers", ErrWay, way, kind)
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

// loadSegments loads what an executable has at its physical addresses and moved further, and returns its range.
func loadSegments(f *elf.File, m Memory, moved uint64) (start, end uint64, err error) {
	var loaded uint64
	start = math.MaxUint64
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD || p.Memsz == 0 {
			continue
		}
		if err := loadSegment(p, m, p.Paddr+moved); err != nil {
			return 0, 0, err
		}
		if loaded += p.Memsz; loaded > loadLimit {
			return 0, 0, fmt.Errorf("segments of more than %#x bytes in all; they must overlap", uint64(loadLimit))
		}
		start, end = min(start, p.Paddr+moved), max(end, p.Paddr+moved+p.Memsz)
	}
	return min(start, end), end, nil
}

func loadSegment(p *elf.Prog, m Memory, at uint64) error {
	if p.Filesz > p.Memsz {
		return fmt.Errorf("segment at %#x has more bytes in the file than in memory", at)
	}
	if at < firstUsable {
		return fmt.Errorf("segment at %#x is below %#x, where the start information lies", at, firstUsable)
	}
	if err := checkFirmware(at, p.Memsz); err != nil {
		return err
	}
	view, err := m.View(at, p.Memsz)
	if err != nil {
		return tooSmall(at, p.Memsz)
	}
	if n, err := p.ReadAt(view[:p.Filesz], 0); uint64(n) != p.Filesz {
		return fmt.Errorf("segment at %#x is cut short: %w", at, err)
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
	return fmt.Errorf("%w: a segment needs %#x to %#x, give at least %d MiB", errMemory, addr, addr+n, (addr+n+MiB-1)/MiB)
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
