package vmm

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	"gvmm/irqchip"
	"gvmm/vcpu"
	"gvmm/vcpu/soft"
	"gvmm/vmm/boot"
	"gvmm/vmm/pci"
	"gvmm/vmm/platform"
)

// softEngine runs processors in software.
type softEngine struct {
	machine *Machine
	soft    *soft.Machine
	clock   soft.Clock
	virtual *virtualClock // the clock, where time is virtual
	chip    *irqchip.Soft
	vcpus   []*soft.CPU
	memory  *codeDMA
	timers  timers
	jit     vcpu.JIT // as chosen
	jitWhy  string   // it is off
}

var _ engine = (*softEngine)(nil)

// busHz is the frequency that the local APICs' timers count at: CPUID.15H's
// crystal.
const busHz = 25_000_000

func openSoft(m *Machine) (engine, error) {
	switch m.config.Way {
	case vcpu.WayNone, vcpu.WayNative:
	default:
		return nil, fmt.Errorf("%w: the software CPU has user interrupts itself; the %v way is for KVM", ErrConfig, m.config.Way)
	}
	if m.config.Kick {
		return nil, fmt.Errorf("%w: a kick that rewrites registers is for KVM", ErrConfig)
	}
	e := &softEngine{machine: m}
	if m.config.ICount > 0 {
		e.virtual = &virtualClock{icount: m.config.ICount}
		e.clock = e.virtual
	} else {
		e.clock = hostClock{tscHz()}
	}
	if m.config.Trace != nil {
		m.config.Trace.SetClock(e.clock.TSC)
	}
	e.soft = soft.NewMachine(m.memory, e.clock)
	e.memory = &codeDMA{Physical: m.memory.DMA(), machine: e.soft}
	chip := irqchip.SoftConfig{CPUs: m.config.CPUs, Now: e.clock.TSC, Hz: e.clock.Hz(), BusHz: busHz, Signal: e.signal}
	if m.config.IOMMU {
		chip.Route = &m.ioapic
	}
	e.chip = irqchip.NewSoft(chip)
	e.chip.Local(0).VirtualWire() // as firmware leaves it
	return e, m.space.Map(irqchip.IOAPICBase, irqchip.IOAPICSize, e.chip.IOAPIC())
}

// signal tells a processor what its local APIC has for it.
func (e *softEngine) signal(cpu int, s irqchip.Signal, vector uint8) {
	if cpu >= len(e.vcpus) {
		return
	}
	c := e.vcpus[cpu]
	switch s {
	case irqchip.SignalInterrupt:
		c.Interrupt()
	case irqchip.SignalNMI:
		c.NMI()
	case irqchip.SignalINIT:
		c.INIT()
	case irqchip.SignalSIPI:
		c.SIPI(vector)
	}
}

func (e *softEngine) addCPUs(entry boot.Entry, info uint32) error {
	m := e.machine
	n := uint32(m.config.CPUs)
	for id := range n {
		config := soft.CPUConfig{
			ID: id, CPUs: n, APIC: e.chip.Local(int(id)), UINTR: m.config.UINTR, Posted: m.config.Posted, BusHz: busHz,
			Virtual: e.virtual != nil, Seed: m.config.Seed,
		}
		if m.config.UINTR {
			config.Leaves = vcpu.DiscoveryLeaves(vcpu.WayNative, m.config.Posted, 0, n, iommuBase)
		}
		if m.config.Trace != nil {
			config.Trace = m.config.Trace.Soft()
		}
		if id == 0 {
			config.Devices = e.timers
		}
		c, err := e.chooseJIT(config)
		if err != nil {
			return err
		}
		e.vcpus = append(e.vcpus, c)
	}
	if entry.Linux != 0 {
		e.vcpus[0].SetLong64(entry.Linux, boot.LinuxCR3, uint64(info), boot.LinuxGDT, boot.LinuxGDTBytes)
		return nil
	}
	e.vcpus[0].SetEntry(uint32(entry.Address()), entry.EAX(), info)
	return nil
}

func (e *softEngine) cpus() []vcpu.CPU {
	var all []vcpu.CPU
	for _, c := range e.vcpus {
		all = append(all, c)
	}
	return all
}

func (e *softEngine) run(i int, stop *atomic.Bool) error {
	if e.virtual != nil {
		if i > 0 {
			return nil
		}
		return e.runVirtual()
	}
	if i == 0 {
		// A processor that runs holds one of the scheduler's places: the devices' goroutines need some beside them.
		if n := len(e.vcpus) + runtime.NumCPU(); runtime.GOMAXPROCS(0) < n {
			runtime.GOMAXPROCS(n)
		}
	}
	return e.vcpus[i].Run(e.machine, stop)
}

func (e *softEngine) line(irq int) func(bool) {
	return func(high bool) { e.chip.SetIRQ(irq, high) }
}

// addPlatform makes the devices of a PC that need interrupts and time.
func (e *softEngine) addPlatform(p *ports) error {
	m := e.machine
	clock := platform.Clock{Now: e.clock.TSC, Hz: e.clock.Hz()}
	pit := platform.NewPIT(platform.PITConfig{Clock: clock, IRQ: e.line(0)})
	cmosConfig := platform.CMOSConfig{Clock: clock, IRQ: e.line(8), CPUs: m.config.CPUs}
	cmosConfig.Low, cmosConfig.High = boot.Split(m.config.Memory)
	if e.virtual != nil {
		cmosConfig.Wall = e.virtual.wall
	}
	cmos := platform.NewCMOS(cmosConfig)
	pm := platform.NewPM(platform.PMConfig{
		Clock: clock, Base: portPM, Wide: true, IRQ: e.line(lineSCI), PowerOff: func() { m.end(0, nil) },
	})
	e.timers = timers{pit, cmos, pm}
	pics := chipPorts{e.chip}
	for _, r := range []struct {
		name     string
		first, n uint16
		device   portDevice
	}{
		{"pic", 0x20, 2, pics}, {"pic", 0xa0, 2, pics}, {"pic", 0x4d0, 2, pics},
		{"pit", platform.PortPIT, platform.PITPorts, timed{pit, pit, e}}, {"pit", platform.PortSpeaker, 1, pit},
		{"cmos", platform.PortCMOS, platform.CMOSPorts, timed{cmos, cmos, e}},
		{"pm", portPM, platform.PMPorts, timed{pm, pm, e}},
	} {
		if err := p.add(r.name, r.first, r.n, r.device); err != nil {
			return err
		}
	}
	return nil
}

// timed is a device whose deadline a write may move: the processor that drives it
// must not sleep past the new one.
type timed struct {
	portDevice
	timer  soft.Timers
	engine *softEngine
}

func (d timed) Write(port uint16, p []byte) {
	before := d.timer.Deadline()
	d.portDevice.Write(port, p)
	if d.timer.Deadline() != before {
		d.engine.vcpus[0].Look()
	}
}

// chipPorts is the pair of 8259s.
type chipPorts struct{ chip *irqchip.Soft }

func (c chipPorts) Read(port uint16, p []byte)  { c.chip.ReadPort(port, p) }
func (c chipPorts) Write(port uint16, p []byte) { c.chip.WritePort(port, p) }

// timers are devices whose time one processor looks at.
type timers []soft.Timers

var _ soft.Timers = timers{}

// Deadline implements soft.Timers.
func (t timers) Deadline() uint64 {
	first := uint64(platform.Never)
	for _, d := range t {
		first = min(first, d.Deadline())
	}
	return first
}

// Tick implements soft.Timers.
func (t timers) Tick(now uint64) {
	for _, d := range t {
		if d.Deadline() <= now {
			d.Tick(now)
		}
	}
}

func (e *softEngine) sender() pci.MSISender             { return e.chip }
func (e *softEngine) dma() deviceMemory                 { return e.memory }
func (e *softEngine) doorbells(func(int)) doorbellTable { return nil }
func (e *softEngine) now() uint64                       { return e.clock.TSC() }

func (e *softEngine) way() vcpu.Way {
	if e.machine.config.UINTR {
		return vcpu.WayNative
	}
	return vcpu.WayNone
}

func (e *softEngine) tsc() tscRelation {
	return tscRelation{khz: uint32(e.clock.Hz() / 1000), known: true}
}

// exits names what left the run loop "soft.*", and what a host without posted
// interrupts would have left for "modelled.*".
func (e *softEngine) exits(begin, end *counts) map[string]uint64 {
	exits := make(map[string]uint64)
	for name, n := range difference(end.user.Map(), begin.user.Map()) {
		prefix := "soft."
		if name == vcpu.APICAccess.String() || name == vcpu.Injection.String() {
			prefix = "modelled."
		}
		exits[prefix+name] = n
	}
	return exits
}

func (e *softEngine) close() error {
	var err error
	for _, c := range e.vcpus {
		err = errors.Join(err, c.Close())
	}
	return err
}
