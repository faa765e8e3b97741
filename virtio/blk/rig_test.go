package blk_test

import (
	"encoding/binary"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gvmm/virtio"
	"gvmm/virtio/blk"
	"gvmm/virtio/virtiotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	in, out, flush, getID, discard, writeZeroes = 0, 1, 4, 8, 11, 13

	ok, ioErr, unsupp = 0, 1, 2

	ramBase  = 0x10_0000
	perQueue = 1 << 20 // rings, then a header and a status for each request
	dataOff  = 0x2_0000
	headers  = 0x1_0000

	flushFeature = 1 << 9
)

// rig is a device at work and its driver.
type rig struct {
	t       testing.TB
	mem     *virtiotest.Memory
	queues  []*virtiotest.Driver
	rings   []*virtio.Queue
	irq     []chan struct{}
	run     virtio.Running
	mu      sync.Mutex
	failed  []error
	counter []virtio.Counters
}

type setup struct {
	options  blk.Options
	features uint64 // besides the ring's
	scatter  bool
	dma      func(*virtiotest.Memory) virtio.DMA
}

func start(t testing.TB, b blk.Backend, s setup) (*rig, *blk.Device) {
	if s.options.QueueSize == 0 {
		s.options.QueueSize = 128
	}
	d, err := blk.New(b, s.options)
	require.NoError(t, err)
	sizes := d.Queues()
	r := &rig{
		t: t, mem: virtiotest.NewMemory(ramBase, perQueue*len(sizes)+1<<20),
		failed: make([]error, len(sizes)), counter: make([]virtio.Counters, len(sizes)),
	}
	r.mem.Scattered = s.scatter
	a := virtio.Activation{Features: s.features | virtio.FeatureVersion1, ConfigChanged: func() {}}
	a.Fail = func(q int, err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		require.NoError(t, r.failed[q], "a queue fails once")
		r.failed[q] = err
	}
	var dma virtio.DMA = r.mem
	if s.dma != nil {
		dma = s.dma(r.mem)
	}
	for i, size := range sizes {
		drv := virtiotest.NewDriver(r.mem, r.base(i), size, true)
		irq := make(chan struct{}, 1)
		q, err := virtio.NewQueue(virtio.QueueConfig{
			Size: size, Desc: drv.Desc, Avail: drv.Avail, Used: drv.Used, EventIdx: true, Indirect: true,
			DMA: dma, Counters: &r.counter[i],
			Interrupt: func() {
				select {
				case irq <- struct{}{}:
				default:
				}
			},
		})
		require.NoError(t, err)
		r.queues, r.rings, r.irq = append(r.queues, drv), append(r.rings, q), append(r.irq, irq)
		a.Queues = append(a.Queues, q)
	}
	r.run, err = d.Activate(a)
	require.NoError(t, err)
	t.Cleanup(r.run.Stop)
	return r, d
}

func (r *rig) base(queue int) uint64 { return ramBase + uint64(queue)*perQueue }

// data is where request n of a queue may have its buffer.
func (r *rig) data(queue, n int) uint64 { return r.base(queue) + dataOff + uint64(n)*4096 }

func (r *rig) headerAt(queue, n int) uint64 { return r.base(queue) + headers + uint64(n)*32 }

func (r *rig) statusAt(queue, n int) uint64 { return r.headerAt(queue, n) + 16 }

// put offers request n: a header, buffers and a status byte.
func (r *rig) put(queue, n int, kind uint32, sector uint64, buffers ...virtiotest.Desc) uint16 {
	h := r.headerAt(queue, n)
	r.header(h, kind, sector)
	r.mem.Bytes(r.statusAt(queue, n), 1)[0] = 0xFF
	chain := append([]virtiotest.Desc{{Addr: h, Len: 16}}, buffers...)
	chain = append(chain, virtiotest.Desc{Addr: r.statusAt(queue, n), Len: 1, Flags: virtiotest.Write})
	head, fits := r.queues[queue].Add(chain...)
	require.True(r.t, fits)
	return head
}

func (r *rig) header(at uint64, kind uint32, sector uint64) {
	b := r.mem.Bytes(at, 16)
	clear(b)
	binary.LittleEndian.PutUint32(b, kind)
	binary.LittleEndian.PutUint64(b[8:], sector)
}

func (r *rig) kick(queue int) {
	if r.queues[queue].Publish() {
		r.run.Kick(queue)
	}
}

// wait is for the next completion of a queue, by interrupt.
func (r *rig) wait(queue int) (head uint16, written uint32) {
	d := r.queues[queue]
	for {
		if head, written, ok := d.Poll(); ok {
			return head, written
		}
		d.SetUsedEvent(d.Seen())
		if d.UsedIndex() != d.Seen() {
			continue
		}
		select {
		case <-r.irq[queue]:
		case <-time.After(10 * time.Second):
			require.FailNow(r.t, "no completion")
		}
	}
}

// do serves one request and returns its status and used length.
func (r *rig) do(queue int, kind uint32, sector uint64, buffers ...virtiotest.Desc) (status byte, written uint32) {
	want := r.put(queue, 0, kind, sector, buffers...)
	r.kick(queue)
	head, written := r.wait(queue)
	require.Equal(r.t, want, head)
	return r.mem.Bytes(r.statusAt(queue, 0), 1)[0], written
}

func (r *rig) from(n int) virtiotest.Desc {
	return virtiotest.Desc{Addr: r.data(0, 0), Len: uint32(n)}
}

func (r *rig) into(n int) virtiotest.Desc {
	return virtiotest.Desc{Addr: r.data(0, 0), Len: uint32(n), Flags: virtiotest.Write}
}

func (r *rig) failure(queue int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed[queue]
}

func (r *rig) waitFailure(queue int) error {
	for range 10_000 {
		if err := r.failure(queue); err != nil {
			return err
		}
		runtime.Gosched()
		time.Sleep(100 * time.Microsecond)
	}
	require.FailNow(r.t, "the queue did not fail")
	return nil
}

// memory is a Backend that keeps sectors on the heap and writes down calls.
type memory struct {
	mu    sync.Mutex
	bytes []byte
	calls []string
	fail  error
	gate  chan struct{} // if set, reads wait for it
}

func newMemory(n int) *memory { return &memory{bytes: make([]byte, n)} }

func (m *memory) log(call string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, call)
	return m.fail
}

func (m *memory) ReadAt(segments [][]byte, off int64) (n int, err error) {
	if m.gate != nil {
		<-m.gate
	}
	if err := m.log("read"); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range segments {
		n += copy(s, m.bytes[int(off)+n:])
	}
	return n, nil
}

func (m *memory) WriteAt(segments [][]byte, off int64) (n int, err error) {
	if err := m.log("write"); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range segments {
		n += copy(m.bytes[int(off)+n:], s)
	}
	return n, nil
}

func (m *memory) Sync() error { return m.log("sync") }

func (m *memory) Size() int64 { return int64(len(m.bytes)) }

func (m *memory) Discard(off, n int64) error { return m.log("discard") }

func (m *memory) WriteZeroes(off, n int64, unmap bool) error {
	call := map[bool]string{true: "zero+unmap", false: "zero"}[unmap]
	if err := m.log(call); err != nil {
		return err
	}
	clear(m.bytes[off : off+n])
	return nil
}

func (m *memory) called() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	calls := m.calls
	m.calls = nil
	return calls
}
