package blk

import (
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"

	"gvmm/virtio"
)

// ErrOptions reports options that contradict each other.
var ErrOptions = errors.New("blk: options")

// Options shape a device. Zero values mean the default in brackets.
type Options struct {
	Queues    int    // request queues [1]
	QueueSize uint16 // entries of each, a power of two, at least 4 [256]
	Workers   int    // goroutines for what waits for storage, shared by the queues [4]; negative: none
	// Inline serves requests inside Kick, one after the other, on its caller's goroutine: what a device does is then part
	// of what a processor does, and repeats with it. There are no workers.
	Inline    bool
	Uncached  bool   // transfers wait for storage: the backend goes past the page cache
	Limits    Limits // how fast it serves; not with Inline
	InFlight  int    // requests taken from one queue and not completed [64]
	ReadOnly  bool   // writes end in an error, and the driver is told
	BlockSize int    // what the driver is told to use, a power of two of 512..4096 [512]
	ID        string // serial number, its first 20 bytes
}

// Stats count a queue's requests, over all activations.
type Stats struct {
	Reads, Writes, Flushes, Discards, Zeroes atomic.Uint64
	BytesRead, BytesWritten                  atomic.Uint64
	Errors                                   atomic.Uint64 // requests that ended in IOERR
	Unsupported                              atomic.Uint64 // requests that ended in UNSUPP
	Malformed                                atomic.Uint64 // requests without room for a status
	Offloaded                                atomic.Uint64 // requests that a worker served
	Submitted                                atomic.Uint64 // requests that a Submitter served
	Delayed                                  atomic.Uint64 // requests that Limits held up

	_ [32]byte // queues do not share a cache line
}

// Device is a virtio block device, not yet activated.
type Device struct {
	backend Backend
	options Options
	sectors uint64
	id      [idSize]byte
	config  [cfgSize]byte
	stats   []Stats // one a queue
	limiter *limiter
}

var _ virtio.Device = (*Device)(nil)

// New makes a device on b.
func New(b Backend, o Options) (*Device, error) {
	setDefault(&o.Queues, 1)
	setDefault(&o.QueueSize, 256)
	setDefault(&o.Workers, 4)
	setDefault(&o.InFlight, 64)
	setDefault(&o.BlockSize, SectorSize)
	switch {
	case o.Queues < 1 || o.Queues > 1024:
		return nil, fmt.Errorf("%w: %d queues", ErrOptions, o.Queues)
	case o.QueueSize < 4 || virtio.CheckLayout(o.QueueSize, 0, 0, 0) != nil:
		return nil, fmt.Errorf("%w: queue size %d", ErrOptions, o.QueueSize)
	case o.InFlight < 1:
		return nil, fmt.Errorf("%w: %d requests in flight", ErrOptions, o.InFlight)
	case o.BlockSize < SectorSize || o.BlockSize > 4096 || bits.OnesCount(uint(o.BlockSize)) != 1:
		return nil, fmt.Errorf("%w: block size %d", ErrOptions, o.BlockSize)
	case o.Inline && o.Limits != (Limits{}):
		return nil, fmt.Errorf("%w: limits of a device that serves inside Kick", ErrOptions)
	case b.Size() < 0 || b.Size()%SectorSize != 0:
		return nil, fmt.Errorf("%w: backend of %d bytes", ErrOptions, b.Size())
	}
	d := &Device{
		backend: b, options: o,
		sectors: uint64(b.Size()) / SectorSize,
		stats:   make([]Stats, o.Queues),
		limiter: newLimiter(o.Limits),
	}
	copy(d.id[:], o.ID)
	d.config = d.layConfig()
	return d, nil
}

func setDefault[T int | uint16](v *T, to T) {
	if *v == 0 {
		*v = to
	}
}

// Stats are queue n's counts; nil if there is no such queue.
func (d *Device) Stats(n int) *Stats {
	if n < 0 || n >= len(d.stats) {
		return nil
	}
	return &d.stats[n]
}

// Type implements virtio.Device.
func (d *Device) Type() uint16 { return 2 }

// Features implements virtio.Device.
func (d *Device) Features() uint64 {
	f := featureSegMax | featureBlkSize | featureFlush
	if d.options.Queues > 1 {
		f |= featureMQ
	}
	if d.options.ReadOnly {
		return f | featureReadOnly
	}
	return f | featureDiscard | featureWriteZeroes
}

// CheckFeatures implements virtio.Device: any subset will do.
func (d *Device) CheckFeatures(uint64) error { return nil }

// Queues implements virtio.Device.
func (d *Device) Queues() []uint16 {
	sizes := make([]uint16, d.options.Queues)
	for i := range sizes {
		sizes[i] = d.options.QueueSize
	}
	return sizes
}

// Activate implements virtio.Device.
func (d *Device) Activate(a virtio.Activation) (virtio.Running, error) {
	if len(a.Queues) != d.options.Queues {
		return nil, fmt.Errorf("%w: activated with %d queues", ErrOptions, len(a.Queues))
	}
	return start(d, a), nil
}
