package iommu

import (
	"sync/atomic"

	"gvmm/iommu/spec"
	"gvmm/vmm/pci"
)

// RequesterStats counts the messages and the DMA of one requester since the unit was made.
type RequesterStats struct {
	Requester   pci.RequesterID
	Domain      uint16 // its tenant: the DID of the last context entry that it was found with, or Config.Domain's if it never was
	Passed      uint64 // unremapped, to the local APICs
	Remapped    uint64 // by a remapped entry, to the local APICs
	Posted      uint64 // to a PID or a UPID
	UserPosted  uint64 // of Posted, to a UPID
	Notified    uint64 // notifications sent for posts
	Coalesced   uint64 // posts that found a notification outstanding
	Suppressed  uint64 // posts whose receiver suppresses notifications
	Deferred    uint64 // posts whose notification the storm bound held back; one that came later counts in Notified too
	Undelivered uint64 // messages and notifications that the local APICs returned an error for
	Stray       uint64 // messages to an address that is no interrupt
	Misses      uint64 // translations that took a walk of the tables
	Aborted     uint64 // DMA requests to what is no memory, wherever they were translated to
	Faults      map[spec.Reason]uint64
}

const reasonSlots = spec.ProtectedMemory + 1

// counters are what RequesterStats is read from.
type counters struct {
	passed, remapped, posted, userPosted      atomic.Uint64
	notified, coalesced, suppressed, deferred atomic.Uint64
	undelivered, stray, misses, aborted       atomic.Uint64
	faults                                    [reasonSlots]atomic.Uint64
}

func (c *counters) countFault(reason spec.Reason) { c.faults[reason].Add(1) }

func (c *counters) countPost(user bool) {
	c.posted.Add(1)
	if user {
		c.userPosted.Add(1)
	}
}

// refused is the sum of all faults of interrupt requests.
func (c *counters) refused() (n uint64) {
	for i := range c.faults {
		if !spec.Reason(i).DMA() {
			n += c.faults[i].Load()
		}
	}
	return n
}

// Stats returns the counts of every requester that has a sender, in ascending order. Messages go on meanwhile: counts of one that is under way may
// differ by it.
func (u *Unit) Stats() []RequesterStats {
	rs := u.all()
	out := make([]RequesterStats, len(rs))
	for i, r := range rs {
		out[i] = r.stats()
	}
	return out
}

func (r *requester) stats() RequesterStats {
	did := r.unit.cfg.Domain(r.rid)
	if found := r.context.found.Load(); found != 0 {
		did = uint16(found)
	}
	s := RequesterStats{
		Requester:   r.rid,
		Domain:      did,
		Passed:      r.passed.Load(),
		Remapped:    r.remapped.Load(),
		Posted:      r.posted.Load(),
		UserPosted:  r.userPosted.Load(),
		Notified:    r.notified.Load(),
		Coalesced:   r.coalesced.Load(),
		Suppressed:  r.suppressed.Load(),
		Deferred:    r.deferred.Load(),
		Undelivered: r.undelivered.Load(),
		Stray:       r.stray.Load(),
		Misses:      r.misses.Load(),
		Aborted:     r.aborted.Load(),
		Faults:      make(map[spec.Reason]uint64),
	}
	for i := range r.faults {
		if n := r.faults[i].Load(); n != 0 {
			s.Faults[spec.Reason(i)] = n
		}
	}
	return s
}

// sum adds a counter up over all requesters.
func (u *Unit) sum(counter func(*counters) uint64) (n uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, r := range u.requesters {
		n += counter(&r.counters)
	}
	return n
}

// QueueStats counts what the invalidation queue did since the unit was made.
type QueueStats struct {
	Invalidations uint64
	Waits         uint64 // completed
	Parked        uint64 // of the waits, those that waited for a user of what was taken back
	Errors        uint64 // that stopped the queue
}

type queueCounts struct{ invalidations, waits, parked, queueErrors uint64 }

// Queue returns the counts of the invalidation queue.
func (u *Unit) Queue() QueueStats {
	u.mu.Lock()
	defer u.mu.Unlock()
	c := u.counts
	return QueueStats{Invalidations: c.invalidations, Waits: c.waits, Parked: c.parked, Errors: c.queueErrors}
}
