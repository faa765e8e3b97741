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
	"gvmm/vmm/disk"
	"gvmm/vmm/edu"
	"gvmm/vmm/memory"
	"gvmm/vmm/pci"
	"gvmm/vmm/platform"
	"gvmm/vmm/serial"
)

// Machine is one virtual machine. Make it with New, Run it once, Close it.
type Machine struct {
	config       Config
	probe        *hw.Probe
	kernel       *kernel
	why          string       // the engine was chosen; "": it was asked for
	disks        []disk.Image // of config.Disks, open as long as the machine
	cards        []*card      // of config.Networks, likewise
	guestErrors  errorLog
	input        input // of COM1
	consoleInput input
	stop         atomic.Bool

	board // replaced by a reset

	mu      sync.Mutex
	ended   bool
	status  int
	failed  error
	again   bool // the guest asked for a reset
	resets  int
	wrote   bool       // to a disk, before the last reset
	running []vcpu.CPU // nil between boards
}

// board is what a reset makes anew: all of a machine that a guest can change, but for what its disks hold.
type board struct {
	memory   *memory.Memory
	engine   engine
	cpus     []vcpu.CPU // the engine's
	iommu    *iommu.Unit
	ioapic   ioapicSender
	space    *space
	bus      *pci.Bus
	serial   *serial.Port
	devices  []*device
	edu      *edu.Device // nil: none
	ports    ports
	entry    boot.Entry
	initrd   boot.Region // Size 0: none
	ours     bool        // the image was made for this VMM
	debugger *debugger   // nil: none
	logs     []latencyLog
	begin    *counts // when the guest began to measure
}

// New builds a machine. Nothing has run yet when it fails, and nothing was written.
func New(c Config) (*Machine, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	m := &Machine{config: c}
	if err := m.open(); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// open opens what the machine is made of, and builds it.
func (m *Machine) open() error {
	fromDisk, err := m.config.diskImage()
	if err != nil {
		return err
	}
	if err := m.openDisks(); err != nil {
		return err
	}
	if fromDisk {
		if err := m.config.bootFrom(m.disks[0]); err != nil {
			return err
		}
	}
	if err := m.openNetworks(); err != nil {
		return err
	}
	if m.kernel, err = openKernel(&m.config); err != nil {
		return err
	}
	return m.build()
}

func (m *Machine) build() error {
	m.memory = memory.New()
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
	for i := range m.config.Disks {
		if err := m.addDisk(i); err != nil {
			return err
		}
	}
	for i := range m.config.Networks {
		if err := m.addNetwork(i); err != nil {
			return err
		}
	}
	if err := m.addEntropy(); err != nil {
		return err
	}
	if err := m.addConsole(); err != nil {
		return err
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
	m.serial = serial.NewPort(serial.Config{Out: m.config.Serial, IRQ: m.engine.line(4), Room: m.input.wake})
	m.input.connect(m.serial)
	reset := platform.NewReset(m.reset)
	fw := platform.NewFwCfg(platform.FwCfgConfig{
		CPUs: m.config.CPUs, RAM: m.config.Memory, Command: &platform.Blob{Data: []byte(m.config.Command)}, Memory: m.engine.dma(),
	})
	if _, err := fw.AddFile("etc/e820", boot.E820(m.memoryMap())); err != nil {
		return err
	}
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

// Way is how user interrupts go in this machine.
func (m *Machine) Way() vcpu.Way { return m.engine.way() }

// Run runs the machine until the guest ends it, ctx is done, or it fails, and
// returns the guest's exit status. ctx.Err() is returned if ctx ended it. A guest that
// resets its machine begins anew, unless the configuration has resets end the machine.
func (m *Machine) Run(ctx context.Context) (status int, err error) {
	release := context.AfterFunc(ctx, func() { m.end(0, ctx.Err()) })
	defer release()
	defer m.input.start(m.config.Input)()
	if m.config.Console != nil {
		defer m.consoleInput.start(m.config.Console.In)()
	}
	for m.runCPUs(); m.restarts(); m.runCPUs() {
		if err := m.restart(); err != nil {
			m.end(0, fmt.Errorf("vmm: after the guest's reset: %w", err))
			break
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.status, m.failed
}

// runCPUs runs all processors until the machine stops.
func (m *Machine) runCPUs() {
	m.mu.Lock()
	m.stop.Store(m.ended)
	m.running = m.cpus
	m.mu.Unlock()
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
	if m.debugger != nil {
		m.mu.Lock()
		status, err := m.status, m.failed
		m.mu.Unlock()
		m.debugger.finish(status, err)
	}
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
	defer m.mu.Unlock()
	if m.ended {
		return
	}
	m.ended, m.status, m.failed = true, status, err
	m.stopCPUsLocked()
}

// stopCPUsLocked has every processor leave the engine. m.mu keeps a reset from exchanging them meanwhile.
func (m *Machine) stopCPUsLocked() {
	m.stop.Store(true)
	if m.debugger != nil {
		m.debugger.end()
	}
	for _, c := range m.running {
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
	errs := []error{m.board.close()}
	for _, d := range m.disks {
		errs = append(errs, d.Close())
	}
	if m.kernel != nil {
		errs = append(errs, m.kernel.close())
	}
	errs = append(errs, m.closeNetworks()...)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("vmm: closing: %w", err)
	}
	return nil
}

func (b *board) close() error {
	for _, d := range b.devices {
		d.close()
	}
	if b.edu != nil {
		b.edu.Close()
	}
	if b.iommu != nil {
		b.iommu.Close()
	}
	var errs []error
	if b.engine != nil {
		errs = append(errs, b.engine.close())
	}
	if b.memory != nil {
		errs = append(errs, b.memory.Close())
	}
	return errors.Join(errs...)
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
