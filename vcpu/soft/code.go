package soft

import "runtime"

// A processor that decodes from a page has every processor, itself included, give
// up its right to write there directly: a write then goes the slow way and tells
// the page's owners.

// own makes this processor an owner of the page of pa. When it returns nobody can
// write there unnoticed.
func (c *CPU) own(pa uint64) {
	o := c.machine.code.owners(pa)
	if o == nil {
		return
	}
	bit := uint64(1) << c.id
	if o.Or(bit)&bit != 0 {
		return
	}
	c.protect(pa &^ 0xfff)
	for _, other := range *c.machine.cpus.Load() {
		if other != c {
			c.await(other)
		}
	}
}

// await has another processor drop its rights to write and waits until it did.
// Meanwhile this one does the same for others, so that two who wait for each other
// both go on.
func (c *CPU) await(other *CPU) {
	ticket := other.inbox.protect.Add(1)
	other.signal(pendingCode)
	for int32(other.inbox.seen.Load()-ticket) < 0 {
		if other.parked() {
			return // it reads its inbox before it runs
		}
		c.serveProtect()
		runtime.Gosched()
	}
}

// serveProtect drops this processor's rights to write directly, if somebody
// waits for it.
func (c *CPU) serveProtect() {
	if want := c.inbox.protect.Load(); want != c.inbox.seen.Load() {
		c.protectAll()
		c.inbox.seen.Store(want)
	}
}

// serveInbox does what other processors told about code.
func (c *CPU) serveInbox() {
	c.serveProtect()
	b := &c.inbox
	b.mu.Lock()
	ranges, n, all := b.ranges, b.n, b.all
	b.n, b.all = 0, false
	b.mu.Unlock()
	if all {
		c.dropAll()
		return
	}
	for _, r := range ranges[:n] {
		c.drop(r[0], r[1])
	}
}

// wrote is called after this processor wrote n bytes of RAM in one page by the
// slow way.
func (c *CPU) wrote(pa, n uint64) {
	o := c.machine.code.owners(pa)
	if o == nil {
		return
	}
	owners := o.Load()
	if owners == 0 {
		return
	}
	bit := uint64(1) << c.id
	if owners&bit != 0 && c.drop(pa, n) {
		c.smc = true
	}
	if owners&^bit != 0 {
		c.machine.invalidate(owners&^bit, pa, n)
	}
}
