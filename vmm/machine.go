package vmm

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"gvmm/iommu"
	"gvmm/irqchip"
	"gvmm/kvm"
	"gvmm/vcpu/hw"
	"gvmm/vmm/boot"
	"gvmm/vmm/memory"
	"gvmm/vmm/pci"
	"gvmm/vmm/serial"
)

// Machine is one virtual machine. Make it with New, Run it once, Close it.
type Machine struct {
	config  Config
	way     hw.Way
	probe   *hw.Probe
	memory  *memory.Memory
	hw      *hw.Machine
	cpus    []*hw.CPU
	apics   *irqchip.Kernel
	iommu   *iommu.Unit
	space   *space
	bus     *pci.Bus
	serial  *serial.Port
	devices []*device
	ports   portCounts

	guestErrors errorLog
	stop        atomic.Bool

	mu     sync.Mutex
	ended  bool
	status int
	failed error
	logs   []latencyLog
	begin  *counts // when the guest began to measure
}

// New builds a machine. Nothing has run yet when it fails, and nothing was written.
func New(c Config) (*Machine, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	m := &Machine{config: c, serial: serial.New(c.Serial)}
	if err := m.build(); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (m *Machine) build() error {
	m.memory = memory.New()
	if err := m.memory.AddRAM(0, m.config.Memory); err != nil {
		return err
	}
	entry, err := boot.Load(m.config.Image, m.memory)
	if err != nil {
		return err
	}
	path := m.config.KVM
	if path == "" {
		path = kvm.DefaultPath
	}
	if m.hw, err = hw.Open(path, m.memory); err != nil {
		return err
	}
	if err := m.chooseWay(path); err != nil {
		return err
	}
	if err := m.addInterrupts(); err != nil {
		return err
	}
	m.bus = pci.NewBus(m.space)
	for i, d := range m.config.Disks {
		if err := m.addDisk(i, d); err != nil {
			return err
		}
	}
	return m.addCPUs(entry)
}

// chooseWay decides how user interrupts go, with evidence from this host.
func (m *Machine) chooseWay(path string) error {
	if !m.config.UINTR {
		return nil
	}
	var err error
	if m.probe = m.config.Probe; m.probe == nil {
		if m.probe, err = hw.RunProbe(path); err != nil {
			return err
		}
	}
	m.way, err = m.probe.Choose(m.config.Way)
	return err
}

// addInterrupts makes local APICs, doorbells and the remapping unit.
func (m *Machine) addInterrupts() error {
	m.space = newSpace(func(addr uint64) bool { return addr < m.config.Memory })
	var err error
	if m.apics, err = irqchip.NewKernel(m.hw.VM, doorbellBase, m.config.CPUs); err != nil {
		return err
	}
	var deliver pci.MSISender = m.apics
	if m.config.Kick {
		deliver = &kicker{machine: m}
	}
	m.iommu = iommu.New(iommu.Config{
		Memory: m.memory, Deliver: deliver, Posted: m.config.Posted && m.way != hw.WayNone,
	})
	if err := m.space.Map(doorbellBase, m.apics.Size(), m.apics); err != nil {
		return err
	}
	return m.space.Map(iommuBase, iommuBytes, m.iommu)
}

func (m *Machine) addCPUs(entry boot.Entry) error {
	n := uint32(m.config.CPUs)
	config := hw.CPUConfig{CPUs: n, UINTR: m.way != hw.WayNone}
	if config.UINTR {
		config.Leaves = hw.DiscoveryLeaves(m.way, m.config.Posted, doorbellBase, n, iommuBase)
		config.UINVChanged = func(cpu uint32, vector uint8) {
			if err := m.apics.Arm(cpu, vector); err != nil {
				m.end(0, err)
			}
		}
	}
	if m.config.Kick {
		config.Kick = func(cpu uint32, vector uint8) {
			_ = m.apics.SendMSI(pci.Message{Address: irqchip.Address(cpu), Data: uint32(vector)})
		}
	}
	for config.ID = range n {
		c, err := m.hw.NewCPU(config)
		if err != nil {
			return err
		}
		m.cpus = append(m.cpus, c)
	}
	info, err := boot.StartInfo(m.memory, m.config.Command, []boot.Region{{Base: 0, Size: m.config.Memory}})
	if err != nil {
		return err
	}
	return m.cpus[0].SetPVH(entry.PVH, info)
}

// kicker delivers notifications by kicks, and any other message to the local APICs.
type kicker struct{ machine *Machine }

// SendMSI implements pci.MSISender.
func (k *kicker) SendMSI(msg pci.Message) error {
	for i, c := range k.machine.cpus {
		if vector := k.machine.apics.Armed(uint32(i)); vector != 0 && msg.Data&0x7ff == uint32(vector) && msg.Address == irqchip.Address(uint32(i)) {
			c.KickNotify(vector)
			return nil
		}
	}
	return k.machine.apics.SendMSI(msg)
}

// Way is how user interrupts go in this machine.
func (m *Machine) Way() hw.Way { return m.way }

// Run runs the machine until the guest ends it, ctx is done, or it fails, and
// returns the guest's exit status. ctx.Err() is returned if ctx ended it.
func (m *Machine) Run(ctx context.Context) (status int, err error) {
	release := context.AfterFunc(ctx, func() { m.end(0, ctx.Err()) })
	defer release()
	places := place(len(m.cpus))
	defer places.end()
	var g errgroup.Group
	for i, c := range m.cpus {
		g.Go(func() error {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			defer places.enter(i)()
			err := c.Run(m, &m.stop)
			if err != nil {
				m.end(0, err)
			}
			return err
		})
	}
	_ = g.Wait() // end has the first error
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.status, m.failed
}

// end stops the machine, once: with the guest's exit status, or with err.
func (m *Machine) end(status int, err error) {
	m.mu.Lock()
	first := !m.ended
	if first {
		m.ended, m.status, m.failed = true, status, err
	}
	m.mu.Unlock()
	if !first {
		return
	}
	m.stop.Store(true)
	for _, c := range m.cpus {
		c.Kick()
	}
}

// deviceLocked finds the device with a requester id. The caller holds m.mu or
// knows that the machine is built.
func (m *Machine) deviceLocked(rid pci.RequesterID) *device {
	for _, d := range m.devices {
		if d.requester == rid {
			return d
		}
	}
	return nil
}

// Close releases everything. Run must have returned.
func (m *Machine) Close() error {
	for _, d := range m.devices {
		d.close()
	}
	if m.iommu != nil {
		m.iommu.Close()
	}
	var errs []error
	for _, c := range m.cpus {
		errs = append(errs, c.Close())
	}
	if m.apics != nil {
		errs = append(errs, m.apics.Close())
	}
	if m.hw != nil {
		errs = append(errs, m.hw.Close())
	}
	if m.memory != nil {
		errs = append(errs, m.memory.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("vmm: closing: %w", err)
	}
	return nil
}

// errorLog keeps the first things that a guest did wrong.
type errorLog struct {
	mu    sync.Mutex
	first []string
	total int
}

// loggedErrors is how many errors of a guest's are kept.
const loggedErrors = 16

func (l *errorLog) add(device string, queue int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total++
	if len(l.first) < loggedErrors {
		l.first = append(l.first, fmt.Sprintf("%s queue %d: %v", device, queue, err))
	}
}

func (l *errorLog) list() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.first...)
}
