package rng_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gvmm/virtio"
	"gvmm/virtio/rng"
	"gvmm/virtio/virtiotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ring = virtio.FeatureEventIdx | virtio.FeatureIndirect

// formats are the features of a split and of a packed ring.
var formats = map[string]uint64{"split": ring, "packed": ring | virtio.FeatureRingPacked}

func start(t testing.TB, o rng.Options, features uint64) *virtiotest.Work {
	d, err := rng.New(o)
	require.NoError(t, err)
	return virtiotest.Activate(t, d, features)
}

func seeded() *rand.ChaCha8 { return rand.NewChaCha8([32]byte{1, 2, 3}) }

func TestBuffersAreFilledInOrder(t *testing.T) {
	for name, features := range formats {
		for _, inline := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				w := start(t, rng.Options{Source: seeded(), Inline: inline}, features)
				want := make([]byte, 3*5000)
				_, _ = seeded().Read(want)
				for i := range 3 {
					n := w.Do(0, virtiotest.Room(virtiotest.Data, 1), virtiotest.Room(virtiotest.Data+1, 4999))
					require.Equal(t, uint32(5000), n)
					require.Equal(t, want[i*5000:(i+1)*5000], w.Memory.Bytes(virtiotest.Data, 5000))
				}
			})
		}
	}
}

func TestDefaultSourceIsRandom(t *testing.T) {
	w := start(t, rng.Options{}, ring)
	w.Do(0, virtiotest.Room(virtiotest.Data, 64))
	first := bytes.Clone(w.Memory.Bytes(virtiotest.Data, 64))
	w.Do(0, virtiotest.Room(virtiotest.Data, 64))
	require.NotEqual(t, first, w.Memory.Bytes(virtiotest.Data, 64))
}

func TestARequestIsBounded(t *testing.T) {
	w := start(t, rng.Options{Source: seeded(), BytesPerSecond: -1}, ring)
	big := virtiotest.Room(virtiotest.Data, rng.MaxRequest+1)
	require.Equal(t, uint32(rng.MaxRequest), w.Do(0, big))
	require.Zero(t, w.Memory.Bytes(virtiotest.Data+rng.MaxRequest, 1)[0])
	require.Equal(t, uint32(rng.MaxRequest), w.Do(0, virtiotest.Room(virtiotest.Data, 10), big), "over all of its buffers")
}

func TestARequestWithoutRoomGetsNothing(t *testing.T) {
	w := start(t, rng.Options{}, ring)
	require.Zero(t, w.Do(0, w.Put(virtiotest.Data, "for reading")))
	require.Equal(t, uint32(8), w.Do(0, w.Put(virtiotest.Data, "for reading"), virtiotest.Room(virtiotest.Data+64, 8)))
}

// A guest that is over its rate waits, and does not hold a reset up.
func TestStopEndsTheWaitForTheRate(t *testing.T) {
	w := start(t, rng.Options{Source: seeded(), BytesPerSecond: 1}, ring)
	require.Equal(t, uint32(rng.MaxRequest), w.Do(0, virtiotest.Room(virtiotest.Data, rng.MaxRequest)), "what it may have at once")
	w.Offer(0, virtiotest.Room(virtiotest.Data, 3600))
	for w.Queues[0].Counters.Chains.Load() < 2 {
		time.Sleep(time.Millisecond)
	}
	w.Running.Stop()
	require.NoError(t, w.Failure(0))
	require.Equal(t, uint16(1), w.Drivers[0].UsedIndex())
	w.Running.Kick(0)
	w.Running.Stop()
}

func TestSourceThatFailsFailsTheDevice(t *testing.T) {
	w := start(t, rng.Options{Source: io.LimitReader(seeded(), 8), Inline: true}, ring)
	require.Equal(t, uint32(8), w.Do(0, virtiotest.Room(virtiotest.Data, 8)))
	w.Offer(0, virtiotest.Room(virtiotest.Data, 8))
	require.ErrorIs(t, w.Failure(0), rng.ErrSource)
	w.Running.Kick(0)
}

func TestBrokenRingIsReported(t *testing.T) {
	for _, inline := range []bool{false, true} {
		w := start(t, rng.Options{Inline: inline}, ring)
		w.Offer(0, virtiotest.Room(0x1000, 8))
		for w.Failure(0) == nil {
			time.Sleep(time.Millisecond)
		}
		require.ErrorIs(t, w.Failure(0), virtio.ErrAddress)
	}
}

func TestOptionsAndShape(t *testing.T) {
	_, err := rng.New(rng.Options{QueueSize: 3})
	require.ErrorIs(t, err, rng.ErrOptions)
	d, err := rng.New(rng.Options{})
	require.NoError(t, err)
	require.Equal(t, uint16(4), d.Type())
	require.Equal(t, []uint16{64}, d.Queues())
	p := []byte{1, 2}
	d.WriteConfig(0, p)
	d.ReadConfig(0, p)
	require.Equal(t, []byte{0, 0}, p)
	_, err = d.Activate(virtio.Activation{})
	require.ErrorIs(t, err, rng.ErrOptions)
	run, err := d.Activate(virtio.Activation{Queues: make([]*virtio.Queue, 1), Fail: func(int, error) { panic(errors.New("failed")) }})
	require.NoError(t, err)
	for _, q := range []int{-1, 0, 1} {
		run.Kick(q)
	}
	run.Stop()
}

// Whatever chains a driver makes, a request is bounded and the bytes are where
// the length says.
func FuzzRequests(f *testing.F) {
	f.Add([]byte{8, 0x90, 0xFF}, true)
	f.Add([]byte{0x80, 0x81, 0, 7}, false)
	f.Fuzz(func(t *testing.T, in []byte, packed bool) {
		features := ring
		if packed {
			features |= virtio.FeatureRingPacked
		}
		w := start(t, rng.Options{Source: seeded(), Inline: true}, features)
		for len(in) > 0 && w.Failure(0) == nil {
			n := min(len(in), 1+int(in[0]&3))
			var chain []virtiotest.Desc
			room := 0
			for i, b := range in[:n] {
				d := virtiotest.Desc{Addr: virtiotest.Data + uint64(i)<<17, Len: uint32(b&0x7F) * 700}
				if b&0x80 != 0 {
					d.Flags = virtiotest.Write
					room += int(d.Len)
				}
				chain = append(chain, d)
			}
			in = in[n:]
			w.Offer(0, chain...)
			if w.Failure(0) == nil {
				_, written, ok := w.Drivers[0].Poll()
				require.True(t, ok)
				require.Equal(t, min(room, rng.MaxRequest), int(written))
			}
		}
	})
}
