package boot

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"math"
)

// MultibootMagic is what a multiboot kernel finds in EAX.
const MultibootMagic = 0x2badb002

// The header (Multiboot 0.6.96 §3.1): little-endian words, 4-byte aligned, in the first
// 8 KiB of the image.
const (
	multibootSearch = 8192
	headerMagic     = 0x1badb002
	headerBytes     = 12 // magic, flags, checksum
	addressedBytes  = 32 // and header, load, load end, BSS end and entry address

	wantsAligned = 1 << 0 // modules on pages
	wantsMemory  = 1 << 1
	wantsVideo   = 1 << 2 // a preference; the information says that there is no table
	hasAddresses = 1 << 16
	mustKnow     = 0xffff &^ (wantsAligned | wantsMemory | wantsVideo)
)

// The information (§3.3), with the flags of what is in it.
const (
	infoFlags     = 0
	infoLower     = 4 // KiB from 0, and from 1 MiB
	infoUpper     = 8
	infoCommand   = 16
	infoModules   = 20 // how many, address
	infoMap       = 44 // length, address
	infoLoader    = 64
	infoName      = 128 // behind the information: the loader's name, an empty one, and the module's record
	infoEmpty     = 140
	infoModule    = 144
	flagMemory    = 1 << 0
	flagCommand   = 1 << 2
	flagModules   = 1 << 3
	flagMap       = 1 << 6
	flagLoader    = 1 << 9
	loaderName    = "gvmm"
	mapEntryBytes = 24 // bytes of a map entry, of which the first 4 give the rest's size
	lowerLimit    = 640 << 10
	upperBase     = 1 << 20
)

// multibootHeader is a header with its place in the image.
type multibootHeader struct {
	offset                               int64
	flags                                uint32
	header, load, loadEnd, bssEnd, entry uint32 // addresses, where flags has them
}

func (h multibootHeader) addressed() bool { return h.flags&hasAddresses != 0 }

// check refuses what a loader has to understand and this one does not.
func (h multibootHeader) check() error {
	if f := h.flags & mustKnow; f != 0 {
		return fmt.Errorf("multiboot flags %#x ask for what is not known here; clear them", f)
	}
	return nil
}

// findMultiboot finds the first header in r.
func findMultiboot(r Source) (multibootHeader, bool) {
	b := r.head(multibootSearch)
	n := len(b)
	le := binary.LittleEndian
	for at := 0; at+headerBytes <= n; at += 4 {
		w := b[at:n]
		if le.Uint32(w) != headerMagic || le.Uint32(w)+le.Uint32(w[4:])+le.Uint32(w[8:]) != 0 {
			continue
		}
		h := multibootHeader{offset: int64(at), flags: le.Uint32(w[4:])}
		if h.addressed() {
			if len(w) < addressedBytes {
				continue
			}
			h.header, h.load, h.loadEnd = le.Uint32(w[12:]), le.Uint32(w[16:]), le.Uint32(w[20:])
			h.bssEnd, h.entry = le.Uint32(w[24:]), le.Uint32(w[28:])
		}
		return h, true
	}
	return multibootHeader{}, false
}

// loadAddressed loads an image by the addresses in its header, which go before ELF's.
func loadAddressed(r Source, h multibootHeader, m Memory) (Entry, error) {
	if err := h.check(); err != nil {
		return Entry{}, err
	}
	before := int64(h.header) - int64(h.load) // the header, in what is loaded
	switch {
	case before < 0 || before > h.offset:
		return Entry{}, fmt.Errorf("multiboot load address %#x and header address %#x do not fit a header at %#x of the image; mend the header",
			h.load, h.header, h.offset)
	case h.load < firstUsable:
		return Entry{}, fmt.Errorf("multiboot load address %#x is below %#x, where the start information lies; link higher", h.load, firstUsable)
	}
	from := h.offset - before
	load, filed := uint64(h.load), uint64(r.Size-from)
	if end := uint64(h.loadEnd); end != 0 {
		if end < load || end-load > filed {
			return Entry{}, fmt.Errorf("multiboot load end address %#x, but the image is cut short or begins higher; mend the header", end)
		}
		filed = end - load
	}
	total := filed
	if end := uint64(h.bssEnd); end != 0 {
		if end < load+filed {
			return Entry{}, fmt.Errorf("multiboot BSS end address %#x lies before the end of the data, %#x; mend the header", end, load+filed)
		}
		total = end - load
	}
	if entry := uint64(h.entry); entry < load || entry >= load+total {
		return Entry{}, fmt.Errorf("multiboot entry address %#x is not in what is loaded; mend the header", entry)
	}
	if err := checkFirmware(load, total); err != nil {
		return Entry{}, err
	}
	view, err := m.View(load, total)
	if err != nil {
		return Entry{}, tooSmall(load, total)
	}
	if n, err := r.ReadAt(view[:filed], from); uint64(n) != filed {
		return Entry{}, fmt.Errorf("the image is cut short: %w", err)
	}
	clear(view[filed:])
	return Entry{Multiboot: h.entry, Way: WayMultiboot, start: load, end: load + total}, nil
}

// multibootEntry is the physical address of an ELF image's entry: its header gives a
// physical one, or a linear one of a segment that is loaded elsewhere.
func multibootEntry(f *elf.File, h multibootHeader) (uint32, error) {
	if err := h.check(); err != nil {
		return 0, err
	}
	entry, found := f.Entry, false
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD {
			continue
		}
		if f.Entry-p.Vaddr < p.Memsz {
			entry, found = f.Entry-p.Vaddr+p.Paddr, true
			break
		}
		found = found || f.Entry-p.Paddr < p.Memsz
	}
	if !found || f.Entry == 0 || entry == 0 || entry > math.MaxUint32 {
		return 0, fmt.Errorf("entry %#x is not in a segment below 4 GiB; multiboot starts a kernel at its ELF entry", f.Entry)
	}
	return uint32(entry), nil
}

// multibootInfo writes the information of multiboot 1 for the kernel called image and
// returns its address, which the kernel finds in EBX. The command line begins with
// the image's name, as loaders have it; an initial RAM disk is the only module.
func multibootInfo(m Memory, image string, in Info) (uint32, error) {
	command, ram := in.Command, in.Map
	if command != "" {
		image += " " + command
	}
	if len(image) > MaxCommandLine {
		return 0, fmt.Errorf("boot: command line of %d bytes with the image's name; %d is the longest", len(image), MaxCommandLine)
	}
	if len(ram) > (commandLine-memoryMap)/mapEntryBytes {
		return 0, fmt.Errorf("boot: %d ranges do not fit the memory map", len(ram))
	}
	page, err := m.View(infoBase, commandLine+MaxCommandLine+1-infoBase)
	if err != nil {
		return 0, fmt.Errorf("boot: multiboot information: %w", err)
	}
	clear(page)
	le := binary.LittleEndian
	put := func(at int, v uint32) { le.PutUint32(page[at:], v) }
	put(infoFlags, flagMemory|flagCommand|flagModules|flagMap|flagLoader)
	put(infoLower, kibibytes(ram, 0, lowerLimit))
	put(infoUpper, kibibytes(ram, upperBase, math.MaxUint64))
	put(infoCommand, commandLine)
	put(infoMap, uint32(len(ram))*mapEntryBytes)
	put(infoMap+4, memoryMap)
	put(infoLoader, infoBase+infoName)
	copy(page[infoName:], loaderName)
	if d := in.Initrd; d.Size != 0 {
		put(infoModules, 1)
		put(infoModules+4, infoBase+infoModule)
		put(infoModule, uint32(d.Base))
		put(infoModule+4, uint32(d.Base+d.Size))
		put(infoModule+8, infoBase+infoEmpty)
	}
	for i, r := range ram {
		entry := page[memoryMap-infoBase+mapEntryBytes*i:]
		le.PutUint32(entry, mapEntryBytes-4)
		le.PutUint64(entry[4:], r.Base)
		le.PutUint64(entry[12:], r.Size)
		le.PutUint32(entry[20:], uint32(r.Type))
	}
	copy(page[commandLine-infoBase:], image)
	return infoBase, nil
}

// kibibytes is how much RAM there is in one piece from addr to limit.
func kibibytes(ram []Region, addr, limit uint64) uint32 {
	for _, r := range ram {
		if off := addr - r.Base; r.Type == RAM && off < r.Size {
			return uint32(min((min(r.Size-off, limit-addr))>>10, math.MaxUint32))
		}
	}
	return 0
}
