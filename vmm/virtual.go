package vmm

import (
	"time"

	"gvmm/vcpu/soft"
)

// virtualClock is guest time that instructions make: a TSC of 1 GHz. Only the
// goroutine that runs the processors moves it.
type virtualClock struct {
	icount  uint64    // nanoseconds an instruction
	round   uint64    // when the round under way began
	running *soft.CPU // whose turn it is, nil between turns
	before  uint64    // instructions that it had retired
}

var _ soft.Clock = (*virtualClock)(nil)

// TSC implements soft.Clock.
func (v *virtualClock) TSC() uint64 {
	if v.running == nil {
		return v.round
	}
	return v.round + (v.running.Retired()-v.before)*v.icount
}

// Hz implements soft.Clock.
func (v *virtualClock) Hz() uint64 { return 1e9 }

// virtualEpoch is the date at which virtual time begins.
var virtualEpoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

func (v *virtualClock) wall() time.Time { return virtualEpoch.Add(time.Duration(v.TSC())) }

// turn is how many instructions a processor runs before the next one does.
const turn = 10_000

// runVirtual runs all processors in turn until the machine stops. A round takes as
// long as the processor that did most; when all are halted time goes to the first
// timer.
func (e *softEngine) runVirtual() error {
	v := e.virtual
	for _, c := range e.vcpus {
		c.Attach(e.machine)
	}
	for !e.machine.stop.Load() {
		idle, longest := true, uint64(0)
		for _, c := range e.vcpus {
			v.running, v.before = c, c.Retired()
			halted, err := c.RunVirtual(turn)
			longest = max(longest, c.Retired()-v.before)
			v.running = nil
			if err != nil {
				return err
			}
			idle = idle && halted
			if e.machine.stop.Load() {
				break
			}
		}
		v.round += longest * v.icount
		if idle && !e.awaited() {
			// Nothing will ever happen, but that somebody stops the machine.
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// awaited moves time to the first deadline of a machine of which all processors are
// halted. It is false if there is none.
func (e *softEngine) awaited() bool {
	first := ^uint64(0)
	for _, c := range e.vcpus {
		if c.Ready() {
			return true
		}
		first = min(first, c.Deadline())
	}
	if first == ^uint64(0) {
		return false
	}
	e.virtual.round = max(e.virtual.round, first)
	return true
}
