package iommu

import (
	"gvmm/iommu/spec"
	"gvmm/vmm/pci"
)

// eventRegisters are the four that say how the unit interrupts: for faults, and for completions of the invalidation queue (VT-d §7.3, §6.5.2.10).
type eventRegisters struct {
	control, data, address, upper uint32
}

// pend makes the event wait for being sent.
func (e *eventRegisters) pend() { e.control |= spec.EventIP }

// serviced forgets an event that still waits.
func (e *eventRegisters) serviced() { e.control &^= spec.EventIP }

// take appends the event to out if it waits and is not masked.
func (e *eventRegisters) take(out []pci.Message) []pci.Message {
	if e.control != spec.EventIP {
		return out
	}
	e.control = 0
	return append(out, pci.Message{Address: uint64(e.upper)<<32 | uint64(e.address), Data: e.data})
}

// loadControl and loadAddress are the registers as pairs.
func (e *eventRegisters) loadControl() uint64 { return uint64(e.control) | uint64(e.data)<<32 }
func (e *eventRegisters) loadAddress() uint64 { return uint64(e.address) | uint64(e.upper)<<32 }

// storeControl writes control and data; unmasking sends what waits.
func (e *eventRegisters) storeControl(v, mask uint64, out []pci.Message) []pci.Message {
	if mask&high != 0 {
		e.data = uint32(v >> 32)
	}
	if mask&low != 0 {
		e.control = e.control&spec.EventIP | uint32(v)&spec.EventIM
		out = e.take(out)
	}
	return out
}

// storeAddress writes the address; its upper half exists with extended interrupt mode only.
func (e *eventRegisters) storeAddress(v, mask uint64, x2apic bool) {
	if mask&low != 0 {
		e.address = uint32(v) &^ 3
	}
	if mask&high != 0 && x2apic {
		e.upper = uint32(v>>32) &^ 0xFF
	}
}

// sendEvents sends the unit's own interrupts, which are not remapped. An address outside the interrupt range would be a memory write: it goes nowhere.
func (u *Unit) sendEvents(out []pci.Message) {
	for _, m := range out {
		if (spec.Request{Address: m.Address & low, Data: m.Data}).Interrupt() {
			// The guest sees the status either way; there is nobody to tell that its own event could not be delivered.
			_ = u.cfg.Deliver.SendMSI(m)
		}
	}
}
