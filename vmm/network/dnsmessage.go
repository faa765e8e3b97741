package network

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
)

// Offsets and bits of a DNS message's header (RFC 1035 §4.1.1).
const (
	dnsHeader    = 12
	dnsFlags     = 2
	dnsQuestions = 4
	dnsAnswers   = 6

	dnsResponse           = 0x8000
	dnsOpcode             = 0x7800
	dnsAuthoritative      = 0x0400
	dnsRecursionDesired   = 0x0100
	dnsRecursionAvailable = 0x0080

	dnsServerFailure = 2
	dnsRefused       = 5

	dnsTypeA    = 1
	dnsTypeAAAA = 28
	dnsClassIN  = 1
)

// maxDNS is the longest DNS message.
const maxDNS = 65535

// dnsTTL is how long an answer of the router's own may be kept, in seconds.
const dnsTTL = 300

var errDNS = errors.New("network: DNS message")

// dnsQuery is what is read of a query: its header, and its one question.
type dnsQuery struct {
	message []byte // up to the question's end
	flags   uint16
	name    string // lower case, without the last dot
	kind    uint16
	class   uint16
}

// parseQuery reads a standard query's question. What follows it is left alone.
func parseQuery(b []byte) (dnsQuery, error) {
	if len(b) < dnsHeader {
		return dnsQuery{}, errDNS
	}
	q := dnsQuery{flags: binary.BigEndian.Uint16(b[dnsFlags:])}
	if q.flags&(dnsResponse|dnsOpcode) != 0 || binary.BigEndian.Uint16(b[dnsQuestions:]) != 1 {
		return q, errDNS
	}
	at := dnsHeader
	var labels []string
	for {
		if at >= len(b) || at-dnsHeader > 255 {
			return q, errDNS
		}
		n := int(b[at])
		at++
		if n == 0 {
			break
		}
		if n > 63 || at+n > len(b) { // a question has nothing before it to point to
			return q, errDNS
		}
		labels = append(labels, string(b[at:at+n]))
		at += n
	}
	if at+4 > len(b) {
		return q, errDNS
	}
	q.name = strings.ToLower(strings.Join(labels, "."))
	q.kind = binary.BigEndian.Uint16(b[at:])
	q.class = binary.BigEndian.Uint16(b[at+2:])
	q.message = b[:at+4]
	return q, nil
}

// reply is an answer to q with a code and, if it has one, an address.
func (q *dnsQuery) reply(code uint16, addr netip.Addr) []byte {
	b := append(make([]byte, 0, len(q.message)+32), q.message...)
	clear(b[dnsAnswers:dnsHeader])
	flags := dnsResponse | dnsRecursionAvailable | q.flags&dnsRecursionDesired | code
	if code == 0 {
		flags |= dnsAuthoritative
	}
	binary.BigEndian.PutUint16(b[dnsFlags:], flags)
	if !addr.IsValid() {
		return b
	}
	b[dnsAnswers+1] = 1
	b = append(b, 0xc0, dnsHeader) // the question's name
	b = binary.BigEndian.AppendUint16(b, q.kind)
	b = binary.BigEndian.AppendUint16(b, q.class)
	b = binary.BigEndian.AppendUint32(b, dnsTTL)
	b = binary.BigEndian.AppendUint16(b, uint16(addr.BitLen()/8))
	return append(b, addr.AsSlice()...)
}

// answerLocal answers q if the name is the router's, the resolver's or the
// guest's; nil: it is not.
func (c *UserConfig) answerLocal(q *dnsQuery) []byte {
	host, ok := strings.CutSuffix(q.name, "."+strings.ToLower(c.Domain))
	if !ok || q.class != dnsClassIN {
		return nil
	}
	var addr4, addr6 netip.Addr
	switch host {
	case "gateway":
		addr4, addr6 = c.gateway(), c.gateway6()
	case "dns":
		addr4, addr6 = c.dns(), c.dns6()
	case strings.ToLower(c.Hostname):
		addr4 = c.guest()
	default:
		return nil
	}
	switch {
	case q.kind == dnsTypeA:
		return q.reply(0, addr4)
	case q.kind == dnsTypeAAAA && !c.NoIPv6:
		return q.reply(0, addr6)
	}
	return q.reply(0, netip.Addr{})
}

// parseResolvConf reads the servers of a resolv.conf, three at the most; a file
// that names none means the host's own (resolv.conf(5)).
func parseResolvConf(b []byte) []netip.AddrPort {
	var servers []netip.AddrPort
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "nameserver" || len(servers) == 3 {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil {
			servers = append(servers, netip.AddrPortFrom(a, dnsPort))
		}
	}
	if servers == nil {
		servers = []netip.AddrPort{netip.AddrPortFrom(loopback4, dnsPort)}
	}
	return servers
}
