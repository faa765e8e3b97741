package kvm

// CPUIDEntry is one CPUID leaf (struct kvm_cpuid_entry2).
type CPUIDEntry struct {
	Function           uint32 // EAX of the question
	Index              uint32 // ECX of the question, if CPUIDFlagSignificantIndex
	Flags              uint32
	EAX, EBX, ECX, EDX uint32 // the answer
	_                  [3]uint32
}

// CPUID is the set of leaves that a vCPU answers, in no particular order.
type CPUID []CPUIDEntry

// Find returns the entry that answers function and index, or nil. The pointer
// aliases c.
func (c CPUID) Find(function, index uint32) *CPUIDEntry {
	for i := range c {
		if c[i].answers(function, index) {
			return &c[i]
		}
	}
	return nil
}

// Set replaces the entry that answers e's function and index, or appends e.
func (c *CPUID) Set(e CPUIDEntry) {
	if old := c.Find(e.Function, e.Index); old != nil {
		*old = e
		return
	}
	*c = append(*c, e)
}

func (e *CPUIDEntry) answers(function, index uint32) bool {
	return e.Function == function && (e.Flags&CPUIDFlagSignificantIndex == 0 || e.Index == index)
}
