package vmm

import (
	"io"

	"gvmm/virtio"
	"gvmm/virtio/blk"
	"gvmm/virtio/virtiopci"
	"gvmm/vmm/pci"
)

// device is a virtio device in its machine.
type device struct {
	name      string
	requester pci.RequesterID
	transport *virtiopci.Transport
	disk      *blk.Device // nil: not a disk
	host      io.Closer   // what the device stands on in the host; nil: nothing
	stamps    []stampRing // of its queues
	now       func() uint64
	doorbells doorbellTable // nil where its stores come as exits
}

// addVirtio puts a virtio device in the bus's next slot. The board closes host, which may be nil, also after an error.
func (m *Machine) addVirtio(name string, d virtio.Device, host io.Closer) (*device, error) {
	i := len(m.devices)
	dev := &device{
		name: name, requester: pci.NewRequesterID(0, uint8(i+1), 0), host: host,
		stamps: make([]stampRing, len(d.Queues())), now: m.engine.now,
	}
	m.devices = append(m.devices, dev) // closed with the machine from here on
	dma, platform := m.deviceDMA(dev.requester)
	options := virtiopci.Options{
		DMA: dma, Platform: platform, MSI: m.iommu.Sender(dev.requester), Stamp: dev.stamp,
		Failed: func(queue int, err error) { m.guestErrors.add(name, queue, err) },
	}
	if !m.config.DoorbellExits {
		if table := m.engine.doorbells(func(q int) { dev.transport.Kick(q) }); table != nil {
			dev.doorbells, options.Doorbells = table, table
		}
	}
	var err error
	if dev.transport, err = virtiopci.New(d, options); err != nil {
		return nil, err
	}
	if err := m.bus.Add(dev.requester, dev.transport.Function()); err != nil {
		return nil, err
	}
	return dev, dev.transport.Function().SetBAR(0, barBase+uint64(i)*virtiopci.BARSize)
}

func (d *device) close() {
	if d.transport != nil {
		d.transport.Close()
	}
	if d.doorbells != nil {
		d.doorbells.close()
	}
	if d.host != nil {
		_ = d.host.Close()
	}
}
