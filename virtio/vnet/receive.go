package vnet

import (
	"sync"
	"sync/atomic"

	"gvmm/virtio"
)

// Receive implements Receiver.
func (m *machine) Receive(h Header, frame [][]byte) bool {
	n := total(frame)
	var to MAC
	switch gather(to[:], frame); {
	case n < EthernetSize || n > MaxFrame || h.Check(n) != nil:
		m.device.stats[0].Malformed.Add(1)
		return true
	case !m.filter.Load().wants(to):
		m.device.stats[0].Filtered.Add(1)
		return true
	}
	for {
		pair := m.steering.pick(frame)
		q := m.receive[pair]
		if q == nil {
			m.device.stats[2*pair].Dropped.Add(1)
			return true
		}
		if accepted, mine := q.receive(pair, h, frame, n); mine {
			return accepted
		}
	}
}

// OnRoom implements Receiver.
func (m *machine) OnRoom(f func()) { m.room.Store(&f) }

// takes tells whether a driver that takes these offloads takes h as it is.
func takes(guest uint64, h Header) bool {
	need := needs(h, featureGuestCsum, featureGuestTSO4, featureGuestTSO6, featureGuestECN)
	return guest&need == need
}

// rxQueue takes frames from the link to a driver, on the link's goroutines.
type rxQueue struct {
	machine *machine
	queue   *virtio.Queue
	stats   *Stats
	report  func(error)
	waiting atomic.Bool // a frame was refused: tell the link when buffers come

	mu        sync.Mutex
	failed    bool // the queue cannot be trusted
	asked     bool // for kicks
	store     reservation
	segmenter Segmenter
	linear    []byte // a frame in one piece
	parts     [2][]byte
}

func newRxQueue(m *machine, q *virtio.Queue, stats *Stats, report func(error)) *rxQueue {
	return &rxQueue{
		machine: m, queue: q, stats: stats, report: report, asked: true, // as drivers assume
		store: reservation{queue: q, mergeable: m.features&featureMergeable != 0},
	}
}

// kick says that buffers have come.
func (q *rxQueue) kick() {
	if !q.waiting.Load() || !q.waiting.Swap(false) {
		return
	}
	if f := q.machine.room.Load(); f != nil {
		(*f)()
	}
}

// receive puts a frame into the driver's buffers. mine is false if the driver
// has since taken the pair out of use.
func (q *rxQueue) receive(pair int, h Header, frame [][]byte, n int) (accepted, mine bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if pair >= int(q.machine.steering.pairs.Load()) {
		return false, false
	}
	if q.failed || q.machine.stopping.Load() {
		q.stats.Dropped.Add(1)
		return true, true
	}
	accepted, err := q.deliver(h, frame, n)
	if err != nil {
		q.failed = true
		q.kick()
		q.report(err)
		return true, true
	}
	if !accepted {
		q.stats.NoRoom.Add(1)
	}
	return accepted, true
}

// leave waits until a frame that is being received on a pair out of use is, and
// has the link bring elsewhere what was refused here.
func (q *rxQueue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.kick()
}

// deliver tries until the frame is in the driver's buffers, or dropped, or there
// are too few and the driver knows to kick.
func (q *rxQueue) deliver(h Header, frame [][]byte, n int) (bool, error) {
	for {
		done, err := q.try(h, frame, n)
		if err != nil {
			return false, err
		}
		if done {
			// Whoever was refused before may go on: their kick might not come.
			q.kick()
			return true, q.quiet()
		}
		q.asked = true
		q.waiting.Store(true)
		if more, err := q.queue.AwaitMore(); !more || err != nil {
			return false, err
		}
	}
}

// quiet asks for no kicks while there are buffers.
func (q *rxQueue) quiet() error {
	if !q.asked {
		return nil
	}
	q.asked = false
	return q.queue.DisableKicks()
}

// try puts the frame into buffers, all of it or, but for a train of segments
// longer than many, none.
func (q *rxQueue) try(h Header, frame [][]byte, n int) (done bool, err error) {
	q.store.begin()
	guest := q.machine.guest.Load()
	if !takes(guest, h) {
		return q.complete(h, frame, n)
	}
	if guest&featureGuestCsum == 0 {
		h = Header{} // nor is it told that a checksum is valid
	}
	return q.one(h, frame, n)
}

// one puts one frame of n bytes into buffers as it is.
func (q *rxQueue) one(h Header, frame [][]byte, n int) (done bool, err error) {
	got, err := q.store.reserve(deviceHeader + n)
	if err != nil || got == noRoom {
		return false, err
	}
	if got == tooLong {
		q.stats.Dropped.Add(1)
		return true, nil
	}
	q.store.fill(0, h, frame)
	return true, q.commit(n)
}

// complete does what the driver leaves to its device before the frame goes into
// its buffers.
func (q *rxQueue) complete(h Header, frame [][]byte, n int) (done bool, err error) {
	if cap(q.linear) < n {
		q.linear = make([]byte, MaxFrame)
	}
	q.linear = q.linear[:n]
	gather(q.linear, frame)
	if h.Kind() != GSONone {
		return q.segment(h)
	}
	FinishChecksum(h, q.linear)
	q.parts[0] = q.linear
	if done, err = q.one(Header{}, q.parts[:1], n); done {
		q.stats.Completed.Add(1)
	}
	return done, err
}

// segment cuts the frame in q.linear and delivers the pieces. A train that
// takes a large part of the queue need not find room whole: it might never.
func (q *rxQueue) segment(h Header) (done bool, err error) {
	s := &q.segmenter
	if s.Begin(h, q.linear) != nil {
		q.stats.Malformed.Add(1)
		return true, nil
	}
	count, fitted := s.Count(), 0
	for ; fitted < count; fitted++ {
		got, err := q.store.reserve(deviceHeader + s.Size(fitted))
		if err != nil {
			return false, err
		}
		if got == tooLong {
			q.store.giveUp()
			q.stats.Dropped.Add(uint64(count))
			return true, nil
		}
		if got == noRoom {
			break
		}
	}
	if fitted < count {
		if many := int(q.queue.Size) / 4; fitted == 0 || count <= many {
			q.store.giveUp()
			return false, nil
		}
		q.stats.Dropped.Add(uint64(count - fitted))
	}
	bytes := 0
	for i := range fitted {
		q.parts[0], q.parts[1], _ = s.Next()
		q.store.fill(i, Header{}, q.parts[:])
		bytes += s.Size(i)
	}
	q.stats.Completed.Add(1)
	return true, q.commit(bytes)
}

// commit gives the driver all that was filled.
func (q *rxQueue) commit(bytes int) error {
	frames, malformed, err := q.store.commit()
	if err != nil {
		return err
	}
	q.stats.Frames.Add(uint64(frames))
	q.stats.Bytes.Add(uint64(bytes))
	q.stats.Malformed.Add(uint64(malformed))
	_, err = q.queue.Notify()
	return err
}
