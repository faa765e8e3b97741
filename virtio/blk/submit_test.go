package blk_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/virtio/blk"
	"gvmm/virtio/virtiotest"
)

// ring is a Submitter: what it takes waits for Commit, and then for release.
type ring struct {
	*memory
	mu        sync.Mutex
	submitted []*blk.Transfer
	committed chan *blk.Transfer
	refuse    bool
	fail      error
}

func newRing(n int) *ring {
	return &ring{memory: newMemory(n), committed: make(chan *blk.Transfer, 256)}
}

func (r *ring) TryReadAt([][]byte, int64) (int, error) { return 0, blk.ErrWouldBlock }

func (r *ring) Submit(t *blk.Transfer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.refuse {
		r.submitted = append(r.submitted, t)
	}
	return !r.refuse
}

func (r *ring) Commit() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.submitted {
		r.committed <- t
	}
	r.submitted = nil
}

// finish carries one transfer out.
func (r *ring) finish(t *blk.Transfer) {
	do := r.ReadAt
	if t.Write {
		do = r.WriteAt
	}
	if r.fail != nil {
		t.Done(0, r.fail)
		return
	}
	t.Done(do(t.Segments, t.Off))
}

func TestReadsThatWaitAreSubmittedTogether(t *testing.T) {
	b := newRing(1 << 20)
	r, d := start(t, b, setup{})
	const n = 20
	for i := range n {
		r.put(0, i, in, uint64(8*i), virtiotest.Desc{Addr: r.data(0, i), Len: 4096, Flags: virtiotest.Write})
	}
	r.kick(0)
	flying := make([]*blk.Transfer, 0, n)
	for range n { // no goroutine of the device waits for any of them
		flying = append(flying, <-b.committed)
	}
	require.Zero(t, d.Stats(0).Reads.Load())
	for i := range flying {
		go b.finish(flying[n-1-i])
	}
	for range n {
		_, written := r.wait(0)
		require.EqualValues(t, 4097, written)
	}
	require.EqualValues(t, n, d.Stats(0).Submitted.Load())
	require.Zero(t, d.Stats(0).Offloaded.Load())
}

func TestSubmittedWriteReachesTheBackend(t *testing.T) {
	b := newRing(1 << 20)
	r, d := start(t, b, setup{options: blk.Options{Uncached: true}, features: flushFeature})
	copy(r.mem.Bytes(r.data(0, 0), 512), "written")
	go func() { b.finish(<-b.committed) }()
	status, written := r.do(0, out, 3, r.from(512))
	require.Equal(t, byte(ok), status)
	require.EqualValues(t, 1, written)
	require.Equal(t, "written", string(b.bytes[3*512:][:7]))
	require.EqualValues(t, 512, d.Stats(0).BytesWritten.Load())
	require.EqualValues(t, 1, d.Stats(0).Writes.Load())
}

// A driver that cannot flush expects completed writes to be stable: a worker
// does them, and the flush behind them.
func TestWriteThroughIsNotSubmitted(t *testing.T) {
	b := newRing(1 << 20)
	r, _ := start(t, b, setup{options: blk.Options{Uncached: true}})
	status, _ := r.do(0, out, 0, r.from(512))
	require.Equal(t, byte(ok), status)
	require.Equal(t, []string{"write", "sync"}, b.called())
}

func TestTransferThatTheBackendRefusesIsAWorkers(t *testing.T) {
	b := newRing(1 << 20)
	b.refuse = true
	r, d := start(t, b, setup{})
	status, _ := r.do(0, in, 0, r.into(4096))
	require.Equal(t, byte(ok), status)
	require.EqualValues(t, 1, d.Stats(0).Offloaded.Load())
}

func TestSubmittedTransferThatFailsIsAnIOError(t *testing.T) {
	b := newRing(1 << 20)
	b.fail = blk.ErrFile
	r, d := start(t, b, setup{})
	go func() { b.finish(<-b.committed) }()
	status, written := r.do(0, in, 0, r.into(4096))
	require.Equal(t, byte(ioErr), status)
	require.EqualValues(t, 1, written)
	require.EqualValues(t, 1, d.Stats(0).Errors.Load())
}

func TestTransferPastTheEndIsNotSubmitted(t *testing.T) {
	b := newRing(4096)
	r, _ := start(t, b, setup{options: blk.Options{Uncached: true}})
	status, _ := r.do(0, in, 8, r.into(512))
	require.Equal(t, byte(ioErr), status)
	require.Empty(t, b.committed)
}

// What the guest's memory is used for ends before Stop returns.
func TestStopWaitsForTransfersUnderWay(t *testing.T) {
	b := newRing(1 << 20)
	r, _ := start(t, b, setup{})
	r.put(0, 0, in, 0, r.into(4096))
	r.kick(0)
	x := <-b.committed
	stopped := make(chan struct{})
	go func() {
		r.run.Stop()
		close(stopped)
	}()
	select {
	case <-stopped:
		require.Fail(t, "it did not wait")
	case <-time.After(20 * time.Millisecond):
	}
	b.finish(x)
	<-stopped
}

func TestLimitsHoldUpOneDeviceOnly(t *testing.T) {
	slow, slowDevice := start(t, newMemory(1<<20), setup{options: blk.Options{Limits: blk.Limits{OpsPerSecond: 1, BurstOps: 2}}})
	free, _ := start(t, newMemory(1<<20), setup{})
	for i := range 4 {
		slow.put(0, i, in, 0, slow.into(512))
	}
	slow.kick(0)
	slow.wait(0)
	slow.wait(0)
	for range 50 {
		status, _ := free.do(0, in, 0, free.into(512))
		require.Equal(t, byte(ok), status)
	}
	slow.run.Stop() // does not wait for what the limits hold up
	require.LessOrEqual(t, slowDevice.Stats(0).Reads.Load(), uint64(3))
	require.Positive(t, slowDevice.Stats(0).Delayed.Load())
}

// So many bytes take so long, however they are cut: never less.
func TestBytesAreLimited(t *testing.T) {
	const rate, burst = 1 << 20, 64 << 10
	r, d := start(t, newMemory(1<<20), setup{options: blk.Options{Limits: blk.Limits{BytesPerSecond: rate, BurstBytes: burst}}})
	begin := time.Now()
	for range 4 { // 256 KiB, of which the burst is free
		status, _ := r.do(0, in, 0, r.into(64<<10))
		require.Equal(t, byte(ok), status)
	}
	require.GreaterOrEqual(t, time.Since(begin), 180*time.Millisecond)
	require.EqualValues(t, 3, d.Stats(0).Delayed.Load())
}

func TestLimitsInsideKickAreRefused(t *testing.T) {
	_, err := blk.New(newMemory(4096), blk.Options{Inline: true, Limits: blk.Limits{OpsPerSecond: 1}})
	require.ErrorIs(t, err, blk.ErrOptions)
}
