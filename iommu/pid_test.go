package iommu

import (
	"math/bits"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

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

// wakeups count notifications, as local APICs would.
type wakeups struct{ n atomic.Uint64 }

func (w *wakeups) SendMSI(pci.Message) error { w.n.Add(1); return nil }

// TestPIDRacesLoseNoPost has posters, a scheduler that moves the receiver about, and a receiver that looks only when it was notified, or told so by
// the scheduler. Posts end; then whatever is left must be known to be there.
func TestPIDRacesLoseNoPost(t *testing.T) {
	w := new(wakeups)
	r := newRemappingRig(t, func(c *Config) { c.Deliver = w })
	p := r.pid(0)
	const posters = 2
	posts := 30_000
	if os.Getenv("GVMM_LONG") == "1" {
		posts = 50_000_000
	}
	var owed atomic.Uint64 // what the scheduler tells the receiver
	var posting, scheduling, done sync.WaitGroup
	var stop, over atomic.Bool
	for n := range uint16(posters) {
		r.setEntry(n, spec.NewPosted(uint8(0x40+n), pidBase, false, spec.OnlyFrom(uint16(ridA))))
		posting.Go(func() {
			for range posts {
				_ = r.raise(ridA, n)
				runtime.Gosched()
			}
		})
	}
	scheduling.Go(func() {
		for i := uint32(0); !stop.Load(); i++ {
			p.ScheduleOut()
			runtime.Gosched()
			if i%3 == 0 && p.Block(blockV) {
				owed.Add(1)
			}
			if p.ScheduleIn(runV, i%8) {
				owed.Add(1)
			}
		}
	})
	var drained atomic.Uint64
	done.Go(func() {
		for seen := uint64(0); ; runtime.Gosched() {
			last := over.Load()
			if now := w.n.Load() + owed.Load(); now != seen {
				seen = now
				for _, word := range p.Drain() {
					drained.Add(uint64(bits.OnesCount64(word)))
				}
				continue
			}
			if last {
				return
			}
		}
	})
	posting.Wait()
	stop.Store(true)
	scheduling.Wait()
	over.Store(true)
	done.Wait()
	require.False(t, p.requested(), "a post that nobody was told of")
	s := r.stats(ridA)
	require.Equal(t, uint64(posters*posts), s.Posted)
	require.Equal(t, s.Posted, s.Notified+s.Coalesced+s.Suppressed)
	require.NotZero(t, drained.Load())
}
