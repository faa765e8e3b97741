package network

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"gvmm/virtio/vnet"
)

// noise is n bytes that a mistaken order or length does not leave the same.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

func TestTCPCarriesTenMegabytesEachWay(t *testing.T) {
	for _, mtu := range []int{1500, MaxMTU} {
		data := noise(10 << 20)
		want := sha256.Sum256(data)
		posted := make(chan [32]byte, 1)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := sha256.New()
			io.Copy(h, r.Body)
			posted <- [32]byte(h.Sum(nil))
			w.Write(data)
		}))
		g := newGuest(t, UserConfig{MTU: mtu})
		port := server.Listener.Addr().(*net.TCPAddr).AddrPort().Port()
		client := http.Client{Timeout: patience, Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				return g.dial(netip.AddrPortFrom(g.user.Gateway(), port))
			},
		}}
		r, err := client.Post("http://host/", "", bytes.NewReader(data))
		require.NoError(t, err)
		h := sha256.New()
		_, err = io.Copy(h, r.Body)
		r.Body.Close()
		require.NoError(t, err)
		require.Equal(t, want, [32]byte(h.Sum(nil)), "what the guest got, MTU %d", mtu)
		require.Equal(t, want, next(t, posted), "what the host got, MTU %d", mtu)
		server.Close()

		s := g.user.Stats()
		require.Greater(t, g.largest.Load(), int64(30<<10), "frames come unsegmented")
		require.Less(t, s.TxFrames.Load(), uint64(10<<20/1500), "frames go unsegmented")
		require.Greater(t, s.TxBytes.Load(), uint64(10<<20))
		require.Greater(t, s.RxBytes.Load(), uint64(10<<20))
		require.EqualValues(t, 1, s.Connections.Load())
	}
}

func TestTCPOverIPv6(t *testing.T) {
	port := serveTCP(t, "[::1]:0", func(c *net.TCPConn) { c.Write([]byte("six")) })
	g := newGuest(t, UserConfig{})
	c, err := g.dial(netip.AddrPortFrom(g.user.config.gateway6(), port))
	require.NoError(t, err)
	require.Equal(t, "six", readAll(t, c))
	c.Close()
}

func TestRefusedConnectionIsRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	l.Close()
	g := newGuest(t, UserConfig{})
	_, err = g.dial(netip.AddrPortFrom(g.user.Gateway(), port))
	require.ErrorContains(t, err, "connection was refused")
	require.EqualValues(t, 1, g.user.Stats().Refused.Load())
}

func TestHalfCloseIsPassedOn(t *testing.T) {
	heard := make(chan string, 1)
	port := serveTCP(t, "127.0.0.1:0", func(c *net.TCPConn) {
		c.Write([]byte("hello"))
		c.CloseWrite()
		b, _ := io.ReadAll(c)
		heard <- string(b)
	})
	g := newGuest(t, UserConfig{})
	c, err := g.dial(netip.AddrPortFrom(g.user.Gateway(), port))
	require.NoError(t, err)
	require.Equal(t, "hello", readAll(t, c)) // the host has ended its way
	_, err = c.Write([]byte("still here"))
	require.NoError(t, err)
	require.NoError(t, c.CloseWrite())
	require.Equal(t, "still here", next(t, heard))
	c.Close()

	port = serveTCP(t, "127.0.0.1:0", func(c *net.TCPConn) {
		b, _ := io.ReadAll(c) // until the guest has ended its way
		c.Write(append(b, " back"...))
	})
	c, err = g.dial(netip.AddrPortFrom(g.user.Gateway(), port))
	require.NoError(t, err)
	c.Write([]byte("there and"))
	require.NoError(t, c.CloseWrite())
	require.Equal(t, "there and back", readAll(t, c))
	c.Close()
	require.Eventually(t, func() bool { return g.user.Stats().ConnectionsOpen.Load() == 0 }, patience, time.Millisecond)
}

func TestResetIsPassedOn(t *testing.T) {
	errs := make(chan error, 1)
	port := serveTCP(t, "127.0.0.1:0", func(c *net.TCPConn) {
		_, err := c.Read(make([]byte, 1))
		errs <- err
	})
	g := newGuest(t, UserConfig{})
	_, err := g.dial(netip.AddrPortFrom(g.user.Gateway(), port))
	require.NoError(t, err)
	for _, e := range g.stack.RegisteredEndpoints() {
		e.Abort()
	}
	require.ErrorContains(t, next(t, errs), "reset")

	port = serveTCP(t, "127.0.0.1:0", func(c *net.TCPConn) {
		c.Read(make([]byte, 1))
		abort(c)
	})
	c, err := g.dial(netip.AddrPortFrom(g.user.Gateway(), port))
	require.NoError(t, err)
	c.Write([]byte("x"))
	_, err = c.Read(make([]byte, 1))
	require.ErrorContains(t, err, "reset")
	c.Close()
}

func TestConnectionsAreBounded(t *testing.T) {
	port := serveTCP(t, "127.0.0.1:0", func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	g := newGuest(t, UserConfig{Connections: 2})
	to := netip.AddrPortFrom(g.user.Gateway(), port)
	first, err := g.dial(to)
	require.NoError(t, err)
	second, err := g.dial(to)
	require.NoError(t, err)
	_, err = g.dial(to)
	require.Error(t, err)
	require.EqualValues(t, 1, g.user.Stats().Limited.Load())

	first.Close()
	require.Eventually(t, func() bool { return g.user.Stats().ConnectionsOpen.Load() == 1 }, patience, time.Millisecond)
	third, err := g.dial(to)
	require.NoError(t, err)
	second.Close()
	third.Close()
}

// synTo is a frame that asks for a connection, and no more.
func synTo(u *User, port uint16) []byte {
	b := make([]byte, header.TCPMinimumSize)
	header.TCP(b).Encode(&header.TCPFields{
		SrcPort: port, DstPort: port, SeqNum: 1, DataOffset: header.TCPMinimumSize,
		Flags: header.TCPFlagSyn, WindowSize: 1000,
	})
	other := netip.MustParseAddr("10.0.2.77") // nobody answers there
	return frame4(u.wire.mac, other, u.Gateway(), uint8(header.TCPProtocolNumber), b)
}

func TestCloseEndsHalfOpenConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	g := newGuest(t, UserConfig{})
	g.transmit(synTo(g.user, l.Addr().(*net.TCPAddr).AddrPort().Port()))
	c, err := l.Accept()
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, g.user.Close())
	c.SetDeadline(time.Now().Add(patience))
	_, err = c.Read(make([]byte, 1))
	require.Error(t, err)
	require.False(t, errors.Is(err, context.DeadlineExceeded))
}

func TestGuestThatAcknowledgesNothingLosesTheConnection(t *testing.T) {
	hold, over := make(chan struct{}), make(chan struct{})
	port := serveTCP(t, "127.0.0.1:0", func(c *net.TCPConn) {
		<-hold
		c.Write(noise(100))
		c.CloseWrite()
		io.Copy(io.Discard, c)
		close(over)
	})
	g := newGuest(t, UserConfig{})
	g.user.linger = 20 * time.Millisecond
	c, err := g.dial(netip.AddrPortFrom(g.user.Gateway(), port))
	require.NoError(t, err)
	require.NoError(t, c.CloseWrite()) // its own way has ended
	require.Eventually(t, func() bool { return g.user.Stats().ConnectionsOpen.Load() == 1 }, patience, time.Millisecond)
	g.deaf.Store(true)
	close(hold)
	next(t, over)
	require.Eventually(t, func() bool { return g.user.Stats().ConnectionsOpen.Load() == 0 }, patience, time.Millisecond)
	c.Close()
}

func TestHalfOpenConnectionsAreBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	g := newGuest(t, UserConfig{HalfOpen: 3})
	for i := range 10 {
		f := synTo(g.user, port)
		header.TCP(f[header.EthernetMinimumSize+header.IPv4MinimumSize:]).SetSourcePort(uint16(1000 + i))
		g.transmit(f)
	}
	require.Eventually(t, func() bool { return g.user.Stats().ConnectionsOpen.Load() == 3 }, patience, time.Millisecond)
	require.EqualValues(t, 7, g.user.stack.Stats().TCP.ForwardMaxInFlightDrop.Value())
}

func TestCloseEndsOpenConnections(t *testing.T) {
	ended := make(chan error, 1)
	port := serveTCP(t, "127.0.0.1:0", func(c *net.TCPConn) {
		c.Write([]byte("x"))
		_, err := io.Copy(io.Discard, c)
		ended <- err
	})
	g := newGuest(t, UserConfig{})
	c, err := g.dial(netip.AddrPortFrom(g.user.Gateway(), port))
	require.NoError(t, err)
	c.Read(make([]byte, 1))
	require.NoError(t, g.user.Close())
	next(t, ended)
	c.Close()
	require.True(t, g.user.Transmit(vnet.Header{}, [][]byte{synTo(g.user, port)}), "a frame after Close is dropped")
}

func TestUDPEcho(t *testing.T) {
	g := newGuest(t, UserConfig{})
	for _, c := range []struct {
		listen string
		router netip.Addr
	}{{"127.0.0.1:0", g.user.Gateway()}, {"[::1]:0", g.user.config.gateway6()}} {
		port := serveUDP(t, c.listen, echoes)
		conn := g.dialUDP(t, netip.AddrPortFrom(c.router, port))
		for _, size := range []int{1, 1400, 9000, 60000} { // the last two in fragments
			want := noise(size)
			_, err := conn.Write(want)
			require.NoError(t, err)
			got := make([]byte, 65536)
			n, err := conn.Read(got)
			require.NoError(t, err, "%d bytes", size)
			require.True(t, bytes.Equal(want, got[:n]), "%d bytes", size)
		}
	}
	require.EqualValues(t, 2, g.user.Stats().Flows.Load())
}

// refusedUDP sends a datagram and takes the message that nobody is there.
func (g *guest) refusedUDP(t *testing.T, to netip.AddrPort) {
	t.Helper()
	errs := g.watch(isUnreachable)
	conn := g.dialUDP(t, to)
	conn.Write([]byte("anybody?"))
	next(t, errs)
	require.Eventually(t, func() bool { // the socket is told: the quoted headers are its own
		conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		_, err := conn.Read(make([]byte, 1))
		return strings.Contains(err.Error(), "refused")
	}, patience, time.Millisecond)
}

// isUnreachable tells whether a frame is ICMP's or ICMPv6's destination unreachable.
func isUnreachable(frame []byte) bool {
	ip := frame[header.EthernetMinimumSize:]
	if ip[0]>>4 == 4 {
		return ip[9] == uint8(header.ICMPv4ProtocolNumber) && ip[20] == byte(header.ICMPv4DstUnreachable)
	}
	return ip[0]>>4 == 6 && ip[6] == uint8(header.ICMPv6ProtocolNumber) && ip[40] == byte(header.ICMPv6DstUnreachable)
}

func TestUDPToNobodyIsUnreachable(t *testing.T) {
	g := newGuest(t, UserConfig{})
	for _, c := range []struct {
		listen string
		router netip.Addr
	}{{"127.0.0.1:0", g.user.Gateway()}, {"[::1]:0", g.user.config.gateway6()}} {
		l, err := net.ListenPacket("udp", c.listen)
		require.NoError(t, err)
		port := l.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		l.Close()
		g.refusedUDP(t, netip.AddrPortFrom(c.router, port))
	}
}

// refusing is the host's side of a flow to where nobody is, when the kernel
// tells so by what is written next.
type refusing struct{ net.Conn }

func (refusing) Write([]byte) (int, error) { return 0, syscall.ECONNREFUSED }

func TestRefusalOfADatagramEndsItsFlow(t *testing.T) {
	g := newGuest(t, UserConfig{})
	a, b := net.Pipe()
	c, d := net.Pipe()
	defer d.Close()
	go a.Write([]byte("x"))
	require.ErrorIs(t, g.user.relayUDP(b, refusing{c}, time.Hour), syscall.ECONNREFUSED)
}

func TestFlowsAreBounded(t *testing.T) {
	port := serveUDP(t, "127.0.0.1:0", echoes)
	g := newGuest(t, UserConfig{Flows: 1})
	to := netip.AddrPortFrom(g.user.Gateway(), port)
	first, second := g.dialUDP(t, to), g.dialUDP(t, to)
	first.Write([]byte("1"))
	_, err := first.Read(make([]byte, 1))
	require.NoError(t, err)
	second.Write([]byte("2"))
	require.Eventually(t, func() bool { return g.user.Stats().Limited.Load() == 1 }, patience, time.Millisecond)
}

func TestIdleFlowEnds(t *testing.T) {
	g := newGuest(t, UserConfig{})
	synctest.Test(t, func(t *testing.T) {
		const idle = time.Minute
		a, b := net.Pipe()
		c, d := net.Pipe()
		done := make(chan error, 1)
		go func() { done <- g.user.relayUDP(b, c, idle) }()
		for range 10 { // longer than idle, one way only
			a.Write([]byte("x"))
			_, err := d.Read(make([]byte, 1))
			require.NoError(t, err)
			time.Sleep(idle / 4)
		}
		last := time.Now()
		<-done
		require.InDelta(t, idle, time.Since(last), float64(idle/2))
		_, err := a.Write([]byte("x"))
		require.Error(t, err)
	})
}

func TestOutward(t *testing.T) {
	ip := netip.MustParseAddr
	none := netip.Addr{}
	for _, c := range []struct {
		name     string
		config   UserConfig
		to, want netip.Addr
	}{
		{"outside", UserConfig{}, ip("192.0.2.1"), ip("192.0.2.1")},
		{"outside, IPv6", UserConfig{}, ip("2001:db8::1"), ip("2001:db8::1")},
		{"the router is the loopback", UserConfig{}, ip("10.0.2.2"), ip("127.0.0.1")},
		{"the router is the loopback, IPv6", UserConfig{}, ip("fd00::2"), ip("::1")},
		{"no loopback", UserConfig{NoHostLoopback: true}, ip("10.0.2.2"), none},
		{"no loopback, IPv6", UserConfig{NoHostLoopback: true}, ip("fd00::2"), none},
		{"restricted", UserConfig{Restrict: true}, ip("192.0.2.1"), none},
		{"restricted, router", UserConfig{Restrict: true}, ip("10.0.2.2"), none},
		{"a neighbour", UserConfig{}, ip("10.0.2.99"), none},
		{"the resolver", UserConfig{}, ip("10.0.2.3"), none},
		{"loopback", UserConfig{}, ip("127.0.0.1"), none},
		{"loopback, IPv6", UserConfig{}, ip("::1"), none},
		{"loopback in IPv6", UserConfig{}, ip("::ffff:127.0.0.1"), none},
		{"outside in IPv6", UserConfig{}, ip("::ffff:192.0.2.1"), none},
		{"this host", UserConfig{}, ip("0.0.0.0"), none},
		{"this host, IPv6", UserConfig{}, ip("::"), none},
		{"link-local", UserConfig{}, ip("169.254.169.254"), none},
		{"link-local, IPv6", UserConfig{}, ip("fe80::1"), none},
		{"multicast", UserConfig{}, ip("224.0.0.251"), none},
		{"broadcast", UserConfig{}, ip("255.255.255.255"), none},
	} {
		complete, err := c.config.complete()
		require.NoError(t, err)
		got, ok := (&User{config: complete}).outward(c.to)
		require.Equal(t, c.want.IsValid(), ok, c.name)
		if ok {
			require.Equal(t, c.want, got, c.name)
		}
	}
}

func TestRestrictedGuestHasTheRouterOnly(t *testing.T) {
	tcpPort := serveTCP(t, "127.0.0.1:0", func(*net.TCPConn) {})
	udpPort := serveUDP(t, "127.0.0.1:0", echoes)
	g := newGuest(t, UserConfig{Restrict: true, Forwards: []Forward{
		{Network: "tcp", Guest: netip.AddrPortFrom(netip.Addr{}, 80)}}})
	_, err := g.dial(netip.AddrPortFrom(g.user.Gateway(), tcpPort))
	require.ErrorContains(t, err, "refused")
	g.refusedUDP(t, netip.AddrPortFrom(g.user.Gateway(), udpPort))
	require.Zero(t, g.user.Stats().Flows.Load())

	l, err := gonet.ListenTCP(g.stack, tcpip.FullAddress{Port: 80}, header.IPv4ProtocolNumber)
	require.NoError(t, err)
	defer l.Close()
	c, err := net.Dial("tcp", g.user.Forwards()[0].Host.String())
	require.NoError(t, err)
	defer c.Close()
	in, err := l.Accept()
	require.NoError(t, err, "a forward still leads in")
	in.Close()
}
