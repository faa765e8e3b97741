package network

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// icmpHeader is the part in front of an ICMP message's data, either version's.
const icmpHeader = 8

// Why a destination is unreachable.
type reason int

const (
	portUnreachable reason = iota // nobody answers at the port
	prohibited                    // this network does not carry it
)

// unreachable tells the guest so of what it sent to an address outside (RFC
// 792, RFC 4443 §3.1). quote is the first eight bytes that came after the IP
// header, which is made up: its addresses and protocol are what it is read for.
func (u *User) unreachable(why reason, outside, guest netip.Addr, protocol tcpip.TransportProtocolNumber, quote [8]byte) {
	var msg []byte
	if outside.Is4() {
		code := [...]header.ICMPv4Code{header.ICMPv4PortUnreachable, header.ICMPv4AdminProhibited}[why]
		msg = []byte{byte(header.ICMPv4DstUnreachable), byte(code), 7: 0}
		ip := make(header.IPv4, header.IPv4MinimumSize)
		ip.Encode(&header.IPv4Fields{
			TotalLength: uint16(header.IPv4MinimumSize + len(quote)), TTL: 64, Protocol: uint8(protocol),
			SrcAddr: toAddress(guest), DstAddr: toAddress(outside),
		})
		ip.SetChecksum(^ip.CalculateChecksum())
		msg = append(msg, ip...)
	} else {
		code := [...]header.ICMPv6Code{header.ICMPv6PortUnreachable, header.ICMPv6Prohibited}[why]
		msg = []byte{byte(header.ICMPv6DstUnreachable), byte(code), 7: 0}
		ip := make(header.IPv6, header.IPv6MinimumSize)
		ip.Encode(&header.IPv6Fields{
			PayloadLength: uint16(len(quote)), TransportProtocol: protocol, HopLimit: 64,
			SrcAddr: toAddress(guest), DstAddr: toAddress(outside),
		})
		msg = append(msg, ip...)
	}
	if u.stack.AllowICMPMessage() {
		u.sendICMP(outside, guest, append(msg, quote[:]...), 0)
	}
}

// sendICMP sends msg, of eight bytes at least and without its checksum, to the
// guest or its link. Hops of 0 are the default.
func (u *User) sendICMP(from, to netip.Addr, msg []byte, hops uint8) {
	r, err := u.stack.FindRoute(wireNIC, toAddress(from), toAddress(to), protocolOf(to), false)
	if err != nil {
		return
	}
	defer r.Release()
	if hops == 0 {
		hops = r.DefaultTTL()
	}
	protocol := header.ICMPv4ProtocolNumber
	binary.BigEndian.PutUint16(msg[2:], 0)
	sum := ^checksum.Checksum(msg, 0)
	if to.Is6() {
		protocol = header.ICMPv6ProtocolNumber
		sum = header.ICMPv6Checksum(header.ICMPv6ChecksumParams{
			Header: header.ICMPv6(msg), Src: r.LocalAddress(), Dst: r.RemoteAddress(),
		})
	}
	binary.BigEndian.PutUint16(msg[2:], sum)
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: int(r.MaxHeaderLength()) + icmpHeader,
		Payload:            buffer.MakeWithData(msg[icmpHeader:]),
	})
	defer pkt.DecRef()
	copy(pkt.TransportHeader().Push(icmpHeader), msg)
	pkt.TransportProtocolNumber = protocol
	r.WritePacket(stack.NetworkHeaderParams{Protocol: protocol, TTL: hops}, pkt)
}
