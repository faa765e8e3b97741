package blk

import (
	"sync"
	"sync/atomic"
	"time"

	"gvmm/virtio"
)

// machine is an activated device: an engine for each enabled queue, and the
// workers that they share.
type machine struct {
	engines  []*engine // nil where the queue is not enabled
	work     chan job
	stopping atomic.Bool
	stop     sync.Once
	stopped  chan struct{} // closed by Stop
	queues   sync.WaitGroup
	workers  sync.WaitGroup
	flying   sync.WaitGroup // submitted requests
}

var _ virtio.Running = (*machine)(nil)

// job is a request that waits for a worker.
type job struct {
	engine  *engine
	request *request
}

func start(d *Device, a virtio.Activation) *machine {
	m := &machine{engines: make([]*engine, len(a.Queues)), stopped: make(chan struct{})}
	if d.options.Workers > 0 && !d.options.Inline {
		// With room for all there can be, handing over never waits.
		m.work = make(chan job, len(a.Queues)*d.options.InFlight)
		for range d.options.Workers {
			m.workers.Go(m.worker)
		}
	}
	for i, q := range a.Queues {
		if q == nil {
			continue
		}
		e := newEngine(d, m, i, q, a)
		m.engines[i] = e
		if !d.options.Inline {
			m.queues.Go(e.run)
		}
	}
	return m
}

// Kick implements virtio.Running.
func (m *machine) Kick(queue int) {
	if queue < 0 || queue >= len(m.engines) || m.engines[queue] == nil {
		return
	}
	if e := m.engines[queue]; e.device.options.Inline {
		e.serveNow()
		return
	}
	select {
	case m.engines[queue].wake <- struct{}{}:
	default: // it has yet to look
	}
}

// Stop implements virtio.Running.
func (m *machine) Stop() {
	m.stop.Do(func() {
		m.stopping.Store(true)
		close(m.stopped)
		for i, e := range m.engines {
			m.Kick(i)
			if e != nil {
				e.settle()
			}
		}
		m.queues.Wait()
		if m.work != nil {
			close(m.work)
		}
		m.workers.Wait()
		m.flying.Wait()
	})
}

func (m *machine) worker() {
	for j := range m.work {
		e, r := j.engine, j.request
		status, written := e.serve(r)
		e.stats.Offloaded.Add(1)
		if err := e.complete(r, status, written); err != nil {
			e.fail(err)
		}
		e.free <- r
	}
}

// engine serves one queue, in a goroutine of its own.
type engine struct {
	device       *Device
	machine      *machine
	stats        *Stats
	queue        *virtio.Queue
	prompt       PromptReader // nil if the backend is none
	writeThrough bool         // the driver has no flush
	report       func(error)
	once         sync.Once
	inline       sync.Mutex // held by serveNow
	failed       bool       // serveNow's queue cannot be trusted

	wake  chan struct{} // holds a token if there may be something to pop
	free  chan *request // returned by workers; has room for all
	spare *request      // in the hands of the queue's goroutine
	made  int           // how many requests there are

	submitter   Submitter // nil if the backend is none
	uncommitted bool      // it holds what has not begun
	timer       *time.Timer
}

func newEngine(d *Device, m *machine, i int, q *virtio.Queue, a virtio.Activation) *engine {
	prompt, _ := d.backend.(PromptReader)
	submitter, _ := d.backend.(Submitter)
	if d.options.Workers < 0 || d.options.Inline {
		submitter = nil
	}
	return &engine{
		device: d, machine: m, stats: &d.stats[i], queue: q, prompt: prompt, submitter: submitter,
		writeThrough: a.Features&featureFlush == 0,
		report:       func(err error) { a.Fail(i, err) },
		wake:         make(chan struct{}, 1),
		free:         make(chan *request, d.options.InFlight),
	}
}

// fail reports the first error; the queue itself then refuses to go on.
func (e *engine) fail(err error) {
	e.once.Do(func() { e.report(err) })
}

// serveNow serves what the queue holds, for a device without goroutines.
func (e *engine) serveNow() {
	e.inline.Lock()
	defer e.inline.Unlock()
	if e.failed || e.machine.stopping.Load() {
		return
	}
	if err := e.drain(); err != nil {
		e.failed = true
		e.fail(err)
	}
}

// settle waits until a request that serveNow has under way is done.
func (e *engine) settle() {
	e.inline.Lock()
	defer e.inline.Unlock()
}

// run serves the queue until it is stopped or cannot be trusted.
func (e *engine) run() {
	defer e.commit()
	for !e.machine.stopping.Load() {
		if err := e.drain(); err != nil {
			e.fail(err)
			return
		}
		e.commit()
		<-e.wake
	}
}

// drain serves what the queue holds. It returns when the queue is empty and
// the driver knows to kick, or when the device stops.
func (e *engine) drain() error {
	if err := e.queue.DisableKicks(); err != nil {
		return err
	}
	for {
		r := e.request()
		if e.machine.stopping.Load() {
			return nil
		}
		ok, err := e.queue.Pop(&r.chain)
		if err != nil {
			return err
		}
		if ok {
			err = e.take(r)
		} else if ok, err = e.queue.EnableKicks(); !ok && err == nil {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// request is what to pop into: the spare one, or a new one, or, when as many
// as allowed are out, the next that a worker returns.
func (e *engine) request() *request {
	if e.spare != nil {
		return e.spare
	}
	select {
	case e.spare = <-e.free:
	default:
		if e.made < e.device.options.InFlight {
			e.made++
			e.spare = new(request)
		} else {
			e.commit()
			e.spare = <-e.free
		}
	}
	return e.spare
}

// take serves a popped request here, or hands it to a worker.
func (e *engine) take(r *request) error {
	status, ok := r.parse()
	if !ok {
		e.stats.Malformed.Add(1)
		return e.push(r.chain.Head, 0)
	}
	if status != statusOK {
		return e.complete(r, status, 0)
	}
	if e.device.limiter != nil && !e.throttle(r) {
		return nil
	}
	if r.kind == typeIn && e.prompt != nil {
		if status, written, ok := e.try(r); ok {
			e.commit()
			return e.complete(r, status, written)
		}
	}
	if e.machine.work != nil && e.waits(r) {
		e.spare = nil
		if !e.submit(r) {
			e.machine.work <- job{e, r}
		}
		return nil
	}
	e.commit()
	status, written := e.serve(r)
	return e.complete(r, status, written)
}

// waits tells whether r is likely to wait for storage, and so to hold up what
// is behind it. A write mostly ends in the host's memory: a lone one is done
// sooner than handed over. So is a read from a backend that cannot tell.
func (e *engine) waits(r *request) bool {
	if e.device.options.Uncached && (r.kind == typeIn || r.kind == typeOut) {
		return true
	}
	switch r.kind {
	case typeIn:
		return e.prompt != nil || e.queue.More()
	case typeOut:
		return e.writeThrough || e.queue.More()
	case typeFlush, typeDiscard, typeWriteZeroes:
		return true
	}
	return false
}

// complete writes the status and gives the request back to the driver.
func (e *engine) complete(r *request, status uint8, written int) error {
	switch status {
	case statusIOError:
		e.stats.Errors.Add(1)
	case statusUnsupported:
		e.stats.Unsupported.Add(1)
	}
	r.status[0] = status
	return e.push(r.chain.Head, uint32(written)+1)
}

func (e *engine) push(head uint16, written uint32) error {
	if err := e.queue.Push(head, written); err != nil {
		return err
	}
	_, err := e.queue.Notify()
	return err
}
