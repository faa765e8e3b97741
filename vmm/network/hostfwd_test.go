package network

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

func toGuest(network string, port uint16) Forward {
	return Forward{Network: network, Guest: netip.AddrPortFrom(netip.Addr{}, port)}
}

func TestForwardTCP(t *testing.T) {
	g := newGuest(t, UserConfig{Forwards: []Forward{toGuest("tcp", 22)}})
	l, err := gonet.ListenTCP(g.stack, tcpip.FullAddress{Port: 22}, header.IPv4ProtocolNumber)
	require.NoError(t, err)
	defer l.Close()
	host := g.user.Forwards()[0].Host
	require.Equal(t, loopback4, host.Addr())
	c, err := net.Dial("tcp", host.String())
	require.NoError(t, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	in, err := l.Accept()
	require.NoError(t, err)
	require.Equal(t, g.user.Gateway().String(), in.RemoteAddr().(*net.TCPAddr).IP.String())
	in.SetDeadline(time.Now().Add(patience))
	_, err = c.Write([]byte("in"))
	require.NoError(t, err)
	require.NoError(t, c.(*net.TCPConn).CloseWrite())
	require.Equal(t, "in", readAll(t, in))
	in.Write([]byte("out"))
	in.Close()
	require.Equal(t, "out", readAll(t, c))
}

func TestForwardToClosedPortIsReset(t *testing.T) {
	g := newGuest(t, UserConfig{Forwards: []Forward{toGuest("tcp", 22)}})
	c, err := net.Dial("tcp", g.user.Forwards()[0].Host.String())
	if err == nil { // else the reset was faster
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		_, err = c.Read(make([]byte, 1))
	}
	require.ErrorContains(t, err, "reset")
}

func TestForwardUDP(t *testing.T) {
	g := newGuest(t, UserConfig{Forwards: []Forward{toGuest("udp", 69)}})
	in, err := gonet.DialUDP(g.stack, &tcpip.FullAddress{Port: 69}, nil, header.IPv4ProtocolNumber)
	require.NoError(t, err)
	defer in.Close()
	in.SetDeadline(time.Now().Add(patience))
	for _, text := range []string{"one", "two"} { // two peers, each with its answer
		c, err := net.Dial("udp", g.user.Forwards()[0].Host.String())
		require.NoError(t, err)
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		c.Write([]byte(text))
		buf := make([]byte, 16)
		n, from, err := in.ReadFrom(buf)
		require.NoError(t, err)
		_, err = in.WriteTo(append(buf[:n], '!'), from)
		require.NoError(t, err)
		n, err = c.Read(buf)
		require.NoError(t, err)
		require.Equal(t, text+"!", string(buf[:n]))
	}
	require.EqualValues(t, 2, g.user.Stats().FlowsOpen.Load())
}

func TestForwardListensInItsVersionOnly(t *testing.T) {
	f := toGuest("tcp", 22)
	f.Host = netip.MustParseAddrPort("0.0.0.0:0")
	g := newGuest(t, UserConfig{Forwards: []Forward{f}})
	open := g.user.Forwards()[0].Host
	require.Equal(t, "0.0.0.0", open.Addr().String())
	_, err := net.Dial("tcp", netip.AddrPortFrom(loopback6, open.Port()).String())
	require.Error(t, err)
}

func TestTakenPortIsOneClearError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	f := toGuest("tcp", 22)
	f.Host = l.Addr().(*net.TCPAddr).AddrPort()
	_, err = NewUser(UserConfig{Forwards: []Forward{f}})
	require.ErrorContains(t, err, "network: forward tcp:"+f.Host.String()+"-10.0.2.15:22")
	require.ErrorContains(t, err, "address already in use")
}

func TestParseForward(t *testing.T) {
	for s, want := range map[string]Forward{
		"tcp::2222-:22":                {"tcp", netip.AddrPortFrom(netip.Addr{}, 2222), netip.AddrPortFrom(netip.Addr{}, 22)},
		"udp:127.0.0.1:0-10.0.2.15:69": {"udp", netip.MustParseAddrPort("127.0.0.1:0"), netip.MustParseAddrPort("10.0.2.15:69")},
		"tcp:[::1]:80-[fd00::5054]:80": {"tcp", netip.MustParseAddrPort("[::1]:80"), netip.MustParseAddrPort("[fd00::5054]:80")},
	} {
		got, err := ParseForward(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got)
		require.Equal(t, s, got.String())
	}
	for s, why := range map[string]string{
		"":                    "begins with tcp: or udp:",
		"sctp::1-:2":          "begins with tcp: or udp:",
		"tcp::2222":           "no - between",
		"tcp:2222-:22":        `"2222" has no port`,
		"tcp::2222-:":         `"" is not a port`,
		"tcp::2222-:0":        "the guest's port is 0",
		"tcp::70000-:22":      `"70000" is not a port`,
		"tcp:localhost:1-:22": `"localhost:1" is not an address and a port`,
	} {
		_, err := ParseForward(s)
		require.ErrorIs(t, err, ErrConfig, s)
		require.ErrorContains(t, err, why, s)
	}
}

func FuzzParseForward(f *testing.F) {
	f.Add("tcp:127.0.0.1:2222-:22")
	f.Add("udp:[::1]:1-[fd00::1%a]:2")
	f.Fuzz(func(t *testing.T, s string) {
		fwd, err := ParseForward(s)
		if err != nil {
			return
		}
		again, err := ParseForward(fwd.String())
		require.NoError(t, err)
		require.Equal(t, fwd, again)
	})
}
