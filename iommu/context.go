package iommu

import (
	"sync"
	"sync/atomic"

	"gvmm/iommu/spec"
)

// contextCache is a requester's place in the context cache. A hit is two atomic loads; a miss locks the requester's place alone.
type contextCache struct {
	mu    sync.Mutex
	entry atomic.Pointer[context]
	found atomic.Uint32 // the last entry's DID, with foundBit
}

const foundBit = 1 << 16

// context is what the root and the context table say of a requester. It is never changed.
type context struct {
	generation uint64
	did        uint16
	kind       spec.TranslationType
	table      uint64
	levels     int
	limit      uint64 // the highest address
	fpd        bool
}

// noContext stands for an entry that is not there or not good, and quietContext for one whose faults are not recorded.
var noContext, quietContext = context{}, context{fpd: true}

// contextEntry returns what the tables say of r. With a reason it tells nothing but whether faults are recorded.
func (r *requester) contextEntry(t *tables) (*context, spec.Reason) {
	if c := r.context.entry.Load(); c != nil && c.generation == r.unit.contexts.Load() {
		return c, 0
	}
	return r.fillContext()
}

// fillContext walks root and context table and keeps what it finds, if it is well-formed.
func (r *requester) fillContext() (*context, spec.Reason) {
	u := r.unit
	r.context.mu.Lock()
	defer r.context.mu.Unlock()
	// The generation first: what is read after it is not older than it.
	generation := u.contexts.Load()
	if c := r.context.entry.Load(); c != nil && c.generation == generation {
		return c, 0
	}
	c, reason := u.readContext(u.live.Load().root, uint16(r.rid))
	switch {
	case reason != 0 && c.fpd:
		return &quietContext, reason
	case reason != 0:
		return &noContext, reason
	}
	kept := c
	kept.generation = generation
	r.context.entry.Store(&kept)
	r.context.found.Store(uint32(kept.did) | foundBit)
	return &kept, 0
}

// readContext walks root and context table (VT-d §3.4, §9.1, §9.3). Of a context entry that is not good only fpd is set.
func (u *Unit) readContext(root spec.RTADDR, sid uint16) (c context, reason spec.Reason) {
	lo, hi, err := u.cfg.Memory.Load128(root.Base() + uint64(sid>>8)*spec.RootEntryBytes)
	re := spec.RootEntry{Lo: lo, Hi: hi}
	switch {
	case err != nil:
		return c, spec.RootUnreadable
	case !re.Present():
		return c, spec.RootNotPresent
	case re.Malformed():
		return c, spec.RootReserved
	}
	lo, hi, err = u.cfg.Memory.Load128(re.Table() + uint64(sid&0xFF)*spec.ContextEntryBytes)
	if err != nil {
		return c, spec.ContextUnreadable
	}
	ce := spec.ContextEntry{Lo: lo, Hi: hi}
	c.fpd = ce.FPD()
	switch {
	case !ce.Present():
		return c, spec.ContextNotPresent
	case ce.Malformed():
		return c, spec.ContextReserved
	case !spec.LevelsOffered(ce.Levels(), u.cfg.Width), ce.Type() != spec.Translated && ce.Type() != spec.PassThrough:
		return c, spec.ContextInvalid
	}
	c.did, c.kind, c.table, c.levels = ce.DID(), ce.Type(), ce.Table(), ce.Levels()
	c.limit = 1<<u.cfg.Width - 1
	if c.kind == spec.Translated {
		c.limit = min(c.limit, spec.LevelBytes(c.levels+1)-1)
	}
	return c, 0
}

// invalidateContext takes entries back. The caller holds u.mu.
func (u *Unit) invalidateContext(v spec.ContextInvalidation) {
	if v.Granularity == spec.Global {
		u.contexts.Add(1)
		return
	}
	for _, r := range u.requesters {
		r.context.mu.Lock()
		if c := r.context.entry.Load(); c != nil && v.Covers(c.did, uint16(r.rid)) {
			r.context.entry.Store(nil)
		}
		r.context.mu.Unlock()
	}
}
