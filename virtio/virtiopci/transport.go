package virtiopci

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"gvmm/virtio"
	"gvmm/vmm/pci"
)

// ErrDevice reports a device that this transport cannot carry.
var ErrDevice = errors.New("virtiopci: device")

// noVector is "no MSI-X vector" (§4.1.4.3).
const noVector = 0xFFFF

// Doorbells learns where doorbells stand in guest-physical memory, to put an
// ioeventfd there (any length, no data match). It is called for every queue
// that the device has when the BAR becomes decoded, moves, or goes, with the
// function's configuration lock held.
type Doorbells interface {
	DoorbellMapped(queue int, gpa uint64)
	DoorbellUnmapped(queue int, gpa uint64)
}

// Platform says what becomes of VIRTIO_F_ACCESS_PLATFORM (§6.1).
type Platform int

// Behind an IOMMU only Required is safe for the driver: one that does not
// accept the feature would hand out physical addresses.
const (
	PlatformOff Platform = iota
	PlatformOffered
	PlatformRequired
)

// Options are what a transport needs besides its device.
type Options struct {
	DMA       virtio.DMA    // required
	MSI       pci.MSISender // required
	Platform  Platform
	SplitOnly bool   // do not offer packed queues
	Vectors   int    // MSI-X table size, at least 2; 0 means one a queue and one for configuration
	MaxBytes  uint64 // of one descriptor chain; 0 means virtio.DefaultMaxBytes
	// Doorbells, if set, is told where doorbells are.
	Doorbells Doorbells
	// Stamp, if set, is called right before a completion is published, with
	// how many of its queue were published before it, mod 2^16.
	Stamp func(queue int, index uint16)
	// Failed, if set, is told why the device came to need a reset, and by which
	// queue (-1: none in particular). It must not call back.
	Failed func(queue int, err error)
}

// Transport is a virtio device on PCI. Its methods may be called from any
// goroutine.
type Transport struct {
	device   virtio.Device
	options  Options
	offered  uint64
	function *pci.Function
	msix     *pci.MSIX
	queues   []queue

	mu     sync.Mutex // the common configuration, and the device's life
	common common
	closed bool

	status       atomic.Uint32 // device_status
	generation   atomic.Uint32 // config_generation
	isr          atomic.Uint32
	configVector atomic.Uint32
	running      atomic.Pointer[active]
	open         []*virtio.Queue // since the last reset
}

// active holds the device while it is activated.
type active struct{ virtio.Running }

// queue is what outlives a reset, and what the driver has set. It fills cache
// lines, since each queue counts on its own.
type queue struct {
	max      uint16
	counters virtio.Counters
	doorbell atomic.Uint64 // writes to the notification page
	vector   atomic.Uint32

	size    uint16
	enabled bool
	ring    [3]uint64 // descriptor, driver and device areas

	_ [40]byte
}

// New makes a transport for d. Put its Function on a bus.
func New(d virtio.Device, o Options) (*Transport, error) {
	sizes := d.Queues()
	if o.Vectors == 0 {
		o.Vectors = min(len(sizes)+1, pci.MaxVectors)
	}
	switch {
	case o.DMA == nil || o.MSI == nil:
		return nil, fmt.Errorf("%w: no memory or no message sender", ErrDevice)
	case len(sizes) < 1 || len(sizes) > MaxQueues:
		return nil, fmt.Errorf("%w: %d queues", ErrDevice, len(sizes))
	case o.Vectors < 2:
		return nil, fmt.Errorf("%w: %d MSI-X vectors", ErrDevice, o.Vectors)
	}
	msix, err := pci.NewMSIX(o.Vectors, o.MSI)
	if err != nil {
		return nil, err
	}
	t := &Transport{
		device: d, options: o, msix: msix,
		offered: d.Features() | virtio.FeatureVersion1 | virtio.FeatureIndirect | virtio.FeatureEventIdx,
		queues:  make([]queue, len(sizes)),
		function: pci.NewFunction(pci.IDs{
			Vendor: vendorID, Device: deviceIDBase + d.Type(), Revision: revision, Class: class(d.Type()),
			SubsystemVendor: vendorID, Subsystem: subsystemIDBase + d.Type(),
		}),
	}
	if o.Platform != PlatformOff {
		t.offered |= virtio.FeatureAccessPlatform
	}
	if !o.SplitOnly {
		t.offered |= virtio.FeatureRingPacked
	}
	for i, size := range sizes {
		if err := virtio.CheckLayout(size, 0, 0, 0); err != nil {
			return nil, fmt.Errorf("%w: queue %d: %w", ErrDevice, i, err)
		}
		t.queues[i].max = size
	}
	t.clear()
	t.function.OnBusMaster(t.busMaster)
	return t, t.lay()
}

// Function is the PCI function, to put on a bus.
func (t *Transport) Function() *pci.Function { return t.function }

// MSIX is the function's MSI-X table.
func (t *Transport) MSIX() *pci.MSIX { return t.msix }

// Queues is how many queues, and doorbells, the device has.
func (t *Transport) Queues() int { return len(t.queues) }

// Counters are queue n's counters, over all activations; nil if there is no
// such queue.
func (t *Transport) Counters(n int) *virtio.Counters {
	if n < 0 || n >= len(t.queues) {
		return nil
	}
	return &t.queues[n].counters
}

// DoorbellWrites counts queue n's doorbells that came as writes to the
// notification page, which cost the guest an exit.
func (t *Transport) DoorbellWrites(n int) uint64 {
	if n < 0 || n >= len(t.queues) {
		return 0
	}
	return t.queues[n].doorbell.Load()
}

// NeedsReset tells whether the device waits for its driver to reset it.
func (t *Transport) NeedsReset() bool { return t.status.Load()&statusNeedsReset != 0 }

// Kick rings queue n's doorbell. It never blocks, and a queue that is not
// there, or not active, is no error.
func (t *Transport) Kick(n int) {
	if r := t.running.Load(); r != nil && n >= 0 && n < len(t.queues) {
		r.Kick(n)
	}
}

// Reset stops the device and forgets what the driver set, as status 0 does.
// Use it with Function.Reset when the machine resets.
func (t *Transport) Reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reset()
}

// Close stops the device for good.
func (t *Transport) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.reset()
}

// barMoved reports doorbells as BAR 0 comes and goes.
func (t *Transport) barMoved(base uint64, decoded bool) {
	if t.options.Doorbells == nil {
		return
	}
	tell := t.options.Doorbells.DoorbellUnmapped
	if decoded {
		tell = t.options.Doorbells.DoorbellMapped
	}
	for i := range t.queues {
		tell(i, base+NotifyOffset+uint64(i)*DoorbellSize)
	}
}

// busMaster wakes queues that found nothing while memory was out of reach.
func (t *Transport) busMaster(on bool) {
	if !on {
		return
	}
	for i := range t.queues {
		t.Kick(i)
	}
}

// ISR status bits (§4.1.4.5). With MSI-X on, the driver does not read them.
const (
	isrQueue  = 1
	isrConfig = 2
)

// interrupt raises the vector that the driver chose for a queue or for
// configuration changes.
func (t *Transport) interrupt(vector *atomic.Uint32, isr uint32) {
	if !t.msix.Enabled() {
		t.isr.Or(isr)
		return
	}
	if v := vector.Load(); v != noVector {
		t.msix.Signal(uint16(v))
	}
}

func (t *Transport) configChanged() {
	t.generation.Add(1)
	t.interrupt(&t.configVector, isrConfig)
}
