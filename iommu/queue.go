package iommu

import (
	"gvmm/iommu/spec"
	"gvmm/vmm/pci"
)

// queueBatch is how many descriptors are served before other register accesses, and faults, get a turn: a guest's store costs no more than that,
// the rest is served beside it.
const queueBatch = 256

// queueState is the invalidation queue, VT-d §6.5.2.
type queueState struct {
	on     bool // QIES
	ending bool // QIE was cleared: off when what is queued has been served
	iqa    spec.IQA
	head   uint64 // IQH

	taken spans // taken back since the last wait
	dirty bool  // something was
	wait  spec.Wait
}

// queueReady reports whether there is a descriptor to serve.
func (r *registers) queueReady() bool {
	return r.queue.on && r.waits.queue == nil && r.fsts&(spec.FaultIQE|spec.FaultITE) == 0 && r.queue.head != r.iqt
}

// enableQueue follows QIE (`iommu.md §1.3`). The caller holds u.mu.
func (u *Unit) enableQueue(on bool) {
	q := &u.regs.queue
	switch {
	case on == q.on && !q.ending:
		return
	case on && q.ending: // changed its mind
		q.ending = false
		return
	case on:
		*q = queueState{on: true, iqa: u.regs.iqa, taken: q.taken, dirty: q.dirty}
		u.entries.invalidateAll()
	case u.regs.waits.queue != nil || u.regs.queueReady():
		q.ending = true
		return
	default:
		*q = queueState{taken: q.taken, dirty: q.dirty}
	}
	u.change(func(t *tables) { t.caching = q.on })
}

// serveQueue serves a batch of descriptors. The caller holds u.mu.
func (u *Unit) serveQueue(out []pci.Message) []pci.Message {
	r := &u.regs
	for range queueBatch {
		if !r.queueReady() {
			break
		}
		out = u.serveDescriptor(out)
	}
	if r.queue.ending && !r.queueReady() && r.waits.queue == nil {
		r.queue.ending = false
		u.enableQueue(false)
	}
	return out
}

// serveDescriptor serves the descriptor at the head, which moves on unless the descriptor is wrong, or waits.
func (u *Unit) serveDescriptor(out []pci.Message) []pci.Message {
	r := &u.regs
	q := &r.queue
	switch {
	case q.iqa.Wide():
		return u.stopQueue(spec.QueueWidth, out)
	case r.iqt >= q.iqa.Bytes():
		return u.stopQueue(spec.QueueTail, out)
	}
	addr := q.iqa.Base() + q.head
	lo, hi, err := u.cfg.Memory.Load128(addr)
	if err != nil || addr < q.iqa.Base() {
		return u.stopQueue(spec.QueueFetch, out)
	}
	d := spec.Descriptor{Lo: lo, Hi: hi}
	if u.cfg.Trace != nil {
		u.cfg.Trace(fetched{q.head, d})
	}
	ok := false
	switch d.Type() {
	case spec.DescriptorContext:
		var v spec.ContextInvalidation
		if v, ok = d.Context(); ok {
			u.invalidateContext(v)
		}
	case spec.DescriptorIOTLB:
		var v spec.IOTLBInvalidation
		if v, ok = d.IOTLB(); ok {
			q.taken.add(u.invalidateIOTLB(v))
		}
	case spec.DescriptorIEC:
		var v spec.IECInvalidation
		if v, ok = d.IEC(); ok {
			u.entries.invalidate(v)
		}
	case spec.DescriptorWait:
		return u.serveWait(d, out)
	default:
		return u.stopQueue(spec.QueueType, out)
	}
	if !ok {
		return u.stopQueue(spec.QueueReserved, out)
	}
	q.dirty = true
	u.counts.invalidations++
	r.moveHead()
	return out
}

// serveWait completes a wait, or leaves it at the head until those have gone who use what was taken back before it.
func (u *Unit) serveWait(d spec.Descriptor, out []pci.Message) []pci.Message {
	q := &u.regs.queue
	w, ok := d.Wait()
	if ok && w.Write {
		_, err := u.cfg.Memory.Load32(w.Address)
		ok = err == nil
	}
	if !ok {
		return u.stopQueue(spec.QueueReserved, out)
	}
	q.wait = w
	if q.dirty {
		u.regs.waits.queue = u.begun(u.newDrain(q.taken))
		q.taken, q.dirty = spans{}, false
		if u.regs.waits.queue != nil {
			u.counts.parked++
			return out
		}
	}
	return u.completeWait(out)
}

// completeWait tells the guest that the wait at the head is over.
func (u *Unit) completeWait(out []pci.Message) []pci.Message {
	r := &u.regs
	q := &r.queue
	if w := q.wait; w.Write {
		// The address was in RAM when the wait began, and RAM stays.
		_ = u.cfg.Memory.Store32(w.Address, w.Data)
		if u.cfg.Written != nil {
			u.cfg.Written(w.Address, 4)
		}
	}
	if q.wait.Interrupt && r.ics&spec.CompletionIWC == 0 {
		r.ics |= spec.CompletionIWC
		r.completion.pend()
		out = r.completion.take(out)
	}
	u.counts.waits++
	r.moveHead()
	return out
}

// moveHead steps to the next descriptor, around the end.
func (r *registers) moveHead() {
	r.queue.head = (r.queue.head + spec.DescriptorBytes) % r.queue.iqa.Bytes()
}

// stopQueue leaves the head where it is until software clears IQE (VT-d §6.5.2.11).
func (u *Unit) stopQueue(why spec.QueueError, out []pci.Message) []pci.Message {
	r := &u.regs
	r.condition()
	r.fsts |= spec.FaultIQE
	r.iqercd = uint64(why)
	u.counts.queueErrors++
	return r.event.take(out)
}
