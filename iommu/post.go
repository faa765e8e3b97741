package iommu

import (
	"gvmm/iommu/spec"
	uspec "gvmm/uintr/spec"
)

const (
	// minVector is the lowest vector that a local APIC takes in a fixed message.
	minVector = 16
	// maxExchanges bounds the attempts to set ON. A guest that changes the control word faster than that costs itself a notification, and the
	// device no time.
	maxExchanges = 1000
)

// postUser posts to the UPID that e names (`iommu.md §2.5`).
func (r *requester) postUser(t *tables, index uint16, e spec.IRTE) error {
	upid, ok := r.upid(t, e)
	if !ok {
		return r.refuse(index, spec.PoolDenied, e.FPD())
	}
	if r.storm != nil && owes(t, e, upid.Control()) && !r.storm.admit() {
		return r.postSilently(index, e)
	}
	notify, nv, ndst, err := upid.Post(e.Vector())
	if err != nil {
		return r.refuse(index, spec.DescriptorReserved, e.FPD())
	}
	r.countPost(true)
	r.traceMessage(index, e)
	switch {
	case notify:
		return r.notify(t, nv, ndst)
	case wakes(t, e):
		return r.announce(t, e.PDA()+uspec.UPIDControl, e)
	}
	r.unannounced(upid.Control())
	return nil
}

// postSilently leaves the request in PIR and its notification to the storm timer.
func (r *requester) postSilently(index uint16, e spec.IRTE) error {
	if _, err := r.unit.cfg.Memory.Or64(e.PDA()+uspec.UPIDPIR, 1<<e.Vector()); err != nil {
		return r.refuse(index, spec.PoolDenied, e.FPD())
	}
	r.countPost(true)
	r.traceMessage(index, e)
	r.deferred.Add(1)
	r.traceQuiet("deferred")
	r.storm.hold(uint32(index))
	return nil
}

// upid is the descriptor that a user-posted entry names, if r may post there.
func (r *requester) upid(t *tables, e spec.IRTE) (uspec.UPID, bool) {
	domain, ok := r.domain(t)
	if !ok || !t.admits(e.PDA(), domain) {
		return nil, false
	}
	b, err := r.unit.cfg.Memory.View(e.PDA(), uspec.UPIDBytes)
	return b, err == nil
}

// domain is the tenant that r belongs to (`iommu.md §2.5`): ok is false while DMA is translated and r has no context entry.
func (r *requester) domain(t *tables) (did uint16, ok bool) {
	if !t.translate {
		return r.unit.cfg.Domain(r.rid), true
	}
	c, reason := r.contextEntry(t)
	return c.did, reason == 0
}

// owes reports whether a post by e to a descriptor in state c takes a notification.
func owes(t *tables, e spec.IRTE, c uspec.Control) bool {
	return c.Reserved() == 0 && !c.ON() && (!c.SN() || wakes(t, e))
}

// wakes reports whether e notifies even if the receiver suppresses that: urgent entries do, those to a UPID only if the guest chose a wake vector.
func wakes(t *tables, e spec.IRTE) bool {
	return e.Urgent() && (!e.UserPosted() || t.wake >= minVector)
}

// post posts to the PID that e names (VT-d §9.10, `iommu.md §2.2`).
func (r *requester) post(t *tables, index uint16, e spec.IRTE) error {
	mem, pda := r.unit.cfg.Memory, e.PDA()
	control, err := mem.Load64(pda + spec.PIDControl)
	if err != nil {
		return r.refuse(index, spec.DescriptorNotInRAM, e.FPD())
	}
	if uspec.Control(control).Reserved() != 0 {
		return r.refuse(index, spec.DescriptorReserved, e.FPD())
	}
	word, bit := spec.PIDRequest(e.Vector())
	if _, err := mem.Or64(pda+word, bit); err != nil {
		return r.refuse(index, spec.DescriptorNotInRAM, e.FPD())
	}
	r.countPost(false)
	r.traceMessage(index, e)
	return r.announce(t, pda+spec.PIDControl, e)
}

// announce notifies the receiver of a request that is in PIR already, unless its control word at addr says not to.
func (r *requester) announce(t *tables, addr uint64, e spec.IRTE) error {
	c, won := r.claim(addr, wakes(t, e))
	if !won {
		r.unannounced(c)
		return nil
	}
	return r.notify(t, notificationVector(t, e, c), c.NDST())
}

// notificationVector is NV; a user receiver that does not run is reached through the kernel's wake vector (`iommu.md §2.5` rule 4).
func notificationVector(t *tables, e spec.IRTE, c uspec.Control) uint8 {
	if e.UserPosted() && c.SN() {
		return t.wake
	}
	return c.NV()
}

// claim sets ON in the control word at addr if a notification is due, and reports whether this call set it. c is the word as it was.
func (r *requester) claim(addr uint64, urgent bool) (c uspec.Control, won bool) {
	mem := r.unit.cfg.Memory
	for range maxExchanges {
		v, err := mem.Load64(addr)
		if err != nil {
			return c, false
		}
		c = uspec.Control(v)
		if c.ON() || c.SN() && !urgent {
			return c, false
		}
		if won, err = mem.CompareAndSwap64(addr, v, v|uint64(uspec.UPIDON)); won || err != nil {
			return c, won
		}
	}
	return c, false
}

// unannounced counts a post without notification by the control word that prevented it.
func (r *requester) unannounced(c uspec.Control) {
	if c.SN() && !c.ON() {
		r.suppressed.Add(1)
		r.traceQuiet("suppressed")
		return
	}
	r.coalesced.Add(1)
	r.traceQuiet("coalesced")
}

// notify sends the notification: fixed, physical, edge (`iommu.md §2.2`).
func (r *requester) notify(t *tables, vector uint8, ndst uint32) error {
	r.notified.Add(1)
	m := spec.Message{Vector: vector, Destination: spec.DestinationID(ndst, t.irta.EIME())}
	if trace := r.unit.cfg.Trace; trace != nil {
		trace(announced{r.rid, "notify", m})
	}
	return r.send(m)
}
