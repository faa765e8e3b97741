package network

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"gvmm/virtio/vnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	guestMAC = tcpip.LinkAddress("\x52\x54\x00\x00\x00\x01")
	guest6   = netip.MustParseAddr("fd00::15")
)

// guest is a TCP/IP stack on the other side of a User, and its network card:
// what a virtual machine is to it.
type guest struct {
	user  *User
	stack *stack.Stack
	link  *channel.Endpoint

	mu      sync.Mutex
	seen    func(h vnet.Header, frame []byte) // each frame that came
	onRoom  func()
	refuse  atomic.Bool // no buffers
	deaf    atomic.Bool // frames are lost
	calls   atomic.Int64
	largest atomic.Int64 // payload of one frame to the guest
}

// newGuest makes a network and a guest on it, with its addresses.
func newGuest(t *testing.T, c UserConfig) *guest {
	t.Helper()
	u, err := NewUser(c)
	require.NoError(t, err)
	t.Cleanup(func() {
		u.Stop()
		require.NoError(t, u.Close())
		require.Zero(t, u.stats.ConnectionsOpen.Load(), "connections after Close")
		require.Zero(t, u.stats.FlowsOpen.Load(), "flows after Close")
	})
	return attach(t, u)
}

func attach(t *testing.T, u *User) *guest {
	g := &guest{user: u, link: channel.New(4096, uint32(u.MTU()+header.EthernetMinimumSize), guestMAC)}
	g.link.SupportedGSOKind = stack.HostGSOSupported
	g.link.LinkEPCapabilities = stack.CapabilityRXChecksumOffload
	g.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{arp.NewProtocol, ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
	})
	wait := tcpip.TCPTimeWaitTimeoutOption(time.Millisecond)
	g.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &wait)
	require.Nil(t, g.stack.CreateNIC(1, ethernet.New(g.link)))
	for _, a := range []netip.Prefix{netip.PrefixFrom(u.Guest(), u.config.Subnet.Bits()), netip.PrefixFrom(guest6, 64)} {
		require.Nil(t, g.stack.AddProtocolAddress(1, tcpip.ProtocolAddress{
			Protocol:          protocolOf(a.Addr()),
			AddressWithPrefix: tcpip.AddressWithPrefix{Address: toAddress(a.Addr()), PrefixLen: a.Bits()},
		}, stack.AddressProperties{}))
	}
	g.stack.SetRouteTable([]tcpip.Route{
		{Destination: header.IPv4EmptySubnet, Gateway: toAddress(u.Gateway()), NIC: 1},
		{Destination: header.IPv6EmptySubnet, Gateway: toAddress(u.config.gateway6()), NIC: 1},
	})
	ctx, cancel := context.WithCancel(context.Background())
	var sender sync.WaitGroup
	sender.Go(func() { g.send(ctx) })
	u.Start(g)
	t.Cleanup(func() {
		u.Stop()
		cancel()
		sender.Wait()
		g.link.Close()
		g.stack.Destroy()
	})
	return g
}

// send carries the guest's frames to the network.
func (g *guest) send(ctx context.Context) {
	for {
		pkt := g.link.ReadContext(ctx)
		if pkt == nil {
			return
		}
		g.user.Transmit(offloads(pkt), pkt.AsSlices())
		pkt.DecRef()
	}
}

// Receive implements vnet.Receiver.
func (g *guest) Receive(h vnet.Header, segments [][]byte) bool {
	g.calls.Add(1)
	if g.refuse.Load() {
		return false
	}
	if g.deaf.Load() {
		return true
	}
	var frame []byte
	for _, s := range segments {
		frame = append(frame, s...)
	}
	g.largest.Store(max(g.largest.Load(), int64(len(frame))))
	g.mu.Lock()
	seen := g.seen
	g.mu.Unlock()
	if seen != nil {
		seen(h, frame)
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(frame)})
	defer pkt.DecRef()
	g.link.InjectInbound(0, pkt)
	return true
}

// OnRoom implements vnet.Receiver.
func (g *guest) OnRoom(f func()) { g.onRoom = f }

// room has buffers again.
func (g *guest) room() {
	g.refuse.Store(false)
	g.onRoom()
}

// watch returns a channel of the frames that come and that want likes.
func (g *guest) watch(want func(frame []byte) bool) <-chan []byte {
	c := make(chan []byte, 64)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen = func(_ vnet.Header, frame []byte) {
		if want(frame) {
			select {
			case c <- frame:
			default:
			}
		}
	}
	return c
}

const patience = 8 * time.Second

func next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		require.FailNow(t, "nothing came")
		panic("unreachable")
	}
}

func full(a netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{Addr: toAddress(a.Addr()), Port: a.Port()}
}

// dial connects from the guest.
func (g *guest) dial(to netip.AddrPort) (*gonet.TCPConn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := gonet.DialContextTCP(ctx, g.stack, full(to), protocolOf(to.Addr()))
	if err == nil {
		c.SetDeadline(time.Now().Add(patience))
	}
	return c, err
}

// dialUDP is a UDP socket of the guest's.
func (g *guest) dialUDP(t *testing.T, to netip.AddrPort) *gonet.UDPConn {
	t.Helper()
	a := full(to)
	c, err := gonet.DialUDP(g.stack, nil, &a, protocolOf(to.Addr()))
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// serveTCP listens on the host's loopback and hands each connection to f.
func serveTCP(t *testing.T, address string, f func(*net.TCPConn)) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", address)
	require.NoError(t, err)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(patience))
			all.Go(func() {
				defer c.Close()
				f(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

// serveUDP answers each datagram on the host's loopback with f's.
func serveUDP(t *testing.T, address string, f func([]byte) []byte) uint16 {
	t.Helper()
	l, err := net.ListenPacket("udp", address)
	require.NoError(t, err)
	var all sync.WaitGroup
	all.Go(func() {
		buf := make([]byte, 65536)
		for {
			n, from, err := l.ReadFrom(buf)
			if err != nil {
				return
			}
			if a := f(append([]byte(nil), buf[:n]...)); a != nil {
				l.WriteTo(a, from)
			}
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return l.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

func echoes(b []byte) []byte { return b }

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(b)
}

// frame4 is an Ethernet frame of the guest's with an IPv4 packet.
func frame4(to tcpip.LinkAddress, src, dst netip.Addr, protocol uint8, payload []byte) []byte {
	b := make([]byte, header.EthernetMinimumSize+header.IPv4MinimumSize, header.EthernetMinimumSize+header.IPv4MinimumSize+len(payload))
	header.Ethernet(b).Encode(&header.EthernetFields{SrcAddr: guestMAC, DstAddr: to, Type: header.IPv4ProtocolNumber})
	ip := header.IPv4(b[header.EthernetMinimumSize:])
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(header.IPv4MinimumSize + len(payload)), TTL: 64, Protocol: protocol,
		SrcAddr: toAddress(src), DstAddr: toAddress(dst),
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	return append(b, payload...)
}

// udp4 is a UDP datagram without a checksum.
func udp4(from, to uint16, payload []byte) []byte {
	b := make([]byte, header.UDPMinimumSize, header.UDPMinimumSize+len(payload))
	header.UDP(b).Encode(&header.UDPFields{SrcPort: from, DstPort: to, Length: uint16(header.UDPMinimumSize + len(payload))})
	return append(b, payload...)
}

func (g *guest) transmit(frame []byte) { g.user.Transmit(vnet.Header{}, [][]byte{frame}) }
