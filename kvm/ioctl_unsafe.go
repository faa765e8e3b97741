package kvm

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// request is the number of an ioctl.
type request uintptr

// A descriptor owns a file descriptor until it is closed. After that every
// ioctl gets EBADF rather than another file that took the number.
type descriptor struct {
	fd atomic.Int64
}

func (d *descriptor) init(fd int) { d.fd.Store(int64(fd)) }

// FD returns the file descriptor; -1 once closed.
func (d *descriptor) FD() int { return int(d.fd.Load()) }

// Close closes the file descriptor; a second call returns [os.ErrClosed].
func (d *descriptor) Close() error {
	fd := d.fd.Swap(-1)
	if fd < 0 {
		return os.ErrClosed
	}
	return unix.Close(int(fd))
}

// ioctl issues req with an integer argument. The error names the request and
// wraps the errno; EINTR is an error like any other.
func (d *descriptor) ioctl(req request, arg uintptr) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.FD()), uintptr(req), arg)
	if errno != 0 {
		return 0, ioctlError(req, errno)
	}
	return int(r), nil
}

// ioctlPtr issues req with a pointer argument, which the kernel forgets when
// the call returns.
func ioctlPtr[T any](d *descriptor, req request, arg *T) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.FD()), uintptr(req), uintptr(unsafe.Pointer(arg)))
	if errno != 0 {
		return 0, ioctlError(req, errno)
	}
	return int(r), nil
}

// call is ioctlPtr for a request with no result but its argument.
func call[T any](d *descriptor, req request, arg *T) error {
	_, err := ioctlPtr(d, req, arg)
	return err
}

// ioctlArray issues req with the kernel's common shape of a list: a count, four
// bytes of padding or flags, then the entries. Entries are copied in and out;
// n is the count as the kernel left it.
func ioctlArray[T any](d *descriptor, req request, entries []T) (ret, n int, err error) {
	size := len(entries) * int(unsafe.Sizeof(*new(T)))
	buf := make([]uint64, 1+(size+7)/8)
	count := (*uint32)(unsafe.Pointer(&buf[0]))
	*count = uint32(len(entries))
	var list []T
	if len(entries) > 0 {
		list = unsafe.Slice((*T)(unsafe.Pointer(&buf[1])), len(entries))
		copy(list, entries)
	}
	ret, err = ioctlPtr(d, req, &buf[0])
	if err != nil {
		return 0, int(*count), err
	}
	copy(entries, list)
	return ret, int(*count), nil
}

func ioctlError(req request, err error) error {
	return fmt.Errorf("kvm: %s: %w", req, err)
}

// run issues KVM_RUN; its errno is returned bare so that no path of it allocates.
func (d *descriptor) run() error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.FD()), uintptr(reqRun), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
