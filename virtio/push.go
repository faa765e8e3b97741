package virtio

import "encoding/binary"

// Push gives a chain back: written is the number of bytes that the device put
// into its writable part, from the start. The driver can see the completion
// when Push returns. Call Notify after it, or after at most Size of them.
func (q *Queue) Push(head uint16, written uint32) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.end(head)
	section := q.enter()
	defer q.leave(section)
	// Before it is published: the driver may make the entry available again,
	// and Pop may find it, before Push returns.
	q.inFlight.Add(-1)
	if err := q.publish(head, written); err != nil {
		return q.fail(err)
	}
	q.Counters.Completions.Add(1)
	return nil
}

// publish writes a used element and then used.idx (§2.7.8.2). q.mu is held.
func (q *Queue) publish(head uint16, written uint32) error {
	elem := q.Used + usedRing + usedElemSize*uint64(q.used&q.mask)
	if err := q.put32(elem, uint32(head)); err != nil {
		return err
	}
	if err := q.put32(elem+4, written); err != nil {
		return err
	}
	b, err := q.view(q.Used, 4, true)
	if err != nil {
		return err
	}
	if q.OnUsed != nil {
		q.OnUsed(q.used)
	}
	q.used++
	storeWord(b, uint32(q.used)<<16|uint32(q.flags))
	return nil
}

// put32 writes half of a used element. The store of used.idx orders it. Halves
// are viewed apart since an element is aligned to 4 only, and may cross a page.
func (q *Queue) put32(addr uint64, v uint32) error {
	b, err := q.view(addr, 4, true)
	if err != nil {
		return err
	}
	binary.LittleEndian.PutUint32(b, v)
	return nil
}

// Notify raises the interrupt if the driver wants one for what has been pushed
// since the last Notify, and reports whether it did (§2.7.7).
func (q *Queue) Notify() (bool, error) {
	section := q.enter()
	q.mu.Lock()
	old, now := q.signaled, q.used
	q.signaled = now
	wanted, err := false, error(nil)
	if old != now {
		wanted, err = q.wantsInterrupt(old, now)
	}
	q.mu.Unlock()
	q.leave(section)
	switch {
	case err != nil:
		return false, q.fail(err)
	case wanted:
		q.Counters.Interrupts.Add(1)
		if q.Interrupt != nil {
			q.Interrupt()
		}
	case old != now:
		q.Counters.Suppressed.Add(1)
	}
	return wanted, nil
}

// wantsInterrupt reads what the driver has asked for. The barrier between
// publishing used.idx and this is in Push's storeWord.
func (q *Queue) wantsInterrupt(old, now uint16) (bool, error) {
	if !q.EventIdx {
		flags, err := q.load16(q.Avail)
		return flags&availNoInterrupt == 0, err
	}
	event, err := q.load16(q.Avail + availRing + 2*uint64(q.Size))
	return passed(event, now, old), err
}

// passed tells whether an index that moved from old to now went past event
// (§2.7.7.2).
func passed(event, now, old uint16) bool { return now-event-1 < now-old }

// DisableKicks asks the driver not to kick. With the event index there is
// nothing to do: it kicks once past the event and then no more.
func (q *Queue) DisableKicks() error {
	if q.EventIdx {
		return nil
	}
	section := q.enter()
	err := q.setFlags(usedNoNotify)
	q.leave(section)
	if err != nil {
		return q.fail(err)
	}
	return nil
}

// EnableKicks asks the driver to kick for the next chain, and reports whether
// one came in before it could know: then Pop again instead of waiting.
func (q *Queue) EnableKicks() (more bool, err error) {
	if err := q.Err(); err != nil {
		return false, err
	}
	section := q.enter()
	more, err = q.enableKicks()
	q.leave(section)
	if err != nil {
		return false, q.fail(err)
	}
	return more, nil
}

func (q *Queue) enableKicks() (bool, error) {
	var err error
	if q.EventIdx {
		err = q.setAvailEvent(q.next)
	} else {
		err = q.setFlags(0)
	}
	if err != nil {
		return false, err
	}
	// What was just stored was stored with a full barrier: a driver that did
	// not see it has published its index before this reads it.
	idx, err := q.load16(q.Avail + availIdx)
	ready := q.Ready == nil || q.Ready()
	return idx != q.next && ready, err
}

func (q *Queue) setFlags(flags uint16) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.flags == flags {
		return nil
	}
	b, err := q.view(q.Used, 4, true)
	if err != nil {
		return err
	}
	q.flags = flags
	storeWord(b, uint32(q.used)<<16|uint32(flags))
	return nil
}

// availEventTries bounds the fight with a driver that keeps writing the word
// which holds avail_event. It loses its own kicks.
const availEventTries = 64

// setAvailEvent writes the low half of a word whose high half lies past the
// used ring and is not the device's.
func (q *Queue) setAvailEvent(v uint16) error {
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
