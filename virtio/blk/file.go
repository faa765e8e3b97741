package blk

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// ErrFile reports a host file that cannot be a disk.
var ErrFile = errors.New("blk: not a disk")

// File is a Backend on a regular file or a block device of the host.
type File struct {
	file *os.File
	fd   int
	size int64
}

var (
	_ Backend      = (*File)(nil)
	_ PromptReader = (*File)(nil)
)

// OpenFile opens path, for reading only if readOnly. Its size must be a
// multiple of SectorSize, and stays the disk's capacity.
func OpenFile(path string, readOnly bool) (*File, error) {
	flags := unix.O_RDWR
	if readOnly {
		flags = unix.O_RDONLY
	}
	file, err := os.OpenFile(path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("blk: %w", err)
	}
	f, err := NewFile(file)
	if err != nil {
		file.Close()
	}
	return f, err
}

// NewFile is OpenFile for a file that is open. Closing the disk closes it;
// after an error it stays open.
func NewFile(file *os.File) (*File, error) {
	f := &File{file: file, fd: int(file.Fd())}
	if err := f.measure(file.Name()); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *File) measure(path string) error {
	info, err := f.file.Stat()
	if err != nil {
		return fmt.Errorf("blk: %w", err)
	}
	if kind := info.Mode().Type(); kind != 0 && kind != os.ModeDevice {
		return fmt.Errorf("%w: %s is neither a regular file nor a block device", ErrFile, path)
	}
	// A block device has no size in its inode, but it has an end.
	if f.size, err = f.file.Seek(0, io.SeekEnd); err != nil {
		return fmt.Errorf("blk: size of %s: %w", path, err)
	}
	if f.size%SectorSize != 0 {
		padded := (f.size/SectorSize + 1) * SectorSize
		return fmt.Errorf("blk: %s is %d bytes, not a multiple of %d (truncate -s %d %s pads it)",
			path, f.size, SectorSize, padded, path)
	}
	return nil
}

// Size implements [Backend].
func (f *File) Size() int64 { return f.size }

// Close closes the file. No device may use it any more.
func (f *File) Close() error { return f.file.Close() }

// ReadAt implements [Backend]. io.ErrUnexpectedEOF: the file has shrunk.
func (f *File) ReadAt(segments [][]byte, off int64) (int, error) {
	return ReadVector(f.fd, segments, off)
}

// ReadVector is File.ReadAt for a file descriptor, and WriteVector WriteAt.
func ReadVector(fd int, segments [][]byte, off int64) (int, error) {
	return transfer(unix.SYS_PREADV2, fd, segments, off, 0)
}

// WriteVector writes all segments at off of a file descriptor.
func WriteVector(fd int, segments [][]byte, off int64) (int, error) {
	return transfer(unix.SYS_PWRITEV2, fd, segments, off, 0)
}

// TryReadAt implements [PromptReader]: it reads what the page cache holds.
func (f *File) TryReadAt(segments [][]byte, off int64) (int, error) {
	n, err := transfer(unix.SYS_PREADV2, f.fd, segments, off, unix.RWF_NOWAIT)
	switch err {
	case unix.EAGAIN:
		err = ErrWouldBlock
	case unix.EOPNOTSUPP:
		err = errors.ErrUnsupported // the file system cannot tell
	}
	return n, err
}

// WriteAt implements [Backend].
func (f *File) WriteAt(segments [][]byte, off int64) (int, error) {
	return WriteVector(f.fd, segments, off)
}

// Sync implements [Backend].
func (f *File) Sync() error {
	return retry(func() error { return unix.Fdatasync(f.fd) })
}

// Discard implements [Backend]. Where the host cannot let go of storage, it
// keeps it: that too is a discard.
func (f *File) Discard(off, n int64) error {
	if err := f.fallocate(unix.FALLOC_FL_PUNCH_HOLE, off, n); !unsupported(err) {
		return err
	}
	return nil
}

// WriteZeroes implements [Backend]. Where the host has no better way, zeroes
// are written.
func (f *File) WriteZeroes(off, n int64, unmap bool) error {
	if unmap {
		if err := f.fallocate(unix.FALLOC_FL_PUNCH_HOLE, off, n); !unsupported(err) {
			return err
		}
	}
	if err := f.fallocate(unix.FALLOC_FL_ZERO_RANGE, off, n); !unsupported(err) {
		return err
	}
	return writeZeroes(f, off, n)
}

// fallocate never changes the file's size. An empty range is no error.
func (f *File) fallocate(mode uint32, off, n int64) error {
	if n == 0 {
		return nil
	}
	return retry(func() error { return unix.Fallocate(f.fd, mode|unix.FALLOC_FL_KEEP_SIZE, off, n) })
}

func unsupported(err error) bool {
	return err == unix.EOPNOTSUPP || err == unix.ENOSYS || err == unix.ENODEV
}

var zeroes [64 << 10]byte

// writeZeroes writes zeroes to [off, off+n) of b.
func writeZeroes(b Backend, off, n int64) error {
	for n > 0 {
		part := min(n, int64(len(zeroes)))
		if _, err := b.WriteAt([][]byte{zeroes[:part]}, off); err != nil {
			return err
		}
		off, n = off+part, n-part
	}
	return nil
}

func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
