package network

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// routerLinkLocal is the router's address on the link, from which it advertises.
var routerLinkLocal = netip.MustParseAddr("fe80::2")

var allNodes = netip.MustParseAddr("ff02::1")

// Router advertisements (RFC 4861 §6.2.1, times of this router).
const (
	advertiseEvery    = 10 * time.Minute
	routerLifetime    = 30 * 60      // seconds
	validLifetime     = 24 * 60 * 60 // seconds, of an address
	preferredLifetime = 4 * 60 * 60
)

// advertise sends an advertisement when one is solicited, and now and then.
func (u *User) advertise() {
	again := time.NewTicker(advertiseEvery)
	defer again.Stop()
	message := u.config.advertisement()
	for {
		select {
		case <-u.ctx.Done():
			return
		case <-u.solicited:
		case <-again.C:
		}
		u.sendICMP(routerLinkLocal, allNodes, append([]byte(nil), message...), 255)
	}
}

// advertisement is the router's, without its checksum (RFC 4861 §4.2): it is a
// router, its link-layer address, the MTU, the prefix for addresses of the
// guest's making, and the resolver (RFC 8106 §5.1).
func (c *UserConfig) advertisement() []byte {
	be := binary.BigEndian
	b := []byte{ndRouterAdvertisement, 0, 0, 0, 64, 0}
	b = be.AppendUint16(b, routerLifetime)
	b = append(b, make([]byte, 8)...) // reachable time, retransmission time: the guest's own

	b = append(append(b, 1, 1), c.MAC...)

	b = be.AppendUint32(append(b, 5, 1, 0, 0), uint32(c.MTU))

	const onLink, autonomous = 0x80, 0x40
	b = append(b, 3, 4, byte(c.Subnet6.Bits()), onLink|autonomous)
	b = be.AppendUint32(b, validLifetime)
	b = be.AppendUint32(b, preferredLifetime)
	b = append(append(b, 0, 0, 0, 0), c.Subnet6.Addr().AsSlice()...)

	b = be.AppendUint32(append(b, 25, 3, 0, 0), routerLifetime)
	return append(b, c.dns6().AsSlice()...)
}
