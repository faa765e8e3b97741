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

// Descriptor flags (§2.7.5).
const (
	descNext     = 1
	descWrite    = 2
	descIndirect = 4
)

// maxIndirect is the longest indirect chain, if the queue is no longer itself.
// §2.7.5.3.1 says the queue size, but drivers of short queues go beyond it.
const maxIndirect = 1024

type descriptor struct {
	addr  uint64
	len   uint32
	flags uint16
	next  uint16
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
	if more, err := q.look(); !more || err != nil {
		return false, err
	}
	if q.inFlight.Load() >= int32(q.Size) {
		return false, ErrOverrun
	}
	head, err := q.load16(q.Avail + availRing + 2*uint64(q.next&q.mask))
	if err != nil {
		return false, err
	}
	c.Head = head
	c.Readable, c.Writable = c.Readable[:0], c.Writable[:0]
	c.ReadLen, c.WriteLen = 0, 0
	if err := q.begin(head); err != nil {
		return false, err
	}
	if err := q.walk(c, head); err != nil {
		q.end(head)
		return false, fmt.Errorf("chain %d: %w", head, err)
	}
	q.next++
	q.inFlight.Add(1)
	q.Counters.Chains.Add(1)
	return true, nil
}

// look tells whether avail.ring has an entry to take, reading avail.idx only
// when all that was known of has been taken.
func (q *Queue) look() (bool, error) {
	if q.next != q.avail {
		return true, nil
	}
	idx, err := q.load16(q.Avail + availIdx)
	if err != nil {
		return false, err
	}
	if idx-q.next > q.Size {
		return false, fmt.Errorf("%w: %d after %d", ErrAvailIndex, idx, q.next)
	}
	q.avail = idx
	return q.next != q.avail, nil
}

// More tells whether Pop would find another chain. Like Pop it belongs to the
// popping goroutine.
func (q *Queue) More() bool {
	section := q.enter()
	defer q.leave(section)
	more, err := q.look()
	return more && err == nil
}

// walk follows a chain, at most once into an indirect table, which ends it
// (§2.7.5.3). The table and the number of steps bound every loop.
func (q *Queue) walk(c *Chain, head uint16) error {
	table, entries, steps := q.Desc, uint32(q.Size), int(q.Size)
	inside := false
	for index := uint32(head); ; steps-- {
		if index >= entries {
			return fmt.Errorf("%w: %d", ErrDescriptorIndex, index)
		}
		if steps == 0 {
			return ErrChainTooLong
		}
		d, err := q.descriptor(table + descSize*uint64(index))
		if err != nil {
			return err
		}
		if d.flags&descIndirect != 0 {
			if err := q.checkIndirect(d, inside); err != nil {
				return err
			}
			inside = true
			table, entries, index = d.addr, d.len/descSize, 0
			steps = max(int(q.Size), maxIndirect) + 1
			continue
		}
		if err := q.add(c, d); err != nil {
			return err
		}
		if d.flags&descNext == 0 {
			return nil
		}
		index = uint32(d.next)
	}
}

func (q *Queue) checkIndirect(d descriptor, inside bool) error {
	switch {
	case !q.Indirect:
		return fmt.Errorf("%w: not negotiated", ErrIndirect)
	case inside:
		return fmt.Errorf("%w: nested", ErrIndirect)
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

// descriptor reads the descriptor at addr, once.
func (q *Queue) descriptor(addr uint64) (descriptor, error) {
	var lo, hi uint64
	if addr%descSize == 0 {
		b, err := q.view(addr, descSize, false)
		if err != nil {
			return descriptor{}, err
		}
		lo, hi = load128(b)
	} else {
		var err error
		if lo, hi, err = q.gather(addr); err != nil {
			return descriptor{}, err
		}
	}
	return descriptor{addr: lo, len: uint32(hi), flags: uint16(hi >> 32), next: uint16(hi >> 48)}, nil
}

// gather reads a descriptor that is not aligned, as only one in an indirect
// table may be, and so may cross a page.
func (q *Queue) gather(addr uint64) (lo, hi uint64, err error) {
	if q.split, err = q.DMA.Segments(q.split[:0], addr, descSize, false); err != nil {
		return 0, 0, fmt.Errorf("%w: descriptor at %#x: %w", ErrAddress, addr, err)
	}
	var d [descSize]byte
	n := 0
	for _, s := range q.split {
		n += copy(d[n:], s)
	}
	if n != descSize {
		return 0, 0, fmt.Errorf("%w: descriptor at %#x", ErrAddress, addr)
	}
	return binary.LittleEndian.Uint64(d[:8]), binary.LittleEndian.Uint64(d[8:]), nil
}
