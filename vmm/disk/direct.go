package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"gvmm/virtio/blk"
)

// defaultAlignment serves every block device, where the host does not tell.
const defaultAlignment = 4096

// bounceBytes is the size of a bounce buffer.
const bounceBytes = 256 << 10

// direct does transfers past the page cache. Offsets and lengths that the host
// cannot do so go through it; the host keeps both ways coherent. Buffers that
// lie badly in memory are copied.
type direct struct {
	file   *os.File  // opened with O_DIRECT
	cached *blk.File // the same file through the page cache
	memory uintptr   // alignment of buffers, a power of two
	offset int64     // alignment of offsets and lengths, a power of two
	bounce sync.Pool // of *[]byte
}

// openDirect opens file a second time.
func openDirect(file *os.File, cached *blk.File, readOnly bool) (*direct, error) {
	flags := unix.O_RDWR
	if readOnly {
		flags = unix.O_RDONLY
	}
	// By its descriptor, so that it is the same file whatever its name is now.
	name := filepath.Join("/proc/self/fd", strconv.Itoa(int(file.Fd())))
	f, err := os.OpenFile(name, flags|unix.O_CLOEXEC|unix.O_DIRECT, 0)
	if errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("%w: the file system of %s has no direct I/O", ErrOptions, file.Name())
	}
	if err != nil {
		return nil, fmt.Errorf("disk: %s for direct I/O: %w", file.Name(), err)
	}
	d := &direct{file: f, cached: cached, memory: defaultAlignment, offset: defaultAlignment}
	d.bounce.New = func() any { b := alignedBytes(bounceBytes, defaultAlignment); return &b }
	d.ask()
	return d, nil
}

// ask has the host tell the alignment (statx(2), STATX_DIOALIGN).
func (d *direct) ask() {
	var s unix.Statx_t
	err := unix.Statx(int(d.file.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &s)
	if err != nil || s.Mask&unix.STATX_DIOALIGN == 0 {
		return
	}
	if powerOfTwo(s.Dio_mem_align) && powerOfTwo(s.Dio_offset_align) {
		d.memory, d.offset = uintptr(s.Dio_mem_align), int64(s.Dio_offset_align)
	}
}

func powerOfTwo(n uint32) bool { return n != 0 && n <= defaultAlignment && n&(n-1) == 0 }

func (d *direct) close() { _ = d.file.Close() }

// aligned tells whether the host takes a transfer as it is.
func (d *direct) aligned(segments [][]byte, off int64) bool {
	if off&(d.offset-1) != 0 {
		return false
	}
	for _, s := range segments {
		if int64(len(s))&(d.offset-1) != 0 || len(s) > 0 && address(s)&(d.memory-1) != 0 {
			return false
		}
	}
	return true
}

func (d *direct) read(segments [][]byte, off int64) (int, error) {
	if d.aligned(segments, off) {
		return blk.ReadVector(int(d.file.Fd()), segments, off)
	}
	total := length(segments)
	if (off|total)&(d.offset-1) != 0 {
		return d.cached.ReadAt(segments, off)
	}
	return d.copied(segments, off, func(piece []byte, at cursor, off int64) (int, error) {
		n, err := blk.ReadVector(int(d.file.Fd()), [][]byte{piece}, off)
		at.fill(piece[:n])
		return n, err
	})
}

func (d *direct) write(segments [][]byte, off int64) (int, error) {
	if d.aligned(segments, off) {
		return blk.WriteVector(int(d.file.Fd()), segments, off)
	}
	total := length(segments)
	if (off|total)&(d.offset-1) != 0 {
		return d.cached.WriteAt(segments, off)
	}
	return d.copied(segments, off, func(piece []byte, at cursor, off int64) (int, error) {
		at.drain(piece)
		return blk.WriteVector(int(d.file.Fd()), [][]byte{piece}, off)
	})
}

// copied does a transfer by way of a bounce buffer, a piece at a time.
func (d *direct) copied(segments [][]byte, off int64, do func(piece []byte, at cursor, off int64) (int, error)) (int, error) {
	buffer := d.bounce.Get().(*[]byte)
	defer d.bounce.Put(buffer)
	at, done := cursor{segments: segments}, 0
	for left := length(segments); left > 0; {
		piece := (*buffer)[:min(left, bounceBytes)]
		n, err := do(piece, at, off+int64(done))
		done += n
		if err != nil {
			return done, err
		}
		at.skip(n)
		left -= int64(n)
	}
	return done, nil
}
