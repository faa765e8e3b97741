package irqchip

import (
	"gvmm/vmm/pci"
)

// Signal is what a local APIC tells its processor.
type Signal uint8

const (
	SignalInterrupt Signal = iota // look at Pending
	SignalNMI
	SignalINIT // call Reset, then wait for SIPI
	SignalSIPI // start at vector<<12, if waiting for it
)

// DefaultBusHz is the frequency that local APIC timers divide unless told otherwise.
const DefaultBusHz = 1_000_000_000

// defaultPhysicalBits is the widest physical address that IA32_APIC_BASE has room for.
const defaultPhysicalBits = 52

// SoftConfig is what controllers of our own are made of and connected to.
type SoftConfig struct {
	CPUs int // local APIC ids 0..CPUs-1; at least one is made

	Now   func() uint64 // the guest's TSC in ticks, from any goroutine
	Hz    uint64        // of that TSC; 0 is 1 GHz
	BusHz uint64        // of the clock that timers divide: CPUID.15H's crystal if that is told, SDM 3 §10.5.4. 0 is DefaultBusHz

	// PhysicalBits is MAXPHYADDR: bits above it are reserved in IA32_APIC_BASE. 0 is 52.
	PhysicalBits uint8

	// Signal says that something changed for a processor. It is called from any goroutine with no lock held, and must not block.
	// vector is that of a SIPI. A SignalInterrupt may be late or one too many, but none is missing.
	Signal func(cpu int, s Signal, vector uint8)

	// Route, if set, takes the IOAPIC's messages instead of the local APICs.
	Route pci.MSISender
}

// Soft is a machine's interrupt controllers: a local APIC for each processor, an IOAPIC and a pair of 8259s. Its methods may be called from any
// goroutine, but for Reset.
type Soft struct {
	cfg    SoftConfig
	locals []*Local
	ioapic IOAPIC
	pics   pics
}

var _ pci.MSISender = (*Soft)(nil)

// NewSoft makes controllers as a machine's power-on leaves them; processor 0 is the bootstrap processor.
func NewSoft(cfg SoftConfig) *Soft {
	cfg.CPUs = max(cfg.CPUs, 1)
	if cfg.Hz == 0 {
		cfg.Hz = DefaultBusHz
	}
	if cfg.BusHz == 0 {
		cfg.BusHz = DefaultBusHz
	}
	if cfg.PhysicalBits == 0 || cfg.PhysicalBits > defaultPhysicalBits {
		cfg.PhysicalBits = defaultPhysicalBits
	}
	if cfg.Now == nil {
		cfg.Now = func() uint64 { return 0 }
	}
	if cfg.Signal == nil {
		cfg.Signal = func(int, Signal, uint8) {}
	}
	s := &Soft{cfg: cfg, locals: make([]*Local, cfg.CPUs)}
	s.ioapic.send = s
	if cfg.Route != nil {
		s.ioapic.send = cfg.Route
	}
	for id := range s.locals {
		s.locals[id] = &Local{soft: s, id: uint32(id)}
	}
	s.Reset()
	return s
}

// Reset is the machine's reset: everything as power-on leaves it. No processor may run.
func (s *Soft) Reset() {
	s.pics.reset()
	s.ioapic.reset()
	for _, l := range s.locals {
		l.powerOn()
	}
}

// Local is a processor's local APIC. cpu must be one of the configuration's.
func (s *Soft) Local(cpu int) *Local { return s.locals[cpu] }

// IOAPIC is the machine's IOAPIC.
func (s *Soft) IOAPIC() *IOAPIC { return &s.ioapic }

// SetIRQ sets a line: ISA IRQ 0-15, to the 8259s and to the IOAPIC, where IRQ 0 is pin 2; or GSI 16-23, to the IOAPIC alone. high is asserted,
// whatever a polarity bit says. Line 2 is the 8259s' own and does nothing. Devices that share a line must join their levels first.
func (s *Soft) SetIRQ(line int, high bool) {
	if line < 0 || line == 2 || line >= ioapicPins {
		return
	}
	pin := line
	if line == 0 {
		pin = 2
	}
	s.ioapic.setPin(pin, high)
	if line < 16 {
		s.changePICs(func(p *pics) { p.set(line, high) })
	}
}

// ReadPort answers the 8259s' ports: 20H, 21H, A0H, A1H, 4D0H, 4D1H. len(p) is 1, 2 or 4; other ports among them read as ones.
func (s *Soft) ReadPort(port uint16, p []byte) {
	s.changePICs(func(c *pics) {
		for i := range p {
			p[i] = c.read(port + uint16(i))
		}
	})
}

// WritePort writes what ReadPort reads; other ports ignore it.
func (s *Soft) WritePort(port uint16, p []byte) {
	s.changePICs(func(c *pics) {
		for i, v := range p {
			c.write(port+uint16(i), v)
		}
	})
}

// NMI pulses every processor's LINT1, which is where a board's NMI goes.
func (s *Soft) NMI() {
	for _, l := range s.locals {
		if !l.enabled() {
			s.cfg.Signal(int(l.id), SignalNMI, 0)
			continue
		}
		l.raise(lvtLINT1)
	}
}

// changePICs lets change work on the 8259s and then passes on what became of their output: the LINT0s and the IOAPIC's pin 0.
func (s *Soft) changePICs(change func(*pics)) {
	s.pics.mu.Lock()
	before := s.pics.out
	change(&s.pics)
	rose, m := s.followPICs(before)
	s.pics.mu.Unlock()
	if rose {
		for _, l := range s.locals {
			l.lint0Rose()
		}
	}
	s.ioapic.deliver(m)
}

// followPICs sets what mirrors the 8259s' output, whose level was before. Their lock is held; what it returns is for when it is not.
func (s *Soft) followPICs(before bool) (rose bool, m sending) {
	p := &s.pics
	if p.out == before && !p.pulsed {
		return false, m
	}
	if p.pulsed {
		s.ioapic.set(0, false)
		p.pulsed = false
	}
	for _, l := range s.locals {
		l.setINTR(p.out && l.extINT)
	}
	return p.out, s.ioapic.set(0, p.out)
}
