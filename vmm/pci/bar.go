package pci

import (
	"fmt"
	"math/bits"
)

// BAR describes a memory BAR.
type BAR struct {
	Size         uint64 // a power of two, at least 16
	Wide         bool   // 64-bit: takes this register and the next
	Prefetchable bool
	Region       Region
	// Moved, if set, is called after the BAR was mapped at base and before it
	// is unmapped from there, with the function's configuration lock held.
	Moved func(base uint64, decoded bool)
}

type bar struct {
	BAR
	base    uint64 // where it is mapped
	decoded bool
}

const (
	barFlags        = 0xF
	barWide         = 1 << 2
	barPrefetchable = 1 << 3
)

// AddBAR gives the function BAR index (0..5). A 64-bit BAR also takes index+1.
func (f *Function) AddBAR(index int, b BAR) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.building("add BAR"); err != nil {
		return err
	}
	last := index
	if b.Wide {
		last++
	}
	switch {
	case index < 0 || last > 5:
		return fmt.Errorf("%w: index %d", ErrBAR, index)
	case bits.OnesCount64(b.Size) != 1 || b.Size < 16 || !b.Wide && b.Size > 1<<31:
		return fmt.Errorf("%w: size %#x", ErrBAR, b.Size)
	case b.Region == nil:
		return fmt.Errorf("%w: no region", ErrBAR)
	case f.barTaken(index) || f.barTaken(last):
		return fmt.Errorf("%w: index %d is taken", ErrBAR, index)
	}
	f.bars[index] = &bar{BAR: b}
	mask, flags := ^(b.Size-1)&^uint64(barFlags), uint32(0)
	if b.Prefetchable {
		flags |= barPrefetchable
	}
	if b.Wide {
		flags |= barWide
		f.writable.putU32(offBAR+4*last, uint32(mask>>32))
	}
	f.space.putU32(offBAR+4*index, flags)
	f.writable.putU32(offBAR+4*index, uint32(mask))
	return nil
}

func (f *Function) barTaken(i int) bool {
	return f.bars[i] != nil || i > 0 && f.bars[i-1] != nil && f.bars[i-1].Wide
}

// SetBAR writes an address into a BAR as firmware would, without enabling it.
func (f *Function) SetBAR(index int, base uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if index < 0 || index > 5 || f.bars[index] == nil {
		return fmt.Errorf("%w: no BAR %d", ErrBAR, index)
	}
	b := f.bars[index]
	if base&(b.Size-1) != 0 || !b.Wide && base>>32 != 0 {
		return fmt.Errorf("%w: address %#x", ErrBAR, base)
	}
	f.putBAR(f.space, index, base)
	f.decode()
	return nil
}

func (f *Function) putBAR(c Config, index int, base uint64) {
	c.putU32(offBAR+4*index, uint32(base)|c.BAR(index)&barFlags)
	if f.bars[index].Wide {
		c.putU32(offBAR+4*index+4, uint32(base>>32))
	}
}

// BAR tells where a BAR is decoded and how long it is; decoded is false while
// the guest has it switched off, or placed where nothing can be.
func (f *Function) BAR(index int) (base, size uint64, decoded bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if index < 0 || index > 5 || f.bars[index] == nil {
		return 0, 0, false
	}
	b := f.bars[index]
	return b.base, b.Size, b.decoded
}

// wanted is the address that the guest asks for, if it is one: neither zero
// (a BAR nobody placed), nor up to the end of 4 GiB or of everything (all
// ones, the sizing probe).
func (f *Function) wanted(index int) (base uint64, ok bool) {
	if f.space.Command()&CommandMemory == 0 {
		return 0, false
	}
	b := f.bars[index]
	base = uint64(f.space.BAR(index) &^ barFlags)
	if b.Wide {
		base |= uint64(f.space.BAR(index+1)) << 32
	}
	end := base + b.Size
	return base, base != 0 && end > base && end != 1<<32
}

// decode moves every BAR to where the space says. All that leave go before
// any comes, so that two BARs can change places. f.mu is held.
func (f *Function) decode() (released bool) {
	if f.decoder == nil {
		return false
	}
	for i, b := range f.bars {
		if b == nil || !b.decoded {
			continue
		}
		if base, ok := f.wanted(i); ok && base == b.base {
			continue
		}
		if b.Moved != nil {
			b.Moved(b.base, false)
		}
		f.decoder.Unmap(b.base)
		b.base, b.decoded = 0, false
		released = true
	}
	for i, b := range f.bars {
		if b == nil || b.decoded {
			continue
		}
		base, ok := f.wanted(i)
		if !ok || f.decoder.Map(base, b.Size, b.Region) != nil {
			continue
		}
		b.base, b.decoded = base, true
		if b.Moved != nil {
			b.Moved(base, true)
		}
	}
	return released
}
