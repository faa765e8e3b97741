package vmm

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

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
	now       func() uint64
	doorbells doorbellTable // nil where its stores come as exits
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
		stamps: make([]stampRing, m.config.queues()), now: m.engine.now,
	}
	m.devices = append(m.devices, dev) // closed with the machine from here on
	dev.disk, err = blk.New(file, blk.Options{Queues: m.config.queues(), Inline: m.config.ICount > 0, ReadOnly: d.ReadOnly, ID: dev.name})
	if err != nil {
		return err
	}
	dma, platform := m.deviceDMA(dev.requester)
	options := virtiopci.Options{
		DMA: dma, Platform: platform, MSI: m.iommu.Sender(dev.requester), Stamp: dev.stamp,
		Failed: func(queue int, err error) { m.guestErrors.add(dev.name, queue, err) },
	}
	if !m.config.DoorbellExits {
		if table := m.engine.doorbells(func(q int) { dev.transport.Kick(q) }); table != nil {
			dev.doorbells, options.Doorbells = table, table
		}
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
