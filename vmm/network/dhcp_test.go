package network

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// dhcp is a client's message.
func dhcp(kind byte, ciaddr netip.Addr, options ...byte) []byte {
	b := make([]byte, dhcpOptions)
	b[0], b[dhcpHType], b[dhcpHLen] = 1, 1, 6
	copy(b[dhcpXID:], "abcd")
	b[dhcpFlags] = 0x80
	if ciaddr.IsValid() {
		copy(b[dhcpCIAddr:], ciaddr.AsSlice())
	}
	copy(b[dhcpCHAddr:], guestMAC)
	binary.BigEndian.PutUint32(b[dhcpMagic:], dhcpCookie)
	b = append(b, optPad, optMessageType, 1, kind)
	return append(append(b, options...), optEnd)
}

// optionsOf reads an answer's options.
func optionsOf(t require.TestingT, b []byte) map[byte][]byte {
	require.GreaterOrEqual(t, len(b), dhcpMinimum)
	found := map[byte][]byte{}
	for o := b[dhcpOptions:]; o[0] != optEnd; o = o[2+int(o[1]):] {
		require.NotContains(t, found, o[0])
		found[o[0]] = o[2 : 2+int(o[1])]
	}
	return found
}

func TestDHCPAnswers(t *testing.T) {
	c, err := UserConfig{MTU: 9000, Hostname: "vm", Domain: "example.org"}.complete()
	require.NoError(t, err)
	none := netip.Addr{}
	everybody := netip.MustParseAddr("255.255.255.255")
	asks := func(last byte) []byte { return []byte{optRequestedIP, 4, 10, 0, 2, last} }
	server := func(last byte) []byte { return []byte{optServerID, 4, 10, 0, 2, last} }
	for _, q := range []struct {
		name    string
		message []byte
		kind    byte // 0: no answer
		to      netip.Addr
	}{
		{"discover", dhcp(dhcpDiscover, none), dhcpOffer, everybody},
		{"request of what was offered", dhcp(dhcpRequest, none, append(asks(15), server(2)...)...), dhcpACK, everybody},
		{"request after a reboot", dhcp(dhcpRequest, none, asks(15)...), dhcpACK, everybody},
		{"renewal", dhcp(dhcpRequest, c.guest()), dhcpACK, c.guest()},
		{"request of another address", dhcp(dhcpRequest, none, asks(16)...), dhcpNAK, everybody},
		{"request of another server's", dhcp(dhcpRequest, none, append(asks(15), server(9)...)...), 0, none},
		{"request of nothing", dhcp(dhcpRequest, none), dhcpNAK, everybody},
		{"inform", dhcp(dhcpInform, netip.MustParseAddr("10.0.2.40")), dhcpACK, netip.MustParseAddr("10.0.2.40")},
		{"inform from nowhere", dhcp(dhcpInform, netip.MustParseAddr("10.0.9.40")), 0, none},
		{"release", dhcp(7, c.guest()), 0, none},
		{"no type", append(dhcp(dhcpDiscover, none)[:dhcpOptions], optEnd), 0, none},
		{"option past the end", dhcp(dhcpDiscover, none, 12, 200), 0, none},
		{"short address", dhcp(dhcpRequest, none, optRequestedIP, 3, 10, 0, 2), 0, none},
		{"truncated", dhcp(dhcpDiscover, none)[:100], 0, none},
	} {
		answer, to := c.answerDHCP(q.message)
		if q.kind == 0 {
			require.Nil(t, answer, q.name)
			continue
		}
		require.NotNil(t, answer, q.name)
		require.Equal(t, q.to, to, q.name)
		o := optionsOf(t, answer)
		require.Equal(t, []byte{q.kind}, o[optMessageType], q.name)
		require.Equal(t, "abcd", string(answer[dhcpXID:dhcpXID+4]))
		require.Equal(t, string(guestMAC), string(answer[dhcpCHAddr:dhcpCHAddr+6]))
		require.Equal(t, []byte{10, 0, 2, 2}, o[optServerID])
		if q.kind == dhcpNAK {
			require.Len(t, o, 2, q.name)
			continue
		}
		require.Equal(t, []byte{255, 255, 255, 0}, o[optSubnetMask])
		require.Equal(t, []byte{10, 0, 2, 2}, o[optRouter])
		require.Equal(t, []byte{10, 0, 2, 3}, o[optDNS])
		require.Equal(t, []byte{10, 0, 2, 255}, o[optBroadcast])
		require.Equal(t, []byte{0x23, 0x28}, o[optMTU])
		require.Equal(t, "vm", string(o[optHostname]))
		require.Equal(t, "example.org", string(o[optDomain]))
		inform := q.name == "inform"
		require.Equal(t, !inform, o[optLeaseTime] != nil)
		require.Equal(t, !inform, addr4(answer[dhcpYIAddr:dhcpYIAddr+4]) == c.guest())
	}
}

func TestGuestGetsItsAddressOverTheWire(t *testing.T) {
	g := newGuest(t, UserConfig{})
	answers := g.watch(func(f []byte) bool {
		ip := f[header.EthernetMinimumSize:]
		return ip[0] == 0x45 && ip[9] == uint8(header.UDPProtocolNumber) && header.UDP(ip[20:]).DestinationPort() == dhcpClientPort
	})
	everybody := netip.MustParseAddr("255.255.255.255")
	ask := func(m []byte) []byte {
		g.transmit(frame4(header.EthernetBroadcastAddress, netip.IPv4Unspecified(), everybody,
			uint8(header.UDPProtocolNumber), udp4(dhcpClientPort, dhcpServerPort, m)))
		f := next(t, answers)
		require.Equal(t, string(header.EthernetBroadcastAddress), string(f[:6]))
		require.Equal(t, g.user.Gateway(), addr4(f[26:30]))
		return f[header.EthernetMinimumSize+header.IPv4MinimumSize+header.UDPMinimumSize:]
	}
	offer := ask(dhcp(dhcpDiscover, netip.Addr{}, optClientID, 2, 'i', 'd'))
	require.Equal(t, []byte{dhcpOffer}, optionsOf(t, offer)[optMessageType])
	require.Equal(t, "id", string(optionsOf(t, offer)[optClientID]))
	require.Equal(t, g.user.Guest(), addr4(offer[dhcpYIAddr:dhcpYIAddr+4]))
	ack := ask(dhcp(dhcpRequest, netip.Addr{}, append([]byte{optRequestedIP, 4}, offer[dhcpYIAddr:dhcpYIAddr+4]...)...))
	require.Equal(t, []byte{dhcpACK}, optionsOf(t, ack)[optMessageType])
	require.EqualValues(t, 1, g.user.Stats().Leases.Load())
}

func FuzzDHCP(f *testing.F) {
	f.Add(dhcp(dhcpDiscover, netip.Addr{}))
	f.Add(dhcp(dhcpRequest, netip.Addr{}, optRequestedIP, 4, 10, 0, 2, 15, optClientID, 2, 1, 2))
	f.Add(dhcp(dhcpInform, netip.MustParseAddr("10.0.2.15")))
	f.Add(dhcp(dhcpDiscover, netip.Addr{}, 12, 255))
	c, err := UserConfig{}.complete()
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, b []byte) {
		answer, to := c.answerDHCP(b)
		if answer == nil {
			return
		}
		require.True(t, to == netip.MustParseAddr("255.255.255.255") || c.ofGuest(to))
		require.Contains(t, []byte{dhcpOffer, dhcpACK, dhcpNAK}, optionsOf(t, answer)[optMessageType][0])
		require.LessOrEqual(t, len(answer), 1024)
	})
}
