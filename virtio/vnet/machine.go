package vnet

import (
	"sync"
	"sync/atomic"

	"gvmm/virtio"
)

// machine is an activated device.
type machine struct {
	device   *Device
	features uint64
	filter   atomic.Pointer[filter]
	guest    atomic.Uint64 // guestOffloads that the driver takes now
	steering steering
	room     atomic.Pointer[func()]

	receive  []*rxQueue // by pair, nil where the queue is not enabled
	workers  []*worker  // of the transmit queues and the control queue
	kicks    []func()   // by queue, nil where there is nothing to wake
	stopping atomic.Bool
	stop     sync.Once
	running  sync.WaitGroup
}

var (
	_ virtio.Running = (*machine)(nil)
	_ Receiver       = (*machine)(nil)
)

func start(d *Device, a virtio.Activation) *machine {
	pairs, control := 1, 2
	if a.Features&featureMQ != 0 {
		pairs, control = d.options.Pairs, 2*d.options.Pairs
	}
	m := &machine{device: d, features: a.Features, receive: make([]*rxQueue, pairs), kicks: make([]func(), len(a.Queues))}
	m.filter.Store(newFilter(d.options.MAC))
	m.guest.Store(a.Features & guestOffloads)
	m.steering.pairs.Store(1)
	for pair := range pairs {
		rx, tx := 2*pair, 2*pair+1
		if q := a.Queues[rx]; q != nil {
			m.receive[pair] = newRxQueue(m, q, &d.stats[rx], func(err error) { a.Fail(rx, err) })
			m.kicks[rx] = m.receive[pair].kick
		}
		if q := a.Queues[tx]; q != nil {
			t := &txQueue{machine: m, pair: pair, queue: q, stats: &d.stats[tx]}
			m.addWorker(tx, a, t.drain)
		}
	}
	if q := a.Queues[control]; q != nil && a.Features&featureCtrlQueue != 0 {
		c := &controlQueue{machine: m, queue: q, stats: &d.stats[len(d.stats)-1]}
		m.addWorker(control, a, c.drain)
	}
	d.running.Store(m)
	d.link.Start(m)
	if !d.options.Inline {
		for _, w := range m.workers {
			m.running.Go(w.run)
		}
	}
	return m
}

func (m *machine) addWorker(index int, a virtio.Activation, drain func() error) {
	w := &worker{machine: m, drain: drain, report: func(err error) { a.Fail(index, err) }, wake: make(chan struct{}, 1)}
	m.workers = append(m.workers, w)
	m.kicks[index] = w.kick
	if m.device.options.Inline {
		m.kicks[index] = w.serveNow
	}
}

// Kick implements virtio.Running.
func (m *machine) Kick(queue int) {
	if queue >= 0 && queue < len(m.kicks) && m.kicks[queue] != nil {
		m.kicks[queue]()
	}
}

// Stop implements virtio.Running. Nothing transmits any more when the link is
// told to stop, and nothing is received when that returns.
func (m *machine) Stop() {
	m.stop.Do(func() {
		m.stopping.Store(true)
		for _, w := range m.workers {
			w.kick()
			w.settle()
		}
		m.running.Wait()
		m.device.link.Stop()
		m.device.running.CompareAndSwap(m, nil)
	})
}

// worker serves a queue that the driver fills: in a goroutine of its own, or
// inside Kick.
type worker struct {
	machine *machine
	drain   func() error
	report  func(error)
	wake    chan struct{} // holds a token if there may be something to pop
	inline  sync.Mutex    // held by serveNow
	failed  bool          // serveNow's queue cannot be trusted
}

func (w *worker) kick() {
	select {
	case w.wake <- struct{}{}:
	default: // it has yet to look
	}
}

// run serves the queue until the device stops or the queue cannot be trusted.
func (w *worker) run() {
	for !w.machine.stopping.Load() {
		if err := w.drain(); err != nil {
			w.report(err)
			return
		}
		<-w.wake
	}
}

// serveNow serves what the queue holds, for a device without goroutines.
func (w *worker) serveNow() {
	w.inline.Lock()
	defer w.inline.Unlock()
	if w.failed || w.machine.stopping.Load() {
		return
	}
	if err := w.drain(); err != nil {
		w.failed = true
		w.report(err)
	}
}

// settle waits until what serveNow has under way is done.
func (w *worker) settle() {
	w.inline.Lock()
	defer w.inline.Unlock()
}
