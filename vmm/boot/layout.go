package boot

import (
	"errors"
	"fmt"
	"io"
	"math"
)

// RegionType is what a memory map says of a range, in ACPI's numbers (§15.2), which
// PVH, multiboot and Linux's E820 table share.
type RegionType uint32

// Types of a Region.
const (
	RAM      RegionType = 1
	Reserved RegionType = 2
)

// Region is a range of guest-physical memory.
type Region struct {
	Base, Size uint64 // bytes
	Type       RegionType
}

// What a PC has between its two pieces of RAM: display and adapters, then firmware.
const (
	holeBase     = 640 << 10
	firmwareBase = 0xe0000
	holeEnd      = 1 << 20
)

// Where a PC's RAM ends below its devices, and goes on above them.
const (
	LowLimit = 0xc000_0000
	HighBase = 1 << 32
)

// Split divides a PC's RAM: low bytes from 0 on, high from HighBase on.
func Split(ram uint64) (low, high uint64) {
	low = min(ram, LowLimit)
	return low, ram - low
}

// PCMap is the memory map of a PC with ram bytes: two pieces of RAM with a hole from 640 KiB
// to 1 MiB, in which firmware has its place, what else is reserved, and a third piece above 4 GiB.
// reserved is in ascending order, between LowLimit and HighBase.
func PCMap(ram uint64, reserved ...Region) []Region {
	low, high := Split(ram)
	regions := []Region{{0, min(low, holeBase), RAM}, {firmwareBase, holeEnd - firmwareBase, Reserved}}
	if low > holeEnd {
		regions = append(regions, Region{holeEnd, low - holeEnd, RAM})
	}
	regions = append(regions, reserved...)
	if high > 0 {
		regions = append(regions, Region{HighBase, high, RAM})
	}
	return regions
}

// initrdLimit is where an initial RAM disk has to end, if a kernel does not say: Linux's initrd_addr_max.
const initrdLimit = 1 << 31

const pageSize = 4096

// InitrdBytes is what initial RAM disks take one behind the other, each on a boundary that
// Linux's archives want. More than an address space holds is all ones.
func InitrdBytes(disks ...Source) (n uint64) {
	for _, d := range disks {
		if n = pad4(n) + uint64(max(d.Size, 0)); n > math.MaxInt64 {
			return math.MaxUint64
		}
	}
	return n
}

func pad4(n uint64) uint64 { return (n + 3) &^ 3 }

// LoadInitrd reads initial RAM disks, one behind the other, to where the RAM ends below which
// the kernel that e has loaded accepts them. ram is as in Options.
func LoadInitrd(m Memory, e Entry, ram uint64, disks ...Source) (Region, error) {
	for _, d := range disks {
		if d.Size <= 0 {
			return Region{}, fmt.Errorf("boot: initrd: %s: %w", d.Name, errEmpty)
		}
	}
	r, err := placeInitrd(e, InitrdBytes(disks...), ram)
	if err != nil {
		return Region{}, fmt.Errorf("boot: initrd: %s: %w", disks[len(disks)-1].Name, err)
	}
	view, err := m.View(r.Base, r.Size)
	if err != nil {
		return Region{}, fmt.Errorf("boot: initrd: %#x to %#x: %w", r.Base, r.Base+r.Size, err)
	}
	clear(view)
	used := uint64(0)
	for _, d := range disks {
		used = pad4(used)
		if _, err := io.ReadFull(io.NewSectionReader(d, 0, d.Size), view[used:used+uint64(d.Size)]); err != nil {
			return Region{}, fmt.Errorf("boot: initrd: %s: cannot be read: %w", d.Name, err)
		}
		used += uint64(d.Size)
	}
	return r, nil
}

var errEmpty = errors.New("the file is empty")

// accepts is where e's kernel wants an initial RAM disk to end, and whether it takes one above 4 GiB.
func (e Entry) accepts() (limit uint64, high bool) {
	if e.Linux == 0 {
		return initrdLimit, false
	}
	if e.setup == nil {
		return initrdLimit, true
	}
	return uint64(e.setup.u32(setupInitrdMax)) + 1, e.setup.u16(setupXLoad)&xloadAbove4G != 0
}

func placeInitrd(e Entry, size, ram uint64) (Region, error) {
	pages := func(n uint64) uint64 { return (n + pageSize - 1) &^ (pageSize - 1) }
	low, high := Split(ram)
	accepted, above := e.accepts()
	free, limit := pages(max(e.end, holeEnd)), min(low, accepted)&^(pageSize-1)
	switch {
	case size <= limit && pages(size) <= limit && free <= limit-pages(size):
		return Region{Base: limit - pages(size), Size: size, Type: RAM}, nil
	case above && size <= high && pages(size) <= high:
		return Region{Base: HighBase + high - pages(size), Size: size, Type: RAM}, nil
	}
	accepted = min(accepted, LowLimit)
	if size > accepted || free > accepted || pages(size) > accepted-free {
		if !above {
			return Region{}, fmt.Errorf("%d bytes do not fit between the kernel and %#x, where this kernel wants it", size, accepted)
		}
		return Region{}, noRoom("kernel and initrd need", free+pages(size), LowLimit+pages(size))
	}
	return Region{}, noRoom("kernel and initrd need", free+pages(size), free+pages(size))
}
