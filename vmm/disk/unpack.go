package disk

import (
	"compress/flate"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/lima-vm/go-qcow2reader/image/qcow2"
)

// maxWindow bounds the history of a compressed cluster. It cannot use more than
// the largest cluster.
const maxWindow = 8 << 20

func init() {
	qcow2.SetDecompressor(qcow2.CompressionTypeZlib, func(r io.Reader) (io.ReadCloser, error) {
		return inflaters.open(r)
	})
	qcow2.SetDecompressor(qcow2.CompressionTypeZstd, func(r io.Reader) (io.ReadCloser, error) {
		return zstds.open(r)
	})
}

var inflaters = unpackers{
	make:  func() (io.Reader, error) { return flate.NewReader(nil), nil },
	reset: func(z, from io.Reader) error { return z.(flate.Resetter).Reset(from, nil) },
}

var zstds = unpackers{
	make: func() (io.Reader, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	},
	reset: func(z, from io.Reader) error { return z.(*zstd.Decoder).Reset(from) },
}

// unpackers keeps decompressors, which are large, for the next cluster.
type unpackers struct {
	pool  sync.Pool
	make  func() (io.Reader, error)
	reset func(z, from io.Reader) error
}

func (u *unpackers) open(from io.Reader) (io.ReadCloser, error) {
	z, ok := u.pool.Get().(io.Reader)
	if !ok {
		var err error
		if z, err = u.make(); err != nil {
			return nil, err
		}
	}
	if err := u.reset(z, from); err != nil {
		return nil, err
	}
	return &unpacker{u, z}, nil
}

// unpacker is an open decompressor.
type unpacker struct {
	from *unpackers
	z    io.Reader
}

// Read fills p in one call: the library would begin at the start of the cluster
// for the rest.
func (u *unpacker) Read(p []byte) (int, error) {
	n, err := io.ReadFull(u.z, p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

// Close implements io.Closer.
func (u *unpacker) Close() error {
	u.from.pool.Put(u.z)
	return nil
}
