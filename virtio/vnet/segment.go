package vnet

import (
	"encoding/binary"
	"errors"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
)

// ErrSegment reports a frame that is not the TCP packet which its header calls it.
var ErrSegment = errors.New("vnet: not a TCP packet that could be segmented")

// Numbers of Ethernet, IP and TCP.
const (
	etherIPv4   = 0x0800
	etherIPv6   = 0x86DD
	etherVLAN   = 0x8100
	etherSVLAN  = 0x88A8
	vlanTagSize = 4

	ipv4MinSize = 20
	ipv6Size    = 40
	protocolTCP = 6
	protocolUDP = 17

	ipv6HopByHop    = 0
	ipv6Destination = 60

	tcpFIN, tcpPSH, tcpCWR = 0x01, 0x08, 0x80
)

// Segmenter cuts a frame with a segmentation offload into frames that a
// receiver without it takes: each with headers of its own, and all checksums
// complete. The zero Segmenter is ready for Begin, and is reused by it.
type Segmenter struct {
	frame    []byte
	ip, tcp  int // offsets of the headers
	payload  int
	size     int // payload bytes of a segment
	next     int // payload bytes handed out
	index    int
	v6       bool
	pseudo   uint16 // sum of addresses and protocol
	template []byte // the headers of the segment handed out
}

// Begin takes a frame to cut, which is not changed and must stay until the last
// Next.
// Preconditions: h.Check(len(frame)) is nil.
func (s *Segmenter) Begin(h Header, frame []byte) error {
	ip, ether := network(frame)
	s.frame, s.ip, s.tcp, s.size = frame, ip, int(h.CsumStart), int(h.GSOSize)
	s.next, s.index, s.v6 = 0, 0, ether == etherIPv6
	switch {
	case h.Kind() == GSOTCPv4 && ether == etherIPv4 && s.checkIPv4():
	case h.Kind() == GSOTCPv6 && ether == etherIPv6 && s.checkIPv6():
	default:
		return ErrSegment
	}
	header := int(frame[s.tcp+12]>>4) * 4
	s.payload = s.tcp + header
	if header < tcpMinSize || s.payload > len(frame) {
		return ErrSegment
	}
	s.template = append(s.template[:0], frame[:s.payload]...)
	return nil
}

// network finds the network header behind the Ethernet header and up to two
// VLAN tags. ether is 0 if the frame is too short for one.
func network(frame []byte) (offset int, ether uint16) {
	offset = EthernetSize
	for range 3 {
		if len(frame) < offset {
			return offset, 0
		}
		ether = binary.BigEndian.Uint16(frame[offset-2:])
		if ether != etherVLAN && ether != etherSVLAN {
			return offset, ether
		}
		offset += vlanTagSize
	}
	return offset, 0
}

// checkIPv4 judges the IPv4 header, which must end where TCP begins.
func (s *Segmenter) checkIPv4() bool {
	ip := s.frame[s.ip:]
	if len(ip) < ipv4MinSize || ip[0]>>4 != 4 || ip[0]&0xF < 5 || s.ip+int(ip[0]&0xF)*4 != s.tcp || ip[9] != protocolTCP {
		return false
	}
	s.pseudo = pseudoSum(ip[12:20])
	return true
}

// checkIPv6 judges the IPv6 header and those between it and TCP. One with
// routing or fragments would need more than its length changed.
func (s *Segmenter) checkIPv6() bool {
	ip := s.frame[s.ip:]
	if len(ip) < ipv6Size || ip[0]>>4 != 6 {
		return false
	}
	next, at := ip[6], s.ip+ipv6Size
	for next == ipv6HopByHop || next == ipv6Destination {
		if at+8 > s.tcp {
			return false
		}
		next, at = s.frame[at], at+8+8*int(s.frame[at+1])
	}
	s.pseudo = pseudoSum(ip[8:40])
	return next == protocolTCP && at == s.tcp
}

// pseudoSum is the pseudo header's sum without the length.
func pseudoSum(addresses []byte) uint16 { return checksum.Checksum(addresses, protocolTCP) }

// Count is how many frames there will be, at least 1.
func (s *Segmenter) Count() int {
	return max(1, (len(s.frame)-s.payload+s.size-1)/s.size)
}

// Size is how many bytes frame i has.
func (s *Segmenter) Size(i int) int {
	return s.payload + min(s.size, len(s.frame)-s.payload-i*s.size)
}

// Next gives the next frame: its headers, which stay until the next Next, and
// its payload, a part of the frame given to Begin.
func (s *Segmenter) Next() (headers, payload []byte, ok bool) {
	rest := s.frame[s.payload+s.next:]
	if len(rest) == 0 && s.index > 0 {
		return nil, nil, false
	}
	payload = rest[:min(s.size, len(rest))]
	s.rewrite(payload, len(payload) == len(rest))
	s.next += len(payload)
	s.index++
	return s.template, payload, true
}

// rewrite makes the template the headers of a segment.
func (s *Segmenter) rewrite(payload []byte, last bool) {
	be := binary.BigEndian
	ip, tcp := s.template[s.ip:], s.template[s.tcp:]
	from := s.frame[s.tcp:]
	length := len(tcp) + len(payload)
	if s.v6 {
		be.PutUint16(ip[4:], uint16(len(ip)-ipv6Size+len(payload)))
	} else {
		be.PutUint16(ip[2:], uint16(len(ip)+len(payload)))
		be.PutUint16(ip[4:], be.Uint16(s.frame[s.ip+4:])+uint16(s.index))
		ip[10], ip[11] = 0, 0
		checksum.Put(ip[10:], ^checksum.Checksum(ip[:s.tcp-s.ip], 0))
	}
	be.PutUint32(tcp[4:], be.Uint32(from[4:])+uint32(s.next))
	flags := from[13]
	if !last {
		flags &^= tcpFIN | tcpPSH
	}
	if s.index > 0 {
		flags &^= tcpCWR // the first alone says it (RFC 3168 §6.1.2)
	}
	tcp[13] = flags
	tcp[tcpCsumOffset], tcp[tcpCsumOffset+1] = 0, 0
	// The headers' lengths are even, so sums of parts join.
	sum := checksum.Combine(s.pseudo, uint16(length))
	sum = checksum.Checksum(payload, checksum.Checksum(tcp, sum))
	putChecksum(tcp[tcpCsumOffset:], sum)
}
