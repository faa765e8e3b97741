package vmm

import (
	"gvmm/vcpu"
)

// msrLatency is GVMM_MSR_LATENCY of guests/lib/abi.h.
const msrLatency = 0x47564d01

var _ vcpu.Handler = (*Machine)(nil)

// PortRead implements vcpu.Handler. What is not there reads as ones.
func (m *Machine) PortRead(port uint16, p []byte) {
	if d := m.ports.at(port); d != nil {
		d.Read(port, p)
		return
	}
	ones(p)
}

// PortWrite implements vcpu.Handler.
func (m *Machine) PortWrite(port uint16, p []byte) {
	if d := m.ports.at(port); d != nil {
		d.Write(port, p)
	}
}

// MemoryRead implements vcpu.Handler.
func (m *Machine) MemoryRead(addr uint64, p []byte) {
	if r, off := m.space.at(addr, len(p)); r != nil {
		r.ReadMMIO(off, p)
		return
	}
	ones(p)
}

// MemoryWrite implements vcpu.Handler.
func (m *Machine) MemoryWrite(addr uint64, p []byte) {
	if r, off := m.space.at(addr, len(p)); r != nil {
		r.WriteMMIO(off, p)
	}
}

// ReadMSR implements vcpu.Handler.
func (m *Machine) ReadMSR(int, uint32) (uint64, bool) { return 0, false }

// WriteMSR implements vcpu.Handler.
func (m *Machine) WriteMSR(_ int, msr uint32, v uint64) bool {
	return msr == msrLatency && m.registerLatency(v) == nil
}
