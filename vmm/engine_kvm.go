package vmm

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gvmm/irqchip"
	"gvmm/kvm"
	"gvmm/vcpu"
	"gvmm/vcpu/hw"
	"gvmm/virtio/virtiopci"
	"gvmm/vmm/boot"
	"gvmm/vmm/pci"
)

// kvmEngine runs processors over /dev/kvm.
type kvmEngine struct {
	machine *Machine
	hw      *hw.Machine
	apics   *irqchip.Kernel
	vcpus   []*hw.CPU
	chosen  vcpu.Way
}

var _ engine = (*kvmEngine)(nil)

func openKVM(m *Machine) (engine, error) {
	e := &kvmEngine{machine: m}
	path := m.config.kvmPath()
	var err error
	if e.hw, err = hw.Open(path, m.memory); err != nil {
		return nil, err
	}
	if err := e.open(path); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

func (e *kvmEngine) open(path string) error {
	m := e.machine
	if err := e.chooseWay(path); err != nil {
		return err
	}
	var err error
	if e.apics, err = irqchip.NewKernel(e.hw.VM, doorbellBase, m.config.CPUs); err != nil {
		return err
	}
	return m.space.Map(doorbellBase, e.apics.Size(), e.apics)
}

// chooseWay decides how user interrupts go, with evidence from this host.
func (e *kvmEngine) chooseWay(path string) error {
	m := e.machine
	if !m.config.UINTR {
		return nil
	}
	var err error
	if m.probe = m.config.Probe; m.probe == nil {
		if m.probe, err = hw.RunProbe(path); err != nil {
			return err
		}
	}
	if m.config.Way == vcpu.WayNative {
		return fmt.Errorf("%w: KVM offers no guest the CPU's own; --accel soft does", hw.ErrWay)
	}
	e.chosen, err = m.probe.Choose(m.config.Way)
	return err
}

func (e *kvmEngine) addCPUs(entry boot.Entry, info uint32) error {
	m := e.machine
	n := uint32(m.config.CPUs)
	config := hw.CPUConfig{CPUs: n, UINTR: e.chosen != vcpu.WayNone}
	if config.UINTR {
		config.Leaves = vcpu.DiscoveryLeaves(e.chosen, m.config.Posted, doorbellBase, n, iommuBase)
		config.UINVChanged = func(cpu uint32, vector uint8) {
			if err := e.apics.Arm(cpu, vector); err != nil {
				m.end(0, err)
			}
		}
	}
	if m.config.Kick {
		config.Kick = func(cpu uint32, vector uint8) {
			_ = e.apics.SendMSI(pci.Message{Address: irqchip.Address(cpu), Data: uint32(vector)})
		}
	}
	if err := m.traceKVM(&config); err != nil {
		return err
	}
	for config.ID = range n {
		c, err := e.hw.NewCPU(config)
		if err != nil {
			return err
		}
		e.vcpus = append(e.vcpus, c)
	}
	if entry.Linux != 0 {
		return e.vcpus[0].SetLong64(entry.Linux, boot.LinuxCR3, uint64(info), boot.LinuxGDT, boot.LinuxGDTBytes)
	}
	return e.vcpus[0].SetEntry(uint32(entry.Address()), entry.EAX(), info)
}

func (e *kvmEngine) cpus() []vcpu.CPU {
	var all []vcpu.CPU
	for _, c := range e.vcpus {
		all = append(all, c)
	}
	return all
}

func (e *kvmEngine) run(i int, stop *atomic.Bool) error { return e.vcpus[i].Run(e.machine, stop) }

func (e *kvmEngine) sender() pci.MSISender {
	if e.machine.config.Kick {
		return &kicker{e}
	}
	return e.apics
}

// line implements engine: there is no IOAPIC over KVM yet, and guests poll.
func (e *kvmEngine) line(int) func(bool) { return func(bool) {} }

func (e *kvmEngine) addPlatform(*ports) error { return nil }

func (e *kvmEngine) dma() deviceMemory { return e.machine.memory.DMA() }
func (e *kvmEngine) way() vcpu.Way     { return e.chosen }
func (e *kvmEngine) now() uint64       { return vcpu.ReadTSC() }

func (e *kvmEngine) tsc() tscRelation {
	t := e.vcpus[0].TSC()
	return tscRelation{t.Offset, t.KHz, t.Known}
}

// exitCounters are KVM's counters that stand for guest execution being left, or
// done by the kernel in the guest's place.
var exitCounters = []string{
	"exits", "irq_exits", "irq_injections", "mmio_exits", "signal_exits", "halt_exits", "insn_emulation", "pf_emulate",
	"request_irq_exits", "irq_window_exits", "nmi_injections",
}

// exits names what reached the VMM "user.*" and KVM's own counters "kvm.*".
func (e *kvmEngine) exits(begin, end *counts) map[string]uint64 {
	exits := make(map[string]uint64)
	for name, n := range difference(end.user.Map(), begin.user.Map()) {
		exits["user."+name] = n
	}
	for _, name := range exitCounters {
		if n := end.engine[name] - begin.engine[name]; n > 0 {
			exits["kvm."+name] = n
		}
	}
	return exits
}

func (e *kvmEngine) close() error {
	var first error
	keep := func(err error) {
		if first == nil {
			first = err
		}
	}
	for _, c := range e.vcpus {
		keep(c.Close())
	}
	if e.apics != nil {
		keep(e.apics.Close())
	}
	keep(e.hw.Close())
	return first
}

// kicker delivers notifications by kicks, and any other message to the local APICs.
type kicker struct{ engine *kvmEngine }

// SendMSI implements pci.MSISender.
func (k *kicker) SendMSI(msg pci.Message) error {
	e := k.engine
	for i, c := range e.vcpus {
		if vector := e.apics.Armed(uint32(i)); vector != 0 && msg.Data&0x7ff == uint32(vector) && msg.Address == irqchip.Address(uint32(i)) {
			c.KickNotify(vector)
			return nil
		}
	}
	return e.apics.SendMSI(msg)
}

func (e *kvmEngine) doorbells(kick func(queue int)) doorbellTable {
	return &doorbells{vm: e.hw.VM, kick: kick}
}

// doorbells turns stores to a device's notification page into kicks, by an
// ioeventfd for each queue: the processor does not leave for user space.
type doorbells struct {
	vm   *kvm.VM
	kick func(queue int)

	mu      sync.Mutex
	queues  map[int]*doorbell
	waiting sync.WaitGroup
}

type doorbell struct {
	file    *os.File // an eventfd
	mapping kvm.IOEventFD
}

var _ virtiopci.Doorbells = (*doorbells)(nil)

// DoorbellMapped implements virtiopci.Doorbells. Where no ioeventfd can be had
// the store comes as an exit, which does the same.
func (d *doorbells) DoorbellMapped(queue int, gpa uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.queues[queue]
	if b == nil {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			return
		}
		b = &doorbell{file: os.NewFile(uintptr(fd), "doorbell")}
		if d.queues == nil {
			d.queues = make(map[int]*doorbell)
		}
		d.queues[queue] = b
		b.mapping.FD = fd
		d.waiting.Go(func() { d.listen(queue, b.file) })
	}
	b.mapping.Addr = gpa
	_ = d.vm.AssignIOEventFD(b.mapping)
}

// DoorbellUnmapped implements virtiopci.Doorbells.
func (d *doorbells) DoorbellUnmapped(queue int, _ uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if b := d.queues[queue]; b != nil {
		_ = d.vm.DeassignIOEventFD(b.mapping)
	}
}

// listen kicks the queue at every ring until the file is closed.
func (d *doorbells) listen(queue int, f *os.File) {
	var count [8]byte
	for {
		if _, err := f.Read(count[:]); err != nil {
			return
		}
		d.kick(queue)
	}
}

func (d *doorbells) close() {
	d.mu.Lock()
	for _, b := range d.queues {
		_ = b.file.Close()
	}
	d.mu.Unlock()
	d.waiting.Wait()
}
