package virtio

import (
	"fmt"
	"sync/atomic"
)

// Descriptor flags of packed queues (§2.8.1).
const (
	descAvail = 1 << 7
	descUsed  = 1 << 15
)

// Event suppression structures (§2.8.14): a descriptor's place in the low half
// of a word, flags in the high one.
const (
	eventSize = 4

	eventFlags   = 16 // shift
	eventMask    = 3
	eventEnable  = 0
	eventDisable = 1
	eventDesc    = 2

	eventOffset = 0x7FFF
	eventWrap   = 0x8000 // the wrap counter
)

// packedRing is a packed virtqueue (§2.8). Its places count modulo twice its
// size: the first round of the two is the one with the wrap counter at 1.
type packedRing struct {
	queue *Queue
	size  uint32

	// The popping side.
	next  uint32     // place of the next chain
	head  descriptor // what stands there, if found
	found bool
	back  uint32 // descriptors from next on that were taken and put back
	event uint64 // the device event suppression structure; unknown at first

	lengths  []atomic.Int32 // descriptors of the chain in flight, by buffer id; 0: none
	inFlight atomic.Int32   // descriptors

	// The publishing side.
	used  uint32 // place of the next used descriptor
	count uint16 // completions
	told  uint32 // used at the last Notify
	fresh uint32 // descriptors used since then; two rounds at most
}

var _ ring = (*packedRing)(nil)

func newPackedRing(q *Queue) *packedRing {
	return &packedRing{queue: q, size: uint32(q.Size), event: ^uint64(0), lengths: make([]atomic.Int32, q.Size)}
}

// after is the place n descriptors after p; n is two rounds at most.
func (r *packedRing) after(p, n uint32) uint32 {
	if p += n; p >= 2*r.size {
		p -= 2 * r.size
	}
	return p
}

// slot is where in the ring p is, and the wrap counter there.
func (r *packedRing) slot(p uint32) (slot uint32, wrap bool) {
	if p < r.size {
		return p, true
	}
	return p - r.size, false
}

// addr is the address of the descriptor at p.
func (r *packedRing) addr(p uint32) uint64 {
	slot, _ := r.slot(p)
	return r.queue.Desc + descSize*uint64(slot)
}

func (r *packedRing) read(addr uint64) (descriptor, error) {
	lo, hi, err := r.queue.read(addr)
	return descriptor{addr: lo, len: uint32(hi), link: uint16(hi >> 32), flags: uint16(hi >> 48)}, err
}

// look implements ring. What it finds it keeps: a chain's first descriptor is
// read once.
func (r *packedRing) look() (bool, error) {
	if r.found {
		return true, nil
	}
	d, there, err := r.available(r.next)
	r.head, r.found = d, there
	return there, err
}

// available reads the descriptor at p, and tells whether the driver has made it available.
func (r *packedRing) available(p uint32) (d descriptor, there bool, err error) {
	if d, err = r.read(r.addr(p)); err != nil {
		return d, false, err
	}
	_, wrap := r.slot(p)
	return d, (d.flags&descAvail != 0) == wrap && (d.flags&descUsed != 0) != wrap, nil
}

// take implements ring. The last descriptor of a chain tells its id (§2.8.6).
func (r *packedRing) take(c *Chain) error {
	id, n, err := r.walk(c)
	if err != nil {
		slot, _ := r.slot(r.next)
		return fmt.Errorf("chain at descriptor %d: %w", slot, err)
	}
	switch {
	case int(id) >= len(r.lengths):
		return fmt.Errorf("%w: %d", ErrBufferID, id)
	case r.lengths[id].Load() != 0:
		return fmt.Errorf("%w: buffer id %d", ErrInFlight, id)
	case r.inFlight.Load()+int32(n) > int32(r.size):
		return ErrOverrun
	}
	c.Head = id
	r.lengths[id].Store(int32(n))
	r.inFlight.Add(int32(n))
	r.next, r.found = r.after(r.next, n), false
	r.back -= min(r.back, n)
	return nil
}

// unpop implements ring.
func (r *packedRing) unpop(head uint16) {
	n := r.lengths[head].Swap(0)
	r.inFlight.Add(-n)
	r.next, r.found = r.after(r.next, 2*r.size-uint32(n)), false
	r.back += uint32(n)
}

// walk puts the chain of n descriptors at next into c. Each of them was
// available before the first one, since drivers make that available last
// (§2.8.22); one that was not is judged like any other.
func (r *packedRing) walk(c *Chain) (id uint16, n uint32, err error) {
	d := r.head
	for n = 1; ; n++ {
		if d.flags&descIndirect == 0 {
			err = r.queue.add(c, d)
		} else if n == 1 {
			err = r.table(c, d)
		} else {
			err = fmt.Errorf("%w: in a chain", ErrIndirect) // §2.8.19
		}
		if err != nil {
			return 0, 0, err
		}
		if d.flags&descNext == 0 {
			return d.link, n, nil
		}
		if n == r.size {
			return 0, 0, ErrChainTooLong
		}
		if d, err = r.read(r.addr(r.after(r.next, n))); err != nil {
			return 0, 0, err
		}
	}
}

// table puts the buffers of an indirect table into c: all of its descriptors,
// in order, of whose flags only WRITE means anything (§2.8.8).
func (r *packedRing) table(c *Chain, ref descriptor) error {
	if err := r.queue.checkIndirect(ref); err != nil {
		return err
	}
	n := ref.len / descSize
	if n > max(r.size, maxIndirect) {
		return ErrChainTooLong
	}
	for i := range n {
		d, err := r.read(ref.addr + descSize*uint64(i))
		if err != nil {
			return err
		}
		if err := r.queue.add(c, d); err != nil {
			return err
		}
	}
	return nil
}

// publish implements ring: a used descriptor where the oldest descriptor that
// the driver has not got back stands, and as many skipped as the chain had
// (§2.8.7).
func (r *packedRing) publish(head uint16, written uint32) error {
	u, n, err := r.usedDescriptor(r.used, Used{head, written})
	if err != nil {
		return err
	}
	if q := r.queue; q.OnUsed != nil {
		q.OnUsed(r.count)
	}
	u.store()
	r.advance(1, n)
	return nil
}

// publishAll implements ring. The driver looks no further than the first of them until it has that, which is therefore
// written last.
func (r *packedRing) publishAll(used []Used) error {
	var first usedWord
	total := uint32(0)
	for i, v := range used {
		u, n, err := r.usedDescriptor(r.after(r.used, total), v)
		if err != nil {
			return err
		}
		if total += n; i == 0 {
			first = u
		} else {
			u.store()
		}
	}
	if len(used) == 0 {
		return nil
	}
	if q := r.queue; q.OnUsed != nil {
		for i := range used {
			q.OnUsed(r.count + uint16(i))
		}
	}
	first.store()
	r.advance(uint16(len(used)), total)
	return nil
}

// usedWord is what makes a descriptor a used one, and where.
type usedWord struct {
	at []byte
	v  uint64
}

func (u usedWord) store() { storeLong(u.at, u.v) }

// usedDescriptor ends the flight of a chain of n descriptors, and makes the used descriptor for it at p.
func (r *packedRing) usedDescriptor(p uint32, u Used) (w usedWord, n uint32, err error) {
	if int(u.Head) < len(r.lengths) {
		n = uint32(r.lengths[u.Head].Swap(0))
	}
	if n == 0 {
		return w, 0, fmt.Errorf("%w: buffer id %d", ErrNotInFlight, u.Head)
	}
	// Before it is published: the driver may use the id and the descriptors
	// again, and Pop may find them, before Push returns.
	r.inFlight.Add(-int32(n))
	b, err := r.queue.view(r.addr(p), descSize, true)
	if err != nil {
		return w, 0, err
	}
	flags := uint64(0)
	if _, wrap := r.slot(p); wrap {
		flags = descAvail | descUsed
	}
	if u.Written > 0 {
		flags |= descWrite
	}
	return usedWord{b[8:], uint64(u.Written) | uint64(u.Head)<<32 | flags<<48}, n, nil
}

// advance takes note of chains of n descriptors that the driver sees from now on.
func (r *packedRing) advance(chains uint16, n uint32) {
	r.count += chains
	r.used = r.after(r.used, n)
	r.fresh = min(r.fresh+n, 2*r.size)
}

// news implements ring. The barrier between publishing and reading what the
// driver has asked for is in publish's storeLong.
func (r *packedRing) news() (some, wanted bool, err error) {
	old, fresh := r.told, r.fresh
	r.told, r.fresh = r.used, 0
	if fresh == 0 {
		return false, false, nil
	}
	q := r.queue
	b, err := q.view(q.Avail, eventSize, false)
	if err != nil {
		return true, false, err
	}
	word := loadWord(b)
	switch flags := word >> eventFlags & eventMask; {
	case flags == eventDisable:
		return true, false, nil
	case flags == eventDesc && q.EventIdx:
		return true, r.between(old, r.place(word)) < fresh, nil
	}
	return true, true, nil
}

// place is what an event suppression structure's low half names, somewhere in
// the ring if it names nothing there.
func (r *packedRing) place(word uint32) uint32 {
	p := word & eventOffset
	if word&eventWrap == 0 {
		p += r.size
	}
	return p % (2 * r.size)
}

// between is how many descriptors lie from one place to a later one.
func (r *packedRing) between(from, to uint32) uint32 {
	if to < from {
		to += 2 * r.size
	}
	return to - from
}

// disableKicks implements ring.
func (r *packedRing) disableKicks() error { return r.setEvent(eventDisable << eventFlags) }

// enableKicks implements ring.
func (r *packedRing) enableKicks() (bool, error) {
	if err := r.kicksFrom(r.next); err != nil {
		return false, err
	}
	return r.look()
}

// awaitMore implements ring.
func (r *packedRing) awaitMore() (bool, error) {
	p := r.after(r.next, r.back)
	if err := r.kicksFrom(p); err != nil {
		return false, err
	}
	_, there, err := r.available(p)
	return there, err
}

// kicksFrom asks for a kick when the driver makes the descriptor at p available. What is stored is stored with a full
// barrier: a driver that did not see it has made its chain available before this returns.
func (r *packedRing) kicksFrom(p uint32) error {
	word := uint32(eventEnable << eventFlags)
	if r.queue.EventIdx {
		slot, wrap := r.slot(p)
		word = eventDesc<<eventFlags | slot
		if wrap {
			word |= eventWrap
		}
	}
	return r.setEvent(word)
}

// setEvent writes the device event suppression structure.
func (r *packedRing) setEvent(word uint32) error {
	if r.event == uint64(word) {
		return nil
	}
	b, err := r.queue.view(r.queue.Used, eventSize, true)
	if err != nil {
		return err
	}
	r.event = uint64(word)
	storeWord(b, word)
	return nil
}
