package vmm

import (
	"fmt"
	"sort"
	"sync/atomic"

	"gvmm/vmm/pci"
	"gvmm/vmm/platform"
	"gvmm/vmm/serial"
)

// Ports of the machine; COM1 and the exit are in guests/lib/abi.h too.
const (
	portCOM1   = 0x3f8
	portExit   = platform.PortDebugExit
	portPM     = 0x600
	portReset  = platform.PortResetControl
	portAbsent = "absent_port"
)

// portDevice answers ports. p has 1, 2 or 4 bytes.
type portDevice interface {
	Read(port uint16, p []byte)
	Write(port uint16, p []byte)
}

// portRange is where a device answers.
type portRange struct {
	first, n uint16
	name     string // in reports
	device   portDevice
	count    *atomic.Uint64
}

// ports is the I/O space. It is filled before the machine runs; look-ups take no
// lock.
type ports struct {
	ranges []portRange // ascending
	absent atomic.Uint64
}

// add puts a device at n ports. Ranges of one name share a count.
func (s *ports) add(name string, first, n uint16, d portDevice) error {
	r := portRange{first: first, n: n, name: name, device: d, count: new(atomic.Uint64)}
	for _, o := range s.ranges {
		if first < o.first+o.n && o.first < first+n {
			return fmt.Errorf("vmm: ports %#x to %#x of %s are %s's", first, first+n-1, name, o.name)
		}
		if o.name == name {
			r.count = o.count
		}
	}
	s.ranges = append(s.ranges, r)
	sort.Slice(s.ranges, func(i, j int) bool { return s.ranges[i].first < s.ranges[j].first })
	return nil
}

// at finds who answers a port.
func (s *ports) at(port uint16) portDevice {
	i := sort.Search(len(s.ranges), func(i int) bool { return s.ranges[i].first > port }) - 1
	if i >= 0 && port-s.ranges[i].first < s.ranges[i].n {
		s.ranges[i].count.Add(1)
		return s.ranges[i].device
	}
	s.absent.Add(1)
	return nil
}

// counts adds the accesses to each device's ports to m, by name.
func (s *ports) counts(m map[string]uint64) {
	m[portAbsent] = s.absent.Load()
	for _, r := range s.ranges {
		m[r.name] = r.count.Load()
	}
}

// com1 is the serial port: each byte of a wider access is one of its own.
type com1 struct{ port *serial.Port }

func (c com1) Read(port uint16, p []byte) {
	for i := range p {
		p[i] = c.port.Read(port - portCOM1)
	}
}

func (c com1) Write(port uint16, p []byte) { c.port.Write(port-portCOM1, p[0]) }

// configPorts is PCI configuration. The reset control register lies inside it.
type configPorts struct {
	bus   *pci.Bus
	reset portDevice
}

func (c configPorts) Read(port uint16, p []byte) {
	if port == portReset && len(p) == 1 {
		c.reset.Read(port, p)
		return
	}
	c.bus.ReadPort(port, p)
}

func (c configPorts) Write(port uint16, p []byte) {
	if port == portReset && len(p) == 1 {
		c.reset.Write(port, p)
		return
	}
	c.bus.WritePort(port, p)
}

// exitPort ends the machine with a status.
type exitPort struct{ machine *Machine }

func (exitPort) Read(_ uint16, p []byte) { ones(p) }

func (e exitPort) Write(_ uint16, p []byte) {
	if e.machine.ours {
		e.machine.end(int(p[0]), nil)
		return
	}
	e.machine.end(platform.DebugExitStatus(p), nil)
}

// ones is what nobody answers.
func ones(p []byte) {
	for i := range p {
		p[i] = 0xff
	}
}
