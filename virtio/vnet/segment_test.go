package vnet_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"pgregory.net/rapid"

	"gvmm/virtio/vnet"
)

// packet is a TCP frame that its sender left to be completed.
type packet struct {
	v6       bool
	vlans    int
	ipExtra  int // bytes of IPv4 options or of an IPv6 destination options header: a multiple of 8
	tcpExtra int // bytes of TCP options: a multiple of 4
	payload  []byte
	flags    header.TCPFlags
	seq      uint32
	id       uint16
	gso      uint16
}

var (
	src4, dst4 = tcpip.AddrFrom4([4]byte{10, 1, 2, 3}), tcpip.AddrFrom4([4]byte{10, 9, 8, 7})
	src6       = tcpip.AddrFrom16([16]byte{0xFD, 1, 15: 1})
	dst6       = tcpip.AddrFrom16([16]byte{0xFD, 2, 15: 2})
)

func (p packet) ethernet() []byte {
	frame := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}
	for i := range p.vlans {
		frame = binary.BigEndian.AppendUint16(frame, []uint16{0x8100, 0x88A8}[i])
		frame = append(frame, 0, byte(i))
	}
	if p.v6 {
		return binary.BigEndian.AppendUint16(frame, 0x86DD)
	}
	return binary.BigEndian.AppendUint16(frame, 0x0800)
}

// build makes the frame, with the pseudo header's sum in its checksum field, and the header that goes with it.
func (p packet) build() (vnet.Header, []byte) {
	frame := p.ethernet()
	segment := header.TCPMinimumSize + p.tcpExtra + len(p.payload)
	src, dst := src4, dst4
	if p.v6 {
		src, dst = src6, dst6
		ip := make(header.IPv6, header.IPv6MinimumSize, header.IPv6MinimumSize+p.ipExtra)
		ip.Encode(&header.IPv6Fields{
			PayloadLength: uint16(p.ipExtra + segment), TransportProtocol: header.TCPProtocolNumber, HopLimit: 9, SrcAddr: src, DstAddr: dst,
		})
		if p.ipExtra > 0 {
			ip[6] = 60
			ip = append(ip, make([]byte, p.ipExtra)...)
			ip[40], ip[41] = 6, byte(p.ipExtra/8-1)
		}
		frame = append(frame, ip...)
	} else {
		ip := make(header.IPv4, header.IPv4MinimumSize+p.ipExtra)
		ip.Encode(&header.IPv4Fields{
			TotalLength: uint16(len(ip) + segment), ID: p.id, TTL: 9, Protocol: uint8(header.TCPProtocolNumber), SrcAddr: src, DstAddr: dst,
		})
		ip.SetHeaderLength(uint8(len(ip)))
		for i := range p.ipExtra {
			ip[20+i] = 1 // no operation
		}
		ip.SetChecksum(^ip.CalculateChecksum())
		frame = append(frame, ip...)
	}
	start := len(frame)
	tcp := make(header.TCP, header.TCPMinimumSize+p.tcpExtra)
	tcp.Encode(&header.TCPFields{
		SrcPort: 80, DstPort: 4000, SeqNum: p.seq, AckNum: 7, DataOffset: uint8(len(tcp)), Flags: p.flags, WindowSize: 500,
		Checksum: header.PseudoHeaderChecksum(header.TCPProtocolNumber, src, dst, uint16(segment)),
	})
	for i := range p.tcpExtra {
		tcp[20+i] = 1
	}
	frame = append(append(frame, tcp...), p.payload...)
	h := vnet.Header{
		Flags: vnet.HdrNeedsCsum, GSOType: vnet.GSOTCPv4, GSOSize: p.gso, CsumStart: uint16(start), CsumOffset: 16, HdrLen: uint16(start + len(tcp)),
	}
	if p.v6 {
		h.GSOType = vnet.GSOTCPv6
	}
	return h, frame
}

// parse checks a complete frame of p's by gvisor's headers and returns its parts.
func (p packet) parse(t require.TestingT, frame []byte) (id uint16, tcp header.TCP) {
	at := len(p.ethernet())
	require.Equal(t, p.ethernet(), frame[:at])
	src, dst := src4, dst4
	if p.v6 {
		src, dst = src6, dst6
		ip := header.IPv6(frame[at:])
		require.True(t, ip.IsValid(len(ip)))
		require.Equal(t, len(ip)-header.IPv6MinimumSize, int(ip.PayloadLength()))
		require.Equal(t, uint8(9), ip.HopLimit())
		tcp = header.TCP(ip[header.IPv6MinimumSize+p.ipExtra:])
	} else {
		ip := header.IPv4(frame[at:])
		require.True(t, ip.IsValid(len(ip)))
		require.Equal(t, len(ip), int(ip.TotalLength()))
		require.True(t, ip.IsChecksumValid())
		id = ip.ID()
		tcp = header.TCP(ip.Payload())
	}
	body := tcp.Payload()
	require.True(t, tcp.IsChecksumValid(src, dst, checksum.Checksum(body, 0), uint16(len(body))), "TCP checksum")
	require.Equal(t, uint16(80), tcp.SourcePort())
	require.Equal(t, uint32(7), tcp.AckNumber())
	require.Equal(t, header.TCPMinimumSize+p.tcpExtra, int(tcp.DataOffset()))
	return id, tcp
}

func drawPacket(t *rapid.T) packet {
	p := packet{
		v6: rapid.Bool().Draw(t, "v6"), vlans: rapid.IntRange(0, 2).Draw(t, "vlans"),
		ipExtra: 8 * rapid.IntRange(0, 4).Draw(t, "ip options"), tcpExtra: 4 * rapid.IntRange(0, 10).Draw(t, "tcp options"),
		flags: header.TCPFlags(rapid.Uint8().Draw(t, "flags")), seq: rapid.Uint32().Draw(t, "seq"), id: rapid.Uint16().Draw(t, "id"),
		gso: uint16(rapid.IntRange(48, 9000).Draw(t, "gso")),
	}
	p.payload = make([]byte, rapid.IntRange(0, 65000).Draw(t, "payload"))
	seed := rapid.Uint64().Draw(t, "seed")
	for i := range p.payload {
		seed = seed*6364136223846793005 + 1442695040888963407
		p.payload[i] = byte(seed >> 56)
	}
	return p
}

func TestSegmentsAreWhatTheReferenceTakes(t *testing.T) {
	var s vnet.Segmenter
	rapid.Check(t, func(t *rapid.T) {
		p := drawPacket(t)
		h, frame := p.build()
		before := bytes.Clone(frame)
		require.NoError(t, h.Check(len(frame)))
		require.NoError(t, s.Begin(h, frame))
		var got []byte
		count := s.Count()
		for i := range count {
			headers, payload, ok := s.Next()
			require.True(t, ok)
			require.Equal(t, s.Size(i), len(headers)+len(payload))
			id, tcp := p.parse(t, append(bytes.Clone(headers), payload...))
			if !p.v6 {
				require.Equal(t, p.id+uint16(i), id)
			}
			require.Equal(t, p.seq+uint32(len(got)), tcp.SequenceNumber())
			first, last := i == 0, i == count-1
			require.LessOrEqual(t, len(tcp.Payload()), int(p.gso))
			require.True(t, last || len(tcp.Payload()) == int(p.gso))
			want := p.flags
			if !last {
				want &^= header.TCPFlagFin | header.TCPFlagPsh
			}
			if !first {
				want &^= 0x80 // CWR
			}
			require.Equal(t, uint8(want), tcp[13])
			got = append(got, tcp.Payload()...)
		}
		_, _, ok := s.Next()
		require.False(t, ok)
		require.Equal(t, len(p.payload), len(got))
		require.True(t, bytes.Equal(p.payload, got))
		require.Equal(t, before, frame, "the frame is not changed")
	})
}

func TestFinishedChecksumsAreWhatTheReferenceTakes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPacket(t)
		h, frame := p.build()
		h.GSOType, h.GSOSize = vnet.GSONone, 0
		require.NoError(t, h.Check(len(frame)))
		left := vnet.FinishChecksum(h, frame)
		require.Zero(t, left.Flags)
		p.parse(t, frame)
	})
}

func TestChecksumThatIsZeroIsWrittenAsItsOtherForm(t *testing.T) {
	frame := make([]byte, 20)
	binary.BigEndian.PutUint16(frame[14:], 0xFFFF)
	vnet.FinishChecksum(vnet.Header{Flags: vnet.HdrNeedsCsum, CsumStart: 14, CsumOffset: 2}, frame)
	require.Equal(t, []byte{0xFF, 0xFF}, frame[16:18], "0 would be no checksum in UDP")
}

func TestHeadersThatTheirFrameDoesNotBearOutAreRefused(t *testing.T) {
	good, frame := packet{payload: make([]byte, 3000), gso: 1000}.build()
	n := len(frame)
	for _, c := range []struct {
		name   string
		change func(*vnet.Header)
		ok     bool
	}{
		{"none", func(*vnet.Header) {}, true},
		{"nothing left to do", func(h *vnet.Header) { *h = vnet.Header{} }, true},
		{"checksum alone", func(h *vnet.Header) { h.GSOType = 0 }, true},
		{"checksum field ends with the frame", func(h *vnet.Header) { h.GSOType, h.CsumStart, h.CsumOffset = 0, uint16(n-2), 0 }, true},
		{"checksum field past the frame", func(h *vnet.Header) { h.GSOType, h.CsumStart, h.CsumOffset = 0, uint16(n-1), 0 }, false},
		{"offset past the frame", func(h *vnet.Header) { h.GSOType, h.CsumOffset = 0, 0xFFFF }, false},
		{"sum that wraps", func(h *vnet.Header) { h.GSOType, h.CsumStart, h.CsumOffset = 0, 0xFFFF, 0xFFFF }, false},
		{"checksum of the addresses", func(h *vnet.Header) { h.GSOType, h.CsumStart = 0, 13 }, false},
		{"segments of no bytes", func(h *vnet.Header) { h.GSOSize = 0 }, false},
		{"segments of few bytes", func(h *vnet.Header) { h.GSOSize = 47 }, false},
		{"segmentation without a checksum", func(h *vnet.Header) { h.Flags = 0 }, false},
		{"not TCP's checksum", func(h *vnet.Header) { h.CsumOffset = 6 }, false},
		{"no room for TCP", func(h *vnet.Header) { h.CsumStart = uint16(n - 19) }, false},
		{"UDP fragmentation", func(h *vnet.Header) { h.GSOType = 3 }, false},
		{"unknown kind", func(h *vnet.Header) { h.GSOType = 0x7F }, false},
		{"ECN of nothing", func(h *vnet.Header) { h.GSOType = vnet.GSOECN }, false},
		{"ECN of TCP", func(h *vnet.Header) { h.GSOType |= vnet.GSOECN }, true},
	} {
		h := good
		c.change(&h)
		require.Equal(t, c.ok, h.Check(n) == nil, c.name)
	}
}

func TestFramesThatAreNotTheirKindAreNotSegmented(t *testing.T) {
	for _, c := range []struct {
		name   string
		packet packet
		change func(h *vnet.Header, frame []byte)
	}{
		{"kind of the other protocol", packet{}, func(h *vnet.Header, _ []byte) { h.GSOType = vnet.GSOTCPv6 }},
		{"UDP", packet{}, func(_ *vnet.Header, f []byte) { f[14+9] = 17 }},
		{"version", packet{}, func(_ *vnet.Header, f []byte) { f[14] = 0x65 }},
		{"short IPv4 header", packet{}, func(_ *vnet.Header, f []byte) { f[14] = 0x44 }},
		{"TCP elsewhere", packet{payload: make([]byte, 40)}, func(h *vnet.Header, _ []byte) { h.CsumStart += 4 }},
		{"TCP header too short", packet{}, func(_ *vnet.Header, f []byte) { f[34+12] = 0x40 }},
		{"TCP header past the frame", packet{payload: make([]byte, 4)}, func(_ *vnet.Header, f []byte) { f[34+12] = 0xF0 }},
		{"not IP", packet{}, func(_ *vnet.Header, f []byte) { f[12] = 0x99 }},
		{"three tags", packet{vlans: 2}, func(_ *vnet.Header, f []byte) { f[20], f[21] = 0x81, 0 }},
		{"routing header", packet{v6: true, ipExtra: 8}, func(_ *vnet.Header, f []byte) { f[14+6] = 43 }},
		{"extension header past TCP", packet{v6: true, ipExtra: 8}, func(_ *vnet.Header, f []byte) { f[14+41] = 255 }},
	} {
		c.packet.gso = 100
		h, frame := c.packet.build()
		c.change(&h, frame)
		if h.Check(len(frame)) == nil {
			require.ErrorIs(t, new(vnet.Segmenter).Begin(h, frame), vnet.ErrSegment, c.name)
		} else {
			require.Fail(t, "refused before", c.name)
		}
	}
}

func FuzzSegmenter(f *testing.F) {
	for _, p := range []packet{{payload: make([]byte, 500), gso: 100}, {v6: true, ipExtra: 16, vlans: 1, payload: make([]byte, 500), gso: 48}} {
		h, frame := p.build()
		raw := make([]byte, vnet.HeaderSize)
		h.Put(raw)
		f.Add(append(raw, frame...))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) < vnet.HeaderSize || len(in) > vnet.HeaderSize+vnet.MaxFrame {
			return
		}
		h, frame := vnet.ParseHeader(in), bytes.Clone(in[vnet.HeaderSize:])
		if h.Check(len(frame)) != nil {
			return
		}
		var s vnet.Segmenter
		if h.Kind() != vnet.GSONone && s.Begin(h, frame) == nil {
			n := 0
			for headers, payload, ok := s.Next(); ok; headers, payload, ok = s.Next() {
				require.Equal(t, s.Size(n), len(headers)+len(payload))
				n++
			}
			require.Equal(t, s.Count(), n)
		}
		vnet.FinishChecksum(h, frame)
		require.Equal(t, in[vnet.HeaderSize:][:min(12, len(frame))], frame[:min(12, len(frame))], "addresses stay")
	})
}
