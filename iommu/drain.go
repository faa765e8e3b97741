package iommu

import (
	"sync/atomic"

	"gvmm/vmm/pci"
)

// A guest that has taken something back is told so when nobody uses it any more (VT-d §6.5.4, `iommu.md §2.5` rule 6). Users are of two kinds.
// Short ones, a post or an access to a ring, run inside a *section*: a wait ends when every section that was entered before it has been left.
// Long ones, a device's requests, are *holds* that name the addresses in use: a wait ends when those have ended that use what was taken back.

// section counts its users by the parity of the phase in which they entered. It fills a cache line: neighbours belong to different queues.
type section struct {
	users [2]atomic.Int64
	_     [48]byte
}

// epochs tells when users that were there have gone. The zero value needs a wake channel of one element.
type epochs struct {
	phase    atomic.Uint64
	sections atomic.Pointer[[]*section] // replaced, never changed
	waiting  atomic.Bool
	wake     chan struct{}
}

// enter and leave bracket a use. Whoever enters after something was taken back finds that it is: the counter is an atomic before the look.
func (e *epochs) enter(s *section) (parity uint64) {
	parity = e.phase.Load() & 1
	s.users[parity].Add(1)
	return parity
}

func (e *epochs) leave(s *section, parity uint64) {
	if s.users[parity].Add(-1) == 0 {
		e.left()
	}
}

// left wakes whoever waits for users.
func (e *epochs) left() {
	if e.waiting.Load() {
		select {
		case e.wake <- struct{}{}:
		default:
		}
	}
}

// flip starts a new phase if nobody is left of the one before this. After two of them everybody has gone who was there before the first: those of
// the other parity before it, those of this parity before the second. The caller holds Unit.mu.
func (e *epochs) flip() bool {
	phase := e.phase.Load()
	for _, s := range *e.sections.Load() {
		if s.users[phase&1^1].Load() != 0 {
			return false
		}
	}
	e.phase.Store(phase + 1)
	return true
}

// pause is some ten nanoseconds in which sections are not looked at: their users would wait for their cache lines.
func (e *epochs) pause() {
	for range 64 {
		e.waiting.Load()
	}
}

// add and remove change what flip looks at. The caller holds Unit.mu.
func (e *epochs) add(s *section) {
	old := *e.sections.Load()
	next := append(append(make([]*section, 0, len(old)+1), old...), s)
	e.sections.Store(&next)
}

func (e *epochs) remove(s *section) {
	var next []*section
	for _, o := range *e.sections.Load() {
		if o != s {
			next = append(next, o)
		}
	}
	e.sections.Store(&next)
}

// drain waits for the users of what was taken back. Unit.mu guards it.
type drain struct {
	start uint64 // phase
	spans spans
	found bool // held is known
	held  []heldRequest
}

type heldRequest struct {
	hold  *hold
	state uint64
}

// newDrain begins to wait for users of what is already taken back. The caller holds u.mu.
func (u *Unit) newDrain(s spans) drain { return drain{start: u.epochs.phase.Load(), spans: s} }

// looksForSections is how often a wait looks for sections to be left before it is left to a goroutine, which whoever leaves then has to wake: they
// last for less than a microsecond, and a neighbour's post is not to pay for somebody's invalidations.
const looksForSections = 64

// begun returns d for the registers to wait for, nil if it is over at once, or nearly.
func (u *Unit) begun(d drain) *drain {
	for range looksForSections {
		if u.over(&d) {
			return nil
		}
		if d.found {
			break // requests last longer
		}
		u.epochs.pause()
	}
	kept := d
	return &kept
}

// over reports whether all users have gone. The caller holds u.mu.
func (u *Unit) over(d *drain) bool {
	for u.epochs.phase.Load() < d.start+2 {
		if !u.epochs.flip() {
			return false
		}
	}
	// Every request that could know an old translation has published its addresses by now: it did so inside a section.
	if !d.found {
		d.found = true
		for _, c := range u.clients {
			d.held = c.using(&d.spans, d.held)
		}
	}
	n := 0
	for _, h := range d.held {
		if h.hold.state.Load() == h.state {
			d.held[n] = h
			n++
		}
	}
	d.held = d.held[:n]
	return n == 0
}

// settling is a drain that something in the registers waits for, nil if nothing does.
type settling struct {
	queue, context, iotlb, pools *drain
}

// startSettling makes a goroutine see to what cannot be completed at once. The caller holds u.mu.
func (u *Unit) startSettling() {
	if u.settling || u.closed {
		return
	}
	u.settling = true
	u.workers.Go(u.settle)
}

// settle completes what waits, until nothing does.
func (u *Unit) settle() {
	for {
		u.epochs.waiting.Store(true) // before the look: whoever leaves after it wakes us
		u.mu.Lock()
		out := u.advance(nil)
		busy := u.regs.queueReady()
		waits := u.regs.waits != settling{}
		if !busy && !waits || u.closed {
			u.settling = false
			u.epochs.waiting.Store(false)
			u.mu.Unlock()
			u.sendEvents(out)
			return
		}
		u.mu.Unlock()
		u.sendEvents(out)
		if !busy {
			select {
			case <-u.epochs.wake:
			case <-u.done:
			}
		}
	}
}

// advance does what can be done now: it completes what waited, and serves the queue for a while. Events to send are appended to out. The caller
// holds u.mu.
func (u *Unit) advance(out []pci.Message) []pci.Message {
	r := &u.regs
	if w := &r.waits; *w != (settling{}) {
		if w.context != nil && u.over(w.context) {
			w.context = nil
			r.ccmd = r.ccmd.Done(r.ccmd.Invalidation().Granularity)
		}
		if w.iotlb != nil && u.over(w.iotlb) {
			w.iotlb = nil
			r.iotlb = r.iotlb.Done(r.iotlb.Invalidation(r.iva).Granularity)
		}
		if w.pools != nil && u.over(w.pools) {
			w.pools = nil
		}
		if w.queue != nil && u.over(w.queue) {
			w.queue = nil
			out = u.completeWait(out)
		}
	}
	return u.serveQueue(out)
}

// settleNow advances, and leaves the rest to a goroutine. The caller holds u.mu.
func (u *Unit) settleNow(out []pci.Message) []pci.Message {
	out = u.advance(out)
	if u.regs.waits != (settling{}) || u.regs.queueReady() {
		u.startSettling()
	}
	return out
}
