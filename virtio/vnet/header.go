package vnet

import (
	"encoding/binary"
	"errors"
)

// ErrHeader reports a Header that its frame does not bear out.
var ErrHeader = errors.New("vnet: a frame's header does not fit the frame")

// Header.Flags (§5.1.6).
const (
	// HdrNeedsCsum has the checksum from CsumStart to the end of the frame put
	// at CsumStart+CsumOffset, where the pseudo header's sum stands already.
	HdrNeedsCsum uint8 = 1
	// HdrDataValid says that the checksum is known to be right.
	HdrDataValid uint8 = 2
)

// Header.GSOType (§5.1.6): a kind, and GSOECN with a TCP kind whose first
// segment alone is to carry CWR.
const (
	GSONone  uint8 = 0
	GSOTCPv4 uint8 = 1
	GSOTCPv6 uint8 = 4
	GSOECN   uint8 = 0x80
)

// Header is what a frame leaves to its receiver: struct virtio_net_hdr without
// num_buffers (§5.1.6), in host byte order. The zero Header leaves nothing. A
// device judges each that it gives to a link or takes from one ([Header.Check]).
type Header struct {
	Flags   uint8  // HdrNeedsCsum, HdrDataValid
	GSOType uint8  // GSONone, or one of the others if the frame is to be segmented
	HdrLen  uint16 // bytes of headers in front of the payload, a hint
	GSOSize uint16 // payload bytes of each segment
	// CsumStart and CsumOffset are bytes from the frame's start, and from there.
	CsumStart, CsumOffset uint16
}

// HeaderSize is the bytes of struct virtio_net_hdr without num_buffers.
const HeaderSize = 10

// Sizes and places of TCP that a header is judged by.
const (
	tcpMinSize    = 20
	tcpCsumOffset = 16
	// minGSOSize bounds the number of segments that a frame falls into. Linux
	// sends no full TCP segment with less payload.
	minGSOSize = 48
)

// ParseHeader reads the HeaderSize bytes of p, little-endian.
func ParseHeader(p []byte) Header {
	le := binary.LittleEndian
	return Header{
		Flags: p[0], GSOType: p[1], HdrLen: le.Uint16(p[2:]), GSOSize: le.Uint16(p[4:]),
		CsumStart: le.Uint16(p[6:]), CsumOffset: le.Uint16(p[8:]),
	}
}

// Put writes h to the first HeaderSize bytes of p.
func (h Header) Put(p []byte) {
	le := binary.LittleEndian
	p[0], p[1] = h.Flags, h.GSOType
	le.PutUint16(p[2:], h.HdrLen)
	le.PutUint16(p[4:], h.GSOSize)
	le.PutUint16(p[6:], h.CsumStart)
	le.PutUint16(p[8:], h.CsumOffset)
}

// Kind is the GSO type without GSOECN.
func (h Header) Kind() uint8 { return h.GSOType &^ GSOECN }

// Check judges h for a frame of n bytes (§5.1.6.2). The checksum lies inside
// the frame, past the Ethernet header, so that completing it changes no
// address; what is to be segmented is TCP. HdrLen is not judged: nothing may
// rely on it.
func (h Header) Check(n int) error {
	start, field := int(h.CsumStart), int(h.CsumStart)+int(h.CsumOffset)
	needs := h.Flags&HdrNeedsCsum != 0
	if needs && (start < EthernetSize || field+2 > n) {
		return ErrHeader
	}
	switch h.Kind() {
	case GSONone:
		if h.GSOType != GSONone {
			return ErrHeader
		}
		return nil
	case GSOTCPv4, GSOTCPv6:
		if !needs || h.CsumOffset != tcpCsumOffset || start+tcpMinSize > n || h.GSOSize < minGSOSize {
			return ErrHeader
		}
		return nil
	}
	return ErrHeader
}

// needs are the features that h takes, of those that one direction has for them.
func needs(h Header, csum, tso4, tso6, ecn uint64) (need uint64) {
	if h.Flags&HdrNeedsCsum != 0 {
		need |= csum
	}
	switch h.Kind() {
	case GSOTCPv4:
		need |= tso4
	case GSOTCPv6:
		need |= tso6
	}
	if h.GSOType&GSOECN != 0 {
		need |= ecn
	}
	return need
}
