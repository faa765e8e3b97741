package network

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"gvmm/virtio/vnet"
)

// maxVector is IOV_MAX, what one call takes.
const maxVector = 1024

// vectors holds I/O vectors: a writev that allocates none.
var vectors = sync.Pool{New: func() any { return new([maxVector]unix.Iovec) }}

// writeFrame writes a header and a frame to a TAP interface, whole or not at
// all. A frame in more pieces than a call takes is E2BIG.
func writeFrame(fd int, header *[vnet.HeaderSize]byte, segments [][]byte) error {
	if len(segments) > maxVector-1 {
		return unix.E2BIG
	}
	iov := vectors.Get().(*[maxVector]unix.Iovec)
	defer vectors.Put(iov)
	iov[0].Base = &header[0]
	iov[0].SetLen(len(header))
	n := 1
	for _, s := range segments {
		if len(s) > 0 {
			iov[n].Base = unsafe.SliceData(s)
			iov[n].SetLen(len(s))
			n++
		}
	}
	// The file does not block, so nothing interrupts this.
	_, _, errno := unix.Syscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(iov)), uintptr(n))
	clear(iov[:n]) // hold nobody's memory
	if errno != 0 {
		return errno
	}
	return nil
}
