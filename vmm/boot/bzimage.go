package boot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// The setup header of a bzImage (Linux Documentation/arch/x86/boot.rst), little-endian.
const (
	setupSectors   = 0x1f1 // byte; 0 means 4
	bootFlag       = 0x1fe
	setupJump      = 0x201 // second byte of a short jump: behind the header
	setupMagic     = 0x202
	setupVersion   = 0x206
	setupKernel    = 0x20e // word: the version's text, less 200H
	setupLoader    = 0x210 // byte
	setupLoadFlags = 0x211
	setupInitrd    = 0x218 // address, and size
	setupCommand   = 0x228
	setupInitrdMax = 0x22c // highest address of the initial RAM disk
	setupAlign     = 0x230
	setupXLoad     = 0x236 // word, from 2.12 on
	setupLongest   = 0x238 // command line, without its NUL
	payloadOffset  = 0x248 // from the protected-mode code, from 2.08 on
	payloadLength  = 0x24c
	setupPreferred = 0x258 // address, eight bytes
	setupInitSize  = 0x260 // what the kernel needs there before it reads its memory map
	setupBytes     = 0x264 // that there are at least
	setupEnd       = 0x290 // of all that there will ever be
	bootFlagValue  = 0xaa55
	setupHdrS      = 0x53726448 // "HdrS"
	oldestProtocol = 0x20c
	xloadKernel64  = 1 << 0
	xloadAbove4G   = 1 << 1
	flagKASLR      = 1 << 1 // of setupLoadFlags: the kernel was randomised
	sector         = 512
	entry64        = 0x200 // of the 64-bit entry, from the protected-mode code
)

// setup is a setup header at its place in the image, from the image's beginning on.
type setup []byte

func (h setup) u16(at int) uint16 { return binary.LittleEndian.Uint16(h[at:]) }
func (h setup) u32(at int) uint32 { return binary.LittleEndian.Uint32(h[at:]) }
func (h setup) u64(at int) uint64 { return binary.LittleEndian.Uint64(h[at:]) }

// isBzImage tells a Linux image with a setup header from other files.
func isBzImage(r Source) bool {
	h := setup(r.head(setupMagic + 4))
	return len(h) == setupMagic+4 && h.u16(bootFlag) == bootFlagValue && h.u32(setupMagic) == setupHdrS
}

// readSetup reads the header of a 64-bit kernel and judges what is needed of it.
func readSetup(r Source) (setup, error) {
	h := setup(r.head(setupEnd))
	if len(h) < setupBytes {
		return nil, errors.New("the bzImage is cut short in its setup header")
	}
	switch v := h.u16(setupVersion); {
	case v < oldestProtocol:
		return nil, fmt.Errorf("a bzImage of boot protocol %d.%02d; give a kernel with 2.12 or later (Linux 3.8)", v>>8, v&0xff)
	case h.u16(setupXLoad)&xloadKernel64 == 0:
		return nil, errors.New("a 32-bit Linux kernel; give a 64-bit one")
	case h.code() >= r.Size:
		return nil, fmt.Errorf("the bzImage has %d bytes, its code begins at %d; the file is cut short", r.Size, h.code())
	}
	return h, nil
}

// code is where the protected-mode code begins in the image, which is loaded and entered.
func (h setup) code() int64 {
	sectors := int64(h[setupSectors])
	if sectors == 0 {
		sectors = 4
	}
	return (sectors + 1) * sector
}

// version is what the image says of its version.
func (h setup) version(r Source) string {
	at := h.u16(setupKernel)
	if at == 0 {
		return ""
	}
	b := make([]byte, versionLimit)
	n, _ := r.ReadAt(b, int64(at)+entry64)
	return printable(b[:n])
}

// align is what the kernel's address must be a multiple of.
func (h setup) align() uint64 {
	if a := uint64(h.u32(setupAlign)); bits.OnesCount64(a) == 1 && a >= pageSize {
		return a
	}
	return 2 << 20
}

// needs is what the kernel takes at its address before it knows its memory, at least size bytes.
func (h setup) needs(size uint64) uint64 { return max(uint64(h.u32(setupInitSize)), size) }

// readPayload returns what a bzImage's own code would unpack.
func readPayload(r Source, h setup) ([]byte, error) {
	from := h.code() + int64(h.u32(payloadOffset))
	n := int64(h.u32(payloadLength))
	if n == 0 || from > r.Size || n > r.Size-from {
		return nil, fmt.Errorf("the bzImage has %d bytes, its payload lies at %d to %d; the file is cut short", r.Size, from, from+n)
	}
	payload := make([]byte, n)
	if got, err := r.ReadAt(payload, from); got < len(payload) {
		return nil, fmt.Errorf("the bzImage's payload cannot be read: %w", err)
	}
	return payload, nil
}

// loadBzImage loads the image's own code, which unpacks the kernel and randomises it.
func loadBzImage(r Source, h setup, m Memory, o Options) (Entry, error) {
	size := uint64(r.Size - h.code())
	needs := h.needs(size)
	base, err := placeKernel(h, needs, o)
	if err != nil {
		return Entry{}, err
	}
	view, err := m.View(base, size)
	if err != nil {
		return Entry{}, fmt.Errorf("%#x to %#x: %w", base, base+size, err)
	}
	if n, err := r.ReadAt(view, h.code()); uint64(n) < size {
		return Entry{}, fmt.Errorf("the bzImage cannot be read: %w", err)
	}
	return Entry{Linux: base + entry64, Way: WayBzImage, start: base, end: base + needs, setup: h}, nil
}

// placeKernel is where the kernel prefers to be, which it will not go below, if needs bytes have room there.
func placeKernel(h setup, needs uint64, o Options) (uint64, error) {
	base := h.u64(setupPreferred)
	if base < holeEnd || base >= LowLimit || base%pageSize != 0 {
		return 0, fmt.Errorf("the kernel wants to be at %#x; give one that is linked at 16 MiB", base)
	}
	if low, _ := Split(o.RAM); base >= low || needs > low-base {
		return 0, noRoom("the kernel needs", needs, base+needs)
	}
	return base, nil
}

// errMemory begins what a kernel without room is refused by.
var errMemory = errors.New("memory too small")

// noRoom is memory that does not hold what is to be in it, of which the last byte would be before end.
func noRoom(who string, needs, end uint64) error {
	const MiB = 1 << 20
	return fmt.Errorf("%w: %s %d MiB, give at least %d MiB", errMemory, who, (needs+MiB-1)/MiB, (end+MiB-1)/MiB)
}
