package console

import (
	"sync/atomic"

	"gvmm/virtio"
)

// lastBytes is how much of what the driver had queued a device that stops
// writes out.
const lastBytes = 1 << 20

// running is an activated console.
type running struct {
	device  *Device
	control *control // nil: without MULTIPORT
	changed func()   // of the configuration; nil: the driver does not ask for the size
	servers []*virtio.Server

	stopping atomic.Bool
	last     int // bytes left to write; the transmit server's
	scratch  [4096]byte
}

var _ virtio.Running = (*running)(nil)

func newRunning(d *Device, a virtio.Activation) *running {
	r := &running{device: d, last: lastBytes, servers: make([]*virtio.Server, len(a.Queues))}
	if a.Features&featureSize != 0 {
		r.changed = a.ConfigChanged
	}
	serve := []virtio.ServerConfig{
		queueReceive:  {Serve: r.receive, Wanted: d.waiting},
		queueTransmit: {Serve: r.transmit},
	}
	if a.Features&featureMultiPort != 0 {
		r.control = &control{device: d, size: r.changed != nil}
		serve = append(serve,
			virtio.ServerConfig{Serve: r.control.send, Wanted: r.control.waiting},
			virtio.ServerConfig{Serve: r.command})
	}
	for i, c := range serve {
		if c.Queue = a.Queues[i]; c.Queue == nil {
			continue
		}
		c.Inline, c.Fail = d.options.Inline, func(err error) { a.Fail(i, err) }
		r.servers[i] = virtio.NewServer(c)
	}
	return r
}

// Kick implements virtio.Running.
func (r *running) Kick(queue int) {
	if queue >= 0 && queue < len(r.servers) && r.servers[queue] != nil {
		r.servers[queue].Kick()
	}
}

// Stop implements virtio.Running. It waits for the writer.
func (r *running) Stop() {
	r.device.mu.Lock()
	if r.device.live == r {
		r.device.live = nil
	}
	r.device.mu.Unlock()
	if r.stopping.Swap(true) {
		return
	}
	for _, s := range r.servers {
		if s != nil {
			s.Stop()
		}
	}
	if s := r.servers[queueTransmit]; s != nil {
		s.Finish()
	}
}

// receive serves a buffer of the receive queue, when there is input.
func (r *running) receive(c *virtio.Chain) (uint32, error) {
	return uint32(r.device.take(c.Writable)), nil
}

// transmit serves a buffer of the transmit queue: copied, since the guest may
// change it and the writer may keep what it is given for the while of a Write.
func (r *running) transmit(c *virtio.Chain) (uint32, error) {
	for _, s := range c.Readable {
		for len(s) > 0 {
			n := copy(r.scratch[:], s)
			if r.stopping.Load() {
				n = min(n, r.last)
				r.last -= n
				if n == 0 {
					return 0, nil
				}
			}
			r.device.write(r.scratch[:n])
			s = s[n:]
		}
	}
	return 0, nil
}

// command serves a buffer of the control transmit queue.
func (r *running) command(c *virtio.Chain) (uint32, error) {
	if r.control.command(c.Readable) {
		r.Kick(queueControlReceive)
	}
	return 0, nil
}

// resized tells the driver that the window's size has changed.
func (r *running) resized() {
	if r.changed == nil {
		return
	}
	r.changed()
	if r.control != nil && r.control.resized() {
		r.Kick(queueControlReceive)
	}
}
