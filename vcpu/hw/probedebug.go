package hw

import (
	"errors"
	"fmt"
	"time"

	"gvmm/vcpu"
)

// probeLoop is an instruction of probeSpin's loop.
const probeLoop = probeSpin + 15

// debugDeadline bounds the wait for one stop: a loop of three instructions passes a
// breakpoint at once, or never.
const debugDeadline = time.Second

// ProbeDebug finds out whether a debugger can stop a program on the KVM device at
// path: by a breakpoint, a watchpoint and a step at CPL 3. It fails with ErrDebug,
// naming what does not work.
func ProbeDebug(path string) error {
	p := new(probeMachine)
	if err := p.open(path, probeShim, false); err != nil {
		return err
	}
	defer p.close()
	if !p.wait(probeStarted, 0) {
		return fmt.Errorf("%w: the probe's program does not start: %v", ErrDebug, p.failed)
	}
	p.halt()
	for _, t := range []struct {
		what string
		want vcpu.Debug
		kind vcpu.TrapKind
	}{
		{"a breakpoint does not stop a program", vcpu.Debug{Breaks: []uint64{probeLoop}}, vcpu.TrapBreak},
		{"a watchpoint does not stop a program", vcpu.Debug{Watches: []vcpu.Watch{{Addr: probeBeat, Size: 8, Write: true}}}, vcpu.TrapWatch},
		{"a program cannot be stepped through", vcpu.Debug{Step: true}, vcpu.TrapStep},
	} {
		if err := p.cpu.SetDebug(&t.want); err != nil {
			return err
		}
		if trap := p.stopped(); trap == nil || trap.Kind != t.kind {
			return fmt.Errorf("%w: on this host's KVM %s; --accel soft can be debugged", ErrDebug, t.what)
		}
	}
	return nil
}

// halt stops the processor.
func (p *probeMachine) halt() {
	p.stop.Store(true)
	p.cpu.Kick()
	p.done.Wait()
	p.stop.Store(false)
}

// stopped lets the processor run until it stops for the debugger, nil if it does not.
func (p *probeMachine) stopped() *vcpu.Trap {
	timer := time.AfterFunc(debugDeadline, func() {
		p.stop.Store(true)
		p.cpu.Kick()
	})
	err := p.cpu.Run(nobody{}, &p.stop)
	timer.Stop()
	p.stop.Store(false)
	var trap *vcpu.Trap
	if !errors.As(err, &trap) {
		return nil
	}
	return trap
}
