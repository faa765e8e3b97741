package virtio_test

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/virtio"
	"gvmm/virtio/virtiotest"
)

func TestInterruptSuppressedByFlag(t *testing.T) {
	onBoth(t, func(t *testing.T, packed bool) {
		r := newRig(t, 8, func(c *virtio.QueueConfig) { c.Packed, c.EventIdx = packed, false })
		for i, suppress := range []uint16{0, 1, 0} {
			r.SetAvailFlags(suppress)
			r.Add(buffer(1))
			r.Publish()
			r.pop(t)
			require.Equal(t, suppress == 0, r.complete(t, r.chain.Head, 0), "step %d", i)
			r.Poll()
		}
		require.Equal(t, 2, r.fired)
		require.Equal(t, uint64(1), r.queue.Counters.Suppressed.Load())
		interrupted, err := r.queue.Notify()
		require.NoError(t, err)
		require.False(t, interrupted, "nothing new to tell")
	})
}

// One interrupt when the used index passes used_event, however the completions
// are batched, across the wrap of the index.
func TestInterruptWhenUsedIndexPassesEvent(t *testing.T) {
	r := newRig(t, 4, nil)
	r.SetAvailFlags(1) // is ignored with the event index
	for i := range 70_000 {
		event := uint16(i)
		if i%3 != 0 {
			event = uint16(i) + 1000 // far ahead, or behind: not now
		}
		r.SetUsedEvent(event)
		r.Add(buffer(1))
		r.Publish()
		r.pop(t)
		require.Equal(t, i%3 == 0, r.complete(t, r.chain.Head, 0), "completion %d", i)
		r.Poll()
	}
}

func TestBatchRaisesOneInterrupt(t *testing.T) {
	onBoth(t, func(t *testing.T, packed bool) {
		r := newRig(t, 8, format(packed))
		r.SetUsedEvent(2)
		var heads []uint16
		for range 5 {
			head, _ := r.Add(buffer(1))
			heads = append(heads, head)
		}
		r.Publish()
		for range heads {
			r.pop(t)
		}
		for _, h := range heads {
			require.NoError(t, r.queue.Push(h, 0))
		}
		interrupted, err := r.queue.Notify()
		require.NoError(t, err)
		require.True(t, interrupted)
		require.Equal(t, 1, r.fired)
	})
}

func TestCompletionsAppearInTheirOwnOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, packed bool) {
		var stamps []uint16
		r := newRig(t, 8, func(c *virtio.QueueConfig) {
			c.Packed, c.OnUsed = packed, func(i uint16) { stamps = append(stamps, i) }
		})
		a, _ := r.Add(writable(4))
		b, _ := r.Add(writable(4))
		r.Publish()
		r.pop(t)
		r.pop(t)
		r.complete(t, b, 4)
		r.complete(t, a, 0)
		head, n, ok := r.Poll()
		require.True(t, ok)
		require.Equal(t, b, head)
		require.Equal(t, uint32(4), n)
		head, n, _ = r.Poll()
		require.Equal(t, a, head)
		require.Zero(t, n)
		require.Equal(t, []uint16{0, 1}, stamps)
	})
}

// The hook runs while the completion is still invisible.
func TestOnUsedRunsBeforePublishing(t *testing.T) {
	onBoth(t, func(t *testing.T, packed bool) {
		var r *rig
		var seen uint16 = 99
		r = newRig(t, 8, func(c *virtio.QueueConfig) { c.Packed, c.OnUsed = packed, func(uint16) { seen = r.UsedIndex() } })
		r.Add(buffer(1))
		r.Publish()
		r.pop(t)
		r.complete(t, r.chain.Head, 0)
		require.Zero(t, seen)
		require.Equal(t, uint16(1), r.UsedIndex())
	})
}

func TestKickIsAskedForOnlyWhileIdle(t *testing.T) {
	onBoth(t, func(t *testing.T, packed bool) {
		for _, eventIdx := range []bool{false, true} {
			r := newRig(t, 8, func(c *virtio.QueueConfig) { c.Packed, c.EventIdx = packed, eventIdx })
			more, err := r.queue.EnableKicks()
			require.NoError(t, err)
			require.False(t, more)
			r.Add(buffer(1))
			require.True(t, r.Publish(), "the device is idle")
			require.NoError(t, r.queue.DisableKicks())
			r.Add(buffer(1))
			require.False(t, r.Publish(), "the device is at work")
			r.pop(t)
			more, err = r.queue.EnableKicks()
			require.NoError(t, err)
			require.True(t, more, "a chain came without a kick")
			r.pop(t)
			more, err = r.queue.EnableKicks()
			require.NoError(t, err)
			require.False(t, more)
			r.Add(buffer(1))
			require.True(t, r.Publish())
		}
	})
}

// The word that holds avail_event ends in two bytes that are not the device's.
func TestAvailEventLeavesItsNeighbourAlone(t *testing.T) {
	r := newRig(t, 8, nil)
	after := r.Used + 4 + 8*8 + 2
	r.Memory.Store16(after, 0xBEEF)
	r.Add(buffer(1))
	r.Publish()
	r.pop(t)
	_, err := r.queue.EnableKicks()
	require.NoError(t, err)
	require.Equal(t, uint16(1), r.Memory.Load16(after-2))
	require.Equal(t, uint16(0xBEEF), r.Memory.Load16(after))
}

// Driver and device side by side, each sleeping until the other tells it: a
// lost kick or a lost interrupt hangs the test.
func TestNoWakeIsLost(t *testing.T) {
	onBoth(t, func(t *testing.T, packed bool) {
		for _, eventIdx := range []bool{false, true} {
			total := 20_000
			if testing.Short() {
				total = 5_000
			}
			kick, irq := make(chan struct{}, 1), make(chan struct{}, 1)
			ring := func(c chan struct{}) {
				select {
				case c <- struct{}{}:
				default:
				}
			}
			r := newRig(t, 16, func(c *virtio.QueueConfig) {
				c.Packed, c.EventIdx, c.Interrupt = packed, eventIdx, func() { ring(irq) }
			})
			var device sync.WaitGroup
			device.Go(func() { serve(t, r, kick, total) })
			for added, done := 0, 0; done < total; {
				for ; added < total; added++ {
					if _, ok := r.Add(buffer(8), writable(8)); !ok {
						break
					}
				}
				if r.Publish() {
					ring(kick)
				}
				before := done
				for {
					if _, _, ok := r.Poll(); !ok {
						break
					}
					done++
				}
				if done > before {
					continue
				}
				r.SetUsedEvent(r.Seen())
				if r.UsedIndex() == r.Seen() {
					<-irq
				}
			}
			device.Wait()
		}
	})
}

func serve(t *testing.T, r *rig, kick chan struct{}, total int) {
	for n := 0; n < total; {
		ok, err := r.queue.Pop(&r.chain)
		if err != nil {
			t.Error(err)
			return
		}
		if !ok {
			if more, _ := r.queue.EnableKicks(); !more {
				<-kick
			}
			continue
		}
		n++
		r.complete(t, r.chain.Head, 0)
	}
}

// §4.6 #15: descriptors that change while they are read. Whatever is popped is
// whole: every buffer lies in memory and is as long as the sums say.
func TestDescriptorsChangingUnderTheDevice(t *testing.T) {
	r := newRig(t, 8, nil)
	stop := make(chan struct{})
	var flipper sync.WaitGroup
	flipper.Go(func() {
		rng := rand.New(rand.NewPCG(1, 2))
		good := []virtiotest.Desc{
			{Addr: dataBase, Len: 64, Flags: virtiotest.Next, Next: 1},
			{Addr: dataBase, Len: 64, Flags: virtiotest.Write},
			{Addr: tableBase, Len: 32, Flags: virtiotest.Indirect},
			{Addr: ramBase + ramSize - 64, Len: 64},
			{Addr: ramBase + ramSize - 64, Len: 4096, Flags: virtiotest.Write},
			{Addr: ^uint64(0) - 63, Len: 64, Flags: virtiotest.Next, Next: 7},
		}
		for {
			select {
			case <-stop:
				return
			default:
				r.PutDesc(r.Desc, uint16(rng.IntN(2)), good[rng.IntN(len(good))])
				r.PutDesc(tableBase, uint16(rng.IntN(2)), good[rng.IntN(len(good))])
				runtime.Gosched()
			}
		}
	})
	served := 0
	for i := range 20_000 {
		c := r.queue.QueueConfig
		q, err := virtio.NewQueue(c)
		require.NoError(t, err)
		r.Memory.Store16(r.Avail+4, uint16(i&1))
		r.SetAvailIndex(1)
		ok, err := q.Pop(&r.chain)
		if err != nil {
			require.False(t, ok)
			continue
		}
		served++
		requireWhole(t, &r.chain)
	}
	close(stop)
	flipper.Wait()
	require.NotZero(t, served)
}

func requireWhole(t require.TestingT, c *virtio.Chain) {
	total := func(list [][]byte) (n uint64) {
		for _, s := range list {
			require.NotEmpty(t, s)
			n += uint64(len(s))
		}
		return n
	}
	require.Equal(t, c.ReadLen, total(c.Readable))
	require.Equal(t, c.WriteLen, total(c.Writable))
	require.NotZero(t, c.ReadLen+c.WriteLen)
}

func TestQueueDoesNotAllocate(t *testing.T) {
	r := newRig(t, 8, nil)
	r.PutDesc(tableBase, 0, virtiotest.Desc{Addr: dataBase, Len: 16, Flags: virtiotest.Next, Next: 1})
	r.PutDesc(tableBase, 1, writable(4096))
	r.PutDesc(r.Desc, 0, virtiotest.Desc{Addr: tableBase, Len: 32, Flags: virtiotest.Indirect})
	round := func() { oneRound(t, r) }
	require.Zero(t, testing.AllocsPerRun(1000, round))
}

func oneRound(t testing.TB, r *rig) {
	r.Offer(0)
	r.Publish()
	ok, err := r.queue.Pop(&r.chain)
	if !ok || err != nil {
		t.Fatal(err)
	}
	if err := r.queue.Push(0, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := r.queue.Notify(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.queue.EnableKicks(); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	r := newRig(b, 8, nil)
	r.PutDesc(r.Desc, 0, virtiotest.Desc{Addr: dataBase, Len: 16, Flags: virtiotest.Next, Next: 1})
	r.PutDesc(r.Desc, 1, writable(4096))
	b.ReportAllocs()
	for b.Loop() {
		oneRound(b, r)
	}
}
