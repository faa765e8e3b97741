package vmm

import (
	"errors"
	"fmt"
	"sort"
	"sync"
	"sync/atomic"

	"gvmm/vmm/pci"
)

// errOverlap is a region where another one stands, or RAM.
var errOverlap = errors.New("vmm: address range is taken")

// region is a device's place in guest-physical memory.
type region struct {
	base, size uint64
	device     pci.Region
	count      *atomic.Uint64 // of accesses, for the report
}

// space is guest-physical memory outside RAM. Look-ups take no lock.
type space struct {
	mu   sync.Mutex
	live atomic.Pointer[[]region] // ascending, disjoint
	ram  func(addr uint64) bool
}

func newSpace(ram func(addr uint64) bool) *space {
	s := &space{ram: ram}
	s.live.Store(new([]region))
	return s
}

// accesses counts what reached the region at base since it stands there.
func (s *space) accesses(base uint64) uint64 {
	for _, r := range *s.live.Load() {
		if r.base == base {
			return r.count.Load()
		}
	}
	return 0
}

// Map implements pci.AddressSpace.
func (s *space) Map(base, size uint64, r pci.Region) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := base + size - 1
	if size == 0 || last < base || s.ram(base) || s.ram(last) {
		return fmt.Errorf("%w: %#x to %#x", errOverlap, base, last)
	}
	old := *s.live.Load()
	for _, o := range old {
		if base < o.base+o.size && o.base <= last {
			return fmt.Errorf("%w: %#x to %#x", errOverlap, base, last)
		}
	}
	next := append(append(make([]region, 0, len(old)+1), old...), region{base, size, r, new(atomic.Uint64)})
	sort.Slice(next, func(i, j int) bool { return next[i].base < next[j].base })
	s.live.Store(&next)
	return nil
}

// Unmap implements pci.AddressSpace.
func (s *space) Unmap(base uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var next []region
	for _, o := range *s.live.Load() {
		if o.base != base {
			next = append(next, o)
		}
	}
	s.live.Store(&next)
}

// at finds who answers n bytes at addr, and where in it.
func (s *space) at(addr uint64, n int) (pci.Region, uint64) {
	regions := *s.live.Load()
	i := sort.Search(len(regions), func(i int) bool { return regions[i].base > addr }) - 1
	if i < 0 {
		return nil, 0
	}
	r := &regions[i]
	if off := addr - r.base; off < r.size && uint64(n) <= r.size-off {
		r.count.Add(1)
		return r.device, off
	}
	return nil, 0
}
