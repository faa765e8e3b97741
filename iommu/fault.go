package iommu

import (
	"gvmm/iommu/spec"
	"gvmm/vmm/pci"
)

const (
	faultRecords = 8
	faultLogSize = 256
)

// Fault is a refused request, for reports.
type Fault struct {
	Requester pci.RequesterID
	Index     uint16 // of the interrupt-remapping table; 0 where the request named none
	Address   uint64 // of a DMA request
	Write     bool   // a DMA request that writes
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
func (u *Unit) fault(f Fault, quiet bool) {
	record := spec.NewInterruptFault(uint16(f.Requester), f.Index, f.Reason)
	if f.Reason.DMA() {
		record = spec.NewDMAFault(uint16(f.Requester), f.Address, !f.Write, f.Reason)
	}
	u.mu.Lock()
	f.Recorded = !quiet && u.regs.record(record)
	u.faults.add(f)
	out := u.regs.event.take(nil)
	u.mu.Unlock()
	if u.cfg.Trace != nil {
		u.cfg.Trace(f)
	}
	u.sendEvents(out)
}

// record puts f into the fault recording registers (VT-d §7.2.1, `iommu.md §1.6`), and reports whether it did.
func (r *registers) record(f spec.FaultRecord) bool {
	if r.fsts&spec.FaultPFO != 0 {
		return false
	}
	for _, old := range r.records {
		if old.Pending() && old.SID() == f.SID() {
			return false
		}
	}
	if r.records[r.next].Pending() {
		r.fsts |= spec.FaultPFO
		return false
	}
	r.condition()
	if !r.pending() {
		r.first = r.next
	}
	r.records[r.next] = f
	r.next = (r.next + 1) % faultRecords
	return true
}

const faultConditions = spec.FaultPFO | spec.FaultPPF | spec.FaultIQE | spec.FaultICE | spec.FaultITE

// condition makes the fault event wait for a condition that is about to be set, unless another one still waits for software (VT-d §7.3).
func (r *registers) condition() {
	if r.faultStatus()&faultConditions == 0 {
		r.event.pend()
	}
}

// cleared forgets an event that still waits when the last condition has gone.
func (r *registers) cleared() {
	if r.faultStatus()&faultConditions == 0 {
		r.event.serviced()
	}
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

func (r *registers) faultStatus() uint32 {
	v := r.fsts
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
