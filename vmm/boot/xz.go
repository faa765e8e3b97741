package boot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"math/bits"

	"github.com/ulikunitz/xz/lzma"
)

// The .xz container (The .xz File Format 1.0.4). The library knows LZMA2 but not the
// filter for x86 code before it, with which Linux packs kernels.
const (
	xzMagic       = "\xfd7zXZ\x00"
	xzHeader      = 12 // magic, flags, CRC32
	xzFilterX86   = 0x04
	xzFilterLZMA2 = 0x21
	xzHasPacked   = 1 << 6 // block flags: sizes are given
	xzHasUnpacked = 1 << 7
	xzReserved    = 0x3c
)

var errXZ = errors.New("the xz stream is damaged")

// xzChecks are the checks of a block's data, by the stream's flags.
var xzChecks = map[byte]struct {
	size int
	sum  func() hash.Hash
}{
	0x00: {0, nil},
	0x01: {4, func() hash.Hash { return crc32.NewIEEE() }},
	0x04: {8, func() hash.Hash { return crc64.New(crc64.MakeTable(crc64.ECMA)) }},
	0x0a: {32, sha256.New},
}

// unpackXZ unpacks the blocks of one stream. Index and footer repeat what is known by then and are not read.
func unpackXZ(out, payload []byte) error {
	if len(payload) < xzHeader || crc32.ChecksumIEEE(payload[6:8]) != binary.LittleEndian.Uint32(payload[8:]) {
		return errXZ
	}
	check, known := xzChecks[payload[7]]
	if payload[6] != 0 || !known {
		return fmt.Errorf("check %#x of xz is not known here", payload[7])
	}
	for payload = payload[xzHeader:]; len(payload) > 0 && payload[0] != 0; {
		h, n, err := parseXZBlock(payload)
		if err != nil {
			return err
		}
		body := bytes.NewReader(payload[n:])
		data, err := h.unpack(out, body)
		if err != nil {
			return err
		}
		used := len(payload) - body.Len()
		used += -used & 3 // padded; all before it is a multiple of 4 long
		if used+check.size > len(payload) {
			return errShort
		}
		if check.sum != nil && !sumIs(check.sum(), data, payload[used:used+check.size]) {
			return errXZ
		}
		out, payload = out[len(data):], payload[used+check.size:]
	}
	if len(payload) == 0 || len(out) > 0 {
		return errShort
	}
	return nil
}

// sumIs compares a check, of which CRCs lie little-endian in the file.
func sumIs(h hash.Hash, data, want []byte) bool {
	_, _ = h.Write(data)
	got := h.Sum(nil)
	if len(got) <= 8 {
		for i, j := 0, len(got)-1; i < j; i, j = i+1, j-1 {
			got[i], got[j] = got[j], got[i]
		}
	}
	return bytes.Equal(got, want)
}

// xzBlock is what a block's header says.
type xzBlock struct {
	dictionary uint64 // bytes
	x86        bool
	start      uint32 // of the filter: the first byte's address
}

// parseXZBlock reads the header of the block that b begins with, and returns its length.
func parseXZBlock(b []byte) (h xzBlock, n int, err error) {
	n = (int(b[0]) + 1) * 4
	if n > len(b) {
		return h, 0, errShort
	}
	head := b[:n-4]
	if crc32.ChecksumIEEE(head) != binary.LittleEndian.Uint32(b[n-4:]) || head[1]&xzReserved != 0 {
		return h, 0, errXZ
	}
	p := xzFields{b: head[2:]}
	if head[1]&xzHasPacked != 0 {
		p.number()
	}
	if head[1]&xzHasUnpacked != 0 {
		p.number()
	}
	for filters, last := int(head[1]&3)+1, byte(0); filters > 0; filters-- {
		id, props := p.number(), p.bytes(p.number())
		switch {
		case p.bad:
			return h, 0, errXZ
		case id == xzFilterLZMA2 && filters == 1 && len(props) == 1 && props[0] <= 40:
			last = props[0]
			if h.dictionary = uint64(2|last&1) << (last/2 + 11); last == 40 {
				h.dictionary = 1<<32 - 1
			}
		case id == xzFilterX86 && filters > 1 && !h.x86 && (len(props) == 0 || len(props) == 4):
			h.x86 = true
			if len(props) == 4 {
				h.start = binary.LittleEndian.Uint32(props)
			}
		default:
			return h, 0, fmt.Errorf("filter %#x of xz is not known here", id)
		}
	}
	return h, n, nil
}

// unpack reads the block's data from r to its end, and not beyond, into out.
func (h xzBlock) unpack(out []byte, r *bytes.Reader) ([]byte, error) {
	// Nothing lies further back than what is unpacked.
	dictionary := min(h.dictionary, max(uint64(len(out)), lzma.MinDictCap))
	z, err := lzma.Reader2Config{DictCap: int(dictionary)}.NewReader2(r)
	if err != nil {
		return nil, err
	}
	n, err := io.ReadFull(z, out)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	if err == nil {
		var more [1]byte
		if k, err := io.ReadFull(z, more[:]); k > 0 {
			return nil, fmt.Errorf("more than the %d bytes that it says", len(out))
		} else if err != io.EOF {
			return nil, err
		}
	}
	if !z.EOS() {
		return nil, errShort
	}
	if data := out[:n]; h.x86 {
		unfilterX86(data, h.start)
	}
	return out[:n], nil
}

// xzFields reads the fields of a block's header.
type xzFields struct {
	b   []byte
	bad bool
}

// number reads an integer of seven bits a byte, least significant first.
func (p *xzFields) number() (v uint64) {
	for i := 0; i < 9 && i < len(p.b); i++ {
		v |= uint64(p.b[i]&0x7f) << (7 * i)
		if p.b[i] < 0x80 {
			p.b = p.b[i+1:]
			return v
		}
	}
	p.bad = true
	return 0
}

func (p *xzFields) bytes(n uint64) []byte {
	if n > uint64(len(p.b)) {
		p.bad = true
		return nil
	}
	b := p.b[:n]
	p.b = p.b[n:]
	return b
}

// unfilterX86 undoes the filter that makes the targets of CALL and JMP rel32 absolute. A
// target counts where its top byte is 00H or FFH; among overlapping candidates the bytes
// before decide, of which near holds which were opcodes left alone, the last in bit 0.
func unfilterX86(b []byte, start uint32) {
	sign := func(v byte) bool { return v == 0 || v == 0xff }
	near := uint(0)
	for i := 0; i+4 < len(b); i++ {
		if b[i]&0xfe != 0xe8 {
			near = near << 1 & 7
			continue
		}
		far := bits.Len(near) // distance to the farthest of them
		if near&(near-1) != 0 || near != 0 && sign(b[i+4-far]) || !sign(b[i+4]) {
			near = (near<<1 | 1) & 7
			continue
		}
		target := b[i+1 : i+5]
		v := binary.LittleEndian.Uint32(target)
		next := start + uint32(i) + 5
		relative := v - next
		for near != 0 && sign(byte(relative>>(24-8*far))) {
			v = relative ^ (1<<(32-8*far) - 1)
			relative = v - next
		}
		binary.LittleEndian.PutUint32(target, uint32(int32(relative<<7)>>7))
		near = 0
		i += 4
	}
}
