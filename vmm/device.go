package vmm

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"gvmm/kvm"
	"gvmm/virtio/blk"
	"gvmm/virtio/virtiopci"
	"gvmm/vmm/pci"
)

// device is a virtio device in its machine.
type device struct {
	name      string
	requester pci.RequesterID
	transport *virtiopci.Transport
	disk      *blk.Device
	file      *blk.File
	stamps    []stampRing // of its queues
	doorbells *doorbells
}

// addDisk opens a disk and puts its device on the bus.
func (m *Machine) addDisk(i int, d Disk) error {
	file, err := blk.OpenFile(d.Path, d.ReadOnly)
	if errors.Is(err, os.ErrPermission) || errors.Is(err, unix.EROFS) {
		return fmt.Errorf("%w (a disk that is only read: --disk %s,readonly)", err, d.Path)
	}
	if err != nil {
		return err
	}
	dev := &device{
		name: fmt.Sprintf("disk%d", i), requester: pci.NewRequesterID(0, uint8(i+1), 0), file: file,
		stamps: make([]stampRing, m.config.queues()),
	}
	m.devices = append(m.devices, dev) // closed with the machine from here on
	dev.disk, err = blk.New(file, blk.Options{Queues: m.config.queues(), ReadOnly: d.ReadOnly, ID: dev.name})
	if err != nil {
		return err
	}
	options := virtiopci.Options{
		DMA: m.memory.DMA(), MSI: m.iommu.Sender(dev.requester), Stamp: dev.stamp,
		Failed: func(queue int, err error) { m.guestErrors.add(dev.name, queue, err) },
	}
	if !m.config.DoorbellExits {
		dev.doorbells = &doorbells{vm: m.hw.VM, kick: func(q int) { dev.transport.Kick(q) }}
		options.Doorbells = dev.doorbells
	}
	if dev.transport, err = virtiopci.New(dev.disk, options); err != nil {
		return err
	}
	if err := m.bus.Add(dev.requester, dev.transport.Function()); err != nil {
		return err
	}
	return dev.transport.Function().SetBAR(0, barBase+uint64(i)*virtiopci.BARSize)
}

func (d *device) close() {
	if d.transport != nil {
		d.transport.Close()
	}
	if d.doorbells != nil {
		d.doorbells.close()
	}
	if d.file != nil {
		_ = d.file.Close()
	}
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
