package virtio

// Push gives a chain back: written is the number of bytes that the device put
// into its writable part, from the start. The driver can see the completion
// when Push returns. Call Notify after it, or after at most Size of them.
func (q *Queue) Push(head uint16, written uint32) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.end(head)
	section := q.enter()
	defer q.leave(section)
	if err := q.ring.publish(head, written); err != nil {
		return q.fail(err)
	}
	q.Counters.Completions.Add(1)
	return nil
}

// Notify raises the interrupt if the driver wants one for what has been pushed
// since the last Notify, and reports whether it did (§2.7.7, §2.8.9).
func (q *Queue) Notify() (bool, error) {
	section := q.enter()
	q.mu.Lock()
	news, wanted, err := q.ring.news()
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
	case news:
		q.Counters.Suppressed.Add(1)
	}
	return wanted, nil
}

// DisableKicks asks the driver not to kick. It may all the same.
func (q *Queue) DisableKicks() error {
	section := q.enter()
	err := q.ring.disableKicks()
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
	more, err = q.ring.enableKicks()
	q.leave(section)
	if err != nil {
		return false, q.fail(err)
	}
	return more && (q.Ready == nil || q.Ready()), nil
}
