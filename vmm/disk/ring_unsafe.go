package disk

import (
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
)

// Operations and flags of include/uapi/linux/io_uring.h.
const (
	opNop    = 0
	opReadV  = 1
	opWriteV = 2

	flagFixedFile = 1 << 0

	registerFiles = linux.IORING_REGISTER_FILES

	// maxVector is IOV_MAX, what one entry takes.
	maxVector = 1024
)

// entry is struct io_uring_sqe.
type entry struct {
	op       uint8
	flags    uint8
	priority uint16
	fd       int32
	off      uint64
	addr     uint64
	length   uint32
	opFlags  uint32
	userData uint64
	_        [3]uint64
}

// queues is the memory that a ring shares with the kernel.
type queues struct {
	fd               int
	rings, cqRing    []byte // cqRing is rings where the kernel maps both at once
	entryMemory      []byte
	entries          []entry
	completions      []linux.IOUringCqe
	sqHead, sqTail   *uint32
	cqHead, cqTail   *uint32
	sqMask, cqMask   uint32
	featureOneMemory bool
}

// open makes the ring, maps it and registers files with it.
func (q *queues) open(size uint32, files []int32) (err error) {
	var p linux.IOUringParams
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(size), uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return setupError(errno)
	}
	q.fd = int(fd)
	defer func() {
		if err != nil {
			q.release()
		}
	}()
	if err := q.mapAll(&p); err != nil {
		return fmt.Errorf("mapping the ring: %w", err)
	}
	_, _, errno = unix.Syscall6(unix.SYS_IO_URING_REGISTER, fd, registerFiles,
		uintptr(unsafe.Pointer(unsafe.SliceData(files))), uintptr(len(files)), 0, 0)
	if errno != 0 {
		return fmt.Errorf("registering files: %w", errno)
	}
	return nil
}

func setupError(errno unix.Errno) error {
	switch errno {
	case unix.ENOSYS:
		return errors.New("this kernel does not have it")
	case unix.EPERM, unix.EACCES:
		return errors.New("kernel.io_uring_disabled or a seccomp filter forbids it")
	}
	return errno
}

func (q *queues) mapAll(p *linux.IOUringParams) error {
	sqBytes := int(p.SqOff.Array + p.SqEntries*4)
	cqBytes := int(p.CqOff.Cqes) + int(p.CqEntries)*int(unsafe.Sizeof(linux.IOUringCqe{}))
	q.featureOneMemory = p.Features&linux.IORING_FEAT_SINGLE_MMAP != 0
	if q.featureOneMemory {
		sqBytes = max(sqBytes, cqBytes)
	}
	var err error
	if q.rings, err = q.mapAt(linux.IORING_OFF_SQ_RING, sqBytes); err != nil {
		return err
	}
	q.cqRing = q.rings
	if !q.featureOneMemory {
		if q.cqRing, err = q.mapAt(linux.IORING_OFF_CQ_RING, cqBytes); err != nil {
			return err
		}
	}
	if q.entryMemory, err = q.mapAt(linux.IORING_OFF_SQES, int(p.SqEntries)*int(unsafe.Sizeof(entry{}))); err != nil {
		return err
	}
	q.entries = unsafe.Slice((*entry)(unsafe.Pointer(&q.entryMemory[0])), p.SqEntries)
	q.completions = unsafe.Slice((*linux.IOUringCqe)(unsafe.Pointer(&q.cqRing[p.CqOff.Cqes])), p.CqEntries)
	q.sqHead, q.sqTail = word(q.rings, p.SqOff.Head), word(q.rings, p.SqOff.Tail)
	q.cqHead, q.cqTail = word(q.cqRing, p.CqOff.Head), word(q.cqRing, p.CqOff.Tail)
	q.sqMask, q.cqMask = *word(q.rings, p.SqOff.RingMask), *word(q.cqRing, p.CqOff.RingMask)
	// Entry n is always at place n of the array.
	for i := range p.SqEntries {
		*word(q.rings, p.SqOff.Array+4*i) = i
	}
	return nil
}

func (q *queues) mapAt(off int64, n int) ([]byte, error) {
	return unix.Mmap(q.fd, off, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
}

func word(b []byte, off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&b[off])) }

// put adds an entry, unless there is no room.
func (q *queues) put(op uint8, file int, iov []unix.Iovec, off int64, data uint64) bool {
	tail := *q.sqTail // only written here, under the ring's lock
	if tail-atomic.LoadUint32(q.sqHead) >= uint32(len(q.entries)) {
		return false
	}
	e := &q.entries[tail&q.sqMask]
	*e = entry{op: op, fd: int32(file), off: uint64(off), length: uint32(len(iov)), userData: data}
	if op != opNop {
		e.flags = flagFixedFile
		e.addr = uint64(uintptr(unsafe.Pointer(unsafe.SliceData(iov))))
	}
	atomic.StoreUint32(q.sqTail, tail+1)
	return true
}

// withdraw takes back the entries that the kernel has not taken, and yields
// their user data.
func (q *queues) withdraw() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for *q.sqTail != atomic.LoadUint32(q.sqHead) {
			tail := *q.sqTail - 1
			atomic.StoreUint32(q.sqTail, tail)
			if !yield(q.entries[tail&q.sqMask].userData) {
				return
			}
		}
	}
}

// next is the next completion.
func (q *queues) next() (data uint64, result int32, ok bool) {
	head := *q.cqHead // only written here, by the reaper
	if head == atomic.LoadUint32(q.cqTail) {
		return 0, 0, false
	}
	c := &q.completions[head&q.cqMask]
	data, result = c.UserData, c.Res
	atomic.StoreUint32(q.cqHead, head+1)
	return data, result, true
}

// enter submits and waits for completions.
func (q *queues) enter(submit, wait uint32) (uint32, error) {
	flags := uintptr(0)
	if wait > 0 {
		flags = linux.IORING_ENTER_GETEVENTS
	}
	n, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(q.fd), uintptr(submit), uintptr(wait), flags, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return uint32(n), nil
}

func (q *queues) release() {
	for _, m := range [][]byte{q.entryMemory, q.rings} {
		if m != nil {
			_ = unix.Munmap(m)
		}
	}
	if !q.featureOneMemory && q.cqRing != nil {
		_ = unix.Munmap(q.cqRing)
	}
	q.entryMemory, q.rings, q.cqRing = nil, nil, nil
	_ = unix.Close(q.fd)
}

// vector appends segments to iov, without empty ones, and counts their bytes.
func vector(iov []unix.Iovec, segments [][]byte) ([]unix.Iovec, int) {
	total := 0
	for _, s := range segments {
		if len(s) == 0 {
			continue
		}
		v := unix.Iovec{Base: unsafe.SliceData(s)}
		v.SetLen(len(s))
		iov, total = append(iov, v), total+len(s)
	}
	return iov, total
}
