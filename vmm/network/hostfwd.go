package network

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Forward leads a port of the host's to one of the guest's.
type Forward struct {
	Network string         // tcp or udp
	Host    netip.AddrPort // without an address: 127.0.0.1; port 0: one that is free
	Guest   netip.AddrPort // without an address: the guest's by DHCP
}

// ParseForward reads tcp|udp:[host address]:port-[guest address]:port, where an
// IPv6 address stands in brackets.
func ParseForward(s string) (Forward, error) {
	bad := func(what string) (Forward, error) {
		return Forward{}, fmt.Errorf("%w: forward %q: %s; as in tcp:127.0.0.1:2222-:22", ErrConfig, s, what)
	}
	kind, rest, ok := strings.Cut(s, ":")
	if !ok || kind != "tcp" && kind != "udp" {
		return bad("it begins with tcp: or udp:")
	}
	host, guest, ok := strings.Cut(rest, "-")
	if !ok {
		return bad("there is no - between the host's and the guest's end")
	}
	f := Forward{Network: kind}
	var err error
	if f.Host, err = parseEnd(host); err != nil {
		return bad(err.Error())
	}
	if f.Guest, err = parseEnd(guest); err != nil {
		return bad(err.Error())
	}
	if f.Guest.Port() == 0 {
		return bad("the guest's port is 0")
	}
	return f, nil
}

// parseEnd reads [address]:port. Without an address, the AddrPort has none.
func parseEnd(s string) (netip.AddrPort, error) {
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 {
		return netip.AddrPort{}, fmt.Errorf("%q has no port", s)
	}
	port, err := strconv.ParseUint(s[colon+1:], 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is not a port", s[colon+1:])
	}
	if colon == 0 {
		return netip.AddrPortFrom(netip.Addr{}, uint16(port)), nil
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is not an address and a port", s)
	}
	return ap, nil
}

// String writes f as ParseForward reads it.
func (f Forward) String() string {
	end := func(a netip.AddrPort) string {
		if !a.Addr().IsValid() {
			return ":" + strconv.Itoa(int(a.Port()))
		}
		return a.String()
	}
	return f.Network + ":" + end(f.Host) + "-" + end(f.Guest)
}

// complete fills the addresses in and judges the rest.
func (f Forward) complete(c UserConfig) (Forward, error) {
	if !f.Host.Addr().IsValid() {
		f.Host = netip.AddrPortFrom(loopback4, f.Host.Port())
	}
	if !f.Guest.Addr().IsValid() {
		f.Guest = netip.AddrPortFrom(c.guest(), f.Guest.Port())
	}
	to := f.Guest.Addr()
	switch {
	case f.Network != "tcp" && f.Network != "udp":
		return f, fmt.Errorf("%w: forward %v: %q is neither tcp nor udp", ErrConfig, f, f.Network)
	case f.Guest.Port() == 0:
		return f, fmt.Errorf("%w: forward %v: the guest's port is 0", ErrConfig, f)
	case !c.Subnet.Contains(to) && (c.NoIPv6 || !c.Subnet6.Contains(to)):
		return f, fmt.Errorf("%w: forward %v: %v is not in the guest's subnet %v", ErrConfig, f, to, c.Subnet)
	}
	return f, nil
}

// listen opens the forwards' ports on the host.
func (u *User) listen() error {
	for i := range u.config.Forwards {
		f := &u.config.Forwards[i]
		open := u.listenTCP
		if f.Network == "udp" {
			open = u.listenUDP
		}
		if err := open(f); err != nil {
			return fmt.Errorf("network: forward %v: %w", *f, err)
		}
	}
	return nil
}

// Forwards are those that are open, with the addresses and ports that they have.
func (u *User) Forwards() []Forward { return append([]Forward(nil), u.config.Forwards...) }

func (u *User) listenTCP(f *Forward) error {
	l, err := net.ListenTCP("tcp"+version(f.Host.Addr()), net.TCPAddrFromAddrPort(f.Host))
	if err != nil {
		return err
	}
	f.Host = l.Addr().(*net.TCPAddr).AddrPort()
	guest := f.Guest
	context.AfterFunc(u.ctx, func() { l.Close() })
	u.spawn(func() { u.acceptTCP(l, guest) })
	return nil
}

// version is what names the address's IP version in package net: an address of
// one listens in that one only.
func version(a netip.Addr) string {
	if a.Is4() {
		return "4"
	}
	return "6"
}

// acceptPause keeps a listener that cannot accept, as the process has no file
// descriptors left, from spinning.
const acceptPause = 100 * time.Millisecond

func (u *User) acceptTCP(l *net.TCPListener, guest netip.AddrPort) {
	for {
		host, err := l.AcceptTCP()
		if err != nil {
			select {
			case <-u.ctx.Done():
				return
			case <-time.After(acceptPause):
			}
			continue
		}
		if !u.takeConnection() {
			abort(host)
			continue
		}
		if !u.spawn(func() { u.forwardTCP(host, guest) }) {
			u.giveConnection()
			abort(host)
		}
	}
}

// forwardTCP carries one connection from the host to the guest.
func (u *User) forwardTCP(host *net.TCPConn, guest netip.AddrPort) {
	defer u.giveConnection()
	ctx, cancel := context.WithTimeout(u.ctx, dialTimeout)
	defer cancel()
	conn, err := u.dialGuest(ctx, guest)
	if err != nil {
		u.stats.Refused.Add(1)
		abort(host)
		return
	}
	u.relay(host, conn)
}
