package iommu

import (
	"gvmm/iommu/spec"
	uspec "gvmm/uintr/spec"
	"gvmm/vmm/memory"
)

// PID is the receiver's side of a virtual CPU's posted-interrupt descriptor (VT-d §9.11, `iommu.md §2.3`): what a scheduler and a processor do to it
// while units post. Every change of the control word is a compare and exchange of all of it, since senders change it too.
type PID struct {
	mem  *memory.Memory
	addr uint64
}

// NewPID is the descriptor at a 64-byte aligned address in RAM; ok is false if it is not one.
func NewPID(mem *memory.Memory, addr uint64) (p PID, ok bool) {
	if addr%spec.PIDBytes != 0 {
		return PID{}, false
	}
	_, err := mem.View(addr, spec.PIDBytes)
	return PID{mem, addr}, err == nil
}

// Control loads the control word.
func (p PID) Control() uspec.Control {
	v, _ := p.mem.Load64(p.addr + spec.PIDControl)
	return uspec.Control(v)
}

// Drain takes the requests, bit v of word v/64 for vector v. ON is cleared first, so that a post that comes between notifies again (rule 1).
func (p PID) Drain() (requests [4]uint64) {
	p.update(func(c uspec.Control) uspec.Control { return c &^ uspec.UPIDON })
	for i := range requests {
		if v, _ := p.mem.Load64(p.word(i)); v != 0 {
			requests[i], _ = p.mem.Swap64(p.word(i), 0)
		}
	}
	return requests
}

// ScheduleIn makes the descriptor notify nv at ndst (rule 3). If it returns true there are requests, or may be, whose notification was suppressed or
// went elsewhere: ON is then set, and the caller drains.
func (p PID) ScheduleIn(nv uint8, ndst uint32) (pending bool) {
	old := p.update(func(c uspec.Control) uspec.Control { return c.WithSN(false).WithNV(nv).WithNDST(ndst) })
	if !p.requested() {
		return old.ON()
	}
	_, _ = p.mem.Or64(p.addr+spec.PIDControl, uint64(uspec.UPIDON))
	return true
}

// ScheduleOut makes posts silent: the virtual CPU was preempted and will be back (rule 4).
func (p PID) ScheduleOut() { p.update(func(c uspec.Control) uspec.Control { return c.WithSN(true) }) }

// Block makes posts send the wake-up vector to the processor whose list the virtual CPU is on already (rule 5). If it returns true a notification went
// out by the old vector before: the caller owes itself a wake-up.
func (p PID) Block(wake uint8) (pending bool) {
	old := p.update(func(c uspec.Control) uspec.Control { return c.WithSN(false).WithNV(wake) })
	return old.ON() || old.SN() && p.requested()
}

// Pending reports whether the receiver has something to drain (rule 7).
func (p PID) Pending() bool {
	c := p.Control()
	return c.ON() || c.SN() && p.requested()
}

func (p PID) word(i int) uint64 { return p.addr + uint64(i)*8 }

func (p PID) requested() bool {
	for i := range 4 {
		if v, _ := p.mem.Load64(p.word(i)); v != 0 {
			return true
		}
	}
	return false
}

// update changes the control word and returns what it replaced. It ends: each failed attempt is somebody else's that succeeded, and senders change
// the word once for each time that a receiver clears ON.
func (p PID) update(change func(uspec.Control) uspec.Control) uspec.Control {
	for {
		c := p.Control()
		won, err := p.mem.CompareAndSwap64(p.addr+spec.PIDControl, uint64(c), uint64(change(c)))
		if won || err != nil {
			return c
		}
	}
}
