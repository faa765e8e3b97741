package console_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"gvmm/virtio"
	"gvmm/virtio/console"
	"gvmm/virtio/virtiotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ring = virtio.FeatureEventIdx | virtio.FeatureIndirect

	size, multiPort, emergency = 1 << 0, 1 << 1, 1 << 2

	receive, transmit, controlReceive, controlTransmit = 0, 1, 2, 3
)

// screen is what the guest wrote.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
	gate chan struct{} // if set, a write waits for it
}

func (s *screen) Write(p []byte) (int, error) {
	if s.gate != nil {
		<-s.gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

type rig struct {
	*virtiotest.Work
	device *console.Device
	screen *screen
	rooms  atomic.Int32
}

func start(t testing.TB, o console.Options, features uint64) *rig {
	r := &rig{screen: &screen{}}
	if o.Out == nil {
		o.Out = r.screen
	}
	o.Room = func() { r.rooms.Add(1) }
	var err error
	r.device, err = console.New(o)
	require.NoError(t, err)
	r.Work = virtiotest.Activate(t, r.device, ring|features)
	return r
}

// onAll runs a test on both ring formats, with goroutines and without.
func onAll(t *testing.T, test func(t *testing.T, o console.Options, features uint64)) {
	for _, inline := range []bool{false, true} {
		for format, features := range map[string]uint64{"split": 0, "packed": virtio.FeatureRingPacked} {
			t.Run(fmt.Sprintf("%s/inline=%v", format, inline), func(t *testing.T) {
				test(t, console.Options{Inline: inline}, features)
			})
		}
	}
}

func TestOutputIsWrittenInOrder(t *testing.T) {
	onAll(t, func(t *testing.T, o console.Options, features uint64) {
		r := start(t, o, features)
		long := strings.Repeat("0123456789", 1000)
		require.Zero(t, r.Do(transmit, r.Put(virtiotest.Data, "hel"), r.Put(virtiotest.Data+16, "lo ")))
		r.Do(transmit, r.Put(virtiotest.Data, long))
		r.Do(transmit, virtiotest.Room(virtiotest.Data, 8)) // nothing to write
		require.Equal(t, "hello "+long, r.screen.String())
	})
}

func TestInputFillsTheDriversBuffers(t *testing.T) {
	onAll(t, func(t *testing.T, o console.Options, features uint64) {
		r := start(t, o, features)
		require.True(t, r.device.Listening())
		r.Offer(receive, virtiotest.Room(virtiotest.Data, 4), virtiotest.Room(virtiotest.Data+4, 4))
		r.Offer(receive, virtiotest.Room(virtiotest.Data+8, 100))
		require.Zero(t, r.Drivers[receive].UsedIndex(), "buffers wait for input")
		require.Equal(t, 10, r.device.Receive([]byte("0123456789")))
		_, n := r.Wait(receive)
		require.Equal(t, uint32(8), n)
		_, n = r.Wait(receive)
		require.Equal(t, uint32(2), n)
		require.Equal(t, "0123456789", string(r.Memory.Bytes(virtiotest.Data, 10)))
	})
}

// Input that came before the driver did is kept; what does not fit stays with
// whoever has it, who is told when there is room.
func TestInputIsBounded(t *testing.T) {
	r := &rig{screen: &screen{}}
	d, err := console.New(console.Options{Out: r.screen, Room: func() { r.rooms.Add(1) }, Inline: true})
	require.NoError(t, err)
	require.False(t, d.Listening())
	taken := d.Receive(bytes.Repeat([]byte("x"), 10_000))
	require.Equal(t, 4096, taken)
	require.Zero(t, d.Receive([]byte("y")))
	r.Work = virtiotest.Activate(t, d, ring)
	require.Equal(t, int32(1), r.rooms.Load(), "a driver came")
	require.Equal(t, uint32(96), r.Do(receive, virtiotest.Room(virtiotest.Data, 96)))
	require.Equal(t, int32(2), r.rooms.Load(), "room came")
	require.Equal(t, 96, d.Receive(bytes.Repeat([]byte("z"), 200)))
	require.Equal(t, uint32(4000), r.Do(receive, virtiotest.Room(virtiotest.Data, 4000)))
	require.Equal(t, uint32(96), r.Do(receive, virtiotest.Room(virtiotest.Data, 4096)))
	require.Equal(t, bytes.Repeat([]byte("z"), 96), r.Memory.Bytes(virtiotest.Data, 96))
	require.Equal(t, int32(3), r.rooms.Load())
}

// Whatever the pieces are that input is given and taken in, none is lost.
func TestInputAgainstAString(t *testing.T) {
	d, err := console.New(console.Options{Inline: true})
	require.NoError(t, err)
	w := virtiotest.Activate(t, d, ring|virtio.FeatureRingPacked)
	var sent byte
	var waiting []byte
	rapid.Check(t, func(rt *rapid.T) {
		b := make([]byte, rapid.IntRange(0, 5000).Draw(rt, "given"))
		for i := range b {
			b[i] = sent + byte(i)
		}
		n := d.Receive(b)
		require.Equal(rt, min(len(b), 4096-len(waiting)), n)
		sent += byte(n)
		waiting = append(waiting, b[:n]...)
		for range rapid.IntRange(0, 3).Draw(rt, "buffers") {
			if len(waiting) == 0 {
				return
			}
			room := rapid.IntRange(1, 3000).Draw(rt, "room")
			n := int(w.Do(receive, virtiotest.Room(virtiotest.Data, room)))
			require.Equal(rt, min(room, len(waiting)), n)
			require.Equal(rt, waiting[:n], w.Memory.Bytes(virtiotest.Data, n))
			waiting = waiting[n:]
		}
	})
}

func TestSizeIsInTheConfiguration(t *testing.T) {
	r := start(t, console.Options{Columns: 80, Rows: 25}, size)
	config := func() (columns, rows uint16) {
		p := make([]byte, 4)
		r.device.ReadConfig(0, p)
		return binary.LittleEndian.Uint16(p), binary.LittleEndian.Uint16(p[2:])
	}
	columns, rows := config()
	require.Equal(t, [2]uint16{80, 25}, [2]uint16{columns, rows})
	r.device.Resize(80, 25)
	require.Equal(t, int32(1), r.Changes.Load(), "told once what it is, then no change")
	r.device.Resize(132, 43)
	columns, rows = config()
	require.Equal(t, [2]uint16{132, 43}, [2]uint16{columns, rows})
	require.Equal(t, int32(2), r.Changes.Load())

	p := make([]byte, 20)
	r.device.ReadConfig(2, p)
	require.Equal(t, append([]byte{43}, make([]byte, 19)...), p, "no ports without MULTIPORT, and nothing past the end")
	r.device.ReadConfig(1<<40, p)
	require.Equal(t, make([]byte, 20), p)

	r = start(t, console.Options{}, 0)
	r.device.Resize(1, 1)
	require.Zero(t, r.Changes.Load(), "the driver did not ask for the size")
	r.Running.Stop()
	r.device.Resize(2, 2)
	require.False(t, r.device.Listening())
}

func TestEmergencyWrite(t *testing.T) {
	r := start(t, console.Options{}, emergency)
	r.device.WriteConfig(8, []byte{'!', 0, 0, 0})
	r.device.WriteConfig(0, []byte{'?', 0, 0, 0})
	r.device.WriteConfig(8, nil)
	r.Running.Stop()
	r.device.WriteConfig(8, []byte{'?'})
	require.Equal(t, "!?", r.screen.String())
}

// message is a control message of the driver's.
func message(port uint32, event, value uint16) string {
	b := binary.LittleEndian.AppendUint32(nil, port)
	b = binary.LittleEndian.AppendUint16(b, event)
	return string(binary.LittleEndian.AppendUint16(b, value))
}

// hear reads a control message.
func (r *rig) hear(n int) (event uint16, value uint16, rest string) {
	got := r.Do(controlReceive, virtiotest.Room(virtiotest.Data, n))
	b := r.Memory.Bytes(virtiotest.Data, int(got))
	return binary.LittleEndian.Uint16(b[4:]), binary.LittleEndian.Uint16(b[6:]), string(b[8:])
}

func (r *rig) say(port uint32, event, value uint16) {
	r.Do(controlTransmit, r.Put(virtiotest.Data+4096, message(port, event, value)))
}

func TestMultiPortConversation(t *testing.T) {
	onAll(t, func(t *testing.T, o console.Options, features uint64) {
		o.MultiPort, o.Name, o.Columns, o.Rows = true, "org.example", 80, 25
		r := start(t, o, features|multiPort|size)
		p := make([]byte, 4)
		r.device.ReadConfig(4, p)
		require.Equal(t, []byte{1, 0, 0, 0}, p, "one port")
		expect := func(event, value uint16, rest string) {
			t.Helper()
			gotEvent, gotValue, gotRest := r.hear(64)
			require.Equal(t, event, gotEvent)
			require.Equal(t, value, gotValue)
			require.Equal(t, rest, gotRest)
		}
		r.device.Resize(100, 30)      // before there is a port: said when there is
		r.say(0, 3, 0)                // a driver that could not
		r.say(7, 3, 1)                // another port
		r.say(0, 0, 1)                // DEVICE_READY
		expect(1, 1, "")              // PORT_ADD
		r.say(0, 3, 1)                // PORT_READY
		expect(4, 1, "")              // CONSOLE_PORT
		expect(5, 1, "d\x00\x1e\x00") // RESIZE
		expect(7, 1, "org.example")
		expect(6, 1, "") // PORT_OPEN
		r.say(0, 6, 1)
		r.Offer(controlReceive, virtiotest.Room(virtiotest.Data, 64))
		require.Zero(t, r.Drivers[controlReceive].UsedIndex()-r.Drivers[controlReceive].Seen(), "all was said")
		for i := range uint16(100) { // only the last size matters
			r.device.Resize(200+i, 50)
		}
		for {
			r.Wait(controlReceive)
			b := r.Memory.Bytes(virtiotest.Data, 12)
			require.Equal(t, byte(5), b[4])
			if binary.LittleEndian.Uint16(b[8:]) == 299 {
				break
			}
			r.Offer(controlReceive, virtiotest.Room(virtiotest.Data, 64))
		}
		r.Do(transmit, r.Put(virtiotest.Data, "port 0"))
		require.Equal(t, "port 0", r.screen.String())
	})
}

// A driver that takes no MULTIPORT has a console all the same.
func TestMultiPortOfferedAndLeft(t *testing.T) {
	r := start(t, console.Options{MultiPort: true}, size)
	require.Len(t, r.Queues, 4)
	r.Running.Kick(controlReceive)
	r.Running.Kick(controlTransmit)
	r.Do(transmit, r.Put(virtiotest.Data, "x"))
	require.Equal(t, "x", r.screen.String())
	r.device.Resize(9, 9)
	require.Equal(t, int32(1), r.Changes.Load())
}

// What the driver had queued is written by a device that stops.
func TestStopWritesWhatIsQueued(t *testing.T) {
	gate := make(chan struct{})
	out := &screen{gate: gate}
	r := start(t, console.Options{Out: out}, 0)
	for i := range 10 {
		r.Offer(transmit, r.Put(virtiotest.Data+uint64(i)*16, fmt.Sprint("line ", i, "\n")))
	}
	stopped := make(chan struct{})
	go func() { r.Running.Stop(); close(stopped) }()
	select {
	case <-stopped:
		require.Fail(t, "stopped with output under way")
	case <-time.After(10 * time.Millisecond):
	}
	close(gate)
	<-stopped
	var want string
	for i := range 10 {
		want += fmt.Sprint("line ", i, "\n")
	}
	require.Equal(t, want, out.String())
	require.Equal(t, uint16(10), r.Drivers[transmit].UsedIndex())
	r.Offer(transmit, r.Put(virtiotest.Data, "late"))
	require.Equal(t, want, out.String())
	r.Running.Stop()
}

func TestWhatAStoppingDeviceWritesIsBounded(t *testing.T) {
	r := start(t, console.Options{Inline: true}, 0)
	for range 60 { // without a kick: nobody looks before the device stops
		_, ok := r.Drivers[transmit].Add(virtiotest.Desc{Addr: virtiotest.Data, Len: 1 << 20})
		require.True(t, ok)
	}
	r.Drivers[transmit].Publish()
	r.Running.Stop()
	require.Len(t, r.screen.String(), 1<<20)
	require.Equal(t, uint16(60), r.Drivers[transmit].UsedIndex())
}

func TestWriterThatFailsLosesItsOutputOnly(t *testing.T) {
	r := start(t, console.Options{Out: failing{}}, 0)
	for range 3 {
		r.Do(transmit, r.Put(virtiotest.Data, "x"))
	}
	require.NoError(t, r.Failure(transmit))
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("nobody there") }

func TestBrokenQueueLeavesTheOthersAlive(t *testing.T) {
	onAll(t, func(t *testing.T, o console.Options, features uint64) {
		r := start(t, o, features)
		r.device.Receive([]byte("x"))
		r.Offer(receive, virtiotest.Room(0x1000, 8))
		for r.Failure(receive) == nil {
			time.Sleep(time.Millisecond)
		}
		require.ErrorIs(t, r.Failure(receive), virtio.ErrAddress)
		r.Do(transmit, r.Put(virtiotest.Data, "alive"))
		require.Equal(t, "alive", r.screen.String())
		r.device.Receive([]byte("more"))
	})
}

func TestOptionsAndShape(t *testing.T) {
	for _, o := range []console.Options{{QueueSize: 5}, {Name: strings.Repeat("x", 65)}} {
		_, err := console.New(o)
		require.ErrorIs(t, err, console.ErrOptions)
	}
	d, err := console.New(console.Options{MultiPort: true, QueueSize: 8})
	require.NoError(t, err)
	require.Equal(t, uint16(3), d.Type())
	require.Equal(t, uint64(size|multiPort|emergency), d.Features())
	require.Equal(t, []uint16{8, 8, 8, 8}, d.Queues())
	_, err = d.Activate(virtio.Activation{Queues: make([]*virtio.Queue, 2)})
	require.ErrorIs(t, err, console.ErrOptions)
	run, err := d.Activate(virtio.Activation{Features: multiPort | size, Queues: make([]*virtio.Queue, 4), ConfigChanged: func() {}})
	require.NoError(t, err)
	for _, q := range []int{-1, 0, 1, 2, 3, 4} {
		run.Kick(q)
	}
	d.Resize(1, 2)
	d.Receive([]byte("x"))
	run.Stop()
}

// A driver that says anything on any queue: the device answers in bounds.
func FuzzControl(f *testing.F) {
	f.Add([]byte(message(0, 0, 1)+message(0, 3, 1)), 8, true)
	f.Add([]byte(message(1, 6, 0)+"short"), 3, false)
	f.Add([]byte(strings.Repeat(message(0, 0, 1), 30)), 1, true)
	f.Fuzz(func(t *testing.T, in []byte, cut int, packed bool) {
		features := uint64(multiPort | size)
		if packed {
			features |= virtio.FeatureRingPacked
		}
		r := start(t, console.Options{MultiPort: true, Name: "n", Inline: true}, features)
		cut = 1 + max(0, cut)%20
		for i := 0; len(in) > 0 && i < 100; i++ {
			n := min(cut, len(in))
			d := r.Put(virtiotest.Data, string(in[:n]))
			in = in[n:]
			if n > 2 { // in pieces
				r.Do(controlTransmit, virtiotest.Desc{Addr: d.Addr, Len: 2}, virtiotest.Desc{Addr: d.Addr + 2, Len: d.Len - 2})
			} else {
				r.Do(controlTransmit, d)
			}
			r.device.Resize(uint16(i), 1)
			if i%3 == 0 {
				r.Drivers[controlReceive].Add(virtiotest.Room(virtiotest.Data+4096, cut))
				r.Drivers[controlReceive].Publish()
				r.Running.Kick(controlReceive)
			}
			if _, written, ok := r.Drivers[controlReceive].Poll(); ok {
				require.LessOrEqual(t, int(written), cut)
			}
		}
		for q := range r.Queues {
			require.NoError(t, r.Failure(q))
		}
	})
}
