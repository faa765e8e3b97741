package edu

import (
	"errors"
	"fmt"
	"sync"

	"gvmm/vmm/pci"
)

// ErrOptions reports a device that cannot be made.
var ErrOptions = errors.New("edu: options")

// DMA is memory as the device sees it, as in package virtio.
type DMA interface {
	View(addr uint64, n int, write bool) ([]byte, error)
	Segments(dst [][]byte, addr uint64, n uint32, write bool) ([][]byte, error)
}

// Client is a DMA whose user says how long it uses what Segments gave, as in package virtio.
type Client interface {
	DMA
	Begin() (request int, ok bool)
	End(request int)
	Close()
}

// Options are what a device needs. DMA and MSI are required.
type Options struct {
	DMA  DMA
	MSI  pci.MSISender
	Mask uint64 // of memory addresses [28 bits]
	// Pin, if set, is INTA#; Route is the input that it is wired to, for the guest to read.
	Pin   func(high bool)
	Route uint8
}

// Identity and sizes.
const (
	Vendor  = 0x1234
	Product = 0x11E8
	BARSize = 1 << 20

	identification = 0x0100_00ED
	bufferAt       = 0x4_0000
	bufferBytes    = 4096
	defaultMask    = 1<<28 - 1
)

// Register offsets.
const (
	regID          = 0x00
	regLiveness    = 0x04
	regFactorial   = 0x08
	regStatus      = 0x20
	regInterrupt   = 0x24
	regRaise       = 0x60
	regAcknowledge = 0x64
	regSource      = 0x80
	regDestination = 0x88
	regCount       = 0x90
	regCommand     = 0x98
)

// Bits of status and command, and the reasons of interrupts.
const (
	statusInterrupt = 1 << 7

	commandStart     = 1 << 0
	commandToMemory  = 1 << 1
	commandInterrupt = 1 << 2

	reasonFactorial = 1 << 0
	reasonDMA       = 1 << 8
)

// Stats counts what the device did.
type Stats struct {
	Transfers  uint64 // done
	Bytes      uint64
	Refused    uint64 // by memory: unmapped, or blocked by an IOMMU
	Misplaced  uint64 // not wholly inside the buffer, or without bus mastering
	Interrupts uint64 // raised
	Messages   uint64 // of Transfers, those that were interrupt messages
}

// Device is one device.
type Device struct {
	options  Options
	client   Client // DMA, if addresses can be taken back; else nil
	function *pci.Function
	msi      *pci.MSI

	mu        sync.Mutex
	liveness  uint32
	factorial uint32
	status    uint32
	reasons   uint32
	dma       [4]uint64 // source, destination, count, command
	buffer    [bufferBytes]byte
	segments  [][]byte
	stats     Stats
}

// New makes a device.
func New(o Options) (*Device, error) {
	if o.DMA == nil || o.MSI == nil {
		return nil, fmt.Errorf("%w: DMA and MSI are required", ErrOptions)
	}
	if o.Mask == 0 {
		o.Mask = defaultMask
	}
	d := &Device{options: o, msi: pci.NewMSI(o.MSI)}
	d.client, _ = o.DMA.(Client)
	d.function = pci.NewFunction(pci.IDs{Vendor: Vendor, Device: Product, Revision: 0x10, Class: 0x00FF00})
	err := d.function.AddBAR(0, pci.BAR{Size: BARSize, Region: d})
	if err == nil {
		err = d.function.AddMSI(d.msi)
	}
	if err == nil && o.Pin != nil {
		err = d.function.AddPin(o.Route, o.Pin)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	return d, nil
}

// Function is the device on its bus.
func (d *Device) Function() *pci.Function { return d.function }

// Stats returns the counts.
func (d *Device) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats
}

// Reset returns the registers to their state at power-on. Use it with Function.Reset.
func (d *Device) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.liveness, d.factorial, d.status, d.reasons, d.dma = 0, 0, 0, 0, [4]uint64{}
	clear(d.buffer[:])
	d.function.SetINTx(false)
}

// Close gives up the device's DMA.
func (d *Device) Close() {
	if d.client != nil {
		d.client.Close()
	}
}
