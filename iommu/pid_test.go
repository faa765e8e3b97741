package iommu

import (
	"fmt"
	"math/bits"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/iommu/spec"
	uspec "gvmm/uintr/spec"
	"gvmm/vmm/pci"
)

const (
	runV   = 0xF2
	blockV = 0xF1
)

// pid is the descriptor at pidBase, notifying runV at APIC 4, with entry 0 posting a vector to it.
func (r *rig) pid(vector uint8) PID {
	r.t.Helper()
	p, ok := NewPID(r.mem, pidBase)
	require.True(r.t, ok)
	require.NoError(r.t, r.mem.Store64(pidBase+spec.PIDControl, uint64(uspec.NewControl(runV, 4))))
	r.setEntry(0, spec.NewPosted(vector, pidBase, false, spec.OnlyFrom(uint16(ridA))))
	return p
}

func TestPIDWhereNoneCanBe(t *testing.T) {
	r := newRig(t)
	for _, at := range []uint64{pidBase + 32, ramSize, 0xFED9_0000} {
		_, ok := NewPID(r.mem, at)
		require.False(t, ok, "%#x", at)
	}
}

func TestPIDDrainTakesEveryVector(t *testing.T) {
	r := newRemappingRig(t)
	p := r.pid(0)
	var want [4]uint64
	for _, v := range []uint8{0x10, 0x3F, 0x40, 0x80, 0xFF} {
		r.setEntry(0, spec.NewPosted(v, pidBase, false, spec.OnlyFrom(uint16(ridA))))
		require.NoError(t, r.raise(ridA, 0))
		want[v/64] |= 1 << (v % 64)
	}
	require.True(t, p.Pending())
	require.Equal(t, []pci.Message{fixed(runV, 4)}, r.apic.take())
	require.Equal(t, want, p.Drain())
	require.False(t, p.Pending())
	require.Equal(t, [4]uint64{}, p.Drain())
}

// Each of these is a rule of `iommu.md §2.3`.

func TestPIDPostBetweenClearingONAndDrainingNotifiesAgain(t *testing.T) {
	r := newRemappingRig(t)
	p := r.pid(0x30)
	require.NoError(t, r.raise(ridA, 0))
	r.apic.take()
	p.update(func(c uspec.Control) uspec.Control { return c &^ uspec.UPIDON }) // the first half of a drain
	require.NoError(t, r.raise(ridA, 0))
	require.Equal(t, []pci.Message{fixed(runV, 4)}, r.apic.take())
	require.Equal(t, uint64(1<<0x30), p.Drain()[0])
}

func TestPIDScheduleInFindsSilentPosts(t *testing.T) {
	r := newRemappingRig(t)
	p := r.pid(0x30)
	p.ScheduleOut()
	require.False(t, p.Pending())
	require.NoError(t, r.raise(ridA, 0))
	require.Empty(t, r.apic.take())
	require.True(t, p.Pending())
	require.True(t, p.ScheduleIn(runV, 5))
	require.True(t, p.Control().ON())
	require.False(t, p.Control().SN())
	require.Equal(t, uint32(5), p.Control().NDST())
	p.Drain()
	p.ScheduleOut()
	require.False(t, p.ScheduleIn(runV, 6))
	require.NoError(t, r.raise(ridA, 0))
	require.Equal(t, []pci.Message{fixed(runV, 6)}, r.apic.take(), "the new processor")
}

func TestPIDBlockedReceiverIsWoken(t *testing.T) {
	r := newRemappingRig(t)
	p := r.pid(0x30)
	require.False(t, p.Block(blockV))
	require.NoError(t, r.raise(ridA, 0))
	require.Equal(t, []pci.Message{fixed(blockV, 4)}, r.apic.take())
}

func TestPIDNotificationBeforeBlockingIsOwed(t *testing.T) {
	r := newRemappingRig(t)
	p := r.pid(0x30)
	require.NoError(t, r.raise(ridA, 0))
	require.True(t, p.Block(blockV), "it went out by the old vector")
	p.Drain()
	p.ScheduleOut()
	require.NoError(t, r.raise(ridA, 0))
	require.True(t, p.Block(blockV), "it did not go out at all")
}

// wakeups count notifications by the vector that the receiver is reached by; others do nothing for it.
type wakeups struct{ n, vector atomic.Uint64 }

func (w *wakeups) SendMSI(m pci.Message) error {
	runtime.Gosched() // it is on its way
	if uint64(m.Data&0xFF) == w.vector.Load() {
		w.n.Add(1)
	}
	return nil
}

// pidRace is posters, a scheduler that moves the receiver about, and a receiver that looks only when it was notified, or told so by the scheduler.
type pidRace struct {
	*rig
	pid        PID
	notices    wakeups
	owed       atomic.Uint64 // what the scheduler tells the receiver
	vectors    []pidVector
	stop, over atomic.Bool // for the scheduler, then for the receiver
	lost       atomic.Bool // for all: a post was
}

// pidVector counts its posts that were begun, and those that the receiver drained. There is never more than one of them under way, so that each is
// drained by itself. It fills a cache line.
type pidVector struct {
	begun, drained atomic.Uint64
	_              [48]byte
}

// vectorsOfPoster are posted one behind the other, so that most find the notification of another outstanding.
const vectorsOfPoster = 4

func (p *pidRace) post(poster, rounds int) {
	first := poster * vectorsOfPoster
	for range rounds {
		for i := first; i < first+vectorsOfPoster; i++ {
			p.vectors[i].begun.Add(1)
			_ = p.raise(ridA, uint16(i))
		}
		for i := first; i < first+vectorsOfPoster; i++ {
			for v := &p.vectors[i]; v.drained.Load() < v.begun.Load() && !p.lost.Load(); {
				runtime.Gosched()
			}
		}
	}
}

// schedule stays in each state in which posts notify until the receiver has seen what was posted before: nothing else tells it of a post that is lost.
func (p *pidRace) schedule() {
	for i := uint32(0); !p.stop.Load() && !p.lost.Load(); i++ {
		p.pid.ScheduleOut()
		for range i % 8 {
			runtime.Gosched()
		}
		if i%3 == 0 {
			p.notices.vector.Store(blockV)
			if p.pid.Block(blockV) {
				p.owed.Add(1)
			}
			p.settle("blocked")
		}
		p.notices.vector.Store(runV)
		if p.pid.ScheduleIn(runV, i%8) {
			p.owed.Add(1)
		}
		p.settle("running")
	}
}

// settle waits until the receiver has drained every post that was begun.
func (p *pidRace) settle(state string) {
	const deadline, looks = 5 * time.Second, 1 << 18 // both: the host may have stopped all of us for a while
	for i := range p.vectors {
		begun := p.vectors[i].begun.Load()
		start := time.Now()
		for n := 0; p.vectors[i].drained.Load() < begun; n++ {
			runtime.Gosched()
			if n > looks && time.Since(start) > deadline {
				p.t.Errorf("a receiver that is %s was not told of post %d of vector %d: %#x", state, begun, i, p.pid.Control())
				p.lost.Store(true)
				return
			}
		}
	}
}

func (p *pidRace) receive() {
	for seen := uint64(0); ; runtime.Gosched() {
		last := p.over.Load()
		if now := p.notices.n.Load() + p.owed.Load(); now != seen {
			seen = now
			for range now * 7 % 128 { // comes at any moment of what posters do
				p.over.Load()
			}
			for i, word := range p.pid.Drain() {
				for ; word != 0; word &= word - 1 {
					p.vectors[i*64+bits.TrailingZeros64(word)-firstPosted].drained.Add(1)
				}
			}
			continue
		}
		if last {
			return
		}
	}
}

const firstPosted = 0x40 // vector

// TestPIDRacesLoseNoPost makes 10^8 posts of one poster where GVMM_LONG=1 asks for them.
func TestPIDRacesLoseNoPost(t *testing.T) {
	posts := map[int]int{1: 40_000, 3: 20_000} // of each
	switch {
	case os.Getenv("GVMM_LONG") == "1":
		posts = map[int]int{1: 100_000_000}
	case testing.Short():
		posts = map[int]int{2: 4_000}
	}
	for posters, posts := range posts {
		t.Run(fmt.Sprint(posters), func(t *testing.T) {
			p := &pidRace{vectors: make([]pidVector, posters*vectorsOfPoster)}
			p.rig = newRemappingRig(t, func(c *Config) { c.Deliver = &p.notices })
			p.pid = p.rig.pid(0)
			p.notices.vector.Store(runV)
			for i := range p.vectors {
				p.setEntry(uint16(i), spec.NewPosted(uint8(firstPosted+i), pidBase, false, spec.OnlyFrom(uint16(ridA))))
			}
			var posting, scheduling, receiving sync.WaitGroup
			for i := range posters {
				posting.Go(func() { p.post(i, posts/vectorsOfPoster) })
			}
			scheduling.Go(p.schedule)
			receiving.Go(p.receive)
			posting.Wait()
			p.stop.Store(true)
			scheduling.Wait()
			p.over.Store(true)
			receiving.Wait()
			require.False(t, p.lost.Load())
			require.False(t, p.pid.requested(), "a post that nobody was told of")
			for i := range p.vectors {
				require.EqualValues(t, posts/vectorsOfPoster, p.vectors[i].drained.Load(), "vector %d", i)
			}
			s := p.stats(ridA)
			require.EqualValues(t, posters*posts, s.Posted)
			require.Equal(t, s.Posted, s.Notified+s.Coalesced+s.Suppressed)
			t.Logf("%d posts, each drained: %d notified, %d coalesced, %d suppressed", s.Posted, s.Notified, s.Coalesced, s.Suppressed)
		})
	}
}
