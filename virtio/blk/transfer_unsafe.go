package blk

import (
	"io"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxVector is IOV_MAX, what one call takes.
const maxVector = 1024

// vectors holds I/O vectors for requests that need more than fit on a stack.
var vectors = sync.Pool{New: func() any { return new([maxVector]unix.Iovec) }}

// transfer reads or writes all segments at off by preadv2 or pwritev2: one
// call, unless there are more than maxVector of them or the kernel stops short.
// It returns the bytes done, and a bare unix.Errno or io.ErrUnexpectedEOF.
func transfer(call uintptr, fd int, segments [][]byte, off int64, flags uintptr) (int, error) {
	if len(segments) <= 8 {
		var few [8]unix.Iovec
		return transferBy(few[:], call, fd, segments, off, flags)
	}
	many := vectors.Get().(*[maxVector]unix.Iovec)
	defer vectors.Put(many)
	return transferBy(many[:], call, fd, segments, off, flags)
}

func transferBy(iov []unix.Iovec, call uintptr, fd int, segments [][]byte, off int64, flags uintptr) (int, error) {
	done := 0
	for first, skip := 0, 0; ; {
		n := fill(iov, segments[first:], skip)
		if n == 0 {
			return done, nil
		}
		// On 64-bit hosts the offset is all in the low half.
		got, _, errno := unix.Syscall6(call, uintptr(fd), uintptr(unsafe.Pointer(&iov[0])), uintptr(n),
			uintptr(off)+uintptr(done), 0, flags)
		switch {
		case errno == unix.EINTR:
			continue
		case errno != 0:
			return done, errno
		case got == 0:
			return done, io.ErrUnexpectedEOF
		}
		done += int(got)
		for skip += int(got); first < len(segments) && skip >= len(segments[first]); first++ {
			skip -= len(segments[first])
		}
	}
}

// fill points iov at segments, without the first skip bytes and without empty
// ones, and returns how many entries it took.
func fill(iov []unix.Iovec, segments [][]byte, skip int) int {
	n := 0
	for _, s := range segments {
		s, skip = s[skip:], 0
		if len(s) == 0 {
			continue
		}
		if n == len(iov) {
			break
		}
		iov[n].Base = unsafe.SliceData(s)
		iov[n].SetLen(len(s))
		n++
	}
	return n
}
