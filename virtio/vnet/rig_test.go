package vnet_test

import (
	"bytes"
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gvmm/virtio"
	"gvmm/virtio/virtiotest"
	"gvmm/virtio/vnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Feature bits, as a driver knows them.
const (
	csum, guestCsum, guestOffloads   = 1 << 0, 1 << 1, 1 << 2
	guestTSO4, guestTSO6, guestECN   = 1 << 7, 1 << 8, 1 << 9
	hostTSO4, hostTSO6, hostECN      = 1 << 11, 1 << 12, 1 << 13
	mergeable, ctrlQueue, ctrlRx     = 1 << 15, 1 << 17, 1 << 18
	ctrlRxExtra, multiqueue, ctrlMAC = 1 << 20, 1 << 22, 1 << 23
	everyHost                        = csum | hostTSO4 | hostTSO6 | hostECN
	everyGuest                       = guestCsum | guestTSO4 | guestTSO6 | guestECN
	everyControl                     = ctrlQueue | ctrlRx | ctrlRxExtra | ctrlMAC | guestOffloads
	headerBytes                      = 12
	ramBase, perQueue, dataOff, slot = 0x10_0000, 1 << 20, 0x2_0000, 0x1000
)

var (
	own    = vnet.MAC{2, 0, 0, 0, 0, 1}
	other  = vnet.MAC{2, 0, 0, 0, 0, 2}
	every  = vnet.MAC{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}
	plenty = vnet.Offloads{TxChecksum: true, TxTSO4: true, TxTSO6: true, RxChecksum: true, RxTSO4: true, RxTSO6: true}
)

// sent is a frame as the link got it.
type sent struct {
	header vnet.Header
	frame  []byte
}

// wire is a Link that keeps what it gets.
type wire struct {
	offloads vnet.Offloads
	full     bool
	silent   bool // keeps nothing
	arrived  chan struct{}

	mu       sync.Mutex
	frames   []sent
	receiver vnet.Receiver
	stops    int
	rooms    int
}

func (w *wire) Offloads() vnet.Offloads { return w.offloads }

func (w *wire) Transmit(h vnet.Header, segments [][]byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full {
		return false
	}
	if w.silent {
		return true
	}
	w.frames = append(w.frames, sent{h, bytes.Join(segments, nil)})
	select {
	case w.arrived <- struct{}{}:
	default:
	}
	return true
}

func (w *wire) Start(r vnet.Receiver) {
	w.receiver = r
	r.OnRoom(func() {
		w.mu.Lock()
		w.rooms++
		w.mu.Unlock()
	})
}

func (w *wire) Stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stops++
}

func (w *wire) Close() error { return nil }

func (w *wire) room() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rooms
}

// taken is what came since the last call.
func (w *wire) taken() []sent {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.frames
	w.frames = nil
	return f
}

// rig is a device at work between a driver and a wire. It is inline unless a test says otherwise.
type rig struct {
	t       testing.TB
	mem     *virtiotest.Memory
	wire    *wire
	device  *vnet.Device
	queues  []*virtiotest.Driver
	run     virtio.Running
	irqs    []int
	failed  map[int]error
	control int // its queue
	buffers map[int]map[uint16]virtiotest.Desc
	next    []int // slot of each queue
}

type setup struct {
	features uint64
	options  vnet.Options
	offloads *vnet.Offloads
	threaded bool
	scatter  bool
	size     uint16
	absent   int // a queue that the driver does not enable, plus 1
	dma      func(virtio.DMA) virtio.DMA
}

func start(t testing.TB, s setup) *rig {
	w := &wire{offloads: plenty, arrived: make(chan struct{}, 1)}
	if s.offloads != nil {
		w.offloads = *s.offloads
	}
	if s.options.MAC == (vnet.MAC{}) {
		s.options.MAC = own
	}
	if s.options.QueueSize = s.size; s.size == 0 {
		s.options.QueueSize = 64
	}
	s.options.Inline = !s.threaded
	d, err := vnet.New(w, s.options)
	require.NoError(t, err)
	require.NoError(t, d.CheckFeatures(s.features))
	sizes := d.Queues()
	r := &rig{
		t: t, wire: w, device: d, mem: virtiotest.NewMemory(ramBase, perQueue*len(sizes)), failed: map[int]error{},
		irqs: make([]int, len(sizes)), control: 2, buffers: map[int]map[uint16]virtiotest.Desc{}, next: make([]int, len(sizes)),
	}
	if s.features&multiqueue != 0 {
		r.control = len(sizes) - 1
	}
	r.mem.Scattered = s.scatter
	a := virtio.Activation{Features: s.features | virtio.FeatureVersion1, ConfigChanged: func() {}}
	a.Fail = func(q int, err error) {
		require.NoError(t, r.failed[q], "a queue fails once")
		r.failed[q] = err
	}
	var dma virtio.DMA = r.mem
	if s.dma != nil {
		dma = s.dma(dma)
	}
	for i, size := range sizes {
		drv := virtiotest.NewDriver(r.mem, r.base(i), size, true)
		q, err := virtio.NewQueue(virtio.QueueConfig{
			Size: size, Desc: drv.Desc, Avail: drv.Avail, Used: drv.Used, EventIdx: true, Indirect: true, DMA: dma,
			Interrupt: func() { r.irqs[i]++ },
		})
		require.NoError(t, err)
		if s.absent == i+1 {
			q = nil
		}
		r.queues, a.Queues = append(r.queues, drv), append(a.Queues, q)
		r.buffers[i] = map[uint16]virtiotest.Desc{}
	}
	r.run, err = d.Activate(a)
	require.NoError(t, err)
	t.Cleanup(r.run.Stop)
	return r
}

func (r *rig) base(queue int) uint64 { return ramBase + uint64(queue)*perQueue }

// place is n bytes of the queue's that nothing in flight uses.
func (r *rig) place(queue, n int) uint64 {
	slots := (n + slot - 1) / slot
	if all := (perQueue - dataOff) / slot; r.next[queue]+slots > all {
		r.next[queue] = 0
	}
	at := r.base(queue) + dataOff + uint64(r.next[queue])*slot
	r.next[queue] += slots
	return at
}

// post gives the receive queue of a pair buffers of these sizes, and kicks as the device wishes.
func (r *rig) post(pair int, sizes ...int) (kicked bool) {
	q := 2 * pair
	for _, n := range sizes {
		b := virtiotest.Desc{Addr: r.place(q, n), Len: uint32(n), Flags: virtiotest.Write}
		clear(r.mem.Bytes(b.Addr, n))
		head, ok := r.queues[q].Add(b)
		require.True(r.t, ok)
		r.buffers[q][head] = b
	}
	if kicked = r.queues[q].Publish(); kicked {
		r.run.Kick(q)
	}
	return kicked
}

// got is the next frame in the driver's buffers; ok is false if there is none.
func (r *rig) got(pair int) (h vnet.Header, frame []byte, buffers int, ok bool) {
	q := 2 * pair
	head, written, ok := r.queues[q].Poll()
	if !ok {
		return h, nil, 0, false
	}
	b := r.mem.Bytes(r.buffers[q][head].Addr, int(written))
	if len(b) < headerBytes {
		return h, b, 0, true
	}
	h, buffers = vnet.ParseHeader(b), int(binary.LittleEndian.Uint16(b[10:]))
	frame = bytes.Clone(b[headerBytes:])
	for range buffers - 1 {
		head, written, more := r.queues[q].Poll()
		require.True(r.t, more, "buffers of one frame appear together")
		frame = append(frame, r.mem.Bytes(r.buffers[q][head].Addr, int(written))...)
	}
	return h, frame, buffers, true
}

// transmit offers a chain on a pair's transmit queue: readable pieces of these contents, and kicks.
func (r *rig) transmit(pair int, pieces ...[]byte) {
	q := 2*pair + 1
	var chain []virtiotest.Desc
	for _, p := range pieces {
		at := r.place(q, len(p))
		copy(r.mem.Bytes(at, len(p)), p)
		chain = append(chain, virtiotest.Desc{Addr: at, Len: uint32(len(p))})
	}
	_, ok := r.queues[q].Add(chain...)
	require.True(r.t, ok)
	r.queues[q].Publish()
	r.run.Kick(q)
}

// command sends a command and returns the device's answer.
func (r *rig) command(class, command byte, data ...byte) byte {
	q := r.queues[r.control]
	at := r.place(r.control, 2+len(data)+1)
	copy(r.mem.Bytes(at, 2+len(data)), append([]byte{class, command}, data...))
	ack := at + uint64(2+len(data))
	r.mem.Bytes(ack, 1)[0] = 0xEE
	_, ok := q.Add(virtiotest.Desc{Addr: at, Len: uint32(2 + len(data))}, virtiotest.Desc{Addr: ack, Len: 1, Flags: virtiotest.Write})
	require.True(r.t, ok)
	q.Publish()
	r.run.Kick(r.control)
	_, written, ok := q.Poll()
	require.True(r.t, ok)
	require.Equal(r.t, uint32(1), written)
	return r.mem.Bytes(ack, 1)[0]
}

// raw is a header as it stands in front of a frame.
func raw(h vnet.Header) []byte {
	b := make([]byte, headerBytes)
	h.Put(b)
	return b
}

// frameTo is n bytes to an address, each different from its neighbours.
func frameTo(to vnet.MAC, n int) []byte {
	f := make([]byte, n)
	for i := range f {
		f[i] = byte(i * 7)
	}
	copy(f, to[:])
	copy(f[6:], other[:])
	f[12], f[13] = 0x88, 0xB5 // an experiment's
	return f
}

// receive is a link that hands a frame over in two pieces.
func (r *rig) receive(h vnet.Header, frame []byte) bool {
	cut := len(frame) / 3
	return r.wire.receiver.Receive(h, [][]byte{frame[:cut], frame[cut:]})
}

// eventually waits for what a device with goroutines does.
func eventually(t testing.TB, what func() bool) {
	for range 5000 {
		if what() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	require.FailNow(t, "it does not come")
}
