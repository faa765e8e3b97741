package vnet

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"gvmm/virtio"
)

// How a device can be asked for what it cannot be.
var (
	ErrOptions  = errors.New("vnet: options")
	ErrFeatures = errors.New("vnet: features contradict each other")
)

// MaxPairs is the largest number of queue pairs of a device.
const MaxPairs = 8

// minMTU is IPv4's least; 65535 is what the field holds (§5.1.4).
const (
	minMTU = 68
	maxMTU = 65535
)

// MAC is an Ethernet address.
type MAC [6]byte

// Multicast tells whether m is a group's address, such as broadcast.
func (m MAC) Multicast() bool { return m[0]&1 != 0 }

// String is m as people write it: 02:00:00:00:00:01.
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// ParseMAC reads an address in any way that people write one.
func ParseMAC(s string) (MAC, error) {
	a, err := net.ParseMAC(s)
	if err != nil || len(a) != len(MAC{}) {
		return MAC{}, fmt.Errorf("%w: %q is no MAC address, such as 02:00:00:00:00:01", ErrOptions, s)
	}
	return MAC(a), nil
}

// broadcast is everybody's address.
var broadcast = MAC{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}

// Options shape a device. Zero values mean the default in brackets.
type Options struct {
	MAC       MAC    // required: an address of one station's
	Pairs     int    // of a receive and a transmit queue [1]
	QueueSize uint16 // entries of each, a power of two, at least 4 [256]
	MTU       int    // that the driver is told [DefaultMTU]
	Speed     int    // that the driver is told, Mbit/s; 0 is unknown
	// Inline serves queues inside Kick, on its caller's goroutine: the device has none of its own.
	Inline bool
}

// Stats count a queue's frames, over all activations.
type Stats struct {
	Frames, Bytes atomic.Uint64 // that went through, headers of the device's not counted
	NoRoom        atomic.Uint64 // transmit: dropped by the link; receive: refused for want of buffers, the link may try again
	Dropped       atomic.Uint64 // receive: frames or segments too long for the driver's buffers
	Filtered      atomic.Uint64 // receive: not for this station
	Malformed     atomic.Uint64 // frames, buffers or commands that were wrong
	Completed     atomic.Uint64 // receive: frames whose checksum or segmentation the device did
	Commands      atomic.Uint64 // control: obeyed

	_ [64]byte // queues do not share a cache line
}

// Device is a virtio network device, not yet activated.
type Device struct {
	link     Link
	offloads Offloads // the link's
	options  Options
	config   [cfgSize]byte
	stats    []Stats // one a queue
	running  atomic.Pointer[machine]
}

var _ virtio.Device = (*Device)(nil)

// New makes a device on l, which it starts and stops but does not close.
func New(l Link, o Options) (*Device, error) {
	if o.Pairs == 0 {
		o.Pairs = 1
	}
	if o.QueueSize == 0 {
		o.QueueSize = 256
	}
	if o.MTU == 0 {
		o.MTU = DefaultMTU
	}
	switch {
	case l == nil:
		return nil, fmt.Errorf("%w: no link", ErrOptions)
	case o.MAC == MAC{} || o.MAC.Multicast():
		return nil, fmt.Errorf("%w: %v is not the MAC address of one station", ErrOptions, o.MAC)
	case o.Pairs < 1 || o.Pairs > MaxPairs:
		return nil, fmt.Errorf("%w: %d queue pairs; 1 to %d can be had", ErrOptions, o.Pairs, MaxPairs)
	case o.QueueSize < 4 || virtio.CheckLayout(o.QueueSize, 0, 0, 0) != nil:
		return nil, fmt.Errorf("%w: queue size %d", ErrOptions, o.QueueSize)
	case o.MTU < minMTU || o.MTU > maxMTU:
		return nil, fmt.Errorf("%w: MTU %d; %d to %d can be had", ErrOptions, o.MTU, minMTU, maxMTU)
	case o.Speed < 0 || o.Speed > 0x7FFF_FFFF:
		return nil, fmt.Errorf("%w: speed %d", ErrOptions, o.Speed)
	}
	d := &Device{link: l, offloads: l.Offloads(), options: o, stats: make([]Stats, 2*o.Pairs+1)}
	d.config = d.layConfig()
	return d, nil
}

// mac is the station's address as it is now: the driver may have set another.
func (d *Device) mac() MAC {
	if m := d.running.Load(); m != nil {
		return m.filter.Load().mac
	}
	return d.options.MAC
}

// Stats are queue n's counts; nil if there is no such queue. Even queues
// receive, odd ones transmit, the last one is for control, wherever a driver
// without multiqueue finds it.
func (d *Device) Stats(n int) *Stats {
	if n < 0 || n >= len(d.stats) {
		return nil
	}
	return &d.stats[n]
}

// Pairs is how many queue pairs the device has.
func (d *Device) Pairs() int { return d.options.Pairs }

// Type implements virtio.Device.
func (d *Device) Type() uint16 { return 1 }

// controlSize is the size of the control queue: one command at a time is usual.
const controlSize = 64

// Queues implements virtio.Device: receive and transmit by turns, then control.
// A driver without multiqueue has its control queue in third place (§5.1.2).
func (d *Device) Queues() []uint16 {
	sizes := make([]uint16, 2*d.options.Pairs+1)
	for i := range sizes {
		sizes[i] = d.options.QueueSize
	}
	sizes[len(sizes)-1] = min(controlSize, d.options.QueueSize)
	return sizes
}

// Activate implements virtio.Device.
func (d *Device) Activate(a virtio.Activation) (virtio.Running, error) {
	if len(a.Queues) != len(d.stats) {
		return nil, fmt.Errorf("%w: activated with %d queues", ErrOptions, len(a.Queues))
	}
	return start(d, a), nil
}
