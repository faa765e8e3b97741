package blk_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/virtio/blk"
	"gvmm/virtio/virtiotest"
)

// disk is a file of random bytes.
func disk(t testing.TB, size int) (path string, content []byte) {
	content = make([]byte, size)
	var seed [32]byte
	_, _ = rand.NewChaCha8(seed).Read(content)
	path = filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path, content
}

func open(t testing.TB, path string, readOnly bool) *blk.File {
	f, err := blk.OpenFile(path, readOnly)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// slow hides that a backend can tell what it has at hand.
type slow struct{ blk.Backend }

// cold is a prompt reader with nothing at hand; or one that cannot tell.
type cold struct {
	blk.Backend
	err error
}

func (c cold) TryReadAt(segments [][]byte, _ int64) (int, error) {
	clear(segments[0]) // part of it may have been filled
	return len(segments[0]), c.err
}

func TestReadsTheWholeDisk(t *testing.T) {
	const size = 2 << 20
	path, content := disk(t, size)
	f := open(t, path, true)
	backends := map[string]blk.Backend{
		"file": f, "slow": slow{f}, "cold": cold{f, blk.ErrWouldBlock}, "unsupported": cold{f, errors.ErrUnsupported},
	}
	for name, b := range backends {
		for _, depth := range []int{1, 32} {
			for _, workers := range []int{-1, 3} {
				t.Run(name, func(t *testing.T) {
					r, _ := start(t, b, setup{options: blk.Options{Workers: workers, InFlight: 8}, scatter: true})
					require.Equal(t, sha256.Sum256(content), sha256.Sum256(readAll(t, r, size, depth)))
					require.NoError(t, r.failure(0))
				})
			}
		}
	}
}

// readAll reads in pieces of 4 KiB, each cut in two at an odd place, depth of
// them under way.
func readAll(t testing.TB, r *rig, size, depth int) []byte {
	got := make([]byte, size)
	places := map[uint16]int{} // head -> request number
	sectors := map[uint16]int{}
	var idle []int
	for i := range depth {
		idle = append(idle, i)
	}
	for next, done := 0, 0; done < size/4096; done++ {
		for len(idle) > 0 && next < size/4096 {
			n := idle[0]
			at := r.data(0, n)
			head := r.put(0, n, in, uint64(next)*8,
				virtiotest.Desc{Addr: at, Len: 123, Flags: virtiotest.Write},
				virtiotest.Desc{Addr: at + 123, Len: 4096 - 123, Flags: virtiotest.Write})
			places[head], sectors[head] = n, next
			idle, next = idle[1:], next+1
		}
		r.kick(0)
		head, written := r.wait(0)
		n := places[head]
		require.Equal(t, uint32(4097), written)
		require.Equal(t, byte(ok), r.mem.Bytes(r.statusAt(0, n), 1)[0])
		copy(got[sectors[head]*4096:], r.mem.Bytes(r.data(0, n), 4096))
		idle = append(idle, n)
	}
	return got
}

func TestWritesReachTheFile(t *testing.T) {
	path, content := disk(t, 1<<20)
	f := open(t, path, false)
	r, d := start(t, f, setup{features: flushFeature})
	for i := range 32 {
		b := r.mem.Bytes(r.data(0, i), 4096)
		for j := range b {
			b[j] = byte(i)
		}
		copy(content[i*8192:], b)
		r.put(0, i, out, uint64(i)*16, virtiotest.Desc{Addr: r.data(0, i), Len: 1000}, virtiotest.Desc{Addr: r.data(0, i) + 1000, Len: 3096})
	}
	r.kick(0)
	for range 32 {
		_, written := r.wait(0)
		require.Equal(t, uint32(1), written)
	}
	for i := range 32 {
		require.Equal(t, byte(ok), r.mem.Bytes(r.statusAt(0, i), 1)[0])
	}
	status, _ := r.do(0, flush, 0)
	require.Equal(t, byte(ok), status)
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, sha256.Sum256(content), sha256.Sum256(got))
	require.Equal(t, uint64(32), d.Stats(0).Writes.Load())
	require.Equal(t, uint64(32*4096), d.Stats(0).BytesWritten.Load())
}

// A flush covers what had completed before it; without the feature each write
// is stable before it completes.
func TestFlushMakesWritesStable(t *testing.T) {
	m := newMemory(1 << 20)
	r, _ := start(t, m, setup{features: flushFeature})
	for range 2 {
		r.do(0, out, 0, r.from(512))
	}
	r.do(0, flush, 0)
	require.Equal(t, []string{"write", "write", "sync"}, m.called())

	r, _ = start(t, m, setup{})
	r.do(0, out, 0, r.from(512))
	r.do(0, writeZeroes, 0, r.ranges(span{0, 1, 0}))
	require.Equal(t, []string{"write", "sync", "zero", "sync"}, m.called())
}

func TestFailedSyncIsAnErrorOfTheWrite(t *testing.T) {
	m := newMemory(1 << 20)
	r, _ := start(t, m, setup{features: flushFeature})
	m.fail = errors.New("no storage")
	for _, kind := range []uint32{out, flush} {
		status, written := r.do(0, kind, 0, r.from(512))
		require.Equal(t, byte(ioErr), status)
		require.Equal(t, uint32(1), written)
	}
}

type span struct {
	sector       uint64
	count, flags uint32
}

// ranges writes the payload of a discard or write-zeroes request.
func (r *rig) ranges(list ...span) virtiotest.Desc {
	at := r.data(0, 0)
	for i, s := range list {
		b := r.mem.Bytes(at+16*uint64(i), 16)
		binary.LittleEndian.PutUint64(b, s.sector)
		binary.LittleEndian.PutUint32(b[8:], s.count)
		binary.LittleEndian.PutUint32(b[12:], s.flags)
	}
	return virtiotest.Desc{Addr: at, Len: uint32(16 * len(list))}
}

func TestDiscardAndWriteZeroes(t *testing.T) {
	many := make([]span, 33)
	for _, c := range []struct {
		name   string
		kind   uint32
		list   []span
		status byte
		calls  []string
	}{
		{"discard", discard, []span{{8, 8, 0}, {0, 1, 0}}, ok, []string{"discard", "discard"}},
		{"discard must not unmap", discard, []span{{8, 8, 1}}, unsupp, nil},
		{"discard with a flag", discard, []span{{8, 8, 4}}, unsupp, nil},
		{"zeroes", writeZeroes, []span{{8, 8, 0}}, ok, []string{"zero"}},
		{"zeroes may unmap", writeZeroes, []span{{8, 8, 1}}, ok, []string{"zero+unmap"}},
		{"zeroes with a flag", writeZeroes, []span{{8, 8, 2}}, unsupp, nil},
		{"to the end", writeZeroes, []span{{2040, 8, 0}}, ok, []string{"zero"}},
		{"past the end", writeZeroes, []span{{2041, 8, 0}}, ioErr, nil},
		{"all judged before any is done", discard, []span{{0, 8, 0}, {2048, 1, 0}}, ioErr, nil},
		{"sector wraps", discard, []span{{^uint64(0), 2, 0}}, ioErr, nil},
		{"too many sectors", discard, []span{{0, 1<<22 + 1, 0}}, ioErr, nil},
		{"too many ranges", discard, many, ioErr, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMemory(1 << 20)
			r, _ := start(t, m, setup{features: flushFeature})
			status, written := r.do(0, c.kind, 0, r.ranges(c.list...))
			require.Equal(t, c.status, status)
			require.Equal(t, uint32(1), written)
			require.Equal(t, c.calls, m.called())
		})
	}
	for _, n := range []uint32{8, 24} {
		r, _ := start(t, newMemory(1<<20), setup{})
		status, _ := r.do(0, discard, 0, virtiotest.Desc{Addr: r.data(0, 0), Len: n})
		require.Equal(t, byte(ioErr), status, "payload of %d bytes", n)
	}
}

func TestTransfersOutsideTheDiskAreErrors(t *testing.T) {
	m := newMemory(1 << 20) // 2048 sectors
	r, d := start(t, m, setup{})
	for _, c := range []struct {
		name   string
		sector uint64
		n      int
		status byte
	}{
		{"last sector", 2047, 512, ok},
		{"one past", 2048, 512, ioErr},
		{"over the end", 2047, 1024, ioErr},
		{"sector wraps", ^uint64(0), 1024, ioErr},
		{"bytes wrap", 1 << 55, 512, ioErr},
		{"odd length", 0, 511, ioErr},
	} {
		for _, kind := range []uint32{in, out} {
			buf := r.from(c.n)
			if kind == in {
				buf = r.into(c.n)
			}
			status, _ := r.do(0, kind, c.sector, buf)
			require.Equal(t, c.status, status, "%s, type %d", c.name, kind)
		}
	}
	require.Equal(t, uint64(10), d.Stats(0).Errors.Load())
	require.Len(t, m.called(), 3, "read, write and its sync")
}

func TestReadOnlyDiskIsNotWritten(t *testing.T) {
	path, content := disk(t, 1<<20)
	r, d := start(t, open(t, path, true), setup{options: blk.Options{ReadOnly: true}, features: flushFeature})
	require.NotZero(t, d.Features()&(1<<5))
	require.Zero(t, d.Features()&(1<<13|1<<14))
	for _, kind := range []uint32{out, discard, writeZeroes} {
		buf := r.from(512)
		if kind != out {
			buf = r.ranges(span{0, 1, 0})
		}
		status, written := r.do(0, kind, 0, buf)
		require.Equal(t, byte(ioErr), status)
		require.Equal(t, uint32(1), written)
	}
	status, _ := r.do(0, flush, 0)
	require.Equal(t, byte(ok), status)
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, got))
}

func TestGetID(t *testing.T) {
	r, _ := start(t, newMemory(512), setup{options: blk.Options{ID: "a serial number of more than 20"}})
	status, written := r.do(0, getID, 0, r.into(20))
	require.Equal(t, byte(ok), status)
	require.Equal(t, uint32(21), written)
	require.Equal(t, "a serial number of m", string(r.mem.Bytes(r.data(0, 0), 20)))
	status, written = r.do(0, getID, 0, r.into(4))
	require.Equal(t, byte(ok), status)
	require.Equal(t, uint32(5), written, "no more than there is room for")
}

func TestUnknownTypeIsUnsupported(t *testing.T) {
	r, d := start(t, newMemory(512), setup{})
	for _, kind := range []uint32{2, 3, 5, 14, 0xFFFFFFFF} {
		status, written := r.do(0, kind, 0, r.into(64))
		require.Equal(t, byte(unsupp), status)
		require.Equal(t, uint32(1), written)
	}
	require.Equal(t, uint64(5), d.Stats(0).Unsupported.Load())
}

func TestConfigSpace(t *testing.T) {
	d, err := blk.New(newMemory(1<<20), blk.Options{Queues: 4, QueueSize: 128, BlockSize: 4096})
	require.NoError(t, err)
	require.Equal(t, uint64(1<<2|1<<6|1<<9|1<<12|1<<13|1<<14), d.Features())
	require.Equal(t, uint16(2), d.Type())
	require.Equal(t, []uint16{128, 128, 128, 128}, d.Queues())
	read := func(off uint64, n int) (v uint64) {
		p := make([]byte, 8)
		d.WriteConfig(off, p[:n])
		d.ReadConfig(off, p[:n])
		return binary.LittleEndian.Uint64(p)
	}
	require.Equal(t, uint64(2048), read(0, 8))
	require.Equal(t, uint64(126), read(12, 4), "header and status need a descriptor each")
	require.Equal(t, uint64(4096), read(20, 4))
	require.Equal(t, uint64(4), read(34, 2))
	require.Equal(t, uint64(1<<22), read(36, 4))
	require.Equal(t, uint64(32), read(40, 4))
	require.Equal(t, uint64(8), read(44, 4))
	require.Equal(t, uint64(1), read(56, 1))
	for _, off := range []uint64{8, 16, 24, 58, 60, 4096, ^uint64(0)} {
		require.Zero(t, read(off, 2), "offset %d", off)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []blk.Options{
		{Queues: -1}, {Queues: 1025}, {QueueSize: 3}, {QueueSize: 2}, {InFlight: -1}, {BlockSize: 256}, {BlockSize: 1536}, {BlockSize: 8192},
	} {
		_, err := blk.New(newMemory(512), o)
		require.ErrorIs(t, err, blk.ErrOptions, "%+v", o)
	}
	_, err := blk.New(newMemory(513), blk.Options{})
	require.ErrorIs(t, err, blk.ErrOptions)
	d, err := blk.New(newMemory(512), blk.Options{})
	require.NoError(t, err)
	require.Nil(t, d.Stats(1))
	require.Nil(t, d.Stats(-1))
}
