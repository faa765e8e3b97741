package soft

import (
	"fmt"
	"math"
	"runtime"
	"sync/atomic"
	"time"

	"gvmm/vcpu"
	"gvmm/vcpu/soft/decode"
)

// quantum is how many instructions the interpreter runs between two looks at the clock.
const quantum = 4096

// Run implements vcpu.CPU.
func (c *CPU) Run(h vcpu.Handler, stop *atomic.Bool) error {
	c.Attach(h)
	c.sleeping.Store(false)
	defer c.sleeping.Store(true)
	for !stop.Load() {
		if err := c.Slice(math.MaxInt64); err != nil {
			return err
		}
		c.pending.And(^pendingStop)
	}
	return nil
}

// Attach gives the processor the handler of its exits, for who calls RunVirtual
// instead of Run.
func (c *CPU) Attach(h vcpu.Handler) { c.handler = h }

// RunVirtual runs about n instructions of a processor whose time is virtual, and
// reports whether it ended halted: then nothing happens until time moves on.
func (c *CPU) RunVirtual(n int64) (halted bool, err error) {
	c.idle = false
	c.sleeping.Store(false)
	err = c.Slice(n)
	c.pending.And(^pendingStop)
	c.sleeping.Store(true)
	return c.idle, err
}

// Deadline is the TSC at which the first timer that this processor drives is due,
// all ones for never.
func (c *CPU) Deadline() uint64 {
	deadline := c.apic.Deadline()
	if d := c.config.Devices; d != nil {
		deadline = min(deadline, d.Deadline())
	}
	return deadline
}

// Slice runs about n instructions, or until a kick; less if the processor halts
// where time is virtual. Only Run and who schedules several processors on one
// goroutine call it.
func (c *CPU) Slice(n int64) error {
	end := c.Retired() + uint64(n)
	for c.pending.Load()&pendingStop == 0 && c.Retired() < end {
		if c.debug != nil && c.debug.stop {
			break
		}
		if c.budget <= 0 {
			c.grant(c.quantum())
			c.stats.retired.Store(c.Retired())
			c.stats.native.Store(uint64(c.native))
			c.tick()
		}
		if p := c.pending.Load() &^ c.ignore; p != 0 || c.halted || c.waitSIPI {
			if again, err := c.attend(p); err != nil {
				return err
			} else if again {
				continue
			}
		}
		c.blocks()
		if c.shutdown {
			return c.failure("triple fault")
		}
		if c.translation != nil && c.translation.check != nil && c.translation.check.failed != nil {
			return c.translation.check.failed
		}
	}
	return c.debugStop()
}

// blocks runs blocks by the engine that there is, until something wants to be looked at.
func (c *CPU) blocks() {
	if c.translation != nil {
		c.translated()
	} else {
		c.loop()
	}
}

// quantum is how many instructions run between two looks at the clock.
func (c *CPU) quantum() int64 {
	if c.translation != nil && !c.config.Virtual {
		return translatedQuantum
	}
	return quantum
}

func (c *CPU) retire(n int) { c.budget -= int64(n) }

// grant makes the budget n instructions.
func (c *CPU) grant(n int64) {
	c.limit += uint64(n - c.budget)
	c.budget = n
}

// interpretedCost is how many translated instructions take as long as one that translated code is left for, about.
const interpretedCost = 64

// charge brings the next look at the clock nearer by n instructions that were interpreted in between translated ones, or
// repetitions of one: the quantum is that of faster code. Virtual time is made of instructions, whatever each takes.
func (c *CPU) charge(n uint64) {
	if c.translation != nil && !c.config.Virtual {
		c.grant(c.budget - int64(n)*interpretedCost)
	}
}

// Retired is how many instructions have completed; a repeated string instruction
// counts for each of its pieces. It is for who is called on the processor's
// goroutine, or while Run does not run.
func (c *CPU) Retired() uint64 { return c.limit - uint64(c.budget) }

// except delivers what c.fault holds.
func (c *CPU) except() {
	c.smc = false
	c.raised = true
	if c.debug != nil && c.debugFault() {
		return
	}
	c.deliverFault()
}

// tick looks at the clock.
func (c *CPU) tick() {
	now := c.machine.clock.TSC()
	if now >= c.apic.Deadline() {
		c.apic.Tick(now)
		c.lookAPIC()
	}
	if d := c.config.Devices; d != nil && now >= d.Deadline() {
		d.Tick(now)
	}
}

// lookAPIC has the next boundary look at the local APIC if it has something.
func (c *CPU) lookAPIC() {
	if c.apic.Pending() {
		c.pending.Or(pendingInterrupt)
	}
}

// signal sets bits for the next boundary and wakes the processor. Any goroutine.
func (c *CPU) signal(bits uint32) {
	c.pending.Or(bits)
	if c.sleeping.Load() {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// parked reports that the processor does not run, and will look at what is
// pending before it does.
func (c *CPU) parked() bool { return c.sleeping.Load() }

// Kick implements vcpu.CPU.
func (c *CPU) Kick() { c.signal(pendingStop) }

// Interrupt tells that the local APIC has something. Any goroutine.
func (c *CPU) Interrupt() { c.signal(pendingInterrupt) }

// Look tells that a timer of CPUConfig.Devices has another deadline. Any goroutine.
func (c *CPU) Look() { c.signal(pendingTimer) }

// NMI raises a non-maskable interrupt. Any goroutine.
func (c *CPU) NMI() { c.signal(pendingNMI) }

// INIT resets the processor, which then waits for a start-up interrupt. Any
// goroutine.
func (c *CPU) INIT() { c.signal(pendingINIT) }

// SIPI starts a processor that waits, at vector<<12. Any goroutine.
func (c *CPU) SIPI(vector uint8) {
	c.sipi.Store(uint32(vector))
	c.signal(pendingSIPI)
}

// attend serves what is pending at an instruction boundary. again says that the
// caller looks anew before it runs anything.
func (c *CPU) attend(p uint32) (again bool, err error) {
	switch {
	case p&pendingCode != 0:
		c.pending.And(^pendingCode)
		c.serveInbox()
		return true, nil
	case p&pendingTimer != 0:
		c.pending.And(^pendingTimer)
		c.tick()
		return true, nil
	case p&pendingINIT != 0:
		c.pending.And(^(pendingINIT | pendingNMI | pendingUser))
		c.init()
		return true, nil
	case c.waitSIPI:
		if p&pendingSIPI == 0 {
			return true, c.sleep()
		}
		c.pending.And(^pendingSIPI)
		c.startUp(uint8(c.sipi.Load()))
		return true, nil
	case p&pendingSIPI != 0:
		c.pending.And(^pendingSIPI)
		return true, nil
	}
	if c.debug != nil && c.debug.Step && !c.halted {
		return true, c.debugStep()
	}
	if c.shadow != 0 {
		return true, c.shadowed()
	}
	if c.rflags&flagTF != 0 || p&pendingStep != 0 {
		if took, err := c.events(p); took || err != nil {
			return true, err
		}
		if !c.halted {
			if c.stopHere() {
				return true, nil
			}
			return true, c.step()
		}
	}
	if took, err := c.events(p); took || err != nil {
		return true, err
	}
	if c.halted {
		return true, c.sleep()
	}
	c.ignore = 0
	if c.rflags&flagIF == 0 {
		c.ignore |= pendingInterrupt
	}
	if c.nmiMask {
		c.ignore |= pendingNMI
	}
	return false, nil
}

// events takes the most urgent event at a boundary without a shadow: NMI,
// external interrupt, user interrupt.
func (c *CPU) events(p uint32) (took bool, err error) {
	switch {
	case p&pendingNMI != 0 && !c.nmiMask:
		c.pending.And(^pendingNMI)
		c.halted = false
		c.nmiMask = true
		return true, c.deliver(event{vector: 2, kind: eventNMI})
	case p&pendingInterrupt != 0 && c.rflags&flagIF != 0:
		c.pending.And(^pendingInterrupt)
		if took, err = c.external(); took {
			return took, err
		}
	}
	if c.pending.Load()&pendingUser != 0 {
		c.pending.And(^pendingUser)
		return c.userInterrupt()
	}
	return false, nil
}

// external takes the local APIC's vector: a notification, or through the IDT.
func (c *CPU) external() (took bool, err error) {
	vector, ok := c.apic.Acknowledge()
	if !ok {
		return false, nil
	}
	c.lookAPIC()
	c.modelled(vcpu.Injection, uint64(vector), 0, 0)
	c.traceInterrupt(vector)
	if c.uintr.Identify(registers{c}, vector) {
		c.notification()
		return true, nil
	}
	c.halted = false
	return true, c.deliver(event{vector: vector, kind: eventInterrupt})
}

// shadowed executes the instruction in the shadow of STI, MOV SS or POP SS.
func (c *CPU) shadowed() error {
	if c.stopHere() {
		return nil
	}
	s := c.shadow
	c.shadow = 0
	c.pending.And(^pendingShadow)
	if s&shadowMovSS == 0 && c.pending.Load()&pendingUser != 0 {
		// STI's shadow does not hold back a user interrupt (uintr.md §1.8).
		c.pending.And(^pendingUser)
		if took, err := c.userInterrupt(); took || err != nil {
			return err
		}
	}
	return c.stepIn(s)
}

// setShadow blocks events until the next instruction has run. Two in a row do not
// add up.
func (c *CPU) setShadow(s shadow) {
	c.shadow = s
	c.pending.Or(pendingShadow)
}

// step executes one instruction, watched: breakpoints before it, the trap of TF or
// of a data breakpoint after it, the tracer.
func (c *CPU) step() error { return c.stepIn(0) }

func (c *CPU) stepIn(s shadow) error {
	single := c.rflags&flagTF != 0
	c.ignore = 0
	c.sys.noStep = false
	covered := s&shadowMovSS != 0
	if !covered {
		c.trap = 0 // else a data breakpoint of MOV SS waits: SDM 3 §6.8.3
	}
	resume := c.rflags & flagRF
	ok := resume != 0 || covered || !c.breakpoint()
	if ok {
		c.repeat = false
		if ok = c.one(); ok && !c.repeat {
			c.rflags &^= resume
		}
	}
	if !ok {
		c.except()
	} else if c.shadow&shadowMovSS == 0 {
		if single && !c.sys.noStep {
			c.trap |= dr6BS
		}
		if c.trap != 0 {
			c.dr6 |= c.trap
			c.trap = 0
			if err := c.deliver(event{vector: vectorDB, kind: eventTrap}); err != nil {
				return err
			}
		}
	}
	c.updateStep()
	if c.shutdown {
		return c.failure("triple fault")
	}
	return nil
}

// one executes the instruction at c.rip by itself.
func (c *CPU) one() bool {
	b := c.find()
	if b == nil {
		return false
	}
	in := b.insts[0]
	if in.Len == 0 {
		in = b.insts[1] // behind a debugger's mark
	}
	c.next = c.rip + uint64(in.Len)
	if c.mode != decode.Mode64 {
		c.next &= 0xffffffff
	}
	c.traceInstruction(&in)
	if !c.execute(&in) {
		return false
	}
	c.rip = c.next
	c.smc = false
	c.retire(1)
	c.traceRetired()
	return true
}

// updateStep says whether single steps are needed: TF, RF, breakpoints, a tracer.
func (c *CPU) updateStep() {
	if c.rflags&(flagTF|flagRF) != 0 || c.dr7&0xff != 0 || c.config.Trace != nil && c.config.Trace.Instructions() {
		c.pending.Or(pendingStep)
	} else {
		c.pending.And(^pendingStep)
	}
}

// spin is how long a halted processor polls before its goroutine sleeps: waking
// costs more than that.
const spin = 20 * time.Microsecond

// sleep waits until something is pending or a timer is due.
func (c *CPU) sleep() error {
	if c.config.Virtual {
		c.idle = true
		c.grant(0)
		c.pending.Or(pendingStop) // who schedules moves time on
		return nil
	}
	c.sleeping.Store(true)
	defer c.sleeping.Store(false)
	deadline := c.Deadline()
	hz := float64(c.machine.clock.Hz())
	if c.halted {
		until := c.machine.clock.TSC() + uint64(spin.Seconds()*hz)
		for c.machine.clock.TSC() < min(until, deadline) {
			if c.Ready() {
				return nil
			}
			runtime.Gosched()
		}
	}
	if c.Ready() {
		return nil
	}
	wait := time.Hour
	if now := c.machine.clock.TSC(); deadline <= now {
		wait = 0
	} else if s := float64(deadline-now) / hz; s < 3600 {
		wait = time.Duration(s * 1e9)
	}
	if wait > 0 {
		c.exits.Count(vcpu.Halt)
		c.traceExit(vcpu.Halt, 0, 0, 0)
		c.timer.Reset(wait)
		select {
		case <-c.wake:
		case <-c.timer.C:
		}
		c.timer.Stop()
	}
	c.tick()
	return nil
}

// Ready reports that something is pending which a processor that sleeps has to look at. How its
// instructions are executed is not, nor what it cannot take: time must go on then.
func (c *CPU) Ready() bool {
	idle := pendingStep | pendingDebug
	if c.waitSIPI {
		idle |= pendingNMI | pendingInterrupt | pendingUser | pendingShadow
	}
	if c.rflags&flagIF == 0 {
		idle |= pendingInterrupt
	}
	if c.nmiMask {
		idle |= pendingNMI
	}
	return c.pending.Load()&^idle != 0
}

func (c *CPU) failure(what string) error {
	return fmt.Errorf("%w: vCPU %d at RIP %#x: %s", vcpu.ErrGuest, c.id, c.rip, what)
}

// Exits implements vcpu.CPU.
func (c *CPU) Exits(e *vcpu.Exits) { e.Add(&c.exits) }

// Close implements vcpu.CPU.
func (c *CPU) Close() error { return c.stopTranslating() }
