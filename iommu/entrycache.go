package iommu

import (
	"sync"
	"sync/atomic"

	"gvmm/iommu/spec"
)

const (
	entrySlots  = 2048 // a power of two
	entryShards = 32   // a power of two, as many as slots at most
	// entriesOneByOne is how many indices an invalidation looks for apart; more of them empty the cache.
	entriesOneByOne = 64
)

// entryCache is the interrupt entry cache, direct-mapped by index. A hit is two atomic loads; a miss locks the index's shard while it reads the
// table, so that no invalidation comes between the reading and the keeping.
type entryCache struct {
	slots      [entrySlots]atomic.Pointer[cachedEntry]
	generation atomic.Uint64
	shards     [entryShards]lockShard
}

// cachedEntry is never changed.
type cachedEntry struct {
	index      uint32
	entry      spec.IRTE
	generation uint64
}

// lockShard fills a cache line.
type lockShard struct {
	sync.Mutex
	_ [56]byte
}

// slotOf keeps neighbouring indices, which may be different tenants', out of each other's cache lines. No two of entrySlots in a row share a slot.
func slotOf(index uint32) uint32 { return index * 41 % entrySlots }

// find returns the cached entry of an index, nil if there is none.
func (c *entryCache) find(index uint32) *cachedEntry {
	e := c.slots[slotOf(index)].Load()
	if e == nil || e.index != index || e.generation != c.generation.Load() {
		return nil
	}
	return e
}

// invalidateAll empties the cache: entries of an older generation are none.
func (c *entryCache) invalidateAll() { c.generation.Add(1) }

func (c *entryCache) invalidate(v spec.IECInvalidation) {
	first, last := v.Range()
	if v.All || last-first >= entriesOneByOne {
		c.invalidateAll()
		return
	}
	for index := first; index <= last; index++ {
		s := &c.shards[index%entryShards]
		s.Lock()
		slot := &c.slots[slotOf(index)]
		if e := slot.Load(); e != nil && e.index == index {
			slot.Store(nil)
		}
		s.Unlock()
	}
}

// fillEntry reads the entry of an index, and keeps it if it is present and well-formed.
func (u *Unit) fillEntry(index uint32) (spec.IRTE, spec.Reason) {
	c := &u.entries
	s := &c.shards[index%entryShards]
	s.Lock()
	defer s.Unlock()
	// The generation first: what is read after it is not older than it.
	generation := c.generation.Load()
	t := u.live.Load()
	if index >= t.irta.Entries() {
		return spec.IRTE{}, spec.IndexOutOfRange
	}
	e, reason := u.readEntry(t, index)
	if reason == 0 && t.caching {
		c.slots[slotOf(index)].Store(&cachedEntry{index: index, entry: e, generation: generation})
	}
	return e, reason
}

// readEntry reads the entry at index, which is inside the table, and judges what does not depend on the requester.
func (u *Unit) readEntry(t *tables, index uint32) (e spec.IRTE, reason spec.Reason) {
	addr := t.irta.Base() + uint64(index)*spec.IRTEBytes
	if addr < t.irta.Base() {
		return e, spec.TableUnreadable
	}
	// One access: a guest switches formats by exchanging all 16 bytes, and halves of two entries would name an address that nobody chose.
	lo, hi, err := u.cfg.Memory.Load128(addr)
	if err != nil {
		return e, spec.TableUnreadable
	}
	e = t.adopt(spec.IRTE{Lo: lo, Hi: hi})
	switch {
	case !e.Present():
		return e, spec.EntryNotPresent
	case e.Posted() && !u.cfg.Posted, e.Malformed():
		return e, spec.EntryReserved
	}
	return e, 0
}
