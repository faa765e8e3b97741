package boot

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrImage wraps everything that is wrong with an image.
var ErrImage = errors.New("boot: image")

// Memory is the guest-physical memory that an image is loaded into.
type Memory interface {
	View(addr, n uint64) ([]byte, error)
}

// Entry is where a loaded kernel starts.
type Entry struct {
	PVH uint32 // physical address of the 32-bit entry
}

// firstUsable is where RAM is an image's: below lie the start information and
// the vector tables of real mode.
const firstUsable = 0x10000

// loadLimit bounds the work that an image asks for: more than all RAM below the
// devices can only be segments over each other.
const loadLimit = 4 << 30

// Load reads the ELF image at path into m.
func Load(path string, m Memory) (Entry, error) {
	f, err := os.Open(path)
	if err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrImage, err)
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && !st.Mode().IsRegular() {
		return Entry{}, fmt.Errorf("%w: %s is not a regular file", ErrImage, path)
	}
	e, err := loadELF(f, m)
	if err != nil {
		return Entry{}, fmt.Errorf("%w: %s: %w", ErrImage, path, err)
	}
	return e, nil
}

func loadELF(r io.ReaderAt, m Memory) (Entry, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return Entry{}, errors.New("not an ELF executable; give a 64-bit x86 ELF with a PVH note")
	}
	if f.Class != elf.ELFCLASS64 || f.Machine != elf.EM_X86_64 || f.Type != elf.ET_EXEC {
		return Entry{}, fmt.Errorf("ELF %v %v %v; give a 64-bit x86 executable", f.Class, f.Machine, f.Type)
	}
	var e Entry
	var loaded uint64
	found := false
	for _, p := range f.Progs {
		switch p.Type {
		case elf.PT_LOAD:
			if err := loadSegment(p, m); err != nil {
				return Entry{}, err
			}
			if loaded += p.Memsz; loaded > loadLimit {
				return Entry{}, fmt.Errorf("segments of more than %#x bytes in all; they must overlap", uint64(loadLimit))
			}
		case elf.PT_NOTE:
			if entry, ok := pvhNote(p, f.ByteOrder); ok {
				e.PVH, found = entry, true
			}
		}
	}
	if !found {
		return Entry{}, errors.New("no PVH note (XEN_ELFNOTE_PHYS32_ENTRY); a kernel needs one to be started")
	}
	return e, nil
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
	view, err := m.View(p.Paddr, p.Memsz)
	if err != nil {
		const MiB = 1 << 20
		return fmt.Errorf("memory too small: a segment needs %#x to %#x, give at least %d MiB",
			p.Paddr, p.Paddr+p.Memsz, (p.Paddr+p.Memsz+MiB-1)/MiB)
	}
	if n, err := p.ReadAt(view[:p.Filesz], 0); uint64(n) != p.Filesz {
		return fmt.Errorf("segment at %#x is cut short: %w", p.Paddr, err)
	}
	clear(view[p.Filesz:])
	return nil
}

const (
	noteName  = "Xen\x00"
	notePVH   = 18      // XEN_ELFNOTE_PHYS32_ENTRY
	noteLimit = 1 << 16 // of a note segment, bytes
)

// pvhNote finds the entry address in a note segment: a sequence of name size,
// descriptor size, type, name, descriptor, each padded to 4 bytes.
func pvhNote(p *elf.Prog, order binary.ByteOrder) (uint32, bool) {
	notes := make([]byte, min(p.Filesz, noteLimit))
	if n, _ := p.ReadAt(notes, 0); n < len(notes) {
		return 0, false
	}
	pad := func(n uint32) uint64 { return (uint64(n) + 3) &^ 3 }
	for len(notes) >= 12 {
		name, desc, kind := order.Uint32(notes), order.Uint32(notes[4:]), order.Uint32(notes[8:])
		body := notes[12:]
		if pad(name)+pad(desc) > uint64(len(body)) {
			return 0, false
		}
		value := body[pad(name):]
		if kind == notePVH && string(body[:name]) == noteName && desc >= 4 {
			return order.Uint32(value), true
		}
		notes = value[pad(desc):]
	}
	return 0, false
}
