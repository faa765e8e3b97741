package sim

import (
	"gvmm/testbed/load"
	"gvmm/testbed/sched"
)

// A tenant is one vCPU with what it has to do. Its order of work is: what it costs to
// get there, the handler of an interrupt, the other pending interrupts, computation.
type tenant struct {
	arrivals, service, background load.State

	overhead int64 // ns of cost before anything else
	handler  int64 // ns left of the handler
	compute  int64 // ns left of computation
	arrived  int64 // when the interrupt in work did

	asked, served int64 // ns of work, costs apart; asked without what is pending
	latencies     int64 // sum of ns, over handled
	slowest       int64 // ns

	interrupts, handled, lost, misses uint32

	head, tail int32 // of pending, in the pool
	cpu        int32 // where it ran last, or -1
	pending    uint16
	group      uint16
	phase      phase
}

type phase uint8

const (
	computing  phase = iota // no interrupt in work
	delivering              // its cost is being paid
	handling
)

// pool holds the arrival times of all pending interrupts.
type pool struct {
	nodes []pendingNode
	free  int32
}

type pendingNode struct {
	at   int64
	next int32
}

const nobody int32 = -1

func (p *pool) push(t *tenant, at int64) {
	i := p.free
	if i == nobody {
		i = int32(len(p.nodes))
		p.nodes = append(p.nodes, pendingNode{})
	} else {
		p.free = p.nodes[i].next
	}
	p.nodes[i] = pendingNode{at, nobody}
	if t.pending == 0 {
		t.head = i
	} else {
		p.nodes[t.tail].next = i
	}
	t.tail = i
	t.pending++
}

func (p *pool) pop(t *tenant) (at int64) {
	i := t.head
	at, t.head = p.nodes[i].at, p.nodes[i].next
	p.nodes[i].next = p.free
	p.free = i
	t.pending--
	return at
}

// remaining is ns to the end of the present piece of work.
func (t *tenant) remaining(greedy bool) int64 {
	switch {
	case t.overhead > 0 || t.phase == delivering:
		return t.overhead
	case t.phase == handling:
		return t.handler
	case greedy:
		return load.Never
	}
	return t.compute
}

// progress does ns of the present piece of work, and no more than it has.
func (t *tenant) progress(ns int64, greedy bool) {
	if t.overhead > 0 {
		t.overhead -= ns
		return
	}
	t.served += ns
	switch {
	case t.phase == handling:
		t.handler -= ns
	case greedy:
		t.asked += ns
	default:
		t.compute -= ns
	}
}

// hostCPU is what a host CPU does now.
type hostCPU struct {
	run   sched.ID
	last  sched.ID
	at    int64 // the tenant's progress is accounted up to here
	until int64 // the scheduler's timer
}
