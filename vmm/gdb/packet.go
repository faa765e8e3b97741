package gdb

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// MaxPacket is the longest payload that is taken, in bytes as they come.
const MaxPacket = 0x4000

// ErrProtocol is what no debugger sends.
var ErrProtocol = errors.New("gdb: protocol")

// kind is what stands in the stream between packets.
type kind uint8

const (
	packet    kind = iota
	ack            // +
	nak            // -
	interrupt      // Ctrl-C
	damaged        // a packet whose checksum is wrong
)

// message is one of them; data is a packet's payload as it came, escapes included.
type message struct {
	kind kind
	data []byte
}

// reader takes a debugger's stream apart.
type reader struct{ r *bufio.Reader }

// next reads a message. Bytes between packets that mean nothing are skipped.
func (r reader) next() (message, error) {
	for {
		b, err := r.r.ReadByte()
		if err != nil {
			return message{}, err
		}
		switch b {
		case '+':
			return message{kind: ack}, nil
		case '-':
			return message{kind: nak}, nil
		case 3:
			return message{kind: interrupt}, nil
		case '$':
			return r.packet()
		}
	}
}

func (r reader) packet() (message, error) {
	var data []byte
	var sum uint8
	for {
		b, err := r.r.ReadByte()
		switch {
		case err != nil:
			return message{}, err
		case b == '$': // the one before was cut off
			data, sum = data[:0], 0
			continue
		case b != '#':
			if len(data) == MaxPacket {
				return message{}, fmt.Errorf("%w: a packet of more than %d bytes", ErrProtocol, MaxPacket)
			}
			data = append(data, b)
			sum += b
			continue
		}
		var digits [2]byte
		if _, err := io.ReadFull(r.r, digits[:]); err != nil {
			return message{}, err
		}
		high, ok1 := digit(digits[0])
		low, ok2 := digit(digits[1])
		if !ok1 || !ok2 || high<<4|low != sum {
			return message{kind: damaged}, nil
		}
		return message{kind: packet, data: data}, nil
	}
}

// frame puts a payload, in which nothing needs escaping, between $ and its checksum.
func frame(data []byte) []byte {
	var sum uint8
	for _, b := range data {
		sum += b
	}
	return fmt.Appendf(append([]byte{'$'}, data...), "#%02x", sum)
}

const escape, escapeXor = '}', 0x20

// escaped makes a payload of binary data.
func escaped(dst, data []byte) []byte {
	for _, b := range data {
		switch b {
		case '#', '$', '}', '*':
			dst = append(dst, escape, b^escapeXor)
		default:
			dst = append(dst, b)
		}
	}
	return dst
}

// unescaped is the reverse; false if it ends within an escape.
func unescaped(data []byte) ([]byte, bool) {
	var out []byte
	for i := 0; i < len(data); i++ {
		b := data[i]
		if b == escape {
			if i++; i == len(data) {
				return nil, false
			}
			b = data[i] ^ escapeXor
		}
		out = append(out, b)
	}
	return out, true
}

func digit(b byte) (byte, bool) {
	switch {
	case b >= '0' && b <= '9':
		return b - '0', true
	case b >= 'a' && b <= 'f':
		return b - 'a' + 10, true
	case b >= 'A' && b <= 'F':
		return b - 'A' + 10, true
	}
	return 0, false
}
