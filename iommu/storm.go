package iommu

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	uspec "gvmm/uintr/spec"
)

// Storm bounds the user notifications of each requester (`iommu.md §2.5` rule 5): Burst at once, and one more every Interval. Posts above it set
// their request bit at once, and are notified when the bound allows. The zero value bounds nothing.
type Storm struct {
	Interval time.Duration
	Burst    int // at least 1; less counts as 1
}

const tableEntriesMax = 1 << 16

// storm is a requester's token bucket, and the table indices whose notifications wait for a token.
type storm struct {
	r                   *requester
	interval, tolerance int64 // ns

	filled atomic.Int64 // when the bucket is full again, in ns since Unit.start
	held   [tableEntriesMax / 64]atomic.Uint64
	armed  atomic.Bool // the timer will look at held; while it is set every notification queues there
	timer  *time.Timer

	mu      sync.Mutex // flush and stop
	stopped bool
	cursor  uint32 // where flush goes on, so that a busy low index starves nobody
}

func newStorm(r *requester, limit Storm) *storm {
	s := &storm{r: r, interval: int64(limit.Interval)}
	s.tolerance = s.interval * int64(max(limit.Burst, 1)-1)
	s.timer = time.AfterFunc(time.Hour, s.flush)
	s.timer.Stop()
	return s
}

// admit takes a token for a new notification. While older ones wait there is none.
func (s *storm) admit() bool { return !s.armed.Load() && s.take() }

func (s *storm) now() int64 { return int64(time.Since(s.r.unit.start)) }

func (s *storm) take() bool {
	now := s.now()
	for {
		filled := s.filled.Load()
		from := max(filled, now)
		if from-now > s.tolerance {
			return false
		}
		if s.filled.CompareAndSwap(filled, from+s.interval) {
			return true
		}
	}
}

// hold makes the timer see to the notification of index.
func (s *storm) hold(index uint32) {
	s.held[index/64].Or(1 << (index % 64))
	if s.armed.CompareAndSwap(false, true) {
		s.rearm()
	}
}

// rearm makes the timer fire when there is a token again.
func (s *storm) rearm() {
	s.timer.Reset(max(0, time.Duration(s.filled.Load()-s.tolerance-s.now())))
}

// flush sends the notifications that waited, as far as tokens last.
func (s *storm) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	for range tableEntriesMax {
		index, ok := s.next()
		if !ok {
			s.armed.Store(false)
			if index, ok := s.next(); ok { // held between the last look and the store
				s.hold(index)
			}
			return
		}
		if !s.release(index) {
			s.cursor = index
			s.held[index/64].Or(1 << (index % 64))
			break
		}
	}
	s.rearm()
}

// next takes the first held index at or after the cursor, around the end.
func (s *storm) next() (index uint32, ok bool) {
	first := s.cursor / 64
	mask := ^uint64(0) << (s.cursor % 64)
	for n := range uint32(len(s.held)) + 1 {
		word := &s.held[(first+n)%uint32(len(s.held))]
		if v := word.Load() & mask; v != 0 {
			index = (first+n)%uint32(len(s.held))*64 + uint32(bits.TrailingZeros64(v))
			word.And(^uint64(v & -v))
			s.cursor = (index + 1) % tableEntriesMax
			return index, true
		}
		mask = ^uint64(0)
	}
	return 0, false
}

// release notifies for index what is still to be notified, and reports false if that takes a token and there is none. The entry is judged anew:
// a binding that was revoked since the post is not touched.
func (s *storm) release(index uint32) bool {
	e := &s.r.unit.epochs
	p := e.enter(&s.r.section)
	sent := s.releaseInside(index)
	e.leave(&s.r.section, p)
	return sent
}

// releaseInside is release inside a section of the requester's.
func (s *storm) releaseInside(index uint32) bool {
	r := s.r
	t := r.unit.live.Load()
	if !t.enabled || index >= t.irta.Entries() {
		return true
	}
	e, reason := r.entry(t, index)
	if reason != 0 || !e.UserPosted() {
		return true
	}
	upid, ok := r.upid(t, e)
	if !ok || upid.PIR() == 0 || !owes(t, e, upid.Control()) {
		return true
	}
	if !s.take() {
		return false
	}
	if c, won := r.claim(e.PDA()+uspec.UPIDControl, wakes(t, e)); won {
		_ = r.notify(t, notificationVector(t, e, c), c.NDST()) // a failure is counted
	}
	return true
}

// stop ends the timer, and waits for a flush under way.
func (s *storm) stop() {
	s.timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
}
