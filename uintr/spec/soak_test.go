package spec

import (
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// soak is one receiver that a scheduler moves between two processors while a sender posts to it in bursts. A burst is
// over when all of it was drained and the scheduler has done its step, so that each ends in silence: a wake-up lost
// in it has no later one to hide behind.
type soak struct {
	upid        UPID
	arrived     [2]atomic.Bool // by processor: a notification is pending in its local APIC
	resident    atomic.Uint32  // the processor that the receiver runs on
	outstanding atomic.Uint64  // vectors posted and not drained
	invented    atomic.Uint64  // vectors drained that were not
	burst       atomic.Uint64  // bursts begun
	scheduled   atomic.Uint64  // bursts that the scheduler is done with
	stopped     atomic.Bool
}

const (
	soakNV       = 0xEC
	soakPatience = 5 * time.Second
)

func soakPosts() int {
	switch {
	case testing.Short():
		return 1e5
	case raceEnabled:
		return 1e6
	}
	return 1e7
}

// Nothing is lost or invented while a scheduler suppresses, migrates and resumes the receiver: the notifications that
// Post and ScheduleIn promise are the only reason to drain, and they are enough.
func TestNoPostIsLostOrInvented(t *testing.T) {
	s := &soak{upid: newUPID(NewControl(soakNV, 0), 0)}
	var others sync.WaitGroup
	others.Go(s.schedule)
	others.Go(s.receive)
	for posted := 0; posted < soakPosts() && !t.Failed(); {
		posted += s.send(t, posted)
		s.await(t)
	}
	s.stopped.Store(true)
	others.Wait()
	require.Zero(t, s.invented.Load(), "invented")
	require.Zero(t, s.outstanding.Load(), "lost")
	require.Zero(t, s.upid.PIR())
}

// send begins a burst and posts its requests, 1 to 16 of them, each of another vector.
func (s *soak) send(t *testing.T, first int) (n int) {
	n = 1 << (s.burst.Add(1) % 5)
	for i := range n {
		v := uint8((first + i) % Vectors)
		s.outstanding.Or(1 << v)
		notify, nv, ndst, err := s.upid.Post(v)
		if err != nil || notify && (nv != soakNV || ndst > 1) {
			t.Errorf("post: %v, vector %#x to %d", err, nv, ndst)
			return n
		}
		if notify {
			s.arrived[ndst].Store(true)
		}
	}
	return n
}

// await is the end of a burst.
func (s *soak) await(t *testing.T) {
	var deadline time.Time
	for i := 1; s.outstanding.Load() != 0 || s.scheduled.Load() != s.burst.Load(); i++ {
		if i%(1<<8) != 0 {
			continue
		}
		runtime.Gosched()
		if now := time.Now(); deadline.IsZero() {
			deadline = now.Add(soakPatience)
		} else if now.After(deadline) {
			t.Errorf("lost wake-up: outstanding %#x, control %#x, PIR %#x", s.outstanding.Load(), s.upid.Low(), s.upid.PIR())
			return
		}
	}
}

// schedule makes one step for each burst: it takes the receiver off its processor and lets it run on the other one, or
// changes the descriptor in ways that give the receiver no reason to look.
func (s *soak) schedule() {
	for !s.stopped.Load() {
		burst := s.burst.Load()
		if burst == s.scheduled.Load() {
			runtime.Gosched()
			continue
		}
		if burst%4 == 0 {
			s.migrate()
		} else {
			for range burst % 16 {
				s.upid.SetNV(soakNV)
				s.upid.SetNDST(s.resident.Load())
			}
		}
		s.scheduled.Store(burst)
	}
}

func (s *soak) migrate() {
	s.upid.ScheduleOut()
	next := s.resident.Load() ^ 1
	s.resident.Store(next)
	if s.upid.ScheduleIn(soakNV, next) {
		s.arrived[next].Store(true)
	}
}

// receive takes the interrupts of both processors. The one that the receiver does not run on drops its own.
func (s *soak) receive() {
	for !s.stopped.Load() {
		for cpu := range s.arrived {
			if !s.arrived[cpu].Load() || !s.arrived[cpu].Swap(false) || uint32(cpu) != s.resident.Load() {
				continue
			}
			requests := s.upid.Drain()
			s.invented.Add(uint64(bits.OnesCount64(requests &^ s.outstanding.And(^requests))))
		}
		runtime.Gosched()
	}
}

// Reserved bits that come and go stop a sender without losing what it had posted: the sender that repeats a refused post
// is drained in the end.
func TestBlockedSenderLosesNothing(t *testing.T) {
	const blocked = Control(1 << 7)
	u := newUPID(NewControl(soakNV, 0), 0)
	var sender sync.WaitGroup
	var done, notified atomic.Bool
	sender.Go(func() {
		defer done.Store(true)
		for range soakPosts() / 10 {
			for {
				notify, _, _, err := u.Post(3)
				if notify {
					notified.Store(true)
				}
				if err == nil {
					break
				}
			}
		}
	})
	for i := 0; !done.Load(); i++ {
		u.update(func(c Control) Control { return c ^ blocked })
		if notified.Swap(false) {
			u.Drain()
		}
	}
	sender.Wait()
	if notified.Load() {
		u.Drain()
	}
	require.Zero(t, u.PIR(), "lost wake-up")
}
