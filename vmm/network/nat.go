package network

import (
	"context"
	"net"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// dialTimeout is how long the host may take to connect on the guest's behalf.
const dialTimeout = 30 * time.Second

var (
	loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopback6 = netip.IPv6Loopback()
)

// outward says which address the host is to use for what the guest addressed
// to dst. False: there is nothing behind dst for the guest. The host's loopback
// is behind the router's address only, whichever way an address may spell it,
// and link-local addresses are of the host's links, not of the guest's.
func (u *User) outward(dst netip.Addr) (netip.Addr, bool) {
	c := &u.config
	switch {
	case c.Restrict:
		return dst, false
	case dst == c.gateway():
		return loopback4, !c.NoHostLoopback
	case dst == c.gateway6() && !c.NoIPv6:
		return loopback6, !c.NoHostLoopback
	}
	return dst, dst.IsGlobalUnicast() && !dst.Is4In6() && !c.Subnet.Contains(dst) && !c.Subnet6.Contains(dst)
}

// translateTCP carries a connection that the guest asks for, from the SYN on.
// The guest's handshake is completed only after the host's, so that a refusal
// there is one here; a host that does not answer is refused as well.
func (u *User) translateTCP(r *tcp.ForwarderRequest) {
	if !u.begin() {
		r.Complete(false)
		return
	}
	defer u.tasks.Done()
	id := r.ID()
	dst, ok := u.outward(fromAddress(id.LocalAddress))
	if !ok {
		u.stats.Refused.Add(1)
		r.Complete(true)
		return
	}
	if !u.takeConnection() {
		r.Complete(true)
		return
	}
	defer u.giveConnection()
	host, err := dialTCP(u.ctx, netip.AddrPortFrom(dst, id.LocalPort))
	if err != nil {
		u.stats.Refused.Add(1)
		r.Complete(true)
		return
	}
	guest, ok := acceptGuest(r)
	if !ok {
		abort(host)
		return
	}
	u.relay(host, guest)
}

// acceptGuest completes the handshake of a guest's connection.
func acceptGuest(r *tcp.ForwarderRequest) (*guestConn, bool) {
	q := new(waiter.Queue)
	ep, err := r.CreateEndpoint(q)
	r.Complete(err != nil)
	if err != nil {
		return nil, false
	}
	return newGuestConn(q, ep), true
}

// dialTCP connects from the host.
func dialTCP(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	c, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// takeConnection takes one of the connections that may be at a time.
func (u *User) takeConnection() bool {
	if !u.connections.take() {
		u.stats.Limited.Add(1)
		return false
	}
	u.stats.ConnectionsOpen.Add(1)
	return true
}

func (u *User) giveConnection() {
	u.stats.ConnectionsOpen.Add(-1)
	u.connections.give()
}

// dialGuest connects to the guest, from the router's address.
func (u *User) dialGuest(ctx context.Context, to netip.AddrPort) (*guestConn, tcpip.Error) {
	q := new(waiter.Queue)
	ep, err := u.stack.NewEndpoint(tcp.ProtocolNumber, protocolOf(to.Addr()), q)
	if err != nil {
		return nil, err
	}
	e, connected := waiter.NewChannelEntry(waiter.WritableEvents)
	q.EventRegister(&e)
	defer q.EventUnregister(&e)
	if err = ep.Bind(u.source(to.Addr())); err == nil {
		err = ep.Connect(tcpip.FullAddress{NIC: wireNIC, Addr: toAddress(to.Addr()), Port: to.Port()})
	}
	if _, started := err.(*tcpip.ErrConnectStarted); started {
		select {
		case <-connected:
			err = ep.LastError()
		case <-ctx.Done():
			err = &tcpip.ErrAborted{}
		}
	}
	if err != nil {
		ep.Abort()
		return nil, err
	}
	return newGuestConn(q, ep), nil
}

// source is the router's address on the way to a guest's.
func (u *User) source(guest netip.Addr) tcpip.FullAddress {
	from := u.config.gateway()
	if guest.Is6() {
		from = u.config.gateway6()
	}
	return tcpip.FullAddress{NIC: wireNIC, Addr: toAddress(from)}
}

// endpointAddresses are the outside's and the guest's end of what the stack
// took in for the outside.
func endpointAddresses(id stack.TransportEndpointID) (outside, guest netip.AddrPort) {
	return netip.AddrPortFrom(fromAddress(id.LocalAddress), id.LocalPort),
		netip.AddrPortFrom(fromAddress(id.RemoteAddress), id.RemotePort)
}
