package iommu

import (
	"gvmm/iommu/spec"
	"gvmm/vmm/pci"
)

// requester is the sender of one requester id. Everything that its messages change is its own.
type requester struct {
	unit    *Unit
	rid     pci.RequesterID
	section section // of posts
	counters
	storm   *storm // nil: notifications are not bounded
	context contextCache
}

func newRequester(u *Unit, rid pci.RequesterID) *requester {
	r := &requester{unit: u, rid: rid}
	if u.cfg.Storm.Interval > 0 {
		r.storm = newStorm(r, u.cfg.Storm)
	}
	return r
}

var _ pci.MSISender = (*requester)(nil)

// SendMSI implements [pci.MSISender]: ErrRefused for a message that the guest's tables refuse, else what the local APICs answer.
func (r *requester) SendMSI(m pci.Message) error {
	e := &r.unit.epochs
	p := e.enter(&r.section)
	err := r.message(m)
	e.leave(&r.section, p)
	return err
}

// message is SendMSI inside a section: what it finds in the tables holds until it is done.
func (r *requester) message(m pci.Message) error {
	q := spec.Request{Address: m.Address, Data: m.Data}
	if !q.Interrupt() {
		r.stray.Add(1)
		return ErrRefused
	}
	t := r.unit.live.Load()
	if !t.enabled || !q.Remappable() && t.compat && !t.irta.EIME() {
		r.passed.Add(1)
		return r.deliver(m)
	}
	if !q.Remappable() {
		return r.refuse(0, spec.CompatBlocked, false)
	}
	index, ok := q.Index()
	if !ok {
		return r.refuse(uint16(index), spec.RequestReserved, false)
	}
	if index >= t.irta.Entries() {
		return r.refuse(uint16(index), spec.IndexOutOfRange, false)
	}
	e, reason := r.entry(t, index)
	if reason != 0 {
		return r.refuse(uint16(index), reason, e.FPD())
	}
	switch {
	case e.UserPosted():
		return r.postUser(t, uint16(index), e)
	case e.Posted():
		return r.post(t, uint16(index), e)
	default:
		r.remapped.Add(1)
		r.traceMessage(uint16(index), e)
		return r.send(remapped(e, t.irta.EIME()))
	}
}

// entry finds and judges the table entry at index, which is inside the table. The reason is 0 for an entry that serves r.
// An entry that could not be read is zero.
func (r *requester) entry(t *tables, index uint32) (e spec.IRTE, reason spec.Reason) {
	u := r.unit
	if !t.caching {
		if e, reason = u.readEntry(t, index); reason != 0 {
			return e, reason
		}
	} else if cached := u.entries.find(index); cached != nil {
		e = cached.entry
	} else if e, reason = u.fillEntry(index); reason != 0 {
		return e, reason
	}
	switch {
	case e.UserPosted() && !t.userPosted:
		return e, spec.EntryReserved
	case !e.Source().Admits(uint16(r.rid)):
		return e, spec.SourceRefused
	}
	return e, 0
}

// remapped is what a remapped entry sends.
func remapped(e spec.IRTE, x2apic bool) spec.Message {
	return spec.Message{
		Vector:      e.Vector(),
		Delivery:    e.Delivery(),
		Destination: spec.DestinationID(e.Destination(), x2apic),
		Logical:     e.Logical(),
		Redirection: e.Redirection(),
		Level:       e.Level(),
	}
}

// refuse counts and records a fault; quiet keeps the guest's fault records out of it.
func (r *requester) refuse(index uint16, reason spec.Reason, quiet bool) error {
	r.countFault(reason)
	r.unit.fault(Fault{Requester: r.rid, Index: index, Reason: reason}, quiet)
	return ErrRefused
}

func (r *requester) send(m spec.Message) error {
	address, data := m.Encode()
	return r.deliver(pci.Message{Address: address, Data: data})
}

func (r *requester) deliver(m pci.Message) error {
	err := r.unit.cfg.Deliver.SendMSI(m)
	if err != nil {
		r.undelivered.Add(1)
	}
	return err
}
