package boot

import (
	"fmt"
	"io"
)

// RegionType is what a memory map says of a range, in ACPI's numbers (§15.2), which
// PVH and multiboot share.
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

// PCMap is the memory map of a PC with ram bytes, all of them below 4 GiB: two pieces of
// RAM with a hole from 640 KiB to 1 MiB, in which firmware has its place.
func PCMap(ram uint64) []Region {
	regions := []Region{{0, min(ram, holeBase), RAM}, {firmwareBase, holeEnd - firmwareBase, Reserved}}
	if ram > holeEnd {
		regions = append(regions, Region{holeEnd, ram - holeEnd, RAM})
	}
	return regions
}

// initrdLimit is where an initial RAM disk has to end: Linux's initrd_addr_max.
const initrdLimit = 1 << 31

const pageSize = 4096

// LoadInitrd reads the initial RAM disk at path to where ram bytes of memory end, behind
// the kernel that e has loaded.
func LoadInitrd(path string, m Memory, e Entry, ram uint64) (Region, error) {
	f, err := openImage(path)
	if err != nil {
		return Region{}, fmt.Errorf("boot: initrd: %w", err)
	}
	defer f.Close()
	r, err := placeInitrd(f, m, e.end, ram)
	if err != nil {
		return Region{}, fmt.Errorf("boot: initrd: %s: %w", path, err)
	}
	return r, nil
}

func placeInitrd(r source, m Memory, kernel, ram uint64) (Region, error) {
	pages := func(n uint64) uint64 { return (n + pageSize - 1) &^ (pageSize - 1) }
	size := uint64(r.Size())
	free, limit := pages(max(kernel, holeEnd)), min(ram, initrdLimit)
	switch {
	case size == 0:
		return Region{}, fmt.Errorf("the file is empty")
	case size > initrdLimit || free > initrdLimit || pages(size) > initrdLimit-free:
		return Region{}, fmt.Errorf("%d bytes do not fit between the kernel and %#x, where kernels want it", size, uint64(initrdLimit))
	case free+pages(size) > limit:
		return Region{}, fmt.Errorf("memory too small: kernel and initrd need %#x bytes before either runs, give at least %d MiB",
			free+pages(size), (free+pages(size)+1<<20-1)>>20)
	}
	base := limit - pages(size)
	view, err := m.View(base, size)
	if err != nil {
		return Region{}, fmt.Errorf("%#x to %#x: %w", base, base+size, err)
	}
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, int64(size)), view); err != nil {
		return Region{}, fmt.Errorf("cannot be read: %w", err)
	}
	return Region{Base: base, Size: size, Type: RAM}, nil
}
