package boot

import (
	"crypto/rand"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
)

var (
	// ErrImage wraps everything that is wrong with an image.
	ErrImage = errors.New("boot: image")
	// ErrWay is a way to enter a kernel that it does not offer.
	ErrWay = errors.New("boot: --boot")
)

// Way is how a kernel is entered.
type Way int

// Ways. Auto takes the fastest that the image offers.
const (
	WayAuto      Way = iota
	WayLinux         // Linux's 64-bit protocol at the vmlinux's entry, which is unpacked and randomised here
	WayBzImage       // the same at the bzImage's: the kernel's own code unpacks and randomises
	WayPVH           // the entry that a PVH note names; a bzImage is unpacked here
	WayMultiboot     // multiboot 1
)

var wayNames = [...]string{"auto", "linux", "bzimage", "pvh", "multiboot"}

// String is the name by which ParseWay knows the way.
func (w Way) String() string { return wayNames[w] }

// ParseWay reads a way's name.
func ParseWay(s string) (Way, error) {
	i := slices.Index(wayNames[:], s)
	if i < 0 {
		return WayAuto, fmt.Errorf("%w %s: %s or %s", ErrWay, s, strings.Join(wayNames[:len(wayNames)-1], ", "), wayNames[len(wayNames)-1])
	}
	return Way(i), nil
}

// Memory is the guest-physical memory that an image is loaded into.
type Memory interface {
	View(addr, n uint64) ([]byte, error)
}

// Options are what a kernel is loaded with.
type Options struct {
	RAM     uint64 // bytes, which lie as Split has them
	Way     Way
	Command string    // the kernel's command line: nokaslr in it is honoured
	Random  io.Reader // what KASLR comes from; nil: the host's
	Initrd  uint64    // bytes of what LoadInitrd will place
}

// Entry is where a loaded kernel starts. One of its addresses is not 0.
type Entry struct {
	PVH       uint32 // physical address of the entry that a PVH note names, in 32-bit protected mode without paging
	Multiboot uint32 // the same of a multiboot image's entry
	Linux     uint64 // address of Linux's 64-bit entry, in long mode with the page tables at LinuxCR3
	Way       Way    // which of them, and for Linux whose entry it is
	Note      Note   // what the image says of itself to this VMM
	Image     string // with Multiboot: the image's name, the first word of its command line

	// Randomised is a Linux kernel to whose linear addresses KASLR was added, and Moved to its physical ones; each may be
	// 0. A bzImage that unpacks itself has them from its own code.
	Randomised   bool
	KASLR, Moved uint64

	start, end uint64 // of what is loaded and what it needs behind
	setup      setup  // of a bzImage; nil: none
}

// Range is where the kernel lies in RAM, with what it needs behind what is loaded.
func (e Entry) Range() Region { return Region{Base: e.start, Size: e.end - e.start, Type: RAM} }

// Note is GVMM_NOTE_* of guests/lib/abi.h: what an image made for this VMM says.
type Note uint32

// Bits of a Note.
const (
	NoteLight   Note = 1 << 0  // needs little of its kernel: one that is interpreted suits it
	NotePresent Note = 1 << 31 // there is a note at all; the exit port then takes the status as it is
)

// Address is the address of the first instruction.
func (e Entry) Address() uint64 {
	switch {
	case e.Linux != 0:
		return e.Linux
	case e.PVH != 0:
		return uint64(e.PVH)
	}
	return uint64(e.Multiboot)
}

// EAX is what a kernel finds there that is entered in 32-bit mode.
func (e Entry) EAX() uint32 {
	if e.Multiboot != 0 {
		return MultibootMagic
	}
	return 0
}

// Information writes what the kernel is told, in its own protocol, and returns the
// address, which it finds in EBX, or in RSI by Linux's protocol.
func (e Entry) Information(m Memory, i Info) (uint32, error) {
	if err := biosData(m); err != nil {
		return 0, err
	}
	switch {
	case e.Linux != 0:
		return bootParams(m, e.setup, e.Randomised, i)
	case e.PVH != 0:
		return startInfo(m, i)
	}
	return multibootInfo(m, e.Image, i)
}

// Load loads the kernel s into m: a Linux bzImage, alone or in a unified kernel image, a
// vmlinux, an ELF executable with a PVH note, else one with a multiboot 1 header, which need not be ELF.
func Load(s Source, m Memory, o Options) (Entry, error) {
	e, err := loadAny(s, m, o)
	if err != nil {
		return Entry{}, fmt.Errorf("%w: %s: %w", ErrImage, s.Name, err)
	}
	if e.Multiboot != 0 {
		e.Image = filepath.Base(s.Name)
	}
	return e, nil
}

// loadAny tells what an image is.
func loadAny(s Source, m Memory, o Options) (Entry, error) {
	switch {
	case isBzImage(s):
		return loadLinux(s, m, o)
	case hasAt(s.head(2), 0, "MZ"):
		if err := Identify(s).Err(); err != nil {
			return Entry{}, err
		}
		u, err := openUKI(s)
		if err != nil {
			return Entry{}, err
		}
		return loadLinux(u.Kernel, m, o)
	}
	return loadImage(s, m, o)
}

// loadLinux loads a bzImage: unpacked here, which is faster, or by its own code, which
// knows more ways to pack and to relocate.
func loadLinux(s Source, m Memory, o Options) (Entry, error) {
	h, err := readSetup(s)
	if err != nil {
		return Entry{}, err
	}
	switch o.Way {
	case WayBzImage:
		return loadBzImage(s, h, m, o)
	case WayMultiboot:
		return Entry{}, errNotOffered(o.Way, BzImage.String())
	}
	payload, err := readPayload(s, h)
	if err != nil {
		return Entry{}, err
	}
	low, _ := Split(o.RAM)
	kernel, err := unpack(payload, low)
	if err == nil {
		var e Entry
		if e, err = loadUnpacked(s.Name, kernel, h, m, o); err == nil {
			return e, nil
		}
	}
	if o.Way == WayAuto && (errors.Is(err, errCompression) || errors.Is(err, errRelocations)) {
		return loadBzImage(s, h, m, o)
	}
	return Entry{}, err
}

// loadUnpacked loads what a bzImage has packed: at Linux's entry, or by its note.
func loadUnpacked(name string, kernel []byte, h setup, m Memory, o Options) (Entry, error) {
	s := Bytes(name, kernel)
	f, err := elf.NewFile(s)
	if err != nil {
		return Entry{}, errors.New("the vmlinux in the bzImage: not an ELF executable")
	}
	var e Entry
	switch err = checkELF(f); {
	case err != nil:
	case o.Way != WayPVH && isVmlinux(f):
		e, err = loadVmlinux(f, kernel, h, m, o)
	case o.Way == WayLinux:
		err = errNotOffered(o.Way, ELF.String())
	default:
		if e, err = loadELF(s, f, m, o); errors.Is(err, errNoEntry) {
			return e, errors.New("a Linux kernel without a PVH note; give one that is built with CONFIG_PVH=y")
		}
	}
	if err != nil && !errors.Is(err, errMemory) {
		err = fmt.Errorf("the vmlinux in the bzImage: %w", err)
	}
	return e, err
}

// hasWord tells a word of a command line.
func hasWord(command, word string) bool { return slices.Contains(strings.Fields(command), word) }

// random returns a number below n, which is not 0.
func (o Options) random(n uint64) (uint64, error) {
	r := o.Random
	if r == nil {
		r = rand.Reader
	}
	v, err := rand.Int(r, new(big.Int).SetUint64(n))
	if err != nil {
		return 0, fmt.Errorf("no random numbers for KASLR: %w", err)
	}
	return v.Uint64(), nil
}
