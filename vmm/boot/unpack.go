package boot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

var (
	// errShort is a payload that ends before its data does.
	errShort = errors.New("the payload is cut short")
	// errCompression is a payload that only the kernel's own code can unpack.
	errCompression = errors.New("not known here; give its unpacked vmlinux, a kernel packed with gzip, zstd, xz or lz4, or --boot bzimage")
)

// compressions are what a kernel's payload begins with. One without a function is refused by its name.
var compressions = []struct {
	name, magic string
	unpack      func(out, payload []byte) error
}{
	{"gzip", "\x1f\x8b", unpackGzip},
	{"xz", xzMagic, unpackXZ},
	{"zstd", "\x28\xb5\x2f\xfd", unpackZstd},
	{"lz4", "\x02\x21\x4c\x18", unpackLZ4},
	{"lzo", "\x89LZO", nil},
	{"lzma", "\x5d\x00\x00", nil},
	{"bzip2", "BZh", nil},
}

// sizeBytes is the size of the unpacked kernel, which a payload ends with: gzip has it,
// after the other formats Linux's build writes it.
const sizeBytes = 4

// unpack returns the kernel in a bzImage's payload, which is to have no more than limit bytes.
func unpack(payload []byte, limit uint64) ([]byte, error) {
	if bytes.HasPrefix(payload, []byte("\x7fELF")) {
		return payload, nil
	}
	for _, c := range compressions {
		if !bytes.HasPrefix(payload, []byte(c.magic)) {
			continue
		}
		if c.unpack == nil {
			return nil, fmt.Errorf("the kernel is packed with %s, which is %w", c.name, errCompression)
		}
		if len(payload) < len(c.magic)+sizeBytes {
			return nil, errShort
		}
		size := uint64(binary.LittleEndian.Uint32(payload[len(payload)-sizeBytes:]))
		if size > limit {
			return nil, fmt.Errorf("%w: the kernel alone has %d bytes unpacked, give at least %d MiB", errMemory, size, (size+1<<20-1)>>20)
		}
		if c.name != "gzip" {
			payload = payload[:len(payload)-sizeBytes]
		}
		out := make([]byte, size)
		if err := c.unpack(out, payload); err != nil {
			return nil, fmt.Errorf("the kernel, packed with %s, cannot be unpacked: %w", c.name, err)
		}
		return out, nil
	}
	return nil, fmt.Errorf("the kernel is packed in a way that is %w", errCompression)
}

// fill reads out and the end of r behind it: the size that a payload gives is exact.
func fill(out []byte, r io.Reader) error {
	if _, err := io.ReadFull(r, out); err != nil {
		return err
	}
	var more [1]byte
	switch n, err := io.ReadFull(r, more[:]); {
	case n > 0:
		return fmt.Errorf("more than the %d bytes that it says", len(out))
	case err != io.EOF:
		return err
	}
	return nil
}

func unpackGzip(out, payload []byte) error {
	r, err := gzip.NewReader(bytes.NewReader(payload))
	if err != nil {
		return err
	}
	r.Multistream(false)
	return fill(out, r)
}

func unpackZstd(out, payload []byte) error {
	// The window of zstd's highest level; it need not be larger than the kernel.
	const window = 1 << 27
	r, err := zstd.NewReader(bytes.NewReader(payload), zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderMaxWindow(window), zstd.WithDecoderMaxMemory(uint64(len(out))+window))
	if err != nil {
		return err
	}
	defer r.Close()
	return fill(out, r)
}

// lz4Block is what a block of lz4's legacy format holds unpacked; only the last may hold less.
const lz4Block = 8 << 20

// unpackLZ4 unpacks lz4's legacy format: a magic number, then blocks with their length before them.
func unpackLZ4(out, payload []byte) error {
	for payload = payload[4:]; len(payload) > 0; {
		if len(payload) < 4 {
			return errShort
		}
		n := uint64(binary.LittleEndian.Uint32(payload))
		if payload = payload[4:]; n == 0 || n > uint64(len(payload)) {
			return errShort
		}
		got, err := lz4.UncompressBlock(payload[:n], out[:min(len(out), lz4Block)])
		if err != nil {
			return err
		}
		out, payload = out[got:], payload[n:]
	}
	if len(out) > 0 {
		return errShort
	}
	return nil
}
