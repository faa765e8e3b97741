package vmm

import (
	"sync/atomic"

	"gvmm/vcpu"
	"gvmm/vmm/pci"
	"gvmm/vmm/serial"
)

// Ports and MSRs of the machine: guests/lib/abi.h.
const (
	portCOM1   = 0x3f8
	portExit   = 0xf4
	msrLatency = 0x47564d01
)

var _ vcpu.Handler = (*Machine)(nil)

// portCounts are the accesses to ports, by device.
type portCounts struct{ com1, pci, exit, absent atomic.Uint64 }

// PortRead implements vcpu.Handler. What is not there reads as ones.
func (m *Machine) PortRead(port uint16, p []byte) {
	switch {
	case port >= portCOM1 && port < portCOM1+serial.Ports:
		m.ports.com1.Add(1)
		for i := range p {
			p[i] = m.serial.Read(port - portCOM1)
		}
	case port >= pci.PortAddress && port < pci.PortData+4:
		m.ports.pci.Add(1)
		m.bus.ReadPort(port, p)
	default:
		m.ports.absent.Add(1)
		for i := range p {
			p[i] = 0xff
		}
	}
}

// PortWrite implements vcpu.Handler.
func (m *Machine) PortWrite(port uint16, p []byte) {
	switch {
	case port >= portCOM1 && port < portCOM1+serial.Ports:
		m.ports.com1.Add(1)
		m.serial.Write(port-portCOM1, p[0])
	case port >= pci.PortAddress && port < pci.PortData+4:
		m.ports.pci.Add(1)
		m.bus.WritePort(port, p)
	case port == portExit:
		m.ports.exit.Add(1)
		m.end(int(p[0]), nil)
	default:
		m.ports.absent.Add(1)
	}
}

// MemoryRead implements vcpu.Handler.
func (m *Machine) MemoryRead(addr uint64, p []byte) {
	if r, off := m.space.at(addr, len(p)); r != nil {
		r.ReadMMIO(off, p)
		return
	}
	for i := range p {
		p[i] = 0xff
	}
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
