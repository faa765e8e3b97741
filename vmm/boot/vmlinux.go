package boot

import (
	"debug/elf"
	"fmt"
	"math"
)

// loadVmlinux loads a Linux kernel for its 64-bit entry. One that was unpacked from a bzImage, h being its header and
// image its bytes, is randomised if it can be: its linear addresses by the relocations behind it, and, as the code
// that we stand for does, its physical ones apart from them.
func loadVmlinux(f *elf.File, image []byte, h setup, m Memory, o Options) (Entry, error) {
	e := Entry{Way: WayLinux, setup: h}
	start, end := span(f)
	var table *relocations
	if h != nil {
		base, err := placeKernel(h, h.needs(end-start), o)
		if err != nil {
			return e, err
		}
		if start != base {
			return e, fmt.Errorf("linked at %#x, but its header says %#x", start, base)
		}
		end = max(end, start+h.needs(0))
		if !hasWord(o.Command, "nokaslr") {
			if table, err = findRelocations(image); err != nil {
				return e, err
			}
		}
	}
	if e.Randomised = table != nil; e.Randomised {
		var err error
		if e.KASLR, e.Moved, err = randomise(h, start, end-start, o); err != nil {
			return e, err
		}
	}
	loaded, last, err := loadSegments(f, m, e.Moved)
	if err != nil {
		return e, err
	}
	e.start, e.end = loaded, max(end+e.Moved, last)
	e.Linux = f.Entry + e.Moved
	if table == nil {
		return e, nil
	}
	view, err := m.View(loaded, last-loaded)
	if err != nil {
		return e, tooSmall(loaded, last-loaded)
	}
	return e, table.apply(view, kernelMap+start, e.KASLR)
}

// span is the physical range of what an executable has loaded.
func span(f *elf.File) (start, end uint64) {
	start = math.MaxUint64
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Memsz != 0 {
			start, end = min(start, p.Paddr), max(end, p.Paddr+p.Memsz)
		}
	}
	return min(start, end), end
}

// randomise chooses what is added to the linear and to the physical addresses of a kernel that takes n bytes from
// start on. There is room for it where it stands.
func randomise(h setup, start, n uint64, o Options) (linear, physical uint64, err error) {
	align := h.align()
	choose := func(limit uint64) (uint64, error) {
		if limit < start || limit-start < n {
			return 0, nil
		}
		slot, err := o.random((limit-start-n)/align + 1)
		return slot * align, err
	}
	if linear, err = choose(kernelMapSize); err != nil {
		return 0, 0, err
	}
	low, _ := Split(o.RAM)
	accepted, _ := Entry{Linux: start, setup: h}.accepts()
	limit := min(low, accepted)
	physical, err = choose(limit - min(limit, o.Initrd+2*pageSize)) // each of the two rounded to pages
	return linear, physical, err
}
