package vmm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"gvmm/uintr"
	"gvmm/vcpu"
	"gvmm/vcpu/hw"
	"gvmm/vmm/gdb"
)

// errKilled is a debugger that ends the machine: the user's will, like Ctrl-C.
var errKilled = fmt.Errorf("vmm: the debugger ended the machine: %w", context.Canceled)

// errEnded is a debugger that comes too late.
var errEnded = errors.New("vmm: the machine has ended")

// debugger is what a debugger sees of a machine. Each processor's goroutine is
// either in the engine or waits here; the processors stand when none is in the
// engine.
type debugger struct {
	machine *Machine
	cpus    []vcpu.Debuggable
	pause   atomic.Bool // the processors' stop flag
	stops   chan gdb.Stop
	serving sync.WaitGroup

	mu       sync.Mutex
	changed  sync.Cond
	states   []debugState
	attached bool
	running  int       // processors that were let go and are not back
	resumed  bool      // a debugger waits for a stop
	stop     *gdb.Stop // the first reason since
	ended    bool
	breaks   []uint64
	watches  []vcpu.Watch
}

// debugState is a processor's.
type debugState struct {
	run    bool       // may go
	trap   *vcpu.Trap // its last stop, if that was told
	unread *vcpu.Trap // a watchpoint met while another stop was under way
	failed error      // it cannot go on
}

var _ gdb.Target = (*debugger)(nil)

// newDebugger makes the debugger's side of a machine whose processors wait for it.
func newDebugger(m *Machine) (*debugger, error) {
	if m.config.Accel == vcpu.AccelKVM {
		if err := hw.ProbeDebug(m.config.kvmPath()); err != nil {
			return nil, err
		}
	}
	d := &debugger{machine: m, stops: make(chan gdb.Stop, 2), states: make([]debugState, len(m.cpus))}
	d.changed.L = &d.mu
	for _, c := range m.cpus {
		can, ok := c.(vcpu.Debuggable)
		if !ok {
			return nil, fmt.Errorf("%w: the %v engine cannot be debugged", ErrConfig, m.config.Accel)
		}
		// What the engine lacks shows now.
		if err := errors.Join(can.SetDebug(&vcpu.Debug{}), can.SetDebug(nil)); err != nil {
			return nil, err
		}
		d.cpus = append(d.cpus, can)
	}
	return d, nil
}

// listen serves debuggers, one after the other, until finish.
func (d *debugger) listen() {
	d.serving.Go(func() {
		for {
			conn, err := d.machine.config.GDB.Accept()
			if err != nil {
				return
			}
			_ = gdb.Serve(conn, d)
		}
	})
}

// finish tells the debugger that the machine has ended, and waits until it was told.
func (d *debugger) finish(status int, err error) {
	if err != nil {
		status = -1
	}
	select {
	case <-d.stops: // nobody read it
	default:
	}
	d.stops <- gdb.Stop{Exited: true, Status: status}
	_ = d.machine.config.GDB.Close()
	d.serving.Wait()
}

// end lets every processor's goroutine go home.
func (d *debugger) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	d.pause.Store(true)
	d.changed.Broadcast()
}

// run runs processor i until the machine ends, with pauses.
func (d *debugger) run(i int) error {
	for d.enter(i) {
		if err := d.leave(i, d.machine.engine.run(i, &d.pause)); err != nil {
			return err
		}
	}
	return nil
}

// enter waits until processor i may go; false if the machine has ended.
func (d *debugger) enter(i int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.ended && !d.states[i].run {
		d.changed.Wait()
	}
	return !d.ended
}

// leave takes note of why processor i came back. It returns what ends the machine.
func (d *debugger) leave(i int, err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.states[i]
	s.run = false
	d.running--
	defer d.settle()
	if d.ended {
		return nil
	}
	var trap *vcpu.Trap
	switch {
	case err == nil:
	case errors.As(err, &trap):
		switch {
		case d.stop == nil:
			s.trap = trap
			d.stopAll(gdb.Stop{Thread: i, Trap: trap})
		case trap.Kind == vcpu.TrapWatch:
			s.unread = trap
		}
	case d.attached && errors.Is(err, vcpu.ErrGuest):
		s.failed = err
		d.stopAll(gdb.Stop{Thread: i, Failed: true})
	default:
		return err
	}
	return nil
}

// stopAll has every processor stop for the reason given, unless there is one. mu is held.
func (d *debugger) stopAll(reason gdb.Stop) {
	if d.stop == nil {
		d.stop = &reason
	}
	d.pause.Store(true)
	for _, c := range d.cpus {
		c.Kick()
	}
}

// settle tells about a stop when the last processor stands. mu is held.
func (d *debugger) settle() {
	d.changed.Broadcast()
	if d.running == 0 && d.resumed && d.stop != nil && !d.ended {
		d.resumed = false
		d.stops <- *d.stop
	}
}

// Attach implements gdb.Target.
func (d *debugger) Attach() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.attached, d.resumed = true, false
	select {
	case <-d.stops:
	default:
	}
	if d.running > 0 {
		d.stopAll(gdb.Stop{})
	}
	for d.running > 0 && !d.ended {
		d.changed.Wait()
	}
	if d.ended {
		return errEnded
	}
	return nil
}

// Threads implements gdb.Target.
func (d *debugger) Threads() int { return len(d.cpus) }

// Describe implements gdb.Target.
func (d *debugger) Describe(thread int) string {
	d.mu.Lock()
	failed := d.states[thread].failed
	d.mu.Unlock()
	if failed != nil {
		return fmt.Sprintf("CPU %d [%v]", thread, failed)
	}
	var r vcpu.Registers
	if err := d.cpus[thread].Registers(&r); err != nil {
		return fmt.Sprintf("CPU %d", thread)
	}
	return fmt.Sprintf("CPU %d [CPL %d]", thread, r.Selectors[1]&3)
}

// Registers implements gdb.Target.
func (d *debugger) Registers(thread int, r *vcpu.Registers) error {
	return d.cpus[thread].Registers(r)
}

// SetRegisters implements gdb.Target.
func (d *debugger) SetRegisters(thread int, r *vcpu.Registers) error {
	return d.cpus[thread].SetRegisters(r)
}

// ReadMemory implements gdb.Target.
func (d *debugger) ReadMemory(thread int, la uint64, p []byte) int {
	return d.cpus[thread].ReadLinear(la, p)
}

// WriteMemory implements gdb.Target.
func (d *debugger) WriteMemory(thread int, la uint64, p []byte) int {
	return d.cpus[thread].WriteLinear(la, p)
}

// SetPoints implements gdb.Target.
func (d *debugger) SetPoints(breaks []uint64, watches []vcpu.Watch) error {
	if err := d.cpus[0].SetDebug(&vcpu.Debug{Breaks: breaks, Watches: watches}); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.breaks, d.watches = breaks, watches
	return nil
}

// Resume implements gdb.Target.
func (d *debugger) Resume(how []gdb.Action) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		d.resumed = true // finish will tell
		return nil
	}
	for i, s := range d.states {
		switch {
		case how[i] == gdb.Stay:
		case s.failed != nil:
			d.mu.Unlock()
			d.machine.end(0, s.failed)
			d.mu.Lock()
			return nil
		case s.unread != nil:
			d.states[i].trap, d.states[i].unread = s.unread, nil
			d.stops <- gdb.Stop{Thread: i, Trap: s.unread}
			return nil
		}
	}
	for i, c := range d.cpus {
		if how[i] == gdb.Stay {
			continue
		}
		if err := c.SetDebug(d.wish(i, how[i])); err != nil {
			return err
		}
	}
	d.letGo(func(i int) bool { return how[i] != gdb.Stay })
	d.resumed = true
	return nil
}

// wish is what processor i stops for. Where it stands for a breakpoint that was
// told it executes that instruction.
func (d *debugger) wish(i int, how gdb.Action) *vcpu.Debug {
	w := &vcpu.Debug{Breaks: d.breaks, Watches: d.watches, Step: how == gdb.Step}
	if t := d.states[i].trap; t != nil && t.Kind == vcpu.TrapBreak {
		w.Resume, w.ResumeAt = true, t.Addr
	}
	d.states[i].trap = nil
	return w
}

// letGo lets processors run. mu is held.
func (d *debugger) letGo(which func(i int) bool) {
	d.stop = nil
	d.pause.Store(false)
	for i := range d.states {
		if which(i) {
			d.states[i].run = true
			d.running++
		}
	}
	d.changed.Broadcast()
}

// Interrupt implements gdb.Target.
func (d *debugger) Interrupt() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running > 0 && !d.ended {
		thread := 0
		for thread < len(d.states)-1 && !d.states[thread].run {
			thread++
		}
		d.stopAll(gdb.Stop{Thread: thread})
	}
}

// Stops implements gdb.Target.
func (d *debugger) Stops() <-chan gdb.Stop { return d.stops }

// Detach implements gdb.Target.
func (d *debugger) Detach() {
	if d.Attach() != nil {
		return
	}
	d.mu.Lock()
	d.attached = false
	d.breaks, d.watches = nil, nil
	var failed error
	for i, c := range d.cpus {
		if err := c.SetDebug(nil); err != nil && failed == nil {
			failed = err
		}
		s := &d.states[i]
		if s.failed != nil {
			failed = s.failed
		}
		s.trap, s.unread = nil, nil
	}
	if failed == nil {
		d.letGo(func(int) bool { return true })
	}
	d.mu.Unlock()
	if failed != nil {
		d.machine.end(0, failed)
	}
}

// Kill implements gdb.Target.
func (d *debugger) Kill() { d.machine.end(0, errKilled) }

// Monitor implements gdb.Target.
func (d *debugger) Monitor(thread int, line string) string {
	switch strings.TrimSpace(line) {
	case "uintr":
		var b strings.Builder
		for i := range d.cpus {
			b.WriteString(describeUINTR(i, d.cpus[i].UserInterrupts()))
		}
		return b.String()
	case "cpus":
		var b strings.Builder
		for i := range d.cpus {
			var r vcpu.Registers
			if err := d.Registers(i, &r); err != nil {
				fmt.Fprintf(&b, "CPU %d: %v\n", i, err)
				continue
			}
			fmt.Fprintf(&b, "CPU %d: CS:RIP %04x:%016x  CPL %d  CR0 %08x CR3 %x CR4 %x EFER %x\n",
				i, r.Selectors[1], r.RIP, r.Selectors[1]&3, r.CR0, r.CR3, r.CR4, r.EFER)
		}
		return b.String()
	}
	return "monitor cpus   where each processor is\nmonitor uintr  the user-interrupt state of each\n"
}

func describeUINTR(i int, s uintr.State) string {
	return fmt.Sprintf("CPU %d: UIF %v  UIRR %#x  UINV %#x  UPID %#x  handler %#x  stack adjust %#x  UITT %#x, last index %d\n",
		i, s.UIF, s.UIRR, s.UINV, s.UPIDAddr, s.Handler, s.StackAdjust, s.UITTAddr, s.UITTSize)
}
