package blk_test

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/virtio"
	"gvmm/virtio/blk"
	"gvmm/virtio/virtiotest"
)

// A request that is wrong costs its driver that request (iommu.md §4.6 #13).
func TestMalformedRequestsCostOnlyThemselves(t *testing.T) {
	w := func(addr uint64, n uint32) virtiotest.Desc {
		return virtiotest.Desc{Addr: addr, Len: n, Flags: virtiotest.Write}
	}
	r, d := start(t, newMemory(1<<20), setup{})
	h, s := r.headerAt(0, 0), r.statusAt(0, 0)
	for _, c := range []struct {
		name    string
		chain   []virtiotest.Desc
		written uint32
		status  byte
	}{
		{"header and no status", []virtiotest.Desc{{Addr: h, Len: 16}}, 0, 0xFF},
		{"header, data and no status", []virtiotest.Desc{{Addr: h, Len: 16}, {Addr: r.data(0, 0), Len: 512}}, 0, 0xFF},
		{"status alone", []virtiotest.Desc{w(s, 1)}, 1, ioErr},
		{"short header", []virtiotest.Desc{{Addr: h, Len: 15}, w(s, 1)}, 1, ioErr},
		{"header cut in three", []virtiotest.Desc{{Addr: h, Len: 1}, {Addr: h + 1, Len: 14}, {Addr: h + 15, Len: 1}, w(s, 1)}, 1, ok},
		{"data and status in one", []virtiotest.Desc{{Addr: h, Len: 16}, w(s-512, 513)}, 513, ok},
		{"status of its own page", []virtiotest.Desc{{Addr: h, Len: 16}, w(r.data(0, 1), 512), w(s, 1)}, 513, ok},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.header(h, in, 0)
			if c.name == "data and status in one" {
				r.header(r.headerAt(0, 40), in, 0)
				c.chain[0].Addr = r.headerAt(0, 40) // the data would overwrite h
			}
			r.mem.Bytes(s, 1)[0] = 0xFF
			head, fits := r.queues[0].Add(c.chain...)
			require.True(t, fits)
			r.kick(0)
			got, written := r.wait(0)
			require.Equal(t, head, got)
			require.Equal(t, c.written, written)
			require.Equal(t, c.status, r.mem.Bytes(s, 1)[0])
		})
	}
	require.Equal(t, uint64(2), d.Stats(0).Malformed.Load())
	require.NoError(t, r.failure(0))
}

// A ring that is wrong costs the driver the queue; the others go on.
func TestBrokenQueueLeavesTheOthersAlive(t *testing.T) {
	r, _ := start(t, newMemory(1<<20), setup{options: blk.Options{Queues: 3}})
	r.queues[1].Offer(0xFFFF)
	r.queues[1].Publish()
	r.run.Kick(1)
	require.ErrorIs(t, r.waitFailure(1), virtio.ErrDescriptorIndex)
	for _, q := range []int{0, 2} {
		status, _ := r.do(q, in, 0, virtiotest.Desc{Addr: r.data(q, 0), Len: 512, Flags: virtiotest.Write})
		require.Equal(t, byte(ok), status)
		require.NoError(t, r.failure(q))
	}
	r.run.Kick(1) // §4.6 #10: a doorbell of a queue that is gone
}

// unmapUsed lets the used ring go while requests are under way.
type unmapUsed struct {
	*virtiotest.Memory
	gone chan struct{}
}

func (u unmapUsed) View(addr uint64, n int, write bool) ([]byte, error) {
	select {
	case <-u.gone:
		if write {
			return nil, virtiotest.ErrUnmapped
		}
	default:
	}
	return u.Memory.View(addr, n, write)
}

func TestUsedRingUnmappedUnderRequestsFailsTheQueueOnce(t *testing.T) {
	m := newMemory(1 << 20)
	m.gate = make(chan struct{})
	gone := make(chan struct{})
	r, _ := start(t, cold{m, blk.ErrWouldBlock}, setup{dma: func(v *virtiotest.Memory) virtio.DMA { return unmapUsed{v, gone} }})
	for n := range 8 {
		r.put(0, n, in, 0, virtiotest.Desc{Addr: r.data(0, n), Len: 512, Flags: virtiotest.Write})
	}
	r.kick(0)
	for r.counter[0].Chains.Load() < 8 {
		runtime.Gosched()
	}
	close(gone)
	close(m.gate)
	require.ErrorIs(t, r.waitFailure(0), virtio.ErrAddress)
}

// §4.6 #9: no more is taken than may be in flight, so memory stays bounded.
func TestInFlightIsBounded(t *testing.T) {
	m := newMemory(1 << 20)
	m.gate = make(chan struct{})
	r, d := start(t, cold{m, blk.ErrWouldBlock}, setup{options: blk.Options{InFlight: 4, Workers: 2}})
	for n := range 32 {
		r.put(0, n, in, 0, virtiotest.Desc{Addr: r.data(0, n), Len: 512, Flags: virtiotest.Write})
	}
	r.kick(0)
	time.Sleep(20 * time.Millisecond)
	require.LessOrEqual(t, r.counter[0].Chains.Load(), uint64(4))
	close(m.gate)
	for range 32 {
		r.wait(0)
	}
	require.Equal(t, uint64(32), d.Stats(0).Offloaded.Load())
}

// §4.6 #10: any queue, any time.
func TestStrayKicksAreHarmless(t *testing.T) {
	m := newMemory(1 << 20)
	d, err := blk.New(m, blk.Options{Queues: 2})
	require.NoError(t, err)
	_, err = d.Activate(virtio.Activation{})
	require.ErrorIs(t, err, blk.ErrOptions)
	run, err := d.Activate(virtio.Activation{Queues: make([]*virtio.Queue, 2), Fail: func(int, error) {}})
	require.NoError(t, err)
	for _, q := range []int{-1, 0, 1, 2, 1 << 40} {
		run.Kick(q)
	}
	run.Stop()
	run.Stop()
	run.Kick(0)
}

// §4.6 #14: a reset during I/O waits for it, and nothing is touched after.
func TestStopWaitsForRequestsUnderWay(t *testing.T) {
	m := newMemory(1 << 20)
	m.gate = make(chan struct{})
	r, _ := start(t, cold{m, blk.ErrWouldBlock}, setup{options: blk.Options{Workers: 2}})
	for n := range 8 {
		r.put(0, n, in, 0, virtiotest.Desc{Addr: r.data(0, n), Len: 512, Flags: virtiotest.Write})
	}
	r.kick(0)
	for r.counter[0].Chains.Load() < 8 {
		runtime.Gosched()
	}
	stopped := make(chan struct{})
	go func() { r.run.Stop(); close(stopped) }()
	select {
	case <-stopped:
		require.Fail(t, "stopped with requests under way")
	case <-time.After(20 * time.Millisecond):
	}
	close(m.gate)
	<-stopped
	require.Equal(t, uint64(8), r.counter[0].Completions.Load())
	index := r.queues[0].UsedIndex()
	r.put(0, 9, in, 0, virtiotest.Desc{Addr: r.data(0, 9), Len: 512, Flags: virtiotest.Write})
	r.queues[0].Publish()
	r.run.Kick(0)
	time.Sleep(5 * time.Millisecond)
	require.Equal(t, index, r.queues[0].UsedIndex())
}

// meddler is a driver that rewrites its request while the device works on it.
type meddler struct {
	*memory
	meddle func()
	ranges [][2]int64
}

func (m *meddler) TryReadAt([][]byte, int64) (int, error) {
	m.meddle()
	return 0, blk.ErrWouldBlock
}

func (m *meddler) ReadAt(segments [][]byte, off int64) (int, error) {
	m.ranges = append(m.ranges, [2]int64{off, int64(len(segments[0]))})
	return m.memory.ReadAt(segments, off)
}

func (m *meddler) Discard(off, n int64) error {
	m.ranges = append(m.ranges, [2]int64{off, n})
	m.meddle()
	return nil
}

// §4.6 #15: what was judged is what is done.
func TestRequestRewrittenAfterItWasJudged(t *testing.T) {
	m := &meddler{memory: newMemory(1 << 20)}
	r, _ := start(t, m, setup{features: flushFeature})
	m.meddle = func() { r.header(r.headerAt(0, 0), out, 1<<60) }
	status, written := r.do(0, in, 2, r.into(512))
	require.Equal(t, byte(ok), status)
	require.Equal(t, uint32(513), written)
	require.Equal(t, [][2]int64{{1024, 512}}, m.ranges)

	m.ranges = nil
	m.meddle = func() { r.ranges(span{1 << 60, 7, 7}, span{1 << 60, 7, 7}) }
	status, _ = r.do(0, discard, 0, r.ranges(span{4, 1, 0}, span{8, 1, 0}))
	require.Equal(t, byte(ok), status)
	require.Equal(t, [][2]int64{{2048, 512}, {4096, 512}}, m.ranges)
}

// The same with a ring whose descriptors never stand still.
func TestDescriptorsRewrittenDuringRequests(t *testing.T) {
	r, _ := start(t, newMemory(1<<20), setup{options: blk.Options{Queues: 2}})
	var stop sync.WaitGroup
	done := make(chan struct{})
	stop.Go(func() {
		evil := []virtiotest.Desc{
			{Addr: 0, Len: 16}, {Addr: ramBase, Len: 0xFFFFFFFF, Flags: virtiotest.Write},
			{Addr: r.headerAt(0, 0), Len: 16, Flags: virtiotest.Next, Next: 0},
		}
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
				r.queues[0].PutDesc(r.queues[0].Desc, uint16(i%3), evil[i%len(evil)])
				runtime.Gosched()
			}
		}
	})
	for n := 0; n < 100 && r.failure(0) == nil; n++ {
		r.queues[0].Offer(uint16(n % 3))
		r.kick(0)
	}
	require.Error(t, r.waitFailure(0))
	close(done)
	stop.Wait()
	status, _ := r.do(1, in, 0, virtiotest.Desc{Addr: r.data(1, 0), Len: 512, Flags: virtiotest.Write})
	require.Equal(t, byte(ok), status)
}

// fuzzed requests run to the end one by one: bytes choose type, sector, and
// how the driver cuts and flags the chain.
func FuzzBlk(f *testing.F) {
	f.Add([]byte{0, 0, 3, 0x10, 2, 0x81, 0x80})
	f.Add([]byte{1, 2, 4, 0x10, 3, 0x80})
	f.Add([]byte{11, 0, 3, 0x10, 0x11, 0x80, 13, 0, 3, 0x10, 0x11, 0x80})
	f.Add([]byte{8, 0, 2, 0x10, 0x94, 4, 1, 2, 0x10, 0x80})
	f.Fuzz(func(t *testing.T, in []byte) {
		r, _ := start(t, newMemory(1<<16), setup{options: blk.Options{QueueSize: 16, InFlight: 2, Workers: 1}})
		lens := []uint32{1, 16, 512, 4096, 20, 15, 32, 0}
		for n := 0; len(in) >= 4 && n < 16; n++ {
			kind, sector, count := uint32(in[0]), uint64(in[1]), int(in[2]&7)
			if in[1] == 0xFF {
				sector = ^uint64(0) - uint64(in[0])
			}
			in = in[3:]
			r.header(r.headerAt(0, n), kind, sector)
			var chain []virtiotest.Desc
			for i := 0; i < count && len(in) > 0; i++ {
				d := virtiotest.Desc{Addr: r.data(0, i), Len: lens[in[0]&7]}
				if in[0]&0x10 != 0 {
					d.Addr = r.headerAt(0, n)
				}
				if in[0]&0x80 != 0 {
					d.Flags = virtiotest.Write
				}
				chain, in = append(chain, d), in[1:]
			}
			if len(chain) == 0 {
				continue
			}
			if _, fits := r.queues[0].Add(chain...); !fits {
				break
			}
			before := r.counter[0].Completions.Load()
			r.kick(0)
			for r.counter[0].Completions.Load() == before && r.failure(0) == nil {
				runtime.Gosched()
			}
			if r.failure(0) != nil {
				return
			}
			r.wait(0)
		}
	})
}
