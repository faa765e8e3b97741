package network

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/waiter"

	"gvmm/virtio/vnet"
)

func TestConfigIsJudged(t *testing.T) {
	p := netip.MustParsePrefix
	for _, c := range []struct {
		config UserConfig
		why    string // "": it is right
	}{
		{UserConfig{}, ""},
		{UserConfig{Subnet: p("192.168.7.9/27"), NoIPv6: true, MTU: 576}, ""},
		{UserConfig{Subnet: p("10.0.0.0/28")}, "subnet 10.0.0.0/28: an IPv4 prefix of 8 to 27 bits"},
		{UserConfig{Subnet: p("fd00::/64")}, "an IPv4 prefix"},
		{UserConfig{Subnet: p("127.0.0.0/8")}, "not of unicast"},
		{UserConfig{Subnet6: p("fd00::/48")}, "IPv6 prefix of 64 bits"},
		{UserConfig{Subnet6: p("10.0.0.0/24")}, "IPv6 prefix of 64 bits"},
		{UserConfig{MTU: 1000}, "MTU 1000: 1280 to 65520"},
		{UserConfig{MTU: 65521}, "MTU 65521: 1280 to 65520"},
		{UserConfig{MAC: net.HardwareAddr{1, 2, 3, 4, 5, 6}}, "01:02:03:04:05:06 is not the MAC"},
		{UserConfig{Hostname: "a b"}, `"a b" is not a host name`},
		{UserConfig{Domain: "x..y"}, `"x..y" is not a domain name`},
		{UserConfig{Flows: -1}, "below zero"},
		{UserConfig{Resolvers: make([]netip.AddrPort, 1)}, "resolver"},
		{UserConfig{Forwards: []Forward{{Network: "icmp"}}}, `"icmp" is neither tcp nor udp`},
		{UserConfig{Forwards: []Forward{{Network: "tcp"}}}, "the guest's port is 0"},
		{UserConfig{Forwards: []Forward{{Network: "tcp", Guest: netip.MustParseAddrPort("10.9.9.9:1")}}}, "10.9.9.9 is not in the guest's subnet 10.0.2.0/24"},
	} {
		got, err := c.config.complete()
		if c.why != "" {
			require.ErrorIs(t, err, ErrConfig)
			require.ErrorContains(t, err, c.why)
			continue
		}
		require.NoError(t, err)
		require.True(t, got.ofGuest(got.guest()))
		require.Equal(t, got.Subnet.Masked(), got.Subnet)
	}
}

// arpRequest asks who has an address.
func arpRequest(from, target netip.Addr) []byte {
	b := make([]byte, header.EthernetMinimumSize+header.ARPSize)
	header.Ethernet(b).Encode(&header.EthernetFields{
		SrcAddr: guestMAC, DstAddr: header.EthernetBroadcastAddress, Type: header.ARPProtocolNumber,
	})
	a := header.ARP(b[header.EthernetMinimumSize:])
	a.SetIPv4OverEthernet()
	a.SetOp(header.ARPRequest)
	copy(a.HardwareAddressSender(), guestMAC)
	copy(a.ProtocolAddressSender(), from.AsSlice())
	copy(a.ProtocolAddressTarget(), target.AsSlice())
	return b
}

func TestARPAnswersForTheRouterOnly(t *testing.T) {
	g := newGuest(t, UserConfig{})
	answers := g.watch(func(f []byte) bool {
		return header.Ethernet(f).Type() == header.ARPProtocolNumber && header.ARP(f[14:]).Op() == header.ARPReply
	})
	ip := netip.MustParseAddr
	for _, a := range []string{"10.0.2.15", "10.0.2.99", "192.0.2.1"} { // nobody else is there
		g.transmit(arpRequest(ip("10.0.2.15"), ip(a)))
	}
	for _, a := range []string{"10.0.2.3", "10.0.2.2"} {
		g.transmit(arpRequest(ip("10.0.2.15"), ip(a)))
		got := header.ARP(next(t, answers)[14:])
		require.Equal(t, ip(a), addr4(got.ProtocolAddressSender()))
		require.Equal(t, string(g.user.config.MAC), string(got.HardwareAddressSender()))
	}
	require.EqualValues(t, 3, g.user.Stats().TxDrops.Load())
}

// echoRequest is an ICMP echo request.
func echoRequest(id, sequence uint16, data string) []byte {
	b := append(make([]byte, header.ICMPv4MinimumSize), data...)
	e := header.ICMPv4(b)
	e.SetType(header.ICMPv4Echo)
	e.SetIdent(id)
	e.SetSequence(sequence)
	e.SetChecksum(header.ICMPv4Checksum(e[:header.ICMPv4MinimumSize], checksum.Checksum(b[header.ICMPv4MinimumSize:], 0)))
	return b
}

// ping sends an echo request and takes the answer.
func (g *guest) ping(t *testing.T, to netip.Addr) {
	t.Helper()
	answers := g.watch(func(f []byte) bool { return f[23] == uint8(header.ICMPv4ProtocolNumber) && f[34] == 0 })
	g.transmit(frame4(g.user.wire.mac, g.user.Guest(), to, uint8(header.ICMPv4ProtocolNumber), echoRequest(0x1234, 9, "hello")))
	f := next(t, answers)
	require.Equal(t, to, addr4(f[26:30]))
	require.EqualValues(t, 0x1234, binary.BigEndian.Uint16(f[38:]))
	require.EqualValues(t, 9, binary.BigEndian.Uint16(f[40:]))
	require.Equal(t, "hello", string(f[42:]))
	require.EqualValues(t, 0xffff, checksum.Checksum(f[34:], 0), "the answer's checksum")
}

func TestRouterAnswersPing(t *testing.T) {
	g := newGuest(t, UserConfig{Restrict: true})
	g.ping(t, g.user.Gateway())
	g.ping(t, g.user.DNS())
	g.ping6(t, g.user.config.gateway6())
}

// ping6 sends an ICMPv6 echo request by a socket of the guest's and takes the answer.
func (g *guest) ping6(t *testing.T, to netip.Addr) {
	t.Helper()
	q := new(waiter.Queue)
	ep, err := g.stack.NewEndpoint(icmp.ProtocolNumber6, header.IPv6ProtocolNumber, q)
	require.Nil(t, err)
	defer ep.Close()
	require.Nil(t, ep.Connect(tcpip.FullAddress{Addr: toAddress(to)}))
	c := gonet.NewUDPConn(q, ep)
	c.SetDeadline(time.Now().Add(patience))
	_, e := c.Write(append([]byte{byte(header.ICMPv6EchoRequest), 0, 0, 0, 0, 0, 0, 7}, "hello"...))
	require.NoError(t, e)
	b := make([]byte, 64)
	n, e := c.Read(b)
	require.NoError(t, e)
	require.Equal(t, byte(header.ICMPv6EchoReply), b[0])
	require.EqualValues(t, 7, b[7])
	require.Equal(t, "hello", string(b[8:n]))
}

// hostAddress is one of the host's own, not its loopback.
func hostAddress(t *testing.T, is func(netip.Addr) bool) netip.Addr {
	all, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && is(p.Addr()) && p.Addr().IsGlobalUnicast() {
			return p.Addr()
		}
	}
	t.Skip("the host has no such address but its loopback")
	panic("unreachable")
}

func TestPingGoesOutside(t *testing.T) {
	g := newGuest(t, UserConfig{Subnet: netip.MustParsePrefix("10.171.205.0/24")})
	if err := g.user.Echo(); err != nil {
		t.Skip(err)
	}
	g.ping(t, hostAddress(t, netip.Addr.Is4))
	require.EqualValues(t, 1, g.user.Stats().EchoReplies.Load())
}

func TestPingGoesOutsideOverIPv6(t *testing.T) {
	g := newGuest(t, UserConfig{})
	if err := g.user.ping6.ready(); err != nil {
		t.Skip(err)
	}
	g.ping6(t, hostAddress(t, netip.Addr.Is6))
}

func TestPingThatIsNotCarriedIsRefused(t *testing.T) {
	g := newGuest(t, UserConfig{Restrict: true})
	require.ErrorIs(t, g.user.Echo(), ErrNoEcho)
	errs := g.watch(isUnreachable)
	g.transmit(frame4(g.user.wire.mac, g.user.Guest(), netip.MustParseAddr("192.0.2.1"),
		uint8(header.ICMPv4ProtocolNumber), echoRequest(0x1234, 9, "hello")))
	f := next(t, errs)
	require.Equal(t, byte(header.ICMPv4AdminProhibited), f[35])
	require.EqualValues(t, 0x1234, binary.BigEndian.Uint16(f[66:]), "what it is about")
}

func TestAnswersToOtherPingsAreNotTheGuests(t *testing.T) {
	p := newPinger(&User{}, family4)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	n := p.remember(echo{to: a, id: 1, waiting: true})
	_, ok := p.recall(n, b)
	require.False(t, ok, "from another")
	_, ok = p.recall(n+maxEchoes, a)
	require.False(t, ok, "with another number")
	e, ok := p.recall(n, a)
	require.True(t, ok)
	require.EqualValues(t, 1, e.id)
	_, ok = p.recall(n, a)
	require.False(t, ok, "again")
	n = p.remember(echo{to: a, waiting: true})
	for range maxEchoes {
		p.remember(echo{to: a, waiting: true})
	}
	_, ok = p.recall(n, a)
	require.False(t, ok, "forgotten")
}

func TestOtherProtocolsAreUnreachable(t *testing.T) {
	g := newGuest(t, UserConfig{})
	errs := g.watch(isUnreachable)
	sctp := uint8(132)
	g.transmit(frame4(g.user.wire.mac, g.user.Guest(), netip.MustParseAddr("192.0.2.1"), sctp, make([]byte, 20)))
	f := next(t, errs)
	require.Equal(t, byte(header.ICMPv4ProtoUnreachable), f[35])
}

func TestRouterAdvertisesItself(t *testing.T) {
	g := newGuest(t, UserConfig{MTU: 4000})
	answers := g.watch(func(f []byte) bool {
		return header.Ethernet(f).Type() == header.IPv6ProtocolNumber && f[20] == 58 && f[54] == ndRouterAdvertisement
	})
	rs := make([]byte, header.EthernetMinimumSize+header.IPv6MinimumSize+8)
	header.Ethernet(rs).Encode(&header.EthernetFields{
		SrcAddr: guestMAC, DstAddr: "\x33\x33\x00\x00\x00\x02", Type: header.IPv6ProtocolNumber,
	})
	ip := header.IPv6(rs[14:])
	ip.Encode(&header.IPv6Fields{
		PayloadLength: 8, TransportProtocol: header.ICMPv6ProtocolNumber, HopLimit: 255,
		DstAddr: toAddress(netip.MustParseAddr("ff02::2")),
	})
	rs[54] = ndRouterSolicitation
	g.transmit(rs)

	f := next(t, answers)
	got := header.IPv6(f[14:])
	require.EqualValues(t, 255, got.HopLimit())
	require.Equal(t, "fe80::2", got.SourceAddress().String())
	icmp := header.ICMPv6(got.Payload())
	require.Zero(t, header.ICMPv6Checksum(header.ICMPv6ChecksumParams{
		Header: icmp, Src: got.SourceAddress(), Dst: got.DestinationAddress()})^icmp.Checksum())
	ra := header.NDPRouterAdvert(icmp.MessageBody())
	require.Equal(t, 30*time.Minute, ra.RouterLifetime())
	options, err := ra.Options().Iter(true)
	require.NoError(t, err)
	seen := 0
	for {
		o, done, err := options.Next()
		require.NoError(t, err)
		if done {
			break
		}
		seen++
		switch o := o.(type) {
		case header.NDPSourceLinkLayerAddressOption:
			require.Equal(t, g.user.wire.mac, o.EthernetAddress())
		case header.NDPPrefixInformation:
			require.Equal(t, "fd00::/64", o.Prefix().String()+"/64")
			require.True(t, o.OnLinkFlag() && o.AutonomousAddressConfigurationFlag())
		case header.NDPRecursiveDNSServer:
			dns, err := o.Addresses()
			require.NoError(t, err)
			require.Equal(t, []tcpip.Address{toAddress(g.user.config.dns6())}, dns)
		default: // the MTU
		}
	}
	require.GreaterOrEqual(t, seen, 3)
}

func TestFramesWaitForBuffers(t *testing.T) {
	port := serveUDP(t, "127.0.0.1:0", echoes)
	g := newGuest(t, UserConfig{})
	c := g.dialUDP(t, netip.AddrPortFrom(g.user.Gateway(), port))
	c.Write([]byte("warm")) // the link's addresses are known then
	_, err := c.Read(make([]byte, 8))
	require.NoError(t, err)

	g.refuse.Store(true)
	calls := g.calls.Load()
	for i := range byte(20) {
		c.Write([]byte{i})
	}
	require.Eventually(t, func() bool {
		g.user.wire.mu.Lock()
		defer g.user.wire.mu.Unlock()
		return len(g.user.wire.queue) == 19 // and one that was refused
	}, patience, time.Millisecond)
	g.room()
	for i := range byte(20) { // in order, none lost
		b := make([]byte, 8)
		_, err := c.Read(b)
		require.NoError(t, err)
		require.Equal(t, i, b[0])
	}
	require.Less(t, g.calls.Load()-calls, int64(80), "a refused receiver is not asked in a loop")
	require.Zero(t, g.user.Stats().RxDrops.Load())
}

func TestQueueIsBounded(t *testing.T) {
	port := serveUDP(t, "127.0.0.1:0", echoes)
	g := newGuest(t, UserConfig{})
	c := g.dialUDP(t, netip.AddrPortFrom(g.user.Gateway(), port))
	c.Write([]byte("warm"))
	_, err := c.Read(make([]byte, 8))
	require.NoError(t, err)
	g.refuse.Store(true)
	for range 2 * queueFrames { // the stack answers these at once
		g.transmit(arpRequest(g.user.Guest(), g.user.Gateway()))
	}
	g.user.wire.mu.Lock()
	require.LessOrEqual(t, len(g.user.wire.queue), queueFrames)
	g.user.wire.mu.Unlock()
	require.Greater(t, g.user.Stats().RxDrops.Load(), uint64(queueFrames/2))
}

func TestNothingIsReceivedAfterStop(t *testing.T) {
	g := newGuest(t, UserConfig{})
	g.refuse.Store(true)
	g.transmit(arpRequest(g.user.Guest(), g.user.Gateway()))
	require.Eventually(t, func() bool { return g.calls.Load() > 0 }, patience, time.Millisecond)
	g.user.Stop()
	calls := g.calls.Load()
	g.room()
	g.transmit(arpRequest(g.user.Guest(), g.user.Gateway()))
	time.Sleep(10 * time.Millisecond)
	require.Equal(t, calls, g.calls.Load())
	require.EqualValues(t, 2, g.user.Stats().RxDrops.Load())

	g.user.Start(g)
	g.transmit(arpRequest(g.user.Guest(), g.user.Gateway()))
	require.Eventually(t, func() bool { return g.calls.Load() == calls+1 }, patience, time.Millisecond)
}

func TestForeignFramesAreDropped(t *testing.T) {
	g := newGuest(t, UserConfig{NoIPv6: true})
	drops := g.user.Stats().TxDrops.Load()
	router, sender := g.user.wire.mac, g.user.Guest()
	outside := netip.MustParseAddr("192.0.2.1")
	tagged := frame4(router, sender, outside, 17, nil)
	tagged[12], tagged[13] = 0x81, 0
	multicast := frame4(router, sender, outside, 17, nil)
	multicast[6] |= 1
	for i, f := range [][]byte{
		{}, make([]byte, 13),
		make([]byte, 1515), // longer than the MTU
		frame4("\x02\x00\x00\x00\x00\x09", sender, outside, 17, nil), // to another station
		frame4(router, outside, outside, 17, nil),                    // from another network
		frame4(router, g.user.Gateway(), outside, 17, nil),           // from the router itself
		tagged, multicast,
		arpRequest(outside, g.user.Gateway()),
		append(append([]byte(router), guestMAC...), 0x86, 0xdd, 0x60), // IPv6
	} {
		require.True(t, g.user.Transmit(vnet.Header{}, [][]byte{f}))
		require.Equal(t, drops+uint64(i)+1, g.user.Stats().TxDrops.Load(), "frame %d", i)
	}
}

func TestFrameMayComeInAnySegments(t *testing.T) {
	g := newGuest(t, UserConfig{})
	f := arpRequest(g.user.Guest(), g.user.Gateway())
	var bytes [][]byte
	for i := range f {
		bytes = append(bytes, f[i:i+1], nil)
	}
	g.user.Transmit(vnet.Header{}, bytes)
	require.Eventually(t, func() bool { return g.calls.Load() == 1 }, patience, time.Millisecond)
}

// FuzzTransmit sends frames that a hostile driver might, whole and behind
// right headers, to a network that has nowhere to go.
func FuzzTransmit(f *testing.F) {
	u, err := NewUser(UserConfig{Restrict: true})
	require.NoError(f, err)
	f.Cleanup(func() { u.Close() })
	router := u.wire.mac
	f.Add(byte(0), arpRequest(u.Guest(), u.Gateway()))
	f.Add(byte(0), synTo(u, 80))
	f.Add(byte(1), frame4(router, u.Guest(), u.Gateway(), 1, echoRequest(1, 1, "x")))
	f.Add(byte(17), dhcp(dhcpDiscover, netip.Addr{}))
	f.Add(byte(6), make([]byte, 40))
	f.Add(byte(58), []byte{ndNeighborSolicitation, 0, 0, 0})
	f.Add(byte(44), make([]byte, 64)) // a fragment
	f.Add(byte(0), []byte{0x60})
	f.Fuzz(func(t *testing.T, protocol byte, b []byte) {
		u.Transmit(vnet.Header{}, [][]byte{b})
		u.Transmit(vnet.Header{GSOType: vnet.GSOTCPv4, GSOSize: 1}, [][]byte{frame4(router, u.Guest(), u.Gateway(), protocol, b)})
		six := make([]byte, header.EthernetMinimumSize+header.IPv6MinimumSize)
		header.Ethernet(six).Encode(&header.EthernetFields{SrcAddr: guestMAC, DstAddr: router, Type: header.IPv6ProtocolNumber})
		header.IPv6(six[14:]).Encode(&header.IPv6Fields{
			PayloadLength: uint16(len(b)), TransportProtocol: tcpip.TransportProtocolNumber(protocol), HopLimit: 255,
			SrcAddr: toAddress(guest6), DstAddr: toAddress(u.config.gateway6()),
		})
		u.Transmit(vnet.Header{}, [][]byte{six, b})
		require.Zero(t, u.stats.Connections.Load())
		require.Zero(t, u.stats.Flows.Load())
	})
}
