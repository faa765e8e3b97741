package blk_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"gvmm/virtio/blk"
)

func TestFileOfOddSizeSaysHowToPadIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "odd")
	require.NoError(t, os.WriteFile(path, make([]byte, 1000), 0o600))
	_, err := blk.OpenFile(path, true)
	require.EqualError(t, err, "blk: "+path+" is 1000 bytes, not a multiple of 512 (truncate -s 1024 "+path+" pads it)")
}

func TestFileThatIsNoDiskIsRefused(t *testing.T) {
	_, err := blk.OpenFile(filepath.Join(t.TempDir(), "absent"), true)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = blk.OpenFile(t.TempDir(), true)
	require.ErrorIs(t, err, blk.ErrFile)
	_, err = blk.OpenFile(os.DevNull, false)
	require.ErrorIs(t, err, blk.ErrFile)
}

func TestReadOnlyFileIsOpenedReadOnly(t *testing.T) {
	path, _ := disk(t, 4096)
	f := open(t, path, true)
	_, err := f.WriteAt([][]byte{make([]byte, 512)}, 0)
	require.ErrorIs(t, err, unix.EBADF)
}

// Reads and writes of any number of segments, some empty, are those of a plain
// copy.
func TestScatterGatherIsACopy(t *testing.T) {
	path, content := disk(t, 1<<20)
	f := open(t, path, false)
	rapid.Check(t, func(t *rapid.T) {
		lens := rapid.OneOf(
			rapid.SliceOfN(rapid.IntRange(0, 5000), 1, 20),
			rapid.SliceOfN(rapid.IntRange(0, 40), 1000, 2100)).Draw(t, "lens")
		off := int64(rapid.IntRange(0, 900<<10).Draw(t, "off"))
		segments, total := make([][]byte, len(lens)), 0
		for i, n := range lens {
			n = min(n, len(content)-int(off)-total)
			segments[i], total = make([]byte, n), total+n
		}
		for _, read := range []func([][]byte, int64) (int, error){f.ReadAt, f.TryReadAt} {
			n, err := read(segments, off)
			if err == blk.ErrWouldBlock {
				continue
			}
			require.NoError(t, err)
			require.Equal(t, total, n)
			require.True(t, bytes.Equal(content[off:][:total], bytes.Join(segments, nil)))
		}
		for i := range segments {
			for j := range segments[i] {
				segments[i][j] ^= byte(i)
			}
		}
		n, err := f.WriteAt(segments, off)
		require.NoError(t, err)
		require.Equal(t, total, n)
		copy(content[off:], bytes.Join(segments, nil))
	})
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, got))
}

func TestFileCutShortUnderTheDeviceIsAnError(t *testing.T) {
	path, _ := disk(t, 1<<20)
	f := open(t, path, false)
	r, _ := start(t, f, setup{})
	require.NoError(t, os.Truncate(path, 4096))
	status, _ := r.do(0, in, 0, r.into(4096))
	require.Equal(t, byte(ok), status)
	status, written := r.do(0, in, 7, r.into(4096))
	require.Equal(t, byte(ioErr), status)
	require.Equal(t, uint32(513), written, "the sector that is left was read")
	status, _ = r.do(0, in, 100, r.into(4096))
	require.Equal(t, byte(ioErr), status)
	_, err := f.ReadAt([][]byte{make([]byte, 512)}, 8192)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// On a file system with holes, and on one that may not have ZERO_RANGE.
func TestZeroesReadBackAsZero(t *testing.T) {
	dirs := []string{t.TempDir()}
	if shm, err := os.MkdirTemp("/dev/shm", "blk"); err == nil {
		t.Cleanup(func() { os.RemoveAll(shm) })
		dirs = append(dirs, shm)
	}
	for _, dir := range dirs {
		_, content := disk(t, 1<<20)
		moved := filepath.Join(dir, "zero")
		require.NoError(t, os.WriteFile(moved, content, 0o600))
		f := open(t, moved, false)
		require.NoError(t, f.WriteZeroes(4096, 200<<10, false))
		clear(content[4096:][:200<<10])
		require.NoError(t, f.WriteZeroes(300<<10, 512, true))
		clear(content[300<<10:][:512])
		require.NoError(t, f.WriteZeroes(0, 0, true))
		require.NoError(t, f.Discard(0, 0))
		require.NoError(t, f.Discard(1<<20-4096, 4096))
		got, err := os.ReadFile(moved)
		require.NoError(t, err)
		require.Len(t, got, 1<<20, "the size stays")
		require.True(t, bytes.Equal(content[:1<<20-4096], got[:1<<20-4096]))
	}
}
