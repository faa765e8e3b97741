package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// maxEchoes are the echo requests that are remembered until an answer comes; a
// newer one takes the place of the oldest. maxEcho is the longest that is sent.
const (
	maxEchoes = 256
	maxEcho   = 8 << 10
)

// ErrNoEcho reports that echo requests are not carried.
var ErrNoEcho = errors.New("network: echo requests to the outside are not carried")

// family is what IPv4's and IPv6's echo requests differ in.
type family struct {
	domain, protocol int
	request, reply   byte
}

var (
	family4 = family{unix.AF_INET, unix.IPPROTO_ICMP, byte(header.ICMPv4Echo), byte(header.ICMPv4EchoReply)}
	family6 = family{unix.AF_INET6, unix.IPPROTO_ICMPV6, byte(header.ICMPv6EchoRequest), byte(header.ICMPv6EchoReply)}
)

// pinger sends the guest's echo requests from one of the host's ping sockets,
// which a process may open whose group is in net.ipv4.ping_group_range. The
// host puts its own identifier into them; a sequence number of ours tells whose
// the answer is.
type pinger struct {
	user   *User
	family family
	once   sync.Once
	err    error
	send   chan echo

	mu      sync.Mutex
	next    uint16
	pending [maxEchoes]echo
}

// echo is a request of the guest's.
type echo struct {
	guest, to  netip.Addr
	id, number uint16 // as the guest gave them
	sequence   uint16 // as we sent it
	waiting    bool
	message    []byte // to be sent
}

func newPinger(u *User, f family) *pinger {
	return &pinger{user: u, family: f, send: make(chan echo, 64)}
}

// handle takes an echo request for the outside. False leaves it to the stack,
// which answers those for the router itself.
func (p *pinger) handle(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	u := p.user
	to, guest := fromAddress(id.LocalAddress), fromAddress(id.RemoteAddress)
	msg := stack.PayloadSince(pkt.TransportHeader())
	defer msg.Release()
	b := msg.AsSlice()
	if len(b) < icmpHeader || b[0] != p.family.request {
		return true
	}
	if u.config.own(to) || to.IsMulticast() {
		return false
	}
	_, ok := u.outward(to)
	if !ok || b[1] != 0 || len(b) > maxEcho || p.ready() != nil {
		u.stats.Refused.Add(1)
		u.unreachable(prohibited, to, guest, tcpip.TransportProtocolNumber(p.family.protocol), [8]byte(b))
		return true
	}
	e := echo{
		guest: guest, to: to, waiting: true, message: append([]byte(nil), b...),
		id: binary.BigEndian.Uint16(b[4:]), number: binary.BigEndian.Uint16(b[6:]),
	}
	select {
	case p.send <- e:
		u.stats.Echoes.Add(1)
	default:
		u.stats.Limited.Add(1)
	}
	return true
}

// ready opens the socket and starts what serves it, once. The error says why
// there is none.
func (p *pinger) ready() error {
	p.once.Do(func() { p.err = p.open() })
	return p.err
}

func (p *pinger) open() error {
	fd, err := unix.Socket(p.family.domain, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, p.family.protocol)
	if err != nil {
		return fmt.Errorf("%w: the host allows this process no ping socket (%v): see net.ipv4.ping_group_range", ErrNoEcho, err)
	}
	f := os.NewFile(uintptr(fd), "ping")
	c, err := net.FilePacketConn(f)
	f.Close()
	if err != nil {
		return fmt.Errorf("%w: %v", ErrNoEcho, err)
	}
	conn := c.(*net.UDPConn)
	context.AfterFunc(p.user.ctx, func() { conn.Close() })
	p.user.spawn(func() { p.transmit(conn) })
	p.user.spawn(func() { p.receive(conn) })
	return nil
}

// Echo says why the guest's IPv4 echo requests do not go outside. Nil: they do.
// The router answers those for itself in any case.
func (u *User) Echo() error {
	if u.config.Restrict {
		return fmt.Errorf("%w: the network is restricted", ErrNoEcho)
	}
	return u.ping4.ready()
}

// transmit sends what the guest asks.
func (p *pinger) transmit(conn *net.UDPConn) {
	for {
		select {
		case <-p.user.ctx.Done():
			return
		case e := <-p.send:
			msg := e.message
			binary.BigEndian.PutUint16(msg[6:], p.remember(e))
			conn.WriteToUDPAddrPort(msg, netip.AddrPortFrom(e.to, 0)) // lost if the host has no way there
		}
	}
}

// remember gives e a sequence number.
func (p *pinger) remember(e echo) uint16 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	e.sequence, e.message = p.next, nil
	p.pending[p.next%maxEchoes] = e
	return p.next
}

// recall finds the request that an answer from an address is to, once.
func (p *pinger) recall(sequence uint16, from netip.Addr) (echo, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := &p.pending[sequence%maxEchoes]
	if !e.waiting || e.sequence != sequence || e.to != from.Unmap().WithZone("") {
		return echo{}, false
	}
	e.waiting = false
	return *e, true
}

// receive hands answers to the guest, as from whom it asked.
func (p *pinger) receive(conn *net.UDPConn) {
	buf := make([]byte, maxEcho)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if p.user.ctx.Err() != nil {
			return
		}
		if err != nil || n < icmpHeader || buf[0] != p.family.reply {
			continue
		}
		e, ok := p.recall(binary.BigEndian.Uint16(buf[6:]), from.Addr())
		if !ok {
			continue
		}
		binary.BigEndian.PutUint16(buf[4:], e.id)
		binary.BigEndian.PutUint16(buf[6:], e.number)
		p.user.stats.EchoReplies.Add(1)
		p.user.sendICMP(e.to, e.guest, append([]byte(nil), buf[:n]...), 0)
	}
}
