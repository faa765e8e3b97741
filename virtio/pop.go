package virtio

import (
	"encoding/binary"
	"fmt"
)

// Chain is a request: the driver's buffers, in order, as host memory. It is
// the caller's and reused: Pop refills its slices in place.
type Chain struct {
	Head               uint16   // to hand back to Push
	Readable, Writable [][]byte // no segment is empty
	ReadLen, WriteLen  uint64   // bytes in each
}

// Descriptor flags that both formats have (§2.7.5, §2.8.13).
const (
	descNext     = 1
	descWrite    = 2
	descIndirect = 4
)

// maxIndirect is the longest indirect chain, if the queue is no longer itself.
// §2.7.5.3.1 says the queue size, but drivers of short queues go beyond it.
const maxIndirect = 1024

// descriptor is one as it was read. Split queues have no id, packed ones no
// next: both mean the same two bytes to their reader.
type descriptor struct {
	addr  uint64
	len   uint32
	flags uint16
	link  uint16 // split: next; packed: buffer id
}

// Pop takes the next chain into c; false means that there is none. After an
// error the queue is finished: Pop repeats the error.
func (q *Queue) Pop(c *Chain) (bool, error) {
	if err := q.Err(); err != nil {
		return false, err
	}
	if q.Ready != nil && !q.Ready() {
		return false, nil
	}
	section := q.enter()
	ok, err := q.pop(c)
	q.leave(section)
	if err != nil {
		return false, q.fail(err)
	}
	return ok, nil
}

func (q *Queue) pop(c *Chain) (bool, error) {
	if more, err := q.ring.look(); !more || err != nil {
		return false, err
	}
	c.Readable, c.Writable = c.Readable[:0], c.Writable[:0]
	c.ReadLen, c.WriteLen = 0, 0
	request, err := q.begin()
	if err != nil {
		return false, err
	}
	if err = q.ring.take(c); err == nil {
		err = q.hold(c.Head, request)
	}
	if err != nil {
		q.drop(request)
		return false, err
	}
	q.Counters.Chains.Add(1)
	return true, nil
}

// More tells whether Pop would find another chain. Like Pop it belongs to the
// popping goroutine.
func (q *Queue) More() bool {
	section := q.enter()
	defer q.leave(section)
	more, err := q.ring.look()
	return more && err == nil
}

// checkIndirect judges what refers to an indirect table.
func (q *Queue) checkIndirect(d descriptor) error {
	switch {
	case !q.Indirect:
		return fmt.Errorf("%w: not negotiated", ErrIndirect)
	case d.flags&descNext != 0:
		return fmt.Errorf("%w: with a next", ErrIndirect)
	case d.len == 0 || d.len%descSize != 0 || d.len/descSize > 65535:
		return fmt.Errorf("%w: table of %d bytes", ErrIndirect, d.len)
	case d.addr+uint64(d.len) < d.addr:
		return fmt.Errorf("%w: table at %#x", ErrAddress, d.addr)
	}
	return nil
}

// add puts a buffer's host memory on the chain.
func (q *Queue) add(c *Chain, d descriptor) error {
	n := uint64(d.len)
	switch {
	case n == 0:
		return ErrZeroLength
	case d.addr+n < d.addr:
		return fmt.Errorf("%w: %#x+%#x", ErrAddress, d.addr, n)
	case c.ReadLen+c.WriteLen+n > q.MaxBytes:
		return fmt.Errorf("%w: over %d", ErrTooLarge, q.MaxBytes)
	}
	if d.flags&descWrite != 0 {
		c.WriteLen += n
		return q.segments(&c.Writable, d, true)
	}
	if len(c.Writable) > 0 {
		return ErrOrder
	}
	c.ReadLen += n
	return q.segments(&c.Readable, d, false)
}

// segments appends d's memory to list, and does not take the view's word for
// how much that is.
func (q *Queue) segments(list *[][]byte, d descriptor, write bool) error {
	before := len(*list)
	after, err := q.DMA.Segments(*list, d.addr, d.len, write)
	if err != nil {
		return fmt.Errorf("%w: %#x+%#x: %w", ErrAddress, d.addr, d.len, err)
	}
	n := uint64(0)
	empty := false
	for _, s := range after[before:] {
		n += uint64(len(s))
		empty = empty || len(s) == 0
	}
	if n != uint64(d.len) || empty {
		return fmt.Errorf("%w: %#x+%#x maps to %d bytes", ErrAddress, d.addr, d.len, n)
	}
	*list = after
	return nil
}

// read copies the descriptor at addr, once.
func (q *Queue) read(addr uint64) (lo, hi uint64, err error) {
	if addr%descSize != 0 {
		return q.gather(addr)
	}
	b, err := q.view(addr, descSize, false)
	if err != nil {
		return 0, 0, err
	}
	lo, hi = load128(b)
	return lo, hi, nil
}

// gather reads a descriptor that is not aligned, as only one in an indirect
// table may be, and so may cross a page.
func (q *Queue) gather(addr uint64) (lo, hi uint64, err error) {
	if q.scratch, err = q.DMA.Segments(q.scratch[:0], addr, descSize, false); err != nil {
		return 0, 0, fmt.Errorf("%w: descriptor at %#x: %w", ErrAddress, addr, err)
	}
	var d [descSize]byte
	n := 0
	for _, s := range q.scratch {
		n += copy(d[n:], s)
	}
	if n != descSize {
		return 0, 0, fmt.Errorf("%w: descriptor at %#x", ErrAddress, addr)
	}
	return binary.LittleEndian.Uint64(d[:8]), binary.LittleEndian.Uint64(d[8:]), nil
}
