package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

const dnsPort = 53

// maxQueries are the queries under way at a time, over UDP and TCP.
const maxQueries = 64

// A resolver has queryTimeout to answer. Each is asked queryRounds times, in
// turn; a client has usually given up by then.
const (
	queryTimeout = 2 * time.Second
	queryRounds  = 2
)

// streamIdle is how long a TCP connection to the resolver may be without a
// query (RFC 7766 §6.2.3).
const streamIdle = 10 * time.Second

// serveDNS opens the resolver's ports at an address.
func (u *User) serveDNS(at netip.Addr) error {
	addr := tcpip.FullAddress{NIC: wireNIC, Addr: toAddress(at), Port: dnsPort}
	packets, err := gonet.DialUDP(u.stack, &addr, nil, protocolOf(at))
	if err != nil {
		return fmt.Errorf("network: DNS at %v: %w", at, err)
	}
	u.spawn(func() { u.runDNS(packets) })
	streams, err := gonet.ListenTCP(u.stack, addr, protocolOf(at))
	if err != nil {
		return fmt.Errorf("network: DNS at %v: %w", at, err)
	}
	context.AfterFunc(u.ctx, streams.Shutdown)
	u.spawn(func() { u.acceptDNS(streams) })
	return nil
}

// runDNS takes queries over UDP, and answers each when a resolver has.
func (u *User) runDNS(conn *gonet.UDPConn) {
	defer conn.Close()
	buf := make([]byte, maxDNS)
	for {
		n, from, err := conn.ReadFrom(buf)
		if u.ctx.Err() != nil {
			return
		}
		if err != nil {
			continue
		}
		if !u.queries.take() {
			u.stats.Limited.Add(1)
			continue
		}
		query := append([]byte(nil), buf[:n]...)
		answer := func() {
			defer u.queries.give()
			if a := u.resolve(query, exchangeUDP); a != nil {
				conn.WriteTo(a, from)
			}
		}
		if !u.spawn(answer) {
			u.queries.give()
		}
	}
}

// acceptDNS takes connections to the resolver; they count as any others.
func (u *User) acceptDNS(l *gonet.TCPListener) {
	defer l.Close()
	for {
		c, err := l.Accept()
		if u.ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return
		}
		if err != nil {
			continue
		}
		if !u.takeConnection() {
			c.Close()
			continue
		}
		serve := func() {
			defer u.giveConnection()
			defer c.Close()
			u.streamDNS(c)
		}
		if !u.spawn(serve) {
			u.giveConnection()
			c.Close()
		}
	}
}

// streamDNS answers the queries of one connection, one after the other.
func (u *User) streamDNS(c net.Conn) {
	buf := make([]byte, maxDNS)
	for {
		c.SetDeadline(time.Now().Add(streamIdle))
		query, err := readMessage(c, buf)
		if err != nil || u.ctx.Err() != nil {
			return
		}
		if !u.queries.take() {
			u.stats.Limited.Add(1)
			return
		}
		answer := u.resolve(query, exchangeTCP)
		u.queries.give()
		c.SetDeadline(time.Now().Add(streamIdle))
		if answer == nil || writeMessage(c, answer) != nil {
			return
		}
	}
}

// exchange asks one resolver. The message has an identifier of its own.
type exchange func(ctx context.Context, server netip.AddrPort, query []byte) ([]byte, error)

// resolve answers a query: from what the router knows, else by the resolvers'
// answer as it is. nil: it is no query.
func (u *User) resolve(query []byte, ask exchange) []byte {
	q, err := parseQuery(query)
	if err != nil {
		return nil
	}
	u.stats.Queries.Add(1)
	if a := u.config.answerLocal(&q); a != nil {
		return a
	}
	if u.config.Restrict {
		return q.reply(dnsRefused, netip.Addr{})
	}
	id := binary.BigEndian.Uint16(query)
	servers := u.resolvers()
	for range queryRounds {
		for _, server := range servers {
			if u.ctx.Err() != nil {
				return nil
			}
			binary.BigEndian.PutUint16(query, uint16(rand.Uint32()))
			ctx, cancel := context.WithTimeout(u.ctx, queryTimeout)
			answer, err := ask(ctx, server, query)
			cancel()
			if err == nil {
				binary.BigEndian.PutUint16(answer, id)
				return answer
			}
		}
	}
	u.stats.QueryFailures.Add(1)
	binary.BigEndian.PutUint16(q.message, id)
	return q.reply(dnsServerFailure, netip.Addr{})
}

// resolvers are those of the configuration, or the host's at this moment.
func (u *User) resolvers() []netip.AddrPort {
	if len(u.config.Resolvers) != 0 {
		return u.config.Resolvers
	}
	b, _ := os.ReadFile("/etc/resolv.conf") // none is as an empty one
	return parseResolvConf(b)
}

// dialDNS connects to a resolver, until ctx ends.
func dialDNS(ctx context.Context, kind string, server netip.AddrPort) (net.Conn, func(), error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, kind, server.String())
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	return c, func() { stop(); c.Close() }, nil
}

func exchangeUDP(ctx context.Context, server netip.AddrPort, query []byte) ([]byte, error) {
	c, end, err := dialDNS(ctx, "udp", server)
	if err != nil {
		return nil, err
	}
	defer end()
	if _, err := c.Write(query); err != nil {
		return nil, err
	}
	buf := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(buf)
	for {
		n, err := c.Read(buf[:])
		if err != nil {
			return nil, err
		}
		if answers(buf[:n], query) {
			return append([]byte(nil), buf[:n]...), nil
		}
	}
}

func exchangeTCP(ctx context.Context, server netip.AddrPort, query []byte) ([]byte, error) {
	c, end, err := dialDNS(ctx, "tcp", server)
	if err != nil {
		return nil, err
	}
	defer end()
	if err := writeMessage(c, query); err != nil {
		return nil, err
	}
	answer, err := readMessage(c, make([]byte, maxDNS))
	if err == nil && !answers(answer, query) {
		err = errDNS
	}
	return answer, err
}

// answers tells whether a message is a response to query: it has its identifier.
func answers(message, query []byte) bool {
	return len(message) >= dnsHeader && message[0] == query[0] && message[1] == query[1] &&
		binary.BigEndian.Uint16(message[dnsFlags:])&dnsResponse != 0
}

// readMessage reads one message of a stream (RFC 1035 §4.2.2) into buf, which
// holds the longest.
func readMessage(r io.Reader, buf []byte) ([]byte, error) {
	if _, err := io.ReadFull(r, buf[:2]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint16(buf)
	_, err := io.ReadFull(r, buf[:n])
	return buf[:n], err
}

func writeMessage(w io.Writer, m []byte) error {
	if len(m) > maxDNS {
		return errors.New("network: DNS message too long")
	}
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...))
	return err
}
