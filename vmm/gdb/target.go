package gdb

import "gvmm/vcpu"

// Target is the machine that is debugged. Threads are numbered from 0 here. All but
// Attach, Interrupt, Stops, Detach and Kill are called while every thread stands
// still: after Attach, and between a Stop and the next Resume.
type Target interface {
	// Attach stops every thread, and returns when they stand. It fails if the machine has ended.
	Attach() error
	Threads() int
	// Describe is a line on a thread for its user.
	Describe(thread int) string

	Registers(thread int, r *vcpu.Registers) error
	SetRegisters(thread int, r *vcpu.Registers) error
	// ReadMemory and WriteMemory return how many bytes there were.
	ReadMemory(thread int, la uint64, p []byte) int
	WriteMemory(thread int, la uint64, p []byte) int

	// SetPoints says where threads stop from now on. It fails, and nothing changed,
	// if the engine cannot look for all of them.
	SetPoints(breaks []uint64, watches []vcpu.Watch) error
	// Resume lets threads run, as how says for each. One Stop follows if it does not fail.
	Resume(how []Action) error
	// Interrupt stops the threads that run.
	Interrupt()
	Stops() <-chan Stop

	// Monitor executes a command of the target's own and returns what it says.
	Monitor(thread int, line string) string
	// Detach forgets breakpoints and lets all threads run.
	Detach()
	// Kill ends the machine.
	Kill()
}

// Action is what a thread does from a Resume on.
type Action uint8

// The actions.
const (
	Stay Action = iota
	Continue
	Step
)

// Stop is why the machine stopped.
type Stop struct {
	Thread int
	Trap   *vcpu.Trap // a breakpoint, a step, a watchpoint; nil: Interrupt, or as below
	Failed bool       // the thread's processor cannot go on
	Exited bool       // the machine has ended
	Status int        // with which exit status; -1 if it failed
}
