package sched

import (
	"math/bits"
	"time"
)

type state uint8

const (
	gone state = iota // its ID may be given again
	blocked
	waiting
	running
)

// A class is how a vCPU competes now: a reservation that is used up leaves it in
// round-robin until the replenishment.
type class uint8

const (
	roundRobin class = iota
	deadline
	urgent
)

type vcpu struct {
	period, relative, budget Time // the reservation; period 0: none
	left                     Time // of this instance's budget
	due                      Time // this instance's deadline
	replenish                Time // when the next instance begins at the latest

	grant Time // urgent: left of the slice
	used  Time // round-robin: of this turn's slice

	since    Time // waiting: since when
	hotUntil Time // preempted: its cache is warm until then; see Config.MigrationCost

	run, steal, wakeLatency, maxLatency                              Time
	wakes, misses, preemptions, migrations, direct, deferred, weight uint32

	prev, next ID // in a list of its CPU
	tenant     TenantID
	cpu        int32 // where it runs, or queues in a list, or did last
	ran        int32 // where it ran last, or -1
	home       int32 // where its reservation is, and its heap
	mask       int32 // index into Scheduler.masks
	state      state
	class      class
	throttled  bool // in its home's heap of replenishments
	woken      bool // waits for its first run since it woke
}

// A list is a FIFO of vCPUs, linked through them.
type list struct {
	head, tail ID
	n          int32
}

func newList() list { return list{head: None, tail: None} }

func (l *list) pushBack(v []vcpu, id ID) {
	v[id].prev, v[id].next = l.tail, None
	if l.tail == None {
		l.head = id
	} else {
		v[l.tail].next = id
	}
	l.tail = id
	l.n++
}

func (l *list) pushFront(v []vcpu, id ID) {
	v[id].prev, v[id].next = None, l.head
	if l.head == None {
		l.tail = id
	} else {
		v[l.head].prev = id
	}
	l.head = id
	l.n++
}

func (l *list) remove(v []vcpu, id ID) {
	prev, next := v[id].prev, v[id].next
	if prev == None {
		l.head = next
	} else {
		v[prev].next = next
	}
	if next == None {
		l.tail = prev
	} else {
		v[next].prev = prev
	}
	l.n--
}

// A constant-bandwidth server (Abeni and Buttazzo 1998), with hard reservations: what
// is used up comes back at the period's end and not before.

// renew begins an instance at now.
func (v *vcpu) renew(now Time) {
	v.left, v.due, v.replenish = v.budget, now+v.relative, now+v.period
}

// resume is the server's wake rule: the old budget and deadline are kept only if using
// one by the other takes no more than the reserved bandwidth.
func (v *vcpu) resume(now Time) {
	if now >= v.replenish || now >= v.due {
		if now >= v.replenish || v.left > 0 {
			v.renew(now)
		}
		return
	}
	// left / (due - now) > budget / relative, in 128 bits.
	ah, al := bits.Mul64(uint64(max(v.left, 0)), uint64(v.relative))
	bh, bl := bits.Mul64(uint64(v.due-now), uint64(v.budget))
	if ah > bh || ah == bh && al > bl {
		v.renew(now)
	}
}

// late counts the deadline if it has passed with the budget still wanted, and begins
// another instance, so that one late instance is counted once.
func (v *vcpu) late(now Time) {
	if now <= v.due {
		return
	}
	v.misses++
	if v.left > 0 {
		v.renew(now)
	} else {
		v.due = v.replenish + v.relative // for the count only: it is about to be throttled
	}
}

func (v *vcpu) stats() Stats {
	return Stats{
		Run: time.Duration(v.run), Steal: time.Duration(v.steal),
		WakeLatency: time.Duration(v.wakeLatency), MaxLatency: time.Duration(v.maxLatency),
		Wakes: v.wakes, Misses: v.misses, Preemptions: v.preemptions, Migrations: v.migrations,
		Direct: v.direct, Deferred: v.deferred,
	}
}
