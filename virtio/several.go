package virtio

import "fmt"

// This file is for a device that serves one request with several chains.

// Used is a chain to give back: written bytes of its writable part were filled.
type Used struct {
	Head    uint16
	Written uint32
}

// PushAll gives chains back like Push, in order, and so that the driver sees
// all of them or none. There are Size of them at the most.
func (q *Queue) PushAll(used []Used) error {
	if len(used) > int(q.Size) {
		return q.fail(fmt.Errorf("%w: %d chains pushed at once", ErrOverrun, len(used)))
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, u := range used {
		q.end(u.Head)
	}
	section := q.enter()
	defer q.leave(section)
	q.inFlight.Add(-int32(len(used)))
	if err := q.publishAll(used); err != nil {
		return q.fail(err)
	}
	q.Counters.Completions.Add(uint64(len(used)))
	return nil
}

// publishAll writes used elements and then used.idx, once. q.mu is held.
func (q *Queue) publishAll(used []Used) error {
	for i, u := range used {
		elem := q.Used + usedRing + usedElemSize*uint64((q.used+uint16(i))&q.mask)
		if err := q.put32(elem, uint32(u.Head)); err != nil {
			return err
		}
		if err := q.put32(elem+4, u.Written); err != nil {
			return err
		}
	}
	b, err := q.view(q.Used, 4, true)
	if err != nil {
		return err
	}
	if q.OnUsed != nil {
		for i := range used {
			q.OnUsed(q.used + uint16(i))
		}
	}
	q.used += uint16(len(used))
	storeWord(b, uint32(q.used)<<16|uint32(q.flags))
	return nil
}

// Unpop puts the chain that was popped last, and not pushed, back into the
// queue: Pop will find it again. Several go back in the reverse order. It
// belongs to the popping goroutine.
func (q *Queue) Unpop(c *Chain) {
	q.end(c.Head)
	q.next--
	q.inFlight.Add(-1)
	q.Counters.Chains.Add(^uint64(0))
}

// AwaitMore is EnableKicks for a device that has put chains back because they
// were too few: it asks for a kick, and tells, when there are more than Pop has
// ever found.
func (q *Queue) AwaitMore() (more bool, err error) {
	if err := q.Err(); err != nil {
		return false, err
	}
	section := q.enter()
	more, err = q.awaitMore()
	q.leave(section)
	if err != nil {
		return false, q.fail(err)
	}
	return more, nil
}

func (q *Queue) awaitMore() (bool, error) {
	var err error
	if q.EventIdx {
		err = q.setAvailEvent(q.avail)
	} else {
		err = q.setFlags(0)
	}
	if err != nil {
		return false, err
	}
	idx, err := q.load16(q.Avail + availIdx) // after a full barrier, as in enableKicks
	ready := q.Ready == nil || q.Ready()
	return idx != q.avail && ready, err
}
