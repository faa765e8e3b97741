package disk

import (
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gvmm/virtio/blk"
)

// ringEntries is how many transfers a ring carries out at a time.
const ringEntries = 256

// stopData is the user data of what ends the reaper; others are slot numbers.
const stopData = ^uint64(0)

// ring is an io_uring (io_uring(7)) over a fixed set of files. Any goroutine
// submits; one goroutine of its own waits for completions.
type ring struct {
	queues
	files []int

	mu    sync.Mutex // what follows
	free  []uint32
	slots [ringEntries]slot

	submission sync.Mutex // the submission queue and pending
	pending    uint32     // entries that the kernel has not been told of

	closed atomic.Bool
	reaper sync.WaitGroup
	redone sync.WaitGroup
}

// slot is a transfer under way.
type slot struct {
	transfer *blk.Transfer
	fd       int
	iov      []unix.Iovec // its memory is the kernel's until the completion
	bytes    int
}

// newRing sets a ring up over files, or says why the host does not have one.
func newRing(files ...*os.File) (*ring, error) {
	r := &ring{}
	for i := range uint32(ringEntries) {
		r.free = append(r.free, i)
	}
	fds := make([]int32, len(files))
	for i, f := range files {
		fds[i] = int32(f.Fd())
		r.files = append(r.files, int(f.Fd()))
	}
	if err := r.open(ringEntries, fds); err != nil {
		return nil, err
	}
	r.reaper.Go(r.reap)
	return r, nil
}

// submit takes a transfer with the file at index, unless the ring is full.
func (r *ring) submit(index int, t *blk.Transfer) bool {
	if len(t.Segments) > maxVector {
		return false
	}
	n, iov, ok := r.reserve(index, t)
	if !ok {
		return false
	}
	op := uint8(opReadV)
	if t.Write {
		op = opWriteV
	}
	r.submission.Lock()
	defer r.submission.Unlock()
	if !r.put(op, index, iov, t.Off, uint64(n)) {
		r.take(n)
		return false
	}
	r.pending++
	return true
}

// reserve puts a transfer into a free slot.
func (r *ring) reserve(index int, t *blk.Transfer) (n uint32, iov []unix.Iovec, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.free) == 0 {
		return 0, nil, false
	}
	last := len(r.free) - 1
	n = r.free[last]
	s := &r.slots[n]
	s.iov, s.bytes = vector(s.iov[:0], t.Segments)
	if s.bytes == 0 {
		return 0, nil, false
	}
	s.transfer, s.fd = t, r.files[index]
	r.free = r.free[:last]
	return n, s.iov, true
}

// take empties a slot.
func (r *ring) take(n uint32) (t *blk.Transfer, fd, bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.slots[n]
	t, fd, bytes = s.transfer, s.fd, s.bytes
	s.transfer = nil
	clear(s.iov)
	r.free = append(r.free, n)
	return t, fd, bytes
}

// commit tells the kernel of what was submitted.
func (r *ring) commit() {
	r.submission.Lock()
	defer r.submission.Unlock()
	for r.pending > 0 {
		n, err := r.enter(r.pending, 0)
		switch err {
		case nil:
			r.pending -= min(n, r.pending)
		case unix.EINTR:
		case unix.EAGAIN, unix.EBUSY:
			// The kernel is short of memory, or has completions that the reaper
			// is about to take.
			time.Sleep(time.Millisecond)
		default:
			// It does not take them: they are done without it.
			for data := range r.withdraw() {
				r.pending--
				r.finish(uint32(data), -int32(unix.EAGAIN))
			}
			return
		}
	}
}

// reap completes transfers until the ring is closed.
func (r *ring) reap() {
	for {
		data, result, ok := r.next()
		switch {
		case !ok:
			if _, err := r.enter(0, 1); err != nil && err != unix.EINTR {
				time.Sleep(time.Millisecond) // never seen; completions come all the same
			}
		case data == stopData:
			return
		default:
			r.finish(uint32(data), result)
		}
	}
}

// finish completes the transfer in a slot.
func (r *ring) finish(n uint32, result int32) {
	t, fd, bytes := r.take(n)
	switch errno := unix.Errno(-result); {
	case int(result) == bytes:
		t.Done(bytes, nil)
	case result > 0 || result == 0 && t.Write || errno == unix.EAGAIN || errno == unix.EINTR || errno == unix.ECANCELED:
		// The kernel stopped short, or the thread that submitted has ended
		// (io_uring_enter(2)): the whole of it again, by a call that waits.
		r.redone.Go(func() { t.Done(redo(fd, t)) })
	case result == 0:
		t.Done(0, io.ErrUnexpectedEOF)
	default:
		t.Done(0, errno)
	}
}

func redo(fd int, t *blk.Transfer) (int, error) {
	if t.Write {
		return blk.WriteVector(fd, t.Segments, t.Off)
	}
	return blk.ReadVector(fd, t.Segments, t.Off)
}

// close lets go of the ring. No transfer is under way: the device has stopped.
func (r *ring) close() {
	if r.closed.Swap(true) {
		return
	}
	r.submission.Lock()
	r.put(opNop, 0, nil, 0, stopData) // there is room: nothing is under way
	r.pending++
	r.submission.Unlock()
	r.commit()
	r.reaper.Wait()
	r.redone.Wait()
	r.release()
}
