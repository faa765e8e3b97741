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
	"gvmm/vcpu"
	"gvmm/vcpu/hw"
	"gvmm/vmm/boot"
	"gvmm/vmm/edu"
	"gvmm/vmm/memory"
	"gvmm/vmm/pci"
	"gvmm/vmm/platform"
	"gvmm/vmm/serial"
)

// Machine is one virtual machine. Make it with New, Run it once, Close it.
type Machine struct {
	config  Config
	probe   *hw.Probe
	kernel  *kernel
	entry   boot.Entry
	initrd  boot.Region // Size 0: none
	memory  *memory.Memory
	engine  engine
	cpus    []vcpu.CPU // the engine's
	iommu   *iommu.Unit
	ioapic  ioapicSender
	space   *space
	bus     *pci.Bus
	serial  *serial.Port
	devices []*device
	edu     *edu.Device // nil: none
	ports   ports
	ours    bool // the image was made for this VMM

	debugger    *debugger // nil: none
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
	m := &Machine{config: c}
	if err := m.build(); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (m *Machine) build() error {
	m.memory = memory.New()
	var err error
	if m.kernel, err = openKernel(&m.config); err != nil {
		return err
	}
	if err := m.addRAM(); err != nil {
		return err
	}
	entry, err := m.kernel.load(m)
	if err != nil {
		return err
	}
	m.space = newSpace(m.isRAM)
	if err := m.openEngine(entry); err != nil {
		return err
	}
	if err := m.addIOMMU(); err != nil {
		return err
	}
	m.ours = entry.Note&boot.NotePresent != 0
	m.bus = pci.NewBus(m.space)
	if err := m.space.Map(ecamBase, ecamBytes, m.bus.ECAM()); err != nil {
		return err
	}
	if err := m.addPorts(); err != nil {
		return err
	}
	for i, d := range m.config.Disks {
		if err := m.addDisk(i, d); err != nil {
			return err
		}
	}
	if m.config.Edu {
		if err := m.addEdu(); err != nil {
			return err
		}
	}
	m.entry = entry
	info, err := m.inform(entry)
	if err != nil {
		return err
	}
	if err := m.engine.addCPUs(entry, info); err != nil {
		return err
	}
	m.cpus = m.engine.cpus()
	if m.config.GDB != nil {
		m.debugger, err = newDebugger(m)
	}
	return err
}

// addPorts makes what every machine has in its I/O space, and what the engine adds.
func (m *Machine) addPorts() error {
	m.serial = serial.NewPort(serial.Config{Out: m.config.Serial, IRQ: m.engine.line(4)})
	reset := platform.NewReset(func() { m.end(0, errReset) })
	fw := platform.NewFwCfg(platform.FwCfgConfig{
		CPUs: m.config.CPUs, RAM: m.config.Memory, Command: &platform.Blob{Data: []byte(m.config.Command)}, Memory: m.engine.dma(),
	})
	for _, p := range []struct {
		name     string
		first, n uint16
		device   portDevice
	}{
		{"com1", portCOM1, serial.Ports, com1{m.serial}},
		{"pci_config", pci.PortAddress, 8, configPorts{m.bus, reset}},
		{"exit_port", portExit, 1, exitPort{m}},
		{"pvpanic", portPanic, 1, panicPort{m}},
		{"fw_cfg", platform.PortFwCfg, platform.FwCfgPorts, fw},
		{"fw_cfg", platform.PortFwCfgDMA, platform.FwCfgDMAPorts, fw},
		{"reset", platform.PortKeyboard, 1, reset},
		{"reset", platform.PortKeyboardCommand, 1, reset},
		{"reset", platform.PortFastReset, 1, reset},
	} {
		if err := m.ports.add(p.name, p.first, p.n, p.device); err != nil {
			return err
		}
	}
	return m.engine.addPlatform(&m.ports)
}

// errReset is a guest that resets its machine, which ends it.
var errReset = errors.New("vmm: the guest reset the machine")

// Way is how user interrupts go in this machine.
func (m *Machine) Way() vcpu.Way { return m.engine.way() }

// Run runs the machine until the guest ends it, ctx is done, or it fails, and
// returns the guest's exit status. ctx.Err() is returned if ctx ended it.
func (m *Machine) Run(ctx context.Context) (status int, err error) {
	release := context.AfterFunc(ctx, func() { m.end(0, ctx.Err()) })
	defer release()
	places := place(len(m.cpus))
	defer places.end()
	if m.debugger != nil {
		m.debugger.listen()
	}
	var g errgroup.Group
	for i := range m.cpus {
		g.Go(func() error {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			defer places.enter(i)()
			err := m.runCPU(i)
			if err != nil {
				m.end(0, err)
			}
			return err
		})
	}
	_ = g.Wait() // end has the first error
	m.mu.Lock()
	status, err = m.status, m.failed
	m.mu.Unlock()
	if m.debugger != nil {
		m.debugger.finish(status, err)
	}
	return status, err
}

func (m *Machine) runCPU(i int) error {
	if m.debugger != nil {
		return m.debugger.run(i)
	}
	return m.engine.run(i, &m.stop)
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
	if m.debugger != nil {
		m.debugger.end()
	}
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
	if m.edu != nil {
		m.edu.Close()
	}
	if m.iommu != nil {
		m.iommu.Close()
	}
	var errs []error
	if m.engine != nil {
		errs = append(errs, m.engine.close())
	}
	if m.memory != nil {
		errs = append(errs, m.memory.Close())
	}
	if m.kernel != nil {
		errs = append(errs, m.kernel.close())
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
