package iommu

import (
	"cmp"
	"slices"

	"gvmm/iommu/spec"
)

// poolRegisters is the state behind the vendor page that the path of a message does not need.
type poolRegisters struct {
	base            uint64
	count           uint32
	loaded, refused bool
}

// loadVendor returns the 8 bytes of the vendor page at off, a multiple of 8.
func (u *Unit) loadVendor(off uint64) uint64 {
	if !u.cfg.UserPosted {
		return 0
	}
	switch off {
	case spec.VendorRegMagic:
		return spec.VendorMagic | spec.VendorVersion<<32
	case spec.VendorRegPosted:
		return u.sum(func(c *counters) uint64 { return c.posted.Load() })
	case spec.VendorRegNotified:
		return u.sum(func(c *counters) uint64 { return c.notified.Load() })
	case spec.VendorRegCoalesced:
		return u.sum(func(c *counters) uint64 { return c.coalesced.Load() })
	case spec.VendorRegSuppressed:
		return u.sum(func(c *counters) uint64 { return c.suppressed.Load() })
	case spec.VendorRegRefused:
		return u.sum((*counters).refused)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	t, p := u.live.Load(), &u.regs.pools
	switch off {
	case spec.VendorRegControl:
		status := t.vendorControl() | p.status()
		if u.regs.waits.pools != nil {
			status |= spec.VendorRevoking
		}
		return uint64(t.vendorControl()) | uint64(status)<<32
	case spec.VendorRegBase:
		return p.base
	case spec.VendorRegCount:
		return uint64(p.count) | uint64(t.wake)<<32
	}
	return 0
}

// storeVendor writes the half or halves of v under mask to the vendor page at off, a multiple of 8.
func (u *Unit) storeVendor(off, v, mask uint64) {
	if !u.cfg.UserPosted {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	p := &u.regs.pools
	switch off {
	case spec.VendorRegControl:
		if mask&low != 0 {
			u.vendorCommand(uint32(v))
		}
	case spec.VendorRegBase:
		p.base = (p.base&^mask | v&mask) &^ (spec.PoolBytes - 1)
	case spec.VendorRegCount:
		if mask&low != 0 {
			p.count = uint32(v)
		}
		if mask&high != 0 {
			u.change(func(t *tables) { t.wake = uint8(v >> 32) })
		}
	}
}

func (u *Unit) vendorCommand(v uint32) {
	p := &u.regs.pools
	u.change(func(t *tables) {
		t.userPosted = v&spec.VendorEnable != 0
		if v&spec.VendorLoad != 0 {
			t.pools, p.loaded = u.readPools(p.base, p.count)
			p.refused = !p.loaded
		}
	})
	// Posts that were judged by what was in force before may still be under way (`iommu.md §2.5` rules 6, 8).
	u.regs.queue.dirty = true
	if p := &u.regs.waits.pools; *p == nil {
		*p = u.begun(u.newDrain(spans{}))
	} else {
		(*p).start = u.epochs.phase.Load()
	}
	if u.regs.waits.pools != nil {
		u.startSettling()
	}
}

// vendorControl is the control register.
func (t *tables) vendorControl() uint32 {
	if t.userPosted {
		return spec.VendorEnable
	}
	return 0
}

// status is the status register without UPM_EN.
func (p *poolRegisters) status() (v uint32) {
	if p.loaded {
		v |= spec.VendorLoaded
	}
	if p.refused {
		v |= spec.VendorLoadRefused
	}
	return v
}

// readPools copies and judges the pool table. A table that breaks any rule gives no pool at all, so that nobody can post by mistake.
func (u *Unit) readPools(base uint64, count uint32) ([]spec.Pool, bool) {
	if count > spec.MaxPools {
		return nil, false
	}
	if count == 0 {
		return nil, true
	}
	table := make([]byte, count*spec.PoolBytes)
	if u.cfg.Memory.ReadAt(table, base) != nil {
		return nil, false
	}
	pools := make([]spec.Pool, count)
	for i := range pools {
		p, ok := spec.PoolEntry(table[i*spec.PoolBytes : (i+1)*spec.PoolBytes]).Get()
		if !ok || overlap(p.Base, p.Bytes(), base, uint64(len(table))) {
			return nil, false
		}
		if _, err := u.cfg.Memory.View(p.Base, p.Bytes()); err != nil {
			return nil, false
		}
		pools[i] = p
	}
	slices.SortFunc(pools, func(a, b spec.Pool) int { return cmp.Compare(a.Base, b.Base) })
	for i := 1; i < len(pools); i++ {
		if pools[i].Base < pools[i-1].Base+pools[i-1].Bytes() {
			return nil, false
		}
	}
	return pools, true
}

// overlap reports whether two ranges, neither of which wraps, share an address.
func overlap(a, an, b, bn uint64) bool { return a < b+bn && b < a+an }

// Pools returns the pools in force, in ascending order of address.
func (u *Unit) Pools() []spec.Pool { return slices.Clone(u.live.Load().pools) }

// admits reports whether a requester of the domain may post to the UPID at pda: it must be in a pool of that domain, and no part of the table that
// says who may post.
func (t *tables) admits(pda uint64, domain uint16) bool {
	p, found := t.pool(pda)
	if !found || p.Domain != domain {
		return false
	}
	return pda-t.irta.Base() >= uint64(t.irta.Entries())*spec.IRTEBytes // both are aligned to a UPID, so it is in or out as a whole
}

// pool finds the pool that the descriptor at pda is in.
func (t *tables) pool(pda uint64) (p spec.Pool, found bool) {
	i, found := slices.BinarySearchFunc(t.pools, pda, func(p spec.Pool, pda uint64) int {
		switch {
		case pda < p.Base:
			return 1
		case pda-p.Base >= p.Bytes():
			return -1
		default:
			return 0
		}
	})
	if !found {
		return p, false
	}
	return t.pools[i], true
}

// adopt is e as it is meant: an entry that posts to a descriptor in a pool posts to a UPID, whether it says so by UPM or not. A kernel that knows
// posted entries only can write those (`iommu.md §2.5`).
func (t *tables) adopt(e spec.IRTE) spec.IRTE {
	if !t.userPosted || !e.Posted() || e.UserPosted() {
		return e
	}
	if _, found := t.pool(e.PDA()); found {
		return e.WithUPM()
	}
	return e
}
