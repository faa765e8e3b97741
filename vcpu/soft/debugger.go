package soft

import (
	"slices"

	"gvmm/uintr"
	"gvmm/vcpu"
	"gvmm/vcpu/soft/decode"
)

// A debugger's breakpoints are marks in decoded blocks: an instruction of no
// length before each that begins at the same offset of its page as a breakpoint
// does. What has none runs as fast as ever, and guest memory stays as it is.
// Watched accesses take the way of DR7's data breakpoints.

// debugger is what a processor stops for; nil where no debugger is.
type debugger struct {
	vcpu.Debug
	marks [4096 / 64]uint64 // offsets in a page at which decode puts marks; only more until the debugger goes
	stop  bool              // trap is to be returned at the next boundary
	trap  vcpu.Trap
}

var _ vcpu.Debuggable = (*CPU)(nil)

// SetDebug implements vcpu.Debuggable.
func (c *CPU) SetDebug(d *vcpu.Debug) error {
	c.pending.And(^pendingDebug)
	if d == nil {
		if c.debug != nil {
			c.debug = nil
			c.dropAll()
			c.selectTLB()
		}
		return nil
	}
	if c.debug == nil {
		c.debug = new(debugger)
	}
	g := c.debug
	g.Debug, g.stop = *d, false
	g.Breaks, g.Watches = slices.Clone(d.Breaks), slices.Clone(d.Watches)
	slices.Sort(g.Breaks)
	g.Resume = d.Resume && d.ResumeAt == c.here()
	before := g.marks
	for _, la := range g.Breaks {
		g.marks[la>>6&63] |= 1 << (la & 63)
	}
	if g.marks != before {
		c.dropAll()
	}
	if d.Step {
		c.pending.Or(pendingDebug)
	}
	c.selectTLB()
	return nil
}

// marked reports that decode puts a mark before the instruction at la.
func (c *CPU) marked(la uint64) bool {
	return c.debug != nil && c.debug.marks[la>>6&63]>>(la&63)&1 != 0
}

// debugMark executes a mark: false if this is where a breakpoint is.
func (c *CPU) debugMark() bool {
	c.next = c.rip
	if c.stopHere() {
		return false
	}
	c.retire(-1) // the block counts it, and it is no instruction
	return true
}

// stopHere reports a breakpoint at c.rip, before which the processor stops.
func (c *CPU) stopHere() bool {
	d := c.debug
	if d == nil || len(d.Breaks) == 0 {
		return false
	}
	la := c.here()
	if _, hit := slices.BinarySearch(d.Breaks, la); !hit {
		return false
	}
	if d.Resume && la == d.ResumeAt {
		d.Resume = false
		return false
	}
	d.stop, d.trap = true, vcpu.Trap{Kind: vcpu.TrapBreak, Addr: la}
	return true
}

// here is the linear address of c.rip.
func (c *CPU) here() uint64 {
	if c.mode != decode.Mode64 {
		return (c.rip + c.bases[cs]) & 0xffffffff
	}
	return c.rip
}

// watchDebug looks for a watched range in n bytes at la. The block under way ends
// behind the instruction.
func (c *CPU) watchDebug(la, n uint64, write bool) {
	d := c.debug
	if d == nil || d.stop {
		return
	}
	for _, w := range d.Watches {
		if (write && w.Write || !write && w.Read) && (la-w.Addr < w.Size || w.Addr-la < n) {
			d.stop, d.trap = true, vcpu.Trap{Kind: vcpu.TrapWatch, Addr: max(la, w.Addr), Watch: w}
			c.smc = true
			c.pending.Or(pendingDebug)
			return
		}
	}
}

// debugFault is a fault under a debugger: true if it is none but a breakpoint's
// mark. What a faulting instruction accessed does not count.
func (c *CPU) debugFault() bool {
	d := c.debug
	if d.stop && d.trap.Kind == vcpu.TrapBreak {
		return true
	}
	if d.stop = false; !d.Step {
		c.pending.And(^pendingDebug)
	}
	return false
}

// debugStep executes one instruction for the debugger, with what its shadow blocks.
func (c *CPU) debugStep() error {
	d := c.debug
	s := c.shadow
	c.shadow = 0
	c.pending.And(^pendingShadow)
	if err := c.stepIn(s); err != nil {
		return err
	}
	if !d.stop {
		d.stop, d.trap = true, vcpu.Trap{Kind: vcpu.TrapStep, Addr: c.here()}
	}
	return nil
}

// debugStop returns the trap that waits, if one does.
func (c *CPU) debugStop() error {
	d := c.debug
	if d == nil || !d.stop {
		return nil
	}
	d.stop = false
	c.pending.And(^pendingDebug)
	t := d.trap
	return &t
}

// UserInterrupts implements vcpu.Debuggable.
func (c *CPU) UserInterrupts() uintr.State { return c.uintr }

// ReadLinear implements vcpu.Debuggable.
func (c *CPU) ReadLinear(la uint64, p []byte) int {
	return c.debugAccess(la, len(p), func(_ uint64, host []byte, from int) { copy(p[from:], host) })
}

// WriteLinear implements vcpu.Debuggable.
func (c *CPU) WriteLinear(la uint64, p []byte) int {
	return c.debugAccess(la, len(p), func(pa uint64, host []byte, from int) {
		copy(host, p[from:])
		c.machine.Written(pa, uint64(len(host)))
	})
}

// debugAccess calls f for each page's part of n bytes at la until one is not RAM.
func (c *CPU) debugAccess(la uint64, n int, f func(pa uint64, host []byte, from int)) int {
	for done := 0; done < n; {
		at := c.wrap(la + uint64(done))
		if c.long() && !c.canonical(at) {
			return done
		}
		p, _, _, _, ok := c.walk(at)
		if !ok {
			return done
		}
		host, ok := c.machine.host(p.pa)
		if !ok {
			return done
		}
		part := min(n-done, int(4096-at&0xfff))
		f(p.pa|at&0xfff, host.bytes(at&0xfff, part), done)
		done += part
	}
	return n
}
