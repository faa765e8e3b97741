package iommu

import (
	"fmt"

	"gvmm/iommu/spec"
	"gvmm/vmm/pci"
)

// DMA is memory by guest-physical addresses, as a device sees it without a unit: as in package virtio.
type DMA interface {
	View(addr uint64, n int, write bool) ([]byte, error)
	Segments(dst [][]byte, addr uint64, n uint32, write bool) ([][]byte, error)
}

// DMAView is memory as one requester sees it: by the addresses that the guest's tables give it, or, while they are not used, by guest-physical ones.
// A device that keeps what it was given, or whose guest takes mappings back while it runs, uses a Client of the view.
type DMAView struct {
	*requester
	physical DMA
}

var _ DMA = (*DMAView)(nil)

// View returns the view of requester rid over physical.
func (u *Unit) View(rid pci.RequesterID, physical DMA) *DMAView {
	return &DMAView{requester: u.requester(rid), physical: physical}
}

// View returns the n contiguous bytes at addr. ErrBlocked, ErrScattered, or what physical memory answers.
func (v *DMAView) View(addr uint64, n int, write bool) ([]byte, error) {
	t := v.unit.live.Load()
	if !t.translate || n <= 0 {
		return v.physical.View(addr, n, write)
	}
	at, run, _ := v.plain(t, addr, uint64(n), write)
	if run < uint64(n) {
		var err error
		if at, err = v.contiguous(t, addr, uint64(n), write); err != nil {
			return nil, err
		}
	}
	b, err := v.physical.View(at, n, write)
	if err != nil {
		v.aborted.Add(1)
	}
	return b, err
}

// plain translates as much of [addr, addr+n) as is in one page that is cached, allows it, and has nothing in it that is out of reach: where that is,
// how long, and in which domain. It is the fast half of access; a length of 0 means nothing but that the slow half has to look.
func (v *DMAView) plain(t *tables, addr, n uint64, write bool) (at, run uint64, did uint16) {
	c := v.context.entry.Load()
	if c == nil || c.generation != v.unit.contexts.Load() || c.kind != spec.Translated {
		return 0, 0, 0
	}
	e := v.unit.iotlb.find(c.did, addr)
	if e == nil || e.plain != t || e.rights&wanted(write) == 0 {
		return 0, 0, 0
	}
	off := addr - e.first
	return e.to + off, min(n, spec.LevelBytes(int(e.level))-off), c.did
}

// contiguous translates [addr, addr+n), which must be in one piece of memory.
func (v *DMAView) contiguous(t *tables, addr, n uint64, write bool) (at uint64, err error) {
	a, err := v.access(t, addr, n, write)
	if err != nil {
		return 0, err
	}
	at, run, err := a.next()
	for err == nil && a.left > 0 {
		more, size, e := a.next()
		if err = e; e == nil && more != at+run {
			err = ErrScattered
		}
		run += size
	}
	return at, err
}

func wanted(write bool) spec.SLEntry {
	if write {
		return spec.SLWrite
	}
	return spec.SLRead
}

// Segments appends the pieces of [addr, addr+n) to dst, in order, as few as there are runs of memory. With an error dst comes back as it was.
func (v *DMAView) Segments(dst [][]byte, addr uint64, n uint32, write bool) ([][]byte, error) {
	p := v.unit.epochs.enter(&v.section)
	dst, err := v.segments(nil, dst, addr, n, write)
	v.unit.epochs.leave(&v.section, p)
	return dst, err
}

// segments is Segments for the request that h holds, if it is not nil.
func (v *DMAView) segments(h *hold, dst [][]byte, addr uint64, n uint32, write bool) ([][]byte, error) {
	t := v.unit.live.Load()
	if n == 0 {
		return dst, nil
	}
	if !t.translate {
		if h != nil {
			h.add(anyDomain, addr, addr+uint64(n)-1)
		}
		return v.physical.Segments(dst, addr, n, write)
	}
	// The section that this is in has a wait look for holds only after it: to publish the use behind the look-up is early enough.
	if at, run, did := v.plain(t, addr, uint64(n), write); run == uint64(n) {
		if h != nil {
			h.add(uint32(did), addr, addr+run-1)
		}
		return v.piece(dst, at, run, write)
	}
	a, err := v.access(t, addr, uint64(n), write)
	if err != nil {
		return dst, err
	}
	if h != nil {
		h.add(uint32(a.context.did), addr, addr+uint64(n)-1)
	}
	out := dst
	at, run, err := a.next()
	for err == nil && a.left > 0 {
		more, size, _ := v.plain(t, a.addr, a.left, write)
		if size > 0 {
			a.addr, a.left = a.addr+size, a.left-size
		} else if more, size, err = a.next(); err != nil {
			break
		}
		if more == at+run {
			run += size
			continue
		}
		out, err = v.piece(out, at, run, write)
		at, run = more, size
	}
	if err == nil {
		out, err = v.piece(out, at, run, write)
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

// piece appends what is at the physical address at.
func (v *DMAView) piece(dst [][]byte, at, n uint64, write bool) ([][]byte, error) {
	dst, err := v.physical.Segments(dst, at, uint32(n), write)
	if err != nil {
		v.aborted.Add(1)
	}
	return dst, err
}

// access is a DMA request on its way through the tables.
type access struct {
	view    *DMAView
	tables  *tables
	context *context
	addr    uint64 // what is still to be translated
	left    uint64
	want    spec.SLEntry
}

// access begins a request for the n bytes at addr, at least one.
func (v *DMAView) access(t *tables, addr, n uint64, write bool) (access, error) {
	a := access{view: v, tables: t, context: &noContext, addr: addr, left: n, want: wanted(write)}
	last := addr + n - 1
	if last >= addr && spec.InterruptRange(addr, n) {
		return a, a.refuse(denied(a.want))
	}
	c, reason := v.contextEntry(t)
	a.context = c
	if reason == 0 && (last < addr || last > c.limit) {
		reason = spec.AddressBeyond
	}
	if reason != 0 {
		return a, a.refuse(reason)
	}
	return a, nil
}

// next translates as much as is in one page: where it is, and how long.
func (a *access) next() (at, n uint64, err error) {
	if a.context.kind == spec.PassThrough {
		at, n = a.addr, a.left
	} else {
		e, reason := a.translate()
		if reason != 0 {
			return 0, 0, a.refuse(reason)
		}
		off := a.addr - e.first
		at, n = e.to+off, min(a.left, spec.LevelBytes(int(e.level))-off)
	}
	switch {
	case spec.InterruptRange(at, n):
		return 0, 0, a.refuse(spec.InterruptOutput)
	case a.tables.protects(at, n):
		return 0, 0, a.refuse(spec.ProtectedMemory)
	}
	a.addr += n
	a.left -= n
	return at, n, nil
}

// contextTries bounds how often a request begins anew since its context was taken back under it. After the last it takes the tables that it has, as
// one that began before they were taken back, and keeps nothing.
const contextTries = 4

// identity is the translation of a function that came to pass through while its request was under way.
var identity = translation{level: spec.WholeLevel}

// translate finds the page of the address.
func (a *access) translate() (e *translation, reason spec.Reason) {
	v := a.view
	for range contextTries {
		e = v.unit.iotlb.find(a.context.did, a.addr)
		// An entry that does not allow it may be older than the right: giving one takes no invalidation (VT-d §6.5.3.1). One that was judged by
		// other tables is judged anew.
		if e != nil && e.rights&a.want != 0 && e.judged == a.tables {
			return e, 0
		}
		var stale bool
		if e, reason, stale = v.fillTLB(a.tables, a.context, a.addr, a.want); !stale {
			return e, reason
		}
		if a.context, reason = v.contextEntry(a.tables); reason != 0 {
			return nil, reason
		}
		switch {
		case a.context.kind != spec.Translated:
			return &identity, 0
		case a.addr+(a.left-1) > a.context.limit:
			return nil, spec.AddressBeyond
		}
	}
	e = &translation{did: a.context.did}
	return e, v.missed(a.context, a.addr, a.want, e)
}

// refuse counts and records a fault.
func (a *access) refuse(reason spec.Reason) error {
	v := a.view
	v.countFault(reason)
	v.unit.fault(Fault{Requester: v.rid, Address: a.addr, Write: a.want == spec.SLWrite, Reason: reason}, a.context.fpd)
	return blocked[reason]
}

// blocked are the errors of refused requests, made once.
var blocked = func() (errs [reasonSlots]error) {
	for _, reason := range spec.Reasons {
		errs[reason] = fmt.Errorf("%w: %v", ErrBlocked, reason)
	}
	return errs
}()

// protects reports whether any of [at, at+n) decides on interrupts, or is written by them, and so is out of reach for DMA whatever the tables say.
func (t *tables) protects(at, n uint64) bool {
	if t.enabled && overlap(at, n, t.irta.Base(), t.irta.Bytes()) {
		return true
	}
	if !t.userPosted {
		return false
	}
	lo, hi := 0, len(t.pools)
	for lo < hi {
		mid := (lo + hi) / 2
		if p := &t.pools[mid]; p.Base+p.Bytes() <= at {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(t.pools) && t.pools[lo].Base < at+n
}
