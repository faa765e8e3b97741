package vmm

import (
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// placing is held by the one machine of this process whose processors have host
// CPUs of their own.
var placing sync.Mutex

// placement keeps the VMM's threads off the host CPUs on which processors run. A
// device's thread that the host wakes on a processor's CPU would push it aside,
// and its message would wait for that thread to sleep instead of interrupting.
type placement struct {
	cpus    []int // of processor i
	before  unix.CPUSet
	threads unix.CPUSet // for everybody else
}

// place gives each of n processors a host CPU, the highest first. It returns nil
// where there are not more CPUs than processors, or where another machine of this
// process has done it: the host's scheduler then places everything.
func place(n int) *placement {
	p := new(placement)
	if unix.SchedGetaffinity(0, &p.before) != nil || p.before.Count() <= n || !placing.TryLock() {
		return nil
	}
	p.threads = p.before
	for cpu := len(p.before)*64 - 1; cpu >= 0 && len(p.cpus) < n; cpu-- {
		if p.before.IsSet(cpu) {
			p.cpus = append(p.cpus, cpu)
			p.threads.Clear(cpu)
		}
	}
	moveThreads(&p.threads)
	return p
}

// enter moves the calling thread, to which its goroutine is locked, to the host
// CPU of processor i, and returns what moves it back.
func (p *placement) enter(i int) (leave func()) {
	if p == nil {
		return func() {}
	}
	var own unix.CPUSet
	own.Set(p.cpus[i])
	_ = unix.SchedSetaffinity(0, &own)
	return func() { _ = unix.SchedSetaffinity(0, &p.threads) }
}

// end lets every thread run where it could before.
func (p *placement) end() {
	if p != nil {
		moveThreads(&p.before)
		placing.Unlock()
	}
}

// moveThreads sets the affinity of all threads of this process. Those that are
// started later inherit it: the Go runtime never starts one from a locked thread.
func moveThreads(set *unix.CPUSet) {
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, e := range entries {
		if id, err := strconv.Atoi(e.Name()); err == nil {
			_ = unix.SchedSetaffinity(id, set)
		}
	}
}
