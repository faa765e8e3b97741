package network

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// question is a query for a name's address.
func question(id uint16, name string, kind uint16) []byte {
	b := binary.BigEndian.AppendUint16(nil, id)
	b = append(b, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	for _, l := range strings.Split(name, ".") {
		b = append(append(b, byte(len(l))), l...)
	}
	b = append(b, 0)
	b = binary.BigEndian.AppendUint16(b, kind)
	return binary.BigEndian.AppendUint16(b, dnsClassIN)
}

// upstream answers every query with one address.
func upstream(q []byte) []byte {
	parsed, err := parseQuery(q)
	if err != nil {
		return nil
	}
	return parsed.reply(0, netip.MustParseAddr("192.0.2.7"))
}

func serverAt(port uint16) []netip.AddrPort {
	return []netip.AddrPort{netip.AddrPortFrom(loopback4, port)}
}

func rcode(answer []byte) byte { return answer[3] & 15 }

func TestNamesAreResolvedOverUDP(t *testing.T) {
	seen := make(chan uint16, 8)
	port := serveUDP(t, "127.0.0.1:0", func(q []byte) []byte {
		seen <- binary.BigEndian.Uint16(q)
		return upstream(q)
	})
	g := newGuest(t, UserConfig{Resolvers: serverAt(port)})
	ids := map[uint16]bool{}
	for _, at := range []netip.Addr{g.user.DNS(), g.user.config.dns6()} {
		c := g.dialUDP(t, netip.AddrPortFrom(at, dnsPort))
		for range 3 {
			c.Write(question(77, "www.example.org", dnsTypeA))
			buf := make([]byte, 512)
			n, err := c.Read(buf)
			require.NoError(t, err)
			require.EqualValues(t, 77, binary.BigEndian.Uint16(buf))
			require.Equal(t, []byte{192, 0, 2, 7}, buf[n-4:n])
			ids[next(t, seen)] = true
		}
	}
	require.Greater(t, len(ids), 1, "identifiers to the resolver are our own")
	require.EqualValues(t, 6, g.user.Stats().Queries.Load())
}

func TestNamesAreResolvedOverTCP(t *testing.T) {
	port := serveTCP(t, "127.0.0.1:0", func(c *net.TCPConn) {
		q, err := readMessage(c, make([]byte, maxDNS))
		if err == nil {
			writeMessage(c, append(upstream(q), make([]byte, 3000)...))
		}
	})
	g := newGuest(t, UserConfig{Resolvers: serverAt(port)})
	c, err := g.dial(netip.AddrPortFrom(g.user.DNS(), dnsPort))
	require.NoError(t, err)
	defer c.Close()
	for id := range uint16(3) { // on one connection
		require.NoError(t, writeMessage(c, question(id, "www.example.org", dnsTypeA)))
		a, err := readMessage(c, make([]byte, maxDNS))
		require.NoError(t, err)
		require.Equal(t, id, binary.BigEndian.Uint16(a))
		require.Greater(t, len(a), 3000)
	}
}

func TestNextResolverIsAskedWhenOneRefuses(t *testing.T) {
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	dead := l.LocalAddr().(*net.UDPAddr).AddrPort()
	l.Close()
	port := serveUDP(t, "127.0.0.1:0", upstream)
	u, err := NewUser(UserConfig{Resolvers: append([]netip.AddrPort{dead}, serverAt(port)...)})
	require.NoError(t, err)
	defer u.Close()
	a := u.resolve(question(5, "example.org", dnsTypeA), exchangeUDP)
	require.Zero(t, rcode(a))
	require.EqualValues(t, 5, binary.BigEndian.Uint16(a))
}

func TestNoResolverIsAServerFailure(t *testing.T) {
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	dead := l.LocalAddr().(*net.UDPAddr).AddrPort()
	l.Close()
	u, err := NewUser(UserConfig{Resolvers: []netip.AddrPort{dead}})
	require.NoError(t, err)
	defer u.Close()
	a := u.resolve(question(5, "example.org", dnsTypeA), exchangeUDP)
	require.EqualValues(t, dnsServerFailure, rcode(a))
	require.EqualValues(t, 5, binary.BigEndian.Uint16(a))
	require.EqualValues(t, 1, u.Stats().QueryFailures.Load())
}

func TestNamesOfTheNetworkItself(t *testing.T) {
	c, err := UserConfig{Hostname: "vm"}.complete()
	require.NoError(t, err)
	for _, q := range []struct {
		name string
		kind uint16
		want string // "": no address; "-": not ours
	}{
		{"gateway.gvmm", dnsTypeA, "10.0.2.2"},
		{"Gateway.GVMM", dnsTypeA, "10.0.2.2"},
		{"gateway.gvmm", dnsTypeAAAA, "fd00::2"},
		{"dns.gvmm", dnsTypeA, "10.0.2.3"},
		{"vm.gvmm", dnsTypeA, "10.0.2.15"},
		{"vm.gvmm", dnsTypeAAAA, ""},
		{"gateway.gvmm", 15, ""},
		{"other.gvmm", dnsTypeA, "-"},
		{"gateway.org", dnsTypeA, "-"},
	} {
		parsed, err := parseQuery(question(1, q.name, q.kind))
		require.NoError(t, err)
		a := c.answerLocal(&parsed)
		if q.want == "-" {
			require.Nil(t, a, q.name)
			continue
		}
		require.Zero(t, rcode(a))
		if q.want == "" {
			require.Zero(t, a[dnsAnswers+1], q.name)
			continue
		}
		want := netip.MustParseAddr(q.want).AsSlice()
		require.EqualValues(t, 1, a[dnsAnswers+1])
		require.Equal(t, want, a[len(a)-len(want):], q.name)
	}
}

func TestRestrictedGuestResolvesTheNetworkOnly(t *testing.T) {
	u, err := NewUser(UserConfig{Restrict: true})
	require.NoError(t, err)
	defer u.Close()
	require.EqualValues(t, dnsRefused, rcode(u.resolve(question(1, "example.org", dnsTypeA), nil)))
	require.Zero(t, rcode(u.resolve(question(1, "gateway.gvmm", dnsTypeA), nil)))
}

func TestQueriesAreBounded(t *testing.T) {
	port := serveUDP(t, "127.0.0.1:0", func([]byte) []byte { return nil }) // never answers
	g := newGuest(t, UserConfig{Resolvers: serverAt(port)})
	c := g.dialUDP(t, netip.AddrPortFrom(g.user.DNS(), dnsPort))
	for i := range uint16(maxQueries + 10) {
		c.Write(question(i, "example.org", dnsTypeA))
	}
	require.Eventually(t, func() bool { return g.user.Stats().Limited.Load() > 0 }, patience, 1e6)
	require.LessOrEqual(t, g.user.Stats().Queries.Load(), uint64(maxQueries))
}

func TestParseResolvConf(t *testing.T) {
	got := parseResolvConf([]byte("# comment\nsearch x\nnameserver 192.0.2.1\nnameserver junk\n  nameserver\tfe80::1%eth0 # it\nnameserver 192.0.2.3\nnameserver 192.0.2.4"))
	require.Equal(t, "[192.0.2.1:53 [fe80::1%eth0]:53 192.0.2.3:53]", strings.TrimSpace(fmt.Sprint(got)))
	require.Equal(t, "[127.0.0.1:53]", fmt.Sprint(parseResolvConf(nil)))
}

func FuzzQuery(f *testing.F) {
	f.Add(question(1, "gateway.gvmm", dnsTypeA))
	f.Add(question(1, "a.b.c", 255)[:20])
	f.Add(append(question(1, "x", 1)[:12], 0xc0, 12, 0, 1, 0, 1))
	c, err := UserConfig{}.complete()
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := parseQuery(b)
		if err != nil {
			return
		}
		c.answerLocal(&q)
		a := q.reply(0, netip.MustParseAddr("192.0.2.1"))
		require.True(t, answers(a, b))
		require.LessOrEqual(t, len(q.message), dnsHeader+256+4)
	})
}

func FuzzResolvConf(f *testing.F) {
	f.Add([]byte("nameserver 192.0.2.1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got := parseResolvConf(b)
		require.NotEmpty(t, got)
		require.LessOrEqual(t, len(got), 3)
	})
}
