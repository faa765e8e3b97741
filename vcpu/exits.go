package vcpu

import "sync/atomic"

// A Cause is why a processor left guest execution for the VMM.
type Cause uint8

// Causes of user-space exits.
const (
	PortRead Cause = iota
	PortWrite
	MemoryRead
	MemoryWrite
	MSRRead
	MSRWrite
	Halt
	Interrupted // a kick or another signal
	APICAccess  // modelled by vcpu/soft: a register of the local APIC
	Injection   // modelled by vcpu/soft: an interrupt for a processor that runs
	Doorbell    // a store that a device waits for, served without leaving for user space under KVM
	Other

	causes
)

// String is the cause's name in reports.
func (c Cause) String() string {
	names := [causes]string{
		"port_read", "port_write", "mmio_read", "mmio_write", "msr_read", "msr_write", "halt", "interrupted",
		"apic_access", "injection", "doorbell", "other",
	}
	if c >= causes {
		return "unknown"
	}
	return names[c]
}

// Exits counts user-space exits by cause. One goroutine counts, any may look.
type Exits [causes]atomic.Uint64

// Count counts one exit.
func (e *Exits) Count(c Cause) { e[c].Add(1) }

// Add adds the counts of o.
func (e *Exits) Add(o *Exits) {
	for i := range e {
		e[i].Add(o[i].Load())
	}
}

// Total is the number of exits of all causes.
func (e *Exits) Total() uint64 {
	var n uint64
	for i := range e {
		n += e[i].Load()
	}
	return n
}

// Map returns the counts that are not zero, by name.
func (e *Exits) Map() map[string]uint64 {
	m := make(map[string]uint64)
	for i := range e {
		if n := e[i].Load(); n > 0 {
			m[Cause(i).String()] = n
		}
	}
	return m
}
