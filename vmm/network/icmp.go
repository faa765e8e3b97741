package network

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// icmpHeader is the part in front of an ICMP message's data, either version's.
const icmpHeader = 8

// unreachable tells the guest that nobody answers at a UDP port of the outside
// (RFC 792, RFC 4443 §3.1). What it quotes is the datagram's headers as the
// guest must have sent them, as far as they tell the flow.
func (u *User) unreachable(outside, guest netip.AddrPort) {
	var udp [header.UDPMinimumSize]byte
	header.UDP(udp[:]).Encode(&header.UDPFields{
		SrcPort: guest.Port(), DstPort: outside.Port(), Length: header.UDPMinimumSize,
	})
	var msg []byte
	if outside.Addr().Is4() {
		msg = []byte{byte(header.ICMPv4DstUnreachable), byte(header.ICMPv4PortUnreachable), 7: 0}
		ip := make(header.IPv4, header.IPv4MinimumSize)
		ip.Encode(&header.IPv4Fields{
			TotalLength: header.IPv4MinimumSize + header.UDPMinimumSize, TTL: 64,
			Protocol: uint8(header.UDPProtocolNumber),
			SrcAddr:  toAddress(guest.Addr()), DstAddr: toAddress(outside.Addr()),
		})
		ip.SetChecksum(^ip.CalculateChecksum())
		msg = append(msg, ip...)
	} else {
		msg = []byte{byte(header.ICMPv6DstUnreachable), byte(header.ICMPv6PortUnreachable), 7: 0}
		ip := make(header.IPv6, header.IPv6MinimumSize)
		ip.Encode(&header.IPv6Fields{
			PayloadLength: header.UDPMinimumSize, TransportProtocol: header.UDPProtocolNumber, HopLimit: 64,
			SrcAddr: toAddress(guest.Addr()), DstAddr: toAddress(outside.Addr()),
		})
		msg = append(msg, ip...)
	}
	u.sendICMP(outside.Addr(), guest.Addr(), append(msg, udp[:]...), 0)
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
