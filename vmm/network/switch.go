package network

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gvmm/virtio/vnet"
)

// ErrPorts reports a switch that has as many ports as it can have.
var ErrPorts = errors.New("network: the switch has no free port")

// Bounds of a [Switch].
const (
	MaxPorts = 256
	// MaxAge is how long a station is remembered after it was last heard.
	MaxAge = 5 * time.Minute
)

// Switch is an Ethernet switch between the machines of one process: it learns
// behind which port a station is, and sends what is for all, or for a station
// that it does not know, to every port.
//
// A frame goes from one guest's buffers into another's on the sender's
// goroutine, with no lock on the way but that of the receiving queue. A port
// whose guest has no buffers keeps what comes in a backlog of its own; past
// that it loses frames, and nobody waits for it.
type Switch struct {
	name  string       // among the named; "" is none
	now   func() int64 // seconds
	mu    sync.Mutex   // changes of ports
	ports atomic.Pointer[[]*Port]
}

// NewSwitch makes a switch without ports.
func NewSwitch() *Switch {
	begin := time.Now()
	s := &Switch{now: func() int64 { return int64(time.Since(begin) / time.Second) }}
	s.ports.Store(new([]*Port))
	return s
}

// PortOptions shape a port.
type PortOptions struct {
	// Only, if set, is the one source address that the port takes frames from:
	// a guest cannot speak as another.
	Only vnet.MAC
}

// PortStats count a port's frames. In is from the guest, out to the guest.
type PortStats struct {
	In, Out     atomic.Uint64
	Backlogged  atomic.Uint64 // of Out, those that waited in the backlog
	Dropped     atomic.Uint64 // to the guest, for which there was no room
	Spoofed     atomic.Uint64 // from another source than Only, or from a group's address
	Local       atomic.Uint64 // for this link alone, or to a station behind this port: not forwarded
	Unreachable atomic.Uint64 // to a known station whose guest does not receive at present
}

// Port is a guest's place at a [Switch].
type Port struct {
	Stats PortStats

	owner    *Switch
	options  PortOptions
	stations stations

	way     sync.RWMutex // held for reading while the receiver is in use
	to      vnet.Receiver
	backlog backlog
	wake    chan struct{} // holds a token if the backlog may go on
	drained chan struct{} // closed when the goroutine of this start has ended
}

var _ vnet.Link = (*Port)(nil)

// Port adds a port.
func (s *Switch) Port(o PortOptions) (*Port, error) {
	if o.Only.Multicast() {
		return nil, fmt.Errorf("%w: %v is not the MAC address of one station", ErrPorts, o.Only)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ports := *s.ports.Load()
	if len(ports) == MaxPorts {
		return nil, fmt.Errorf("%w: %d are in use", ErrPorts, MaxPorts)
	}
	p := &Port{owner: s, options: o, wake: make(chan struct{}, 1)}
	ports = append(slices.Clone(ports), p)
	s.ports.Store(&ports)
	return p, nil
}

// named are the switches that machines of this process share by name, each as
// long as it has a port.
var named = struct {
	mu       sync.Mutex
	switches map[string]*Switch
}{switches: map[string]*Switch{}}

// NamedPort adds a port to the switch of this process that has a name, which
// there is from its first port to the end of its last.
func NamedPort(name string, o PortOptions) (*Port, error) {
	named.mu.Lock()
	defer named.mu.Unlock()
	s := named.switches[name]
	if s == nil {
		s = NewSwitch()
		s.name = name
	}
	p, err := s.Port(o)
	if err == nil {
		named.switches[name] = s
	}
	return p, err
}

// Offloads implements vnet.Link: frames pass as they are, and a device completes
// what its driver does not take.
func (p *Port) Offloads() vnet.Offloads {
	return vnet.Offloads{TxChecksum: true, TxTSO4: true, TxTSO6: true, RxChecksum: true, RxTSO4: true, RxTSO6: true}
}

// Transmit implements vnet.Link. What is dropped on the way is counted where it
// is; false is a frame that the switch does not take.
func (p *Port) Transmit(h vnet.Header, segments [][]byte) bool {
	var addresses [12]byte
	if n := copyFirst(addresses[:], segments); n < len(addresses) {
		return false
	}
	to, from := vnet.MAC(addresses[:6]), vnet.MAC(addresses[6:])
	if from.Multicast() || p.options.Only != (vnet.MAC{}) && from != p.options.Only {
		p.Stats.Spoofed.Add(1)
		return false
	}
	p.Stats.In.Add(1)
	now := p.owner.now()
	if p.stations.learn(from, now) {
		p.owner.moved(from, p)
	}
	switch {
	case unforwarded(to):
		p.Stats.Local.Add(1)
	case to.Multicast():
		p.owner.flood(p, h, segments)
	default:
		q := p.owner.find(to, now)
		switch q {
		case nil:
			p.owner.flood(p, h, segments)
		case p:
			p.Stats.Local.Add(1)
		default:
			q.deliver(h, segments)
		}
	}
	return true
}

// unforwarded tells an address that no bridge forwards (IEEE 802.1Q §8.6.3).
func unforwarded(m vnet.MAC) bool {
	return m[0] == 0x01 && m[1] == 0x80 && m[2] == 0xC2 && m[3] == 0 && m[4] == 0 && m[5] < 0x10
}

// find is the port behind which a station is, nil if that is not known.
func (s *Switch) find(m vnet.MAC, now int64) *Port {
	for _, p := range *s.ports.Load() {
		if p.stations.has(m, now) {
			return p
		}
	}
	return nil
}

// moved forgets a station everywhere but at p.
func (s *Switch) moved(m vnet.MAC, p *Port) {
	for _, q := range *s.ports.Load() {
		if q != p {
			q.stations.forget(m)
		}
	}
}

func (s *Switch) flood(from *Port, h vnet.Header, segments [][]byte) {
	for _, p := range *s.ports.Load() {
		if p != from {
			p.deliver(h, segments)
		}
	}
}

// Close implements vnet.Link: the port is gone from its switch.
func (p *Port) Close() error {
	p.Stop()
	s := p.owner
	named.mu.Lock()
	defer named.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	ports := slices.DeleteFunc(slices.Clone(*s.ports.Load()), func(q *Port) bool { return q == p })
	s.ports.Store(&ports)
	if len(ports) == 0 && s.name != "" && named.switches[s.name] == s {
		delete(named.switches, s.name)
	}
	return nil
}

// copyFirst copies the first bytes of segments to p and returns how many.
func copyFirst(p []byte, segments [][]byte) (n int) {
	for _, s := range segments {
		if n == len(p) {
			break
		}
		n += copy(p[n:], s)
	}
	return n
}
