package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Ports (RFC 2131 §4.1).
const (
	dhcpServerPort = 67
	dhcpClientPort = 68
)

// A message's fixed part, and its offsets (RFC 2131 §2).
const (
	dhcpHType   = 1
	dhcpHLen    = 2
	dhcpXID     = 4
	dhcpFlags   = 10
	dhcpCIAddr  = 12
	dhcpYIAddr  = 16
	dhcpSIAddr  = 20
	dhcpGIAddr  = 24
	dhcpCHAddr  = 28
	dhcpMagic   = 236
	dhcpOptions = 240
	dhcpMinimum = 300 // what BOOTP clients take as the least (RFC 1542 §2.1)
)

const dhcpCookie = 0x63825363

// Options (RFC 2132).
const (
	optPad         = 0
	optSubnetMask  = 1
	optRouter      = 3
	optDNS         = 6
	optHostname    = 12
	optDomain      = 15
	optMTU         = 26
	optBroadcast   = 28
	optRequestedIP = 50
	optLeaseTime   = 51
	optMessageType = 53
	optServerID    = 54
	optClientID    = 61
	optEnd         = 255
)

// Message types (RFC 2132 §9.6).
const (
	dhcpDiscover = 1
	dhcpOffer    = 2
	dhcpRequest  = 3
	dhcpACK      = 5
	dhcpNAK      = 6
	dhcpInform   = 8
)

// dhcpLease is a day, in seconds. The address is the guest's in any case.
const dhcpLease = 24 * 60 * 60

var errDHCP = errors.New("network: DHCP message")

// dhcpMessage is what the server reads of a client's message. Slices are of it.
type dhcpMessage struct {
	fixed               []byte // up to the cookie
	kind                byte
	client              netip.Addr // ciaddr
	requested, serverID netip.Addr // zero if not given
	clientID            []byte     // nil if not given
}

// parseDHCP reads a client's message.
func parseDHCP(b []byte) (dhcpMessage, error) {
	if len(b) < dhcpOptions || b[0] != 1 || b[dhcpHType] != 1 || b[dhcpHLen] != 6 ||
		binary.BigEndian.Uint32(b[dhcpMagic:]) != dhcpCookie {
		return dhcpMessage{}, fmt.Errorf("%w: not a request over Ethernet", errDHCP)
	}
	if binary.BigEndian.Uint32(b[dhcpGIAddr:]) != 0 {
		return dhcpMessage{}, fmt.Errorf("%w: relayed", errDHCP)
	}
	m := dhcpMessage{fixed: b[:dhcpMagic], client: addr4(b[dhcpCIAddr : dhcpCIAddr+4])}
	for opts := b[dhcpOptions:]; len(opts) > 0 && opts[0] != optEnd; {
		if opts[0] == optPad {
			opts = opts[1:]
			continue
		}
		if len(opts) < 2 || len(opts) < 2+int(opts[1]) {
			return m, fmt.Errorf("%w: option %d ends past the message", errDHCP, opts[0])
		}
		if err := m.option(opts[0], opts[2:2+int(opts[1])]); err != nil {
			return m, err
		}
		opts = opts[2+int(opts[1]):]
	}
	if m.kind == 0 {
		return m, fmt.Errorf("%w: no message type", errDHCP)
	}
	return m, nil
}

func (m *dhcpMessage) option(code byte, v []byte) error {
	want := map[byte]int{optMessageType: 1, optRequestedIP: 4, optServerID: 4}[code]
	if want != 0 && len(v) != want {
		return fmt.Errorf("%w: option %d of %d bytes", errDHCP, code, len(v))
	}
	switch code {
	case optMessageType:
		m.kind = v[0]
	case optRequestedIP:
		m.requested = addr4(v)
	case optServerID:
		m.serverID = addr4(v)
	case optClientID:
		m.clientID = v
	}
	return nil
}

// answerDHCP answers a client's message; nil: it is not answered. to is where
// the answer goes.
func (c *UserConfig) answerDHCP(b []byte) (answer []byte, to netip.Addr) {
	to = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	m, err := parseDHCP(b)
	if err != nil {
		return nil, to
	}
	switch m.kind {
	case dhcpDiscover:
		return c.dhcpReply(m, dhcpOffer), to
	case dhcpInform:
		if !c.ofGuest(m.client) {
			return nil, to
		}
		return c.dhcpReply(m, dhcpACK), m.client
	case dhcpRequest:
		if m.serverID.IsValid() && m.serverID != c.gateway() {
			return nil, to // it took another server's offer
		}
		wanted := m.requested
		if !wanted.IsValid() {
			wanted = m.client
		}
		if wanted != c.guest() {
			return c.dhcpReply(m, dhcpNAK), to
		}
		if m.client == c.guest() {
			to = m.client
		}
		return c.dhcpReply(m, dhcpACK), to
	}
	return nil, to
}

// dhcpReply builds an answer (RFC 2131 §4.3, table 3).
func (c *UserConfig) dhcpReply(m dhcpMessage, kind byte) []byte {
	b := make([]byte, dhcpOptions, 512)
	b[0], b[dhcpHType], b[dhcpHLen] = 2, 1, 6
	copy(b[dhcpXID:], m.fixed[dhcpXID:dhcpXID+4])
	copy(b[dhcpFlags:], m.fixed[dhcpFlags:dhcpFlags+2])
	copy(b[dhcpCHAddr:], m.fixed[dhcpCHAddr:dhcpCHAddr+16])
	binary.BigEndian.PutUint32(b[dhcpMagic:], dhcpCookie)

	option := func(code byte, v []byte) {
		b = append(append(b, code, byte(len(v))), v...)
	}
	number := func(code byte, n uint32) { option(code, binary.BigEndian.AppendUint32(nil, n)) }
	option(optMessageType, []byte{kind})
	option(optServerID, c.gateway().AsSlice())
	if m.clientID != nil {
		option(optClientID, m.clientID) // RFC 6842 §3
	}
	if kind != dhcpNAK {
		if m.kind != dhcpInform {
			copy(b[dhcpYIAddr:], c.guest().AsSlice())
			number(optLeaseTime, dhcpLease)
		}
		copy(b[dhcpCIAddr:], m.fixed[dhcpCIAddr:dhcpCIAddr+4])
		copy(b[dhcpSIAddr:], c.gateway().AsSlice())
		number(optSubnetMask, ^uint32(0)<<(32-c.Subnet.Bits()))
		option(optRouter, c.gateway().AsSlice())
		option(optDNS, c.dns().AsSlice())
		option(optBroadcast, c.broadcast().AsSlice())
		option(optMTU, binary.BigEndian.AppendUint16(nil, uint16(c.MTU)))
		option(optHostname, []byte(c.Hostname))
		option(optDomain, []byte(c.Domain))
	}
	b = append(b, optEnd)
	for len(b) < dhcpMinimum {
		b = append(b, optPad)
	}
	return b
}

// serveDHCP opens the server's port on the router.
func (u *User) serveDHCP() error {
	q := new(waiter.Queue)
	ep, err := u.stack.NewEndpoint(udp.ProtocolNumber, header.IPv4ProtocolNumber, q)
	if err != nil {
		return fmt.Errorf("network: DHCP: %v", err)
	}
	ep.SocketOptions().SetBroadcast(true)
	if err := ep.Bind(tcpip.FullAddress{NIC: wireNIC, Port: dhcpServerPort}); err != nil {
		ep.Close()
		return fmt.Errorf("network: DHCP: %v", err)
	}
	conn := gonet.NewUDPConn(q, ep)
	u.spawn(func() { u.runDHCP(conn) })
	return nil
}

func (u *User) runDHCP(conn *gonet.UDPConn) {
	defer conn.Close()
	buf := make([]byte, MaxMTU)
	for {
		n, _, err := conn.ReadFrom(buf)
		if u.ctx.Err() != nil {
			return
		}
		if err != nil {
			continue
		}
		answer, to := u.config.answerDHCP(buf[:n])
		if answer == nil {
			continue
		}
		if kind := answer[dhcpOptions+2]; kind == dhcpACK {
			u.stats.Leases.Add(1)
		}
		conn.WriteTo(answer, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, dhcpClientPort)))
	}
}
