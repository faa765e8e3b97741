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
	if err := q.ring.publishAll(used); err != nil {
		return q.fail(err)
	}
	q.Counters.Completions.Add(uint64(len(used)))
	return nil
}

// Unpop puts the chain that was popped last, and not pushed, back into the
// queue: Pop will find it again. Several go back in the reverse order. It
// belongs to the popping goroutine.
func (q *Queue) Unpop(c *Chain) {
	q.end(c.Head)
	q.ring.unpop(c.Head)
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
	more, err = q.ring.awaitMore()
	q.leave(section)
	if err != nil {
		return false, q.fail(err)
	}
	return more && (q.Ready == nil || q.Ready()), nil
}
