package vnet

import (
	"encoding/binary"
	"sync/atomic"
)

// steering sends a flow's frames to the pair on which the driver last
// transmitted on it (§5.1.6.5.6, automatic receive steering), else where its
// hash says. It is a table of hints without locks: an old one is as correct.
type steering struct {
	pairs atomic.Int32              // in use
	flows [flowEntries]atomic.Int32 // pair of a hash, plus 1
}

const flowEntries = 1024

// flowBytes is how much of a frame flow looks at: Ethernet with two tags, IPv4
// with options or IPv6, and ports.
const flowBytes = EthernetSize + 2*vlanTagSize + 60 + 4

// learn notes that a frame was transmitted on a pair.
func (s *steering) learn(pair int, segments [][]byte) {
	if s.pairs.Load() <= 1 {
		return
	}
	var head [flowBytes]byte
	entry := &s.flows[flow(head[:gather(head[:], segments)])%flowEntries]
	if v := int32(pair) + 1; entry.Load() != v {
		entry.Store(v)
	}
}

// pick is the pair that a frame is received on.
func (s *steering) pick(segments [][]byte) int {
	pairs := s.pairs.Load()
	if pairs <= 1 {
		return 0
	}
	var head [flowBytes]byte
	hash := flow(head[:gather(head[:], segments)])
	if v := s.flows[hash%flowEntries].Load(); v > 0 && v <= pairs {
		return int(v) - 1
	}
	return int(hash % uint32(pairs))
}

// flow hashes what a flow's frames have in common, the same in both
// directions: addresses, protocol and ports as far as the frame has them.
func flow(frame []byte) uint32 {
	offset, ether := network(frame)
	ip := frame[min(offset, len(frame)):]
	switch {
	case ether == etherIPv4 && len(ip) >= ipv4MinSize:
		fragment := binary.BigEndian.Uint16(ip[6:])&0x3FFF != 0
		return flowOf(ip[12:16], ip[16:20], ip[9], ports(ip, int(ip[0]&0xF)*4, ip[9], fragment))
	case ether == etherIPv6 && len(ip) >= ipv6Size:
		return flowOf(ip[8:24], ip[24:40], ip[6], ports(ip, ipv6Size, ip[6], false))
	case len(frame) >= EthernetSize:
		return flowOf(frame[:6], frame[6:12], 0, 0)
	}
	return 0
}

// ports is the sum of a packet's ports. Only a datagram's first fragment has any,
// so that a fragmented one counts as having none.
func ports(ip []byte, at int, protocol uint8, fragment bool) uint32 {
	if fragment || protocol != protocolTCP && protocol != protocolUDP || at+4 > len(ip) {
		return 0
	}
	return uint32(binary.BigEndian.Uint16(ip[at:])) + uint32(binary.BigEndian.Uint16(ip[at+2:]))
}

func flowOf(from, to []byte, protocol uint8, ports uint32) uint32 {
	// Adding what each end hashes to is what makes it the same both ways.
	h := fnv(from) + fnv(to) + uint32(protocol)<<16 + ports
	h ^= h >> 16
	h *= 0x85EB_CA6B
	return h ^ h>>13
}

// fnv is FNV-1a.
func fnv(p []byte) uint32 {
	h := uint32(2166136261)
	for _, b := range p {
		h = (h ^ uint32(b)) * 16777619
	}
	return h
}
