package network

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// admit judges a frame of the guest's before the stack sees it, and says how
// it was addressed. The stack takes every address for its own, so that what is
// meant for the outside gets to the translators: it must not be asked who has
// an address, or a guest that probes for its own would find it taken.
func (u *User) admit(eth header.Ethernet, payload []byte) (tcpip.PacketType, bool) {
	kind := tcpip.PacketHost
	switch to := eth.DestinationAddress(); {
	case to == header.EthernetBroadcastAddress:
		kind = tcpip.PacketBroadcast
	case header.IsMulticastEthernetAddress(to):
		kind = tcpip.PacketMulticast
	case to != u.wire.mac:
		return 0, false
	}
	if header.IsMulticastEthernetAddress(eth.SourceAddress()) {
		return 0, false
	}
	switch eth.Type() {
	case header.ARPProtocolNumber:
		return kind, u.admitARP(payload)
	case header.IPv4ProtocolNumber:
		return kind, u.admitIPv4(payload)
	case header.IPv6ProtocolNumber:
		return kind, !u.config.NoIPv6 && u.admitIPv6(payload)
	}
	return 0, false
}

// admitARP admits replies, and requests for the router's own addresses.
func (u *User) admitARP(payload []byte) bool {
	arp := header.ARP(payload)
	if !arp.IsValid() || !u.config.ofGuest(addr4(arp.ProtocolAddressSender())) {
		return false
	}
	target := addr4(arp.ProtocolAddressTarget())
	return arp.Op() != header.ARPRequest || target == u.config.gateway() || target == u.config.dns()
}

// admitIPv4 admits what comes from a guest's address, or from one that has none yet.
func (u *User) admitIPv4(payload []byte) bool {
	if len(payload) < header.IPv4MinimumSize {
		return false
	}
	src := addr4(payload[12:16])
	return src.IsUnspecified() || u.config.ofGuest(src)
}

// Types of neighbour discovery (RFC 4861 §4).
const (
	ndRouterSolicitation   = 133
	ndRouterAdvertisement  = 134
	ndNeighborSolicitation = 135
)

// admitIPv6 does the same for IPv6. A router solicitation is answered by u.advertise.
func (u *User) admitIPv6(payload []byte) bool {
	if len(payload) < header.IPv6MinimumSize {
		return false
	}
	src := addr16(payload[8:24])
	if !src.IsUnspecified() && !src.IsLinkLocalUnicast() && !u.config.ofGuest(src) {
		return false
	}
	body := payload[header.IPv6MinimumSize:]
	if payload[6] != uint8(header.ICMPv6ProtocolNumber) || len(body) == 0 {
		return true
	}
	switch body[0] {
	case ndRouterSolicitation:
		select {
		case u.solicited <- struct{}{}:
		default:
		}
	case ndRouterAdvertisement:
		return false
	case ndNeighborSolicitation:
		return len(body) >= 24 && u.config.own(addr16(body[8:24]))
	}
	return true
}

func addr4(b []byte) netip.Addr  { return netip.AddrFrom4([4]byte(b)) }
func addr16(b []byte) netip.Addr { return netip.AddrFrom16([16]byte(b)) }
