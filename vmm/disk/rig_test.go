package disk

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pool is what noise comes from.
var pool = func() []byte {
	b, r := make([]byte, 16<<20), rand.New(rand.NewPCG(1, 1))
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b
}()

// noise is n bytes that repeat with seed.
func noise(n int, seed uint64) []byte {
	at := seed * 0x9e3779b97f4a7c15 % uint64(len(pool)-n)
	return bytes.Clone(pool[at:][:n])
}

func put(t testing.TB, name string, content []byte) string {
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}

func mustOpen(t testing.TB, path string, o Options) Image {
	d, err := Open(path, o)
	require.NoError(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

func readAll(t testing.TB, d Image) []byte {
	b := make([]byte, d.Size())
	n, err := d.ReadAt([][]byte{b}, 0)
	require.NoError(t, err)
	require.Len(t, b, n)
	return b
}

// Kinds of clusters that a qcow2 image is made of.
const (
	absent = iota
	data
	zero
	zlib
	zstandard
	kinds
)

// cluster is one of a qcow2 image.
type cluster struct {
	kind  int
	bytes []byte
}

// qcow2File says what a qcow2 image is to be like.
type qcow2File struct {
	bits            uint32
	size            int64
	backing, format string
	compression     byte
	clusters        map[int64]cluster // by number
	version         uint32            // [3]
}

// build lays the image out.
func (q qcow2File) build(t testing.TB) []byte {
	be, size := binary.BigEndian, int64(1)<<q.bits
	perTable := size / 8
	numbers := (q.size + size - 1) / size
	l1 := make([]uint64, (numbers+perTable-1)/perTable)
	l1Clusters := (int64(len(l1))*8 + size - 1) / size
	f := make([]byte, (1+l1Clusters)*size)
	reserve := func() int64 {
		at := int64(len(f))
		f = append(f, make([]byte, size)...)
		return at
	}
	tables := make([]int64, len(l1))
	for i := range l1 {
		tables[i] = reserve()
		l1[i] = uint64(tables[i]) | 1<<63
	}
	for n := range numbers {
		c, entry := q.clusters[n], uint64(0)
		switch c.kind {
		case data:
			at := reserve()
			copy(f[at:], c.bytes)
			entry = uint64(at) | 1<<63
		case zero:
			entry = 1
		case zlib, zstandard:
			entry = q.pack(t, &f, c)
		}
		be.PutUint64(f[tables[n/perTable]+n%perTable*8:], entry)
		if len(f)%int(size) != 0 {
			f = append(f, make([]byte, int(size)-len(f)%int(size))...)
		}
	}
	for i, v := range l1 {
		be.PutUint64(f[size+int64(i)*8:], v)
	}
	q.header(f, uint32(len(l1)))
	return f
}

func (q qcow2File) header(f []byte, l1 uint32) {
	be := binary.BigEndian
	copy(f, qcow2Magic)
	if q.version == 0 {
		q.version = 3
	}
	be.PutUint32(f[4:], q.version)
	be.PutUint32(f[20:], q.bits)
	be.PutUint64(f[24:], uint64(q.size))
	be.PutUint32(f[36:], l1)
	be.PutUint64(f[40:], 1<<q.bits)
	at := headerBytesV2
	if q.version == 3 {
		be.PutUint32(f[96:], 4)
		at = headerBytesV3 + 8
		be.PutUint32(f[100:], uint32(at))
		if q.compression != 0 {
			be.PutUint64(f[72:], featureCompression)
			f[104] = q.compression
		}
	}
	if q.format != "" {
		be.PutUint32(f[at:], 0xe2792aca)
		be.PutUint32(f[at+4:], uint32(len(q.format)))
		copy(f[at+8:], q.format)
		at += 8 + (len(q.format)+7)&^7
	}
	at += 8 // the end of the extensions
	if q.backing != "" {
		be.PutUint64(f[8:], uint64(at))
		be.PutUint32(f[16:], uint32(len(q.backing)))
		copy(f[at:], q.backing)
	}
}

// pack appends a compressed cluster, at any byte, and returns its L2 entry.
func (q qcow2File) pack(t testing.TB, f *[]byte, c cluster) uint64 {
	var b bytes.Buffer
	whole := make([]byte, 1<<q.bits)
	copy(whole, c.bytes)
	if c.kind == zlib {
		w, err := flate.NewWriter(&b, 9)
		require.NoError(t, err)
		_, err = w.Write(whole)
		require.NoError(t, err)
		require.NoError(t, w.Close())
	} else {
		w, err := zstd.NewWriter(&b)
		require.NoError(t, err)
		_, err = w.Write(whole)
		require.NoError(t, err)
		require.NoError(t, w.Close())
	}
	*f = append(*f, make([]byte, 100)...)
	at := len(*f)
	*f = append(*f, b.Bytes()...)
	shift := 62 - (q.bits - 8)
	sectors := (at%512+b.Len()+511)/512 - 1
	return 1<<62 | uint64(sectors)<<shift | uint64(at)
}
