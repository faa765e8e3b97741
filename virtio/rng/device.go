package rng

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"golang.org/x/time/rate"

	"gvmm/virtio"
)

// Errors.
var (
	ErrOptions = errors.New("rng: options")
	ErrSource  = errors.New("rng: source of random bytes")
)

// MaxRequest is how many bytes one request gets.
const MaxRequest = 64 << 10

// Options shape a device. Zero values mean the default in brackets.
type Options struct {
	Source    io.Reader // of random bytes [crypto/rand]
	QueueSize uint16    // a power of two [64]
	// BytesPerSecond is the most that the driver gets [16 MiB]; negative: as fast as it asks.
	BytesPerSecond int
	// Inline serves requests inside Kick, on its caller's goroutine, as fast as the driver asks: the device then
	// repeats with the processor, if Source repeats.
	Inline bool
}

// Device is an entropy device, not yet activated.
type Device struct {
	options Options
	limit   *rate.Limiter
}

var _ virtio.Device = (*Device)(nil)

// New makes a device.
func New(o Options) (*Device, error) {
	if o.Source == nil {
		o.Source = rand.Reader
	}
	if o.QueueSize == 0 {
		o.QueueSize = 64
	}
	if o.BytesPerSecond == 0 {
		o.BytesPerSecond = 16 << 20
	}
	if virtio.CheckLayout(o.QueueSize, 0, 0, 0) != nil {
		return nil, fmt.Errorf("%w: queue size %d", ErrOptions, o.QueueSize)
	}
	limit := rate.Limit(o.BytesPerSecond)
	if o.BytesPerSecond < 0 || o.Inline {
		limit = rate.Inf
	}
	return &Device{options: o, limit: rate.NewLimiter(limit, MaxRequest)}, nil
}

// Type implements virtio.Device.
func (d *Device) Type() uint16 { return 4 }

// Features implements virtio.Device.
func (d *Device) Features() uint64 { return 0 }

// CheckFeatures implements virtio.Device.
func (d *Device) CheckFeatures(uint64) error { return nil }

// Queues implements virtio.Device.
func (d *Device) Queues() []uint16 { return []uint16{d.options.QueueSize} }

// ReadConfig implements virtio.Device: there is none.
func (d *Device) ReadConfig(_ uint64, p []byte) { clear(p) }

// WriteConfig implements virtio.Device.
func (d *Device) WriteConfig(uint64, []byte) {}

// Activate implements virtio.Device.
func (d *Device) Activate(a virtio.Activation) (virtio.Running, error) {
	if len(a.Queues) != 1 {
		return nil, fmt.Errorf("%w: activated with %d queues", ErrOptions, len(a.Queues))
	}
	if a.Queues[0] == nil {
		return idle{}, nil
	}
	r := &running{device: d}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.server = virtio.NewServer(virtio.ServerConfig{
		Queue: a.Queues[0], Serve: r.fill, Inline: d.options.Inline, Fail: func(err error) { a.Fail(0, err) },
	})
	return r, nil
}

// idle is a device whose driver enabled no queue.
type idle struct{}

// Kick implements virtio.Running.
func (idle) Kick(int) {}

// Stop implements virtio.Running.
func (idle) Stop() {}

// running is an activated device.
type running struct {
	device  *Device
	server  *virtio.Server
	ctx     context.Context // ends a wait for the rate
	cancel  context.CancelFunc
	scratch [4096]byte
}

// Kick implements virtio.Running.
func (r *running) Kick(queue int) {
	if queue == 0 {
		r.server.Kick()
	}
}

// Stop implements virtio.Running.
func (r *running) Stop() {
	r.cancel()
	r.server.Stop()
}

// fill serves a request. Random bytes are made in the device's own memory: the
// source's working is nothing for a guest to watch.
func (r *running) fill(c *virtio.Chain) (written uint32, err error) {
	left := int(min(c.WriteLen, MaxRequest))
	if err := r.device.limit.WaitN(r.ctx, left); err != nil {
		return 0, fmt.Errorf("%w: %w", virtio.ErrStopped, err)
	}
	for _, s := range c.Writable {
		for len(s) > 0 && left > 0 {
			n := min(len(s), left, len(r.scratch))
			if _, err := io.ReadFull(r.device.options.Source, r.scratch[:n]); err != nil {
				return written, fmt.Errorf("%w: %w", ErrSource, err)
			}
			copy(s, r.scratch[:n])
			s, left, written = s[n:], left-n, written+uint32(n)
		}
	}
	return written, nil
}
