package iommu

import (
	"gvmm/iommu/spec"
	"gvmm/vmm/pci"
)

const (
	faultRecords = 8
	faultLogSize = 256
)

// Fault is a refused interrupt request, for reports.
type Fault struct {
	Requester pci.RequesterID
	Index     uint16 // of the table; 0 where the request named none
	Reason    spec.Reason
	Recorded  bool // the guest was told: the entry did not disable it, and it was not collapsed or lost to an overflow
}

// faultLog keeps the last faults.
type faultLog struct {
	ring  [faultLogSize]Fault
	total uint64
}

func (l *faultLog) add(f Fault) {
	l.ring[l.total%faultLogSize] = f
	l.total++
}

// Faults returns the last faults, oldest first, at most 256 of them.
func (u *Unit) Faults() []Fault {
	u.mu.Lock()
	defer u.mu.Unlock()
	l := &u.faults
	kept := min(l.total, faultLogSize)
	out := make([]Fault, 0, kept)
	for n := l.total - kept; n < l.total; n++ {
		out = append(out, l.ring[n%faultLogSize])
	}
	return out
}

// fault records a refused request, and sends the fault event if the guest asked for one. A quiet fault is one that its entry's FPD hides.
func (u *Unit) fault(rid pci.RequesterID, index uint16, reason spec.Reason, quiet bool) {
	u.mu.Lock()
	recorded := !quiet && u.regs.record(spec.NewInterruptFault(uint16(rid), index, reason))
	u.faults.add(Fault{Requester: rid, Index: index, Reason: reason, Recorded: recorded})
	event, fire := u.regs.raise()
	u.mu.Unlock()
	if fire {
		u.sendEvent(event)
	}
}

// record puts f into the fault recording registers (`iommu.md §1.6`), and reports whether it did.
func (r *registers) record(f spec.FaultRecord) bool {
	if r.overflow {
		return false
	}
	for _, old := range r.records {
		if old.Pending() && old.SID() == f.SID() {
			return false
		}
	}
	if r.records[r.next].Pending() {
		r.overflow = true
		return false
	}
	if !r.pending() {
		r.first = r.next
		r.fectl |= spec.EventIP
	}
	r.records[r.next] = f
	r.next = (r.next + 1) % faultRecords
	return true
}

// clearRecord is a write of v to the upper word of record i. An event that still waits when the last record goes is no longer owed.
func (r *registers) clearRecord(i int, v uint64) {
	r.records[i] = r.records[i].Clear(v)
	if !r.pending() {
		r.fectl &^= spec.EventIP
	}
}

// raise takes the pending fault event, if there is one and it is not masked.
func (r *registers) raise() (event pci.Message, fire bool) {
	if r.fectl != spec.EventIP {
		return pci.Message{}, false
	}
	r.fectl = 0
	return pci.Message{Address: uint64(r.feuaddr)<<32 | uint64(r.feaddr), Data: r.fedata}, true
}

// pending is PPF.
func (r *registers) pending() bool {
	for _, rec := range r.records {
		if rec.Pending() {
			return true
		}
	}
	return false
}

func (r *registers) faultStatus() (v uint32) {
	if r.overflow {
		v |= spec.FaultPFO
	}
	if r.pending() {
		v |= spec.FaultPPF | uint32(r.first)<<spec.FaultFRIShift
	}
	return v
}

// recordAt finds the fault record that the registers at off belong to, and which word of it they are.
func recordAt(off uint64) (i int, upper, ok bool) {
	n := (off - spec.RegFRCD) / spec.FaultRecordBytes
	if off < spec.RegFRCD || n >= faultRecords {
		return 0, false, false
	}
	return int(n), off%spec.FaultRecordBytes != 0, true
}

// sendEvent sends the unit's own interrupt, which is not remapped. An address outside the interrupt range would be a memory write: it goes nowhere.
func (u *Unit) sendEvent(m pci.Message) {
	if (spec.Request{Address: m.Address & low, Data: m.Data}).Interrupt() {
		// The guest sees the fault status either way; there is nobody to tell that its own event could not be delivered.
		_ = u.cfg.Deliver.SendMSI(m)
	}
}
