// Package virtiopci is virtio over PCI (VIRTIO 1.3 §4.1), modern only: it
// makes a virtio.Device into a pci.Function, with MSI-X and no INTx.
//
// Everything is in BAR 0, 64-bit, BARSize bytes:
//
//	0x00000  common configuration       0x10000  MSI-X table
//	0x01000  ISR status                 0x18000  MSI-X pending bits
//	0x02000  device configuration
//	0x03000  notification, 4 bytes a queue
//
// Each structure has 4 KiB pages of its own, so a guest may map the
// notification page, and nothing else, into a program that drives a queue.
//
// A doorbell reaches the device through a write to that page, or by Kick from
// whoever owns an ioeventfd for it; Doorbells tells where these must be. The
// address of a doorbell names its queue, whatever is written there.
//
// While the guest has bus mastering off, no request is started and no message
// leaves. Writing 0 to the status register returns when all requests under way
// have ended.
package virtiopci
