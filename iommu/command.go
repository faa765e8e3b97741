package iommu

import "gvmm/iommu/spec"

// status is GSTS.
func (u *Unit) status() (v uint32) {
	t := u.live.Load()
	for _, f := range []struct {
		on  bool
		bit uint32
	}{
		{t.translate, spec.GlobalTE}, {u.regs.rootLatched, spec.GlobalSRTP}, {u.regs.queue.on, spec.GlobalQIE},
		{t.enabled, spec.GlobalIRE}, {u.regs.latched, spec.GlobalSIRTP}, {t.compat, spec.GlobalCFI},
	} {
		if f.on {
			v |= f.bit
		}
	}
	return v
}

// command is a write of GCMD. It has taken effect when it returns, but for QIE cleared while descriptors wait to be served; commands that the capabilities do
// not offer change nothing (`iommu.md §1.3`). Software changes one field at a time; one that changes more gets them in the order below.
func (u *Unit) command(v uint32) {
	r := &u.regs
	before := u.live.Load()
	if v&spec.GlobalSIRTP != 0 {
		r.latched = true
	}
	if u.cfg.DMA && v&spec.GlobalSRTP != 0 {
		r.rootLatched = true
	}
	u.change(func(t *tables) {
		if v&spec.GlobalSIRTP != 0 {
			t.irta = r.irta
		}
		if u.cfg.DMA && v&spec.GlobalSRTP != 0 {
			t.root = r.rtaddr
		}
		// Without a table there is nothing to remap by.
		t.enabled = v&spec.GlobalIRE != 0 && r.latched
		t.translate = u.cfg.DMA && v&spec.GlobalTE != 0 && r.rootLatched
		t.compat = v&spec.GlobalCFI != 0
	})
	after := u.live.Load()
	// A new table is used from now on (ESRTPS, ESIRTPS); the next wait waits for who still uses the old one.
	if v&spec.GlobalSRTP != 0 || before.translate != after.translate {
		u.contexts.Add(1)
		u.iotlb.invalidateAll()
		r.queue.taken.add(everything)
		r.queue.dirty = true
	}
	if v&spec.GlobalSIRTP != 0 || before.enabled != after.enabled {
		u.entries.invalidateAll()
		r.queue.dirty = true
	}
	if !after.enabled && !after.translate {
		r.next = 0 // VT-d §7.2.1
	}
	if u.cfg.DMA {
		u.enableQueue(v&spec.GlobalQIE != 0)
	}
}

// contextCommand is a write of CCMD: refused while the queue is on (VT-d §11.4.6.1).
func (u *Unit) contextCommand(c spec.ContextCommand) {
	r := &u.regs
	if r.waits.context != nil {
		return // software must not touch it until it is done
	}
	r.ccmd = c.Done(0)
	v := c.Invalidation()
	if uint64(c)&spec.CommandICC == 0 || r.queue.on || v.Granularity == 0 {
		return
	}
	u.invalidateContext(v)
	if r.waits.context = u.begun(u.newDrain(spans{})); r.waits.context == nil {
		r.ccmd = c.Done(v.Granularity)
		return
	}
	r.ccmd = spec.ContextCommand(uint64(r.ccmd) | spec.CommandICC)
}

// iotlbCommand is a write of IOTLB: refused while the queue is on (VT-d §11.4.6.2).
func (u *Unit) iotlbCommand(c spec.IOTLBCommand) {
	r := &u.regs
	if r.waits.iotlb != nil {
		return // as with CCMD
	}
	r.iotlb = c.Done(0)
	v := c.Invalidation(r.iva)
	if uint64(c)&spec.CommandIVT == 0 || r.queue.on || v.Granularity == 0 || v.Granularity == spec.PerPage && v.AM > spec.MaxAddressMask {
		return
	}
	var s spans
	s.add(u.invalidateIOTLB(v))
	if r.waits.iotlb = u.begun(u.newDrain(s)); r.waits.iotlb == nil {
		r.iotlb = c.Done(v.Granularity)
		return
	}
	r.iotlb = spec.IOTLBCommand(uint64(r.iotlb) | spec.CommandIVT)
}
