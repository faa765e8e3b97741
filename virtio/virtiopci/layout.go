package virtiopci

import (
	"encoding/binary"

	"gvmm/vmm/pci"
)

// BAR 0.
const (
	BARSize      = 0x20000
	NotifyOffset = 0x3000 // of the notification page
	PageSize     = 0x1000 // of each structure
	DoorbellSize = 4      // notify_off_multiplier: from one queue to the next

	commonOffset = 0x0000
	isrOffset    = 0x1000
	deviceOffset = 0x2000
	tableOffset  = 0x10000
	pbaOffset    = 0x18000
)

// MaxQueues is how many doorbells the notification page holds.
const MaxQueues = PageSize / DoorbellSize

// Identity (§4.1.2).
const (
	vendorID        = 0x1AF4
	deviceIDBase    = 0x1040
	subsystemIDBase = 0x1040 // at least 0x40
	revision        = 1
)

// Capability types (§4.1.4).
const (
	capCommon = 1
	capNotify = 2
	capISR    = 3
	capDevice = 4
	capWindow = 5
)

const (
	commonSize = 64 // to the end of admin_queue_num
	isrSize    = 1
)

// capability is a struct virtio_pci_cap without its first two bytes, followed
// by extra bytes.
func capability(kind uint8, offset, length uint32, extra ...byte) pci.Capability {
	body := make([]byte, 14, 14+len(extra))
	body[0] = uint8(16 + len(extra)) // cap_len
	body[1] = kind
	body[2] = 0 // bar
	binary.LittleEndian.PutUint32(body[6:], offset)
	binary.LittleEndian.PutUint32(body[10:], length)
	return pci.Capability{ID: pci.CapVendor, Body: append(body, extra...)}
}

// class is the PCI class for a virtio device type: nothing depends on it, but
// it is what people see listed.
func class(deviceType uint16) uint32 {
	switch deviceType {
	case 1:
		return 0x020000 // network
	case 2:
		return 0x018000 // mass storage, other
	case 3:
		return 0x078000 // communication, other
	default:
		return 0xFF0000
	}
}

// lay gives the function its BAR, its capabilities and MSI-X.
func (t *Transport) lay() error {
	notify := binary.LittleEndian.AppendUint32(nil, DoorbellSize)
	table, pba := t.msix.Table(), t.msix.PBA()
	bar := pci.BAR{
		Size: BARSize, Wide: true, Moved: t.barMoved,
		Region: pci.Windows{
			{Offset: NotifyOffset, Size: PageSize, Region: notifyRegion{t}},
			{Offset: isrOffset, Size: PageSize, Region: isrRegion{t}},
			{Offset: deviceOffset, Size: PageSize, Region: deviceRegion{t}},
			{Offset: commonOffset, Size: PageSize, Region: commonRegion{t}},
			{Offset: tableOffset, Size: t.msix.TableSize(), Region: table},
			{Offset: pbaOffset, Size: t.msix.PBASize(), Region: pba},
		},
	}
	if err := t.function.AddBAR(0, bar); err != nil {
		return err
	}
	window := capability(capWindow, 0, 0, 0, 0, 0, 0)
	window.Handler = &configWindow{bar: bar.Region}
	for _, c := range []pci.Capability{
		capability(capCommon, commonOffset, commonSize),
		capability(capNotify, NotifyOffset, uint32(DoorbellSize*len(t.queues)), notify...),
		capability(capISR, isrOffset, isrSize),
		capability(capDevice, deviceOffset, PageSize),
		window,
	} {
		if _, err := t.function.AddCapability(c); err != nil {
			return err
		}
	}
	return t.function.AddMSIX(t.msix, 0, tableOffset, 0, pbaOffset)
}
