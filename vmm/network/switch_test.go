package network

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gvmm/virtio/vnet"
)

var everybody = vnet.MAC{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}

func mac(n int) vnet.MAC { return vnet.MAC{2, 0, 0, 0, byte(n >> 8), byte(n)} }

// guestStub is a vnet.Receiver that keeps what it gets, as far as it has buffers.
type guestStub struct {
	mu     sync.Mutex
	frames [][]byte
	heads  []vnet.Header
	room   func()
	left   int // buffers; negative: without end
}

func (g *guestStub) Receive(h vnet.Header, frame [][]byte) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.left == 0 {
		return false
	}
	g.left--
	g.frames, g.heads = append(g.frames, bytes.Join(frame, nil)), append(g.heads, h)
	return true
}

func (g *guestStub) OnRoom(f func()) { g.room = f }

func (g *guestStub) give(buffers int) {
	g.mu.Lock()
	g.left = buffers
	g.mu.Unlock()
	g.room()
}

func (g *guestStub) taken() [][]byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.frames
	g.frames = nil
	return f
}

func (g *guestStub) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.frames)
}

// lan is a switch with guests.
type lan struct {
	*Switch
	time   int64
	ports  []*Port
	guests []*guestStub
}

func newLAN(t testing.TB, guests int, o PortOptions) *lan {
	l := &lan{Switch: NewSwitch()}
	l.now = func() int64 { return l.time }
	for range guests {
		l.add(t, o)
	}
	return l
}

func (l *lan) add(t testing.TB, o PortOptions) {
	p, err := l.Port(o)
	require.NoError(t, err)
	g := &guestStub{left: -1}
	p.Start(g)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	l.ports, l.guests = append(l.ports, p), append(l.guests, g)
}

func ether(to, from vnet.MAC, body string) [][]byte {
	frame := append(append(append([]byte{}, to[:]...), from[:]...), 0x88, 0xB5)
	return [][]byte{frame[:7], append(frame[7:], body...)}
}

// reached are the guests that got a frame since the last call.
func (l *lan) reached() (list []int) {
	for i, g := range l.guests {
		if len(g.taken()) > 0 {
			list = append(list, i)
		}
	}
	return list
}

func TestSwitchLearnsWhereStationsAre(t *testing.T) {
	l := newLAN(t, 4, PortOptions{})
	send := func(port int, to, from vnet.MAC) []int {
		require.True(t, l.ports[port].Transmit(vnet.Header{}, ether(to, from, "x")))
		return l.reached()
	}
	require.Equal(t, []int{1, 2, 3}, send(0, mac(1), mac(0)), "unknown: to all but its port")
	require.Equal(t, []int{0}, send(1, mac(0), mac(1)), "known by what it sent")
	require.Equal(t, []int{1}, send(0, mac(1), mac(0)))
	require.Equal(t, []int{0, 2, 3}, send(1, everybody, mac(1)))
	require.Equal(t, []int{0, 2, 3}, send(1, vnet.MAC{1, 0, 0x5E, 0, 0, 1}, mac(1)))
	require.Empty(t, send(1, vnet.MAC{1, 0x80, 0xC2, 0, 0, 0}, mac(1)), "a bridge's own group")
	require.Empty(t, send(1, mac(1), mac(9)), "a station behind the same port")
	require.Equal(t, []int{0, 1, 3}, send(2, everybody, mac(1)), "the station moves")
	require.Equal(t, []int{2}, send(0, mac(1), mac(0)))
	l.time += int64(MaxAge/time.Second) + 1
	require.Equal(t, []int{1, 2, 3}, send(0, mac(1), mac(0)), "forgotten with age")
}

func TestSpoofedSourcesAreRefused(t *testing.T) {
	l := newLAN(t, 1, PortOptions{Only: mac(7)})
	l.add(t, PortOptions{})
	require.False(t, l.ports[0].Transmit(vnet.Header{}, ether(everybody, mac(8), "")))
	require.False(t, l.ports[1].Transmit(vnet.Header{}, ether(everybody, everybody, "")), "a group sends nothing")
	require.Empty(t, l.reached())
	require.True(t, l.ports[0].Transmit(vnet.Header{}, ether(everybody, mac(7), "")))
	require.Equal(t, []int{1}, l.reached())
	require.Equal(t, uint64(1), l.ports[0].Stats.Spoofed.Load())
	require.False(t, l.ports[0].Transmit(vnet.Header{}, [][]byte{make([]byte, 11)}))
	_, err := l.Port(PortOptions{Only: everybody})
	require.ErrorIs(t, err, ErrPorts)
}

func TestHeaderGoesAlong(t *testing.T) {
	l := newLAN(t, 2, PortOptions{})
	h := vnet.Header{Flags: 1, GSOType: 1, HdrLen: 54, GSOSize: 1448, CsumStart: 34, CsumOffset: 16}
	l.guests[1].left = 0
	l.ports[0].Transmit(h, ether(mac(1), mac(0), "by the backlog"))
	l.guests[1].give(-1)
	eventually(t, func() bool { return l.guests[1].count() == 1 })
	l.ports[0].Transmit(h, ether(mac(1), mac(0), "at once"))
	require.Equal(t, []vnet.Header{h, h}, l.guests[1].heads)
}

func eventually(t testing.TB, what func() bool) {
	for range 5000 {
		if what() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	require.FailNow(t, "it does not come")
}

func TestPortWithoutBuffersHoldsUpNobody(t *testing.T) {
	l := newLAN(t, 3, PortOptions{})
	l.guests[1].left = 0
	body := string(make([]byte, 1000))
	for range 5000 {
		require.True(t, l.ports[0].Transmit(vnet.Header{}, ether(everybody, mac(0), body)))
	}
	require.Equal(t, 5000, l.guests[2].count())
	waiting := backlogBytes / (1014 + record)
	require.Equal(t, uint64(5000-waiting), l.ports[1].Stats.Dropped.Load())
	l.guests[1].give(10)
	eventually(t, func() bool { return l.guests[1].count() == 10 })
	l.guests[1].give(-1)
	eventually(t, func() bool { return l.guests[1].count() == waiting })
	require.Equal(t, uint64(waiting), l.ports[1].Stats.Backlogged.Load())
}

func TestFramesOfASenderStayInOrder(t *testing.T) {
	l := newLAN(t, 4, PortOptions{})
	const frames = 3000
	for port := range l.ports {
		l.ports[port].Transmit(vnet.Header{}, ether(everybody, mac(port), "hello"))
	}
	l.reached()
	var g sync.WaitGroup
	for port := 1; port < 4; port++ {
		g.Go(func() {
			for n := range frames {
				body := append(binary.BigEndian.AppendUint32(nil, uint32(n)), make([]byte, n%300)...)
				l.ports[port].Transmit(vnet.Header{}, ether(mac(0), mac(port), string(body)))
			}
		})
	}
	stop := make(chan struct{})
	var giver sync.WaitGroup
	giver.Go(func() {
		for r := rand.New(rand.NewPCG(1, 2)); ; {
			select {
			case <-stop:
				l.guests[0].give(-1)
				return
			default:
				l.guests[0].give(r.IntN(20))
			}
		}
	})
	g.Wait()
	close(stop)
	giver.Wait()
	eventually(t, func() bool { return l.ports[0].backlog.empty() })
	last := map[byte]int{}
	for _, f := range l.guests[0].taken() {
		from, n := f[11], int(binary.BigEndian.Uint32(f[14:]))
		if before, ok := last[from]; ok {
			require.Greater(t, n, before)
		}
		last[from] = n
		require.Len(t, f, 18+n%300)
	}
	require.Equal(t, uint64(3*frames), l.ports[0].Stats.Out.Load()+l.ports[0].Stats.Dropped.Load()-3)
}

func TestStoppedPortReceivesNothingAndMayStartAgain(t *testing.T) {
	l := newLAN(t, 2, PortOptions{})
	l.guests[1].left = 0
	l.ports[0].Transmit(vnet.Header{}, ether(everybody, mac(0), "waits"))
	l.ports[1].Stop()
	l.ports[1].Stop()
	l.guests[1].left = -1
	l.ports[0].Transmit(vnet.Header{}, ether(everybody, mac(0), "nobody there"))
	require.Zero(t, l.guests[1].count())
	require.Equal(t, uint64(1), l.ports[1].Stats.Unreachable.Load())
	l.ports[1].Start(l.guests[1])
	l.ports[0].Transmit(vnet.Header{}, ether(everybody, mac(0), "back"))
	require.Equal(t, 1, l.guests[1].count(), "what waited for the old receiver is gone")
}

func TestStartsAndStopsUnderTraffic(t *testing.T) {
	l := newLAN(t, 3, PortOptions{})
	stop := make(chan struct{})
	var g sync.WaitGroup
	for port := range 2 {
		g.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					l.ports[port].Transmit(vnet.Header{}, ether(everybody, mac(port), "x"))
				}
			}
		})
	}
	for n := range 200 {
		l.ports[2].Stop()
		before := l.guests[2].count()
		require.Equal(t, before, l.guests[2].count())
		l.guests[2].mu.Lock()
		l.guests[2].left = n%3 - 1
		l.guests[2].mu.Unlock()
		l.ports[2].Start(l.guests[2])
	}
	close(stop)
	g.Wait()
}

func TestPortsAreBounded(t *testing.T) {
	s := NewSwitch()
	for range MaxPorts {
		_, err := s.Port(PortOptions{})
		require.NoError(t, err)
	}
	_, err := s.Port(PortOptions{})
	require.ErrorIs(t, err, ErrPorts)
	require.NoError(t, (*s.ports.Load())[5].Close())
	_, err = s.Port(PortOptions{})
	require.NoError(t, err)
}

func TestNamedSwitchLastsFromItsFirstPortToItsLast(t *testing.T) {
	a, err := NamedPort("a", PortOptions{})
	require.NoError(t, err)
	b, err := NamedPort("a", PortOptions{})
	require.NoError(t, err)
	c, err := NamedPort("c", PortOptions{})
	require.NoError(t, err)
	require.Same(t, a.owner, b.owner)
	require.NotSame(t, a.owner, c.owner)
	require.NoError(t, a.Close())
	d, err := NamedPort("a", PortOptions{})
	require.NoError(t, err)
	require.Same(t, b.owner, d.owner)
	for _, p := range []*Port{b, c, d} {
		require.NoError(t, p.Close())
		require.NoError(t, p.Close(), "twice is no harm")
	}
	require.Empty(t, named.switches)
	e, err := NamedPort("a", PortOptions{})
	require.NoError(t, err)
	require.NotSame(t, b.owner, e.owner)
	require.NoError(t, e.Close())
}

func TestInventedStationsCostTheirInventorAlone(t *testing.T) {
	l := newLAN(t, 3, PortOptions{})
	l.ports[1].Transmit(vnet.Header{}, ether(everybody, mac(1), ""))
	for n := range 10_000 {
		l.ports[0].Transmit(vnet.Header{}, ether(mac(1), mac(1000+n), ""))
	}
	l.reached()
	l.ports[2].Transmit(vnet.Header{}, ether(mac(1), mac(2), ""))
	require.Equal(t, []int{1}, l.reached())
}

func TestStationsAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var table stations
		heard := map[vnet.MAC]int64{}
		now := int64(0)
		for range 200 {
			now += int64(rapid.IntRange(0, 20).Draw(t, "time"))
			m := mac(rapid.IntRange(0, 12).Draw(t, "station"))
			last, known := heard[m]
			known = known && now-last <= int64(MaxAge.Seconds())
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				require.Equal(t, !known, table.learn(m, now))
				heard[m] = now
			case 2:
				table.forget(m)
				delete(heard, m)
			case 3:
				require.Equal(t, known, table.has(m, now), fmt.Sprint(m))
			}
		}
	})
}

func TestSwitchDoesNotAllocate(t *testing.T) {
	l := newLAN(t, 2, PortOptions{})
	for _, p := range l.ports {
		p.Stop()
		p.Start(sink{})
	}
	frame := ether(mac(1), mac(0), "hello")
	require.Zero(t, testing.AllocsPerRun(100, func() { l.ports[0].Transmit(vnet.Header{}, frame) }))
}

// sink is a vnet.Receiver with room for all.
type sink struct{}

func (sink) Receive(vnet.Header, [][]byte) bool { return true }
func (sink) OnRoom(func())                      {}
