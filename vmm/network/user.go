package network

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"gvmm/virtio/vnet"
)

// wireNIC is the stack's one interface: the far end of the guest's wire.
const wireNIC tcpip.NICID = 1

// Buffers of a connection's guest side, each way. With UserConfig.Connections
// they bound what a guest that does not read, or not acknowledge, can hold.
const tcpBuffer = 512 << 10

// timeWait is how long a closed connection can acknowledge again. Nothing on
// this wire is older.
const timeWait = time.Second

// User is a network in user space with one guest on it, over a TCP/IP stack.
type User struct {
	config UserConfig
	stack  *stack.Stack
	wire   *wire
	stats  Stats

	connections, flows, queries slots
	ping4, ping6                *pinger
	solicited                   chan struct{} // a router solicitation came
	linger                      time.Duration

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	mu     sync.Mutex // guards closed, and with it that no task begins late
	closed bool
	tasks  sync.WaitGroup
}

var _ vnet.Link = (*User)(nil)

// quiet: the stack would log what a guest sends to it.
var quiet = sync.OnceFunc(func() { log.SetTarget(noLog{}) })

type noLog struct{}

func (noLog) Emit(int, log.Level, time.Time, string, ...any) {}

// NewUser makes a network and listens for its forwards. The error says what of
// the configuration cannot be, or which of the host's ports is not to be had.
func NewUser(c UserConfig) (*User, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	quiet()
	u := &User{
		config:      c,
		connections: make(slots, c.Connections),
		flows:       make(slots, c.Flows),
		queries:     make(slots, maxQueries),
		solicited:   make(chan struct{}, 1),
		linger:      lingerTimeout,
	}
	u.ctx, u.cancel = context.WithCancel(context.Background())
	u.wire = newWire(u)
	u.ping4, u.ping6 = newPinger(u, family4), newPinger(u, family6)
	o := stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{arp.NewProtocol, ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
	}
	if !c.NoIPv6 {
		o.NetworkProtocols = append(o.NetworkProtocols, ipv6.NewProtocol)
		o.TransportProtocols = append(o.TransportProtocols, icmp.NewProtocol6)
	}
	u.stack = stack.New(o)
	u.spawn(u.wire.run)
	for _, step := range []func() error{u.configure, u.serve, u.listen} {
		if err := step(); err != nil {
			u.Close()
			return nil, err
		}
	}
	return u, nil
}

// configure gives the stack its interface, addresses, routes and bounds, and
// sends what is addressed to others to the translators.
func (u *User) configure() error {
	s := u.stack
	buffers := tcpip.TCPReceiveBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: tcpBuffer, Max: tcpBuffer}
	sends := tcpip.TCPSendBufferSizeRangeOption(buffers)
	sack, wait := tcpip.TCPSACKEnabled(true), tcpip.TCPTimeWaitTimeoutOption(timeWait)
	steps := []struct {
		what string
		err  tcpip.Error
	}{
		{"receive buffers", s.SetTransportProtocolOption(tcp.ProtocolNumber, &buffers)},
		{"send buffers", s.SetTransportProtocolOption(tcp.ProtocolNumber, &sends)},
		{"SACK", s.SetTransportProtocolOption(tcp.ProtocolNumber, &sack)},
		{"TIME-WAIT", s.SetTransportProtocolOption(tcp.ProtocolNumber, &wait)},
		{"interface", s.CreateNIC(wireNIC, u.wire)},
		{"spoofing", s.SetSpoofing(wireNIC, true)},
		{"promiscuous mode", s.SetPromiscuousMode(wireNIC, true)},
	}
	for _, st := range steps {
		if st.err != nil {
			return fmt.Errorf("network: %s: %v", st.what, st.err)
		}
	}
	for _, a := range u.addresses() {
		pa := tcpip.ProtocolAddress{
			Protocol:          protocolOf(a.Addr()),
			AddressWithPrefix: tcpip.AddressWithPrefix{Address: toAddress(a.Addr()), PrefixLen: a.Bits()},
		}
		if err := s.AddProtocolAddress(wireNIC, pa, stack.AddressProperties{}); err != nil {
			return fmt.Errorf("network: address %v: %v", a, err)
		}
		s.AddRoute(tcpip.Route{Destination: pa.AddressWithPrefix.Subnet(), NIC: wireNIC})
	}
	s.SetTransportProtocolHandler(tcp.ProtocolNumber, tcp.NewForwarder(s, tcpBuffer, u.config.HalfOpen, u.translateTCP).HandlePacket)
	s.SetTransportProtocolHandler(udp.ProtocolNumber, udp.NewForwarder(s, u.translateUDP).HandlePacket)
	s.SetTransportProtocolHandler(icmp.ProtocolNumber4, u.ping4.handle)
	s.SetTransportProtocolHandler(icmp.ProtocolNumber6, u.ping6.handle)
	return nil
}

// addresses are the router's own, each with its subnet.
func (u *User) addresses() []netip.Prefix {
	c := &u.config
	list := []netip.Prefix{
		netip.PrefixFrom(c.gateway(), c.Subnet.Bits()),
		netip.PrefixFrom(c.dns(), c.Subnet.Bits()),
	}
	if !c.NoIPv6 {
		list = append(list,
			netip.PrefixFrom(routerLinkLocal, 64),
			netip.PrefixFrom(c.gateway6(), 64),
			netip.PrefixFrom(c.dns6(), 64))
	}
	return list
}

// serve starts the router's own services.
func (u *User) serve() error {
	if err := u.serveDHCP(); err != nil {
		return err
	}
	if err := u.serveDNS(u.config.dns()); err != nil {
		return err
	}
	if u.config.NoIPv6 {
		return nil
	}
	u.spawn(u.advertise)
	return u.serveDNS(u.config.dns6())
}

// Stats are the network's counters.
func (u *User) Stats() *Stats { return &u.stats }

// Gateway, DNS and Guest are the IPv4 addresses of the subnet's hosts.
func (u *User) Gateway() netip.Addr { return u.config.gateway() }

// DNS is the resolver's address.
func (u *User) DNS() netip.Addr { return u.config.dns() }

// Guest is the address that DHCP gives.
func (u *User) Guest() netip.Addr { return u.config.guest() }

// MTU is what the guest should be told, in bytes of an IP packet.
func (u *User) MTU() int { return u.config.MTU }

// Offloads implements vnet.Link: all of them. Nothing on this wire is ever put
// into packets that a checksum could protect.
func (u *User) Offloads() vnet.Offloads {
	return vnet.Offloads{
		TxChecksum: true, TxTSO4: true, TxTSO6: true,
		RxChecksum: true, RxTSO4: true, RxTSO6: true,
	}
}

// Transmit implements vnet.Link.
func (u *User) Transmit(h vnet.Header, segments [][]byte) bool { return u.wire.transmit(h, segments) }

// Start implements vnet.Link.
func (u *User) Start(r vnet.Receiver) { u.wire.start(r) }

// Stop implements vnet.Link. Connections live on; frames to the guest are dropped.
func (u *User) Stop() { u.wire.stop() }

// Close implements vnet.Link. It ends every connection and returns when the
// last goroutine has.
func (u *User) Close() error {
	u.mu.Lock()
	if u.closed {
		u.mu.Unlock()
		return nil
	}
	u.closed = true
	u.mu.Unlock()

	u.wire.closed.Store(true)
	u.wire.stop()
	u.cancel()
	ended := make(chan struct{})
	go func() {
		u.tasks.Wait()
		close(ended)
	}()
	// A task may be within a handshake, and its endpoint come after others were
	// aborted: once more, until there is none.
	for waiting := true; waiting; {
		for _, e := range u.stack.RegisteredEndpoints() {
			e.Abort()
		}
		select {
		case <-ended:
			waiting = false
		case <-time.After(5 * time.Millisecond):
		}
	}
	u.stack.Destroy()
	return nil
}

// spawn runs f on a goroutine that Close waits for. It does not once Close began.
func (u *User) spawn(f func()) bool {
	if !u.begin() {
		return false
	}
	go func() {
		defer u.tasks.Done()
		f()
	}()
	return true
}

// begin counts a task that Close waits for; tasks.Done ends it.
func (u *User) begin() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return false
	}
	u.tasks.Add(1)
	return true
}

// slots bound how many of something there are at a time.
type slots chan struct{}

func (s slots) take() bool {
	select {
	case s <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s slots) give() { <-s }

func toAddress(a netip.Addr) tcpip.Address { return tcpip.AddrFromSlice(a.AsSlice()) }

func fromAddress(a tcpip.Address) netip.Addr {
	n, _ := netip.AddrFromSlice(a.AsSlice())
	return n
}

func protocolOf(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return header.IPv4ProtocolNumber
	}
	return header.IPv6ProtocolNumber
}
