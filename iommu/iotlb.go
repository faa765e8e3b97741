package iommu

import (
	"sync/atomic"

	"gvmm/iommu/spec"
)

const (
	tlbSlots  = 4096 // a power of two
	tlbShards = 64   // a power of two
	// tlbDomains is how many generations domains share: invalidating one takes others along whose number has the same remainder.
	tlbDomains = 1024
	// pagesOneByOne is the AM up to which a page-selective invalidation looks for each page; above it takes the domain.
	pagesOneByOne = 5
	// regionShift is the lowest address bit that chooses a shard: no page and no invalidation is larger than a region.
	regionShift = 30
)

// iotlb caches translations, direct-mapped by domain and page. A hit is a few atomic loads. A miss locks the shard of its domain's region while it
// walks the tables, so that no invalidation of a page there comes between the walk and the keeping.
type iotlb struct {
	slots   [tlbSlots]atomic.Pointer[translation]
	global  atomic.Uint64 // generations; entries of an older one are none
	domains [tlbDomains]atomic.Uint64
	levels  atomic.Uint32 // bit n: pages of level n have been kept
	shards  [tlbShards]lockShard
}

// translation is a page of a domain. It is never changed.
type translation struct {
	first          uint64 // address of the page
	to             uint64 // where it is
	global, domain uint64 // generations
	did            uint16
	level          uint8
	rights         spec.SLEntry

	judged *tables // those in force when it was walked
	plain  *tables // the same if by them no part of the page is out of reach, else nil
}

func (c *iotlb) slot(did uint16, addr uint64, level int) *atomic.Pointer[translation] {
	h := addr>>spec.LevelShift(level)*4 + uint64(level) + uint64(did)*0x9E37_79B9_7F4A_7C15>>20
	return &c.slots[(h^h>>14)%tlbSlots]
}

func (c *iotlb) shard(did uint16, addr uint64) *lockShard {
	return &c.shards[(addr>>regionShift+uint64(did)*7)%tlbShards]
}

// find returns the cached translation of an address, nil if there is none.
func (c *iotlb) find(did uint16, addr uint64) *translation {
	levels := c.levels.Load()
	for level := 1; level <= 3; level++ {
		if levels>>level&1 == 0 {
			continue
		}
		e := c.slot(did, addr, level).Load()
		if e != nil && e.did == did && int(e.level) == level && addr-e.first < spec.LevelBytes(level) &&
			e.global == c.global.Load() && e.domain == c.domains[did%tlbDomains].Load() {
			return e
		}
	}
	return nil
}

func (c *iotlb) invalidateAll() { c.global.Add(1) }

// invalidateIOTLB takes translations back, and says which. The caller holds u.mu.
func (u *Unit) invalidateIOTLB(v spec.IOTLBInvalidation) span {
	c := &u.iotlb
	switch v.Granularity {
	case spec.Global:
		c.invalidateAll()
		return everything
	case spec.PerDomain:
		c.domains[v.DID%tlbDomains].Add(1)
		return span{domain: uint32(v.DID), last: ^uint64(0)}
	}
	first, last := v.Range()
	if v.AM > pagesOneByOne {
		c.domains[v.DID%tlbDomains].Add(1)
	} else {
		c.invalidatePages(v.DID, first, last)
	}
	// A larger page that covers the range goes as a whole, so who uses another part of it need not be waited for: it is mapped as before.
	return span{domain: uint32(v.DID), first: first, last: last}
}

// invalidatePages drops the pages that cover any of [first, last], which is inside one region.
func (c *iotlb) invalidatePages(did uint16, first, last uint64) {
	levels := c.levels.Load()
	s := c.shard(did, first)
	s.Lock()
	defer s.Unlock()
	for level := 1; level <= 3; level++ {
		if levels>>level&1 == 0 {
			continue
		}
		for addr := first &^ (spec.LevelBytes(level) - 1); ; addr += spec.LevelBytes(level) {
			slot := c.slot(did, addr, level)
			if e := slot.Load(); e != nil && e.did == did && int(e.level) == level && e.first == addr {
				slot.CompareAndSwap(e, nil)
			}
			if last-addr < spec.LevelBytes(level) {
				break
			}
		}
	}
}

// fillTLB walks the tables of a context for an address and keeps the translation. stale means that the context itself was taken back meanwhile: a
// translation by its tables must not be kept.
func (r *requester) fillTLB(t *tables, c *context, addr uint64, want spec.SLEntry) (e *translation, reason spec.Reason, stale bool) {
	u := r.unit
	tlb := &u.iotlb
	s := tlb.shard(c.did, addr)
	s.Lock()
	defer s.Unlock()
	// The generations first: what is read after them is not older than they are. That goes for the context too, which is taken back before its
	// translations are (VT-d §6.5.2.12).
	e = &translation{did: c.did, global: tlb.global.Load(), domain: tlb.domains[c.did%tlbDomains].Load()}
	if r.context.entry.Load() != c || c.generation != u.contexts.Load() {
		return nil, 0, true
	}
	if reason = r.missed(c, addr, want, e); reason != 0 {
		return nil, reason, false
	}
	e.judged = t
	size := spec.LevelBytes(int(e.level))
	if !spec.InterruptRange(e.first, size) && !spec.InterruptRange(e.to, size) && !t.protects(e.to, size) {
		e.plain = t
	}
	if bit := uint32(1) << e.level; tlb.levels.Load()&bit == 0 {
		tlb.levels.Or(bit)
	}
	tlb.slot(c.did, addr, int(e.level)).Store(e)
	return e, 0, false
}

// missed walks the tables of a context for an address that is not cached.
func (r *requester) missed(c *context, addr uint64, want spec.SLEntry, e *translation) spec.Reason {
	r.misses.Add(1)
	reason := r.unit.walk(c, addr, want, e)
	if trace := r.unit.cfg.Trace; trace != nil {
		event := missed{rid: r.rid, addr: addr}
		if reason == 0 {
			event.page = e
		}
		trace(event)
	}
	return reason
}

// walk follows the second-level tables (VT-d §3.7, §9.8) to the page of addr, which every level must allow to be used as wanted.
func (u *Unit) walk(c *context, addr uint64, want spec.SLEntry, e *translation) spec.Reason {
	table, rights := c.table, spec.SLRead|spec.SLWrite
	for level := c.levels; ; level-- {
		v, err := u.cfg.Memory.Load64(table + spec.SLIndex(addr, level)*spec.SLEntryBytes)
		if err != nil && level == c.levels {
			return spec.ContextInvalid // its table pointer is wrong
		} else if err != nil {
			return spec.SLUnreadable
		}
		entry := spec.SLEntry(v)
		switch {
		case entry.Rights()&want != want:
			return denied(want)
		case entry.Malformed(level):
			return spec.SLReserved
		}
		rights &= entry.Rights()
		if entry.Leaf(level) {
			e.level, e.rights = uint8(level), rights
			e.first, e.to = addr&^(spec.LevelBytes(level)-1), entry.Address()
			return 0
		}
		table = entry.Address()
	}
}

// denied is the reason of a request that may not do what it wants.
func denied(want spec.SLEntry) spec.Reason {
	if want == spec.SLWrite {
		return spec.WriteDenied
	}
	return spec.ReadDenied
}
