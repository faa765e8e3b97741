package virtiotest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/virtio"
)

// Where a Work has its memory: rings, then Data for requests.
const (
	RAM       = 0x10_0000
	RAMBytes  = 4 << 20
	Data      = RAM + 2<<20
	DataBytes = RAM + RAMBytes - Data

	ringBytes = 64 << 10
)

// Work is an activated device and the drivers of its queues.
type Work struct {
	Memory  *Memory
	Drivers []*Driver
	Queues  []*virtio.Queue
	Running virtio.Running
	Changes atomic.Int32 // of the configuration, as told

	t      testing.TB
	irq    []chan struct{}
	mu     sync.Mutex
	failed []error // by queue
}

// Activate brings a device to life with the features, the ring's among them,
// and stops it with the test.
func Activate(t testing.TB, d virtio.Device, features uint64) *Work {
	require.NoError(t, d.CheckFeatures(features))
	w := &Work{t: t, Memory: NewMemory(RAM, RAMBytes)}
	a := virtio.Activation{Features: features | virtio.FeatureVersion1, ConfigChanged: func() { w.Changes.Add(1) }}
	a.Fail = func(queue int, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.failed[queue] = err
	}
	packed, eventIdx := features&virtio.FeatureRingPacked != 0, features&virtio.FeatureEventIdx != 0
	for i, size := range d.Queues() {
		makeDriver := NewDriver
		if packed {
			makeDriver = NewPacked
		}
		drv := makeDriver(w.Memory, RAM+uint64(i)*ringBytes, size, eventIdx)
		irq := make(chan struct{}, 1)
		q, err := virtio.NewQueue(virtio.QueueConfig{
			Packed: packed, Size: size, Desc: drv.Desc, Avail: drv.Avail, Used: drv.Used,
			EventIdx: eventIdx, Indirect: features&virtio.FeatureIndirect != 0, DMA: w.Memory,
			Interrupt: func() {
				select {
				case irq <- struct{}{}:
				default:
				}
			},
		})
		require.NoError(t, err)
		w.Drivers, w.Queues = append(w.Drivers, drv), append(w.Queues, q)
		w.irq, w.failed = append(w.irq, irq), append(w.failed, nil)
	}
	a.Queues = w.Queues
	running, err := d.Activate(a)
	require.NoError(t, err)
	w.Running = running
	t.Cleanup(running.Stop)
	for i := range w.Queues {
		running.Kick(i)
	}
	return w
}

// Offer puts a chain into a queue, and kicks if the device wants it.
func (w *Work) Offer(queue int, buffers ...Desc) (head uint16) {
	head, ok := w.Drivers[queue].Add(buffers...)
	require.True(w.t, ok, "no room in the queue")
	if w.Drivers[queue].Publish() {
		w.Running.Kick(queue)
	}
	return head
}

// Wait is for the next completion of a queue.
func (w *Work) Wait(queue int) (head uint16, written uint32) {
	d := w.Drivers[queue]
	for {
		if head, written, ok := d.Poll(); ok {
			return head, written
		}
		d.SetUsedEvent(d.Seen())
		if d.UsedIndex() != d.Seen() {
			continue
		}
		select {
		case <-w.irq[queue]:
		case <-time.After(10 * time.Second):
			require.FailNow(w.t, "no completion", "queue %d: %v", queue, w.Failure(queue))
		}
	}
}

// Do offers a chain and waits for it.
func (w *Work) Do(queue int, buffers ...Desc) (written uint32) {
	want := w.Offer(queue, buffers...)
	head, written := w.Wait(queue)
	require.Equal(w.t, want, head)
	return written
}

// Failure is why a queue serves no more.
func (w *Work) Failure(queue int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed[queue]
}

// Put writes bytes for a request.
func (w *Work) Put(addr uint64, b string) Desc {
	copy(w.Memory.Bytes(addr, len(b)), b)
	return Desc{Addr: addr, Len: uint32(len(b))}
}

// Room is a buffer for the device to write to.
func Room(addr uint64, n int) Desc { return Desc{Addr: addr, Len: uint32(n), Flags: Write} }
