package virtio

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
)

// Layout of the available and used rings (§2.7.6, §2.7.8).
const (
	availIdx     = 2
	availRing    = 4
	usedRing     = 4
	usedElemSize = 8

	availNoInterrupt = 1
	usedNoNotify     = 1
)

// splitRing is a split virtqueue (§2.7).
type splitRing struct {
	queue *Queue
	mask  uint16

	// The popping side.
	avail uint16 // avail.idx when last read
	next  uint16 // the next entry of avail.ring to take

	inFlight atomic.Int32 // chains

	// The used ring.
	used     uint16 // used.idx as published
	signaled uint16 // used.idx at the last Notify
	flags    uint16 // used.flags
}

var _ ring = (*splitRing)(nil)

// look implements ring, reading avail.idx only when all that was known of has
// been taken.
func (r *splitRing) look() (bool, error) {
	if r.next != r.avail {
		return true, nil
	}
	q := r.queue
	idx, err := q.load16(q.Avail + availIdx)
	if err != nil {
		return false, err
	}
	if idx-r.next > q.Size {
		return false, fmt.Errorf("%w: %d after %d", ErrAvailIndex, idx, r.next)
	}
	r.avail = idx
	return r.next != r.avail, nil
}

// take implements ring.
func (r *splitRing) take(c *Chain) error {
	q := r.queue
	if r.inFlight.Load() >= int32(q.Size) {
		return ErrOverrun
	}
	head, err := q.load16(q.Avail + availRing + 2*uint64(r.next&r.mask))
	if err != nil {
		return err
	}
	c.Head = head
	if err := r.walk(c, head); err != nil {
		return fmt.Errorf("chain %d: %w", head, err)
	}
	r.next++
	r.inFlight.Add(1)
	return nil
}

// walk follows a chain, at most once into an indirect table, which ends it
// (§2.7.5.3). The table and the number of steps bound every loop.
func (r *splitRing) walk(c *Chain, head uint16) error {
	q := r.queue
	table, entries, steps := q.Desc, uint32(q.Size), int(q.Size)
	inside := false
	for index := uint32(head); ; steps-- {
		if index >= entries {
			return fmt.Errorf("%w: %d", ErrDescriptorIndex, index)
		}
		if steps == 0 {
			return ErrChainTooLong
		}
		lo, hi, err := q.read(table + descSize*uint64(index))
		if err != nil {
			return err
		}
		d := descriptor{addr: lo, len: uint32(hi), flags: uint16(hi >> 32), link: uint16(hi >> 48)}
		if d.flags&descIndirect != 0 {
			if inside {
				return fmt.Errorf("%w: nested", ErrIndirect)
			}
			if err := q.checkIndirect(d); err != nil {
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
		index = uint32(d.link)
	}
}

// unpop implements ring.
func (r *splitRing) unpop(uint16) {
	r.next--
	r.inFlight.Add(-1)
}

// publish implements ring: a used element and then used.idx (§2.7.8.2).
func (r *splitRing) publish(head uint16, written uint32) error {
	// Before it is published: the driver may make the entry available again,
	// and Pop may find it, before Push returns.
	r.inFlight.Add(-1)
	if err := r.element(r.used, head, written); err != nil {
		return err
	}
	return r.advance(1)
}

// publishAll implements ring: used elements and then used.idx, once.
func (r *splitRing) publishAll(used []Used) error {
	r.inFlight.Add(-int32(len(used)))
	for i, u := range used {
		if err := r.element(r.used+uint16(i), u.Head, u.Written); err != nil {
			return err
		}
	}
	return r.advance(uint16(len(used)))
}

// element writes the used element of an index.
func (r *splitRing) element(index, head uint16, written uint32) error {
	elem := r.queue.Used + usedRing + usedElemSize*uint64(index&r.mask)
	if err := r.put32(elem, uint32(head)); err != nil {
		return err
	}
	return r.put32(elem+4, written)
}

// advance lets the driver see n more used elements.
func (r *splitRing) advance(n uint16) error {
	q := r.queue
	b, err := q.view(q.Used, 4, true)
	if err != nil {
		return err
	}
	if q.OnUsed != nil {
		for i := range n {
			q.OnUsed(r.used + i)
		}
	}
	r.used += n
	storeWord(b, uint32(r.used)<<16|uint32(r.flags))
	return nil
}

// put32 writes half of a used element. The store of used.idx orders it. Halves
// are viewed apart since an element is aligned to 4 only, and may cross a page.
func (r *splitRing) put32(addr uint64, v uint32) error {
	b, err := r.queue.view(addr, 4, true)
	if err != nil {
		return err
	}
	binary.LittleEndian.PutUint32(b, v)
	return nil
}

// news implements ring. The barrier between publishing used.idx and reading
// what the driver has asked for is in publish's storeWord.
func (r *splitRing) news() (some, wanted bool, err error) {
	old, now := r.signaled, r.used
	r.signaled = now
	if old == now {
		return false, false, nil
	}
	q := r.queue
	if !q.EventIdx {
		flags, err := q.load16(q.Avail)
		return true, flags&availNoInterrupt == 0, err
	}
	event, err := q.load16(q.Avail + availRing + 2*uint64(q.Size))
	return true, passed(event, now, old), err
}

// passed tells whether an index that moved from old to now went past event
// (§2.7.7.2).
func passed(event, now, old uint16) bool { return now-event-1 < now-old }

// disableKicks implements ring. With the event index there is nothing to do:
// the driver kicks once past the event and then no more.
func (r *splitRing) disableKicks() error {
	if r.queue.EventIdx {
		return nil
	}
	return r.setFlags(usedNoNotify)
}

// enableKicks implements ring.
func (r *splitRing) enableKicks() (bool, error) { return r.kicksFrom(r.next) }

// awaitMore implements ring.
func (r *splitRing) awaitMore() (bool, error) { return r.kicksFrom(r.avail) }

// kicksFrom asks for a kick at an index of the available ring, and tells whether the driver is past it.
func (r *splitRing) kicksFrom(index uint16) (bool, error) {
	q := r.queue
	var err error
	if q.EventIdx {
		err = r.setAvailEvent(index)
	} else {
		err = r.setFlags(0)
	}
	if err != nil {
		return false, err
	}
	// What was just stored was stored with a full barrier: a driver that did
	// not see it has published its index before this reads it.
	idx, err := q.load16(q.Avail + availIdx)
	return idx != index, err
}

func (r *splitRing) setFlags(flags uint16) error {
	q := r.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if r.flags == flags {
		return nil
	}
	b, err := q.view(q.Used, 4, true)
	if err != nil {
		return err
	}
	r.flags = flags
	storeWord(b, uint32(r.used)<<16|uint32(flags))
	return nil
}

// availEventTries bounds the fight with a driver that keeps writing the word
// which holds avail_event. It loses its own kicks.
const availEventTries = 64

// setAvailEvent writes the low half of a word whose high half lies past the
// used ring and is not the device's.
func (r *splitRing) setAvailEvent(v uint16) error {
	q := r.queue
	b, err := q.view(q.Used+usedRing+usedElemSize*uint64(q.Size), 4, true)
	if err != nil {
		return err
	}
	for range availEventTries {
		old := loadWord(b)
		if swapWord(b, old, old&^0xFFFF|uint32(v)) {
			return nil
		}
	}
	return nil
}
