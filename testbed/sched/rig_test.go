package sched

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A rig carries decisions out, a nanosecond at a time: each vCPU has so much to do, and
// blocks when it is done.
type rig struct {
	t     require.TestingT
	s     *Scheduler
	now   Time
	run   []ID
	until []Time
	work  map[ID]int // ns left; below 0: endless
	done  map[ID]int
	ids   []ID
	check bool
}

// plain is a configuration whose numbers are easy: no cost of moving, no urgent share.
func plain(cpus int) Config {
	return Config{CPUs: cpus, Bound: 1, Latency: 40, MinSlice: 5, MaxSlice: 20, UrgentSlice: 4, UrgentShare: 0, UrgentBurst: 4}
}

func newRig(t require.TestingT, cfg Config) *rig {
	s, err := New(cfg)
	require.NoError(t, err)
	r := &rig{t: t, s: s, run: make([]ID, cfg.CPUs), until: make([]Time, cfg.CPUs), work: map[ID]int{}, done: map[ID]int{}, check: true}
	for c := range r.run {
		r.run[c], r.until[c] = None, Never
	}
	_, err = s.AddTenant(Tenant{})
	require.NoError(t, err)
	return r
}

func (r *rig) add(v VCPU) ID {
	id, err := r.s.Add(v)
	require.NoError(r.t, err)
	r.ids = append(r.ids, id)
	return id
}

// give is work for a vCPU, which wakes if it had none.
func (r *rig) give(id ID, ns int) {
	r.work[id] += ns
	r.s.Wake(r.now, id)
	r.apply()
}

func (r *rig) interrupt(id ID, ns int) {
	r.work[id] += ns
	r.s.Interrupt(r.now, id)
	r.apply()
}

func (r *rig) apply() {
	for _, d := range r.s.Decisions() {
		r.run[d.CPU], r.until[d.CPU] = d.Run, d.Until
	}
	if r.check {
		require.NoError(r.t, r.s.consistent())
		for c, id := range r.run {
			require.Equal(r.t, r.s.cpus[c].run, id, "a decision was not told")
		}
	}
}

// ticks is what is due now.
func (r *rig) ticks() {
	for c := range r.run {
		if r.until[c] <= r.now {
			r.s.Tick(r.now, c)
			r.apply()
		}
	}
}

// step passes 1 ns.
func (r *rig) step() {
	r.ticks()
	for _, id := range r.run {
		if id != None {
			r.work[id]--
			r.done[id]++
		}
	}
	r.now++
	for _, id := range append([]ID(nil), r.run...) {
		if id != None && r.work[id] == 0 {
			r.s.Block(r.now, id)
			r.apply()
		}
	}
}

func (r *rig) steps(n int) {
	for range n {
		r.step()
	}
}

// trace is whom CPU 0 ran in each of n steps, as letters.
func (r *rig) trace(n int) string {
	var b []byte
	for range n {
		r.ticks() // before anybody is seen to run
		if id := r.run[0]; id == None {
			b = append(b, '.')
		} else {
			b = append(b, byte('a'+id))
		}
		r.step()
	}
	return string(b)
}

// consistent judges the scheduler's own books: everyone is in exactly one place.
func (s *Scheduler) consistent() error {
	place := map[ID]string{}
	put := func(id ID, where string) error {
		if old, twice := place[id]; twice {
			return fmt.Errorf("vCPU %d is %s and %s", id, old, where)
		}
		place[id] = where
		return nil
	}
	throttled := map[ID]bool{}
	for c := range s.cpus {
		p := &s.cpus[c]
		if p.run != None {
			if v := &s.vcpus[p.run]; v.state != running || int(v.cpu) != c || !s.masks[v.mask].Has(c) {
				return fmt.Errorf("CPU %d runs vCPU %d, which is %d on %d", c, p.run, v.state, v.cpu)
			}
			if err := put(p.run, "running"); err != nil {
				return err
			}
		}
		n := int32(0)
		for id := p.rr.head; id != None; id = s.vcpus[id].next {
			n++
			if err := put(id, "rr"); err != nil {
				return err
			}
			if v := &s.vcpus[id]; v.class != roundRobin || !s.masks[v.mask].Has(c) {
				return fmt.Errorf("vCPU %d in round-robin of CPU %d", id, c)
			}
		}
		if n != p.rr.n || n != s.queued[c] {
			return fmt.Errorf("CPU %d: %d, %d and %d wait", c, n, p.rr.n, s.queued[c])
		}
		for id := p.urgent.head; id != None; id = s.vcpus[id].next {
			if err := put(id, "urgent"); err != nil {
				return err
			}
		}
		for i := range p.ready.Len() {
			it := p.ready.At(i)
			if v := &s.vcpus[it.ID]; v.class != deadline || Time(it.Key) != v.due || int(v.home) != c || v.left <= 0 {
				return fmt.Errorf("vCPU %d in the deadlines of CPU %d: %+v", it.ID, c, *v)
			}
			if err := put(ID(it.ID), "ready"); err != nil {
				return err
			}
		}
		for i := range p.replenish.Len() {
			throttled[ID(p.replenish.At(i).ID)] = true
		}
		if s.idle.Has(c) != (p.run == None) || s.loaded.Has(c) != (p.ready.Len() > 0 || p.rr.n > 0) {
			return fmt.Errorf("CPU %d: idle %v, loaded %v", c, s.idle.Has(c), s.loaded.Has(c))
		}
		if p.run == None && (p.urgent.n > 0 || p.ready.Len() > 0 || p.rr.n > 0) {
			return fmt.Errorf("CPU %d idles while somebody waits for it", c)
		}
		if p.todo || len(s.todo) > 0 {
			return fmt.Errorf("CPU %d is not settled", c)
		}
	}
	for i := range s.vcpus {
		v, id := &s.vcpus[i], ID(i)
		want := map[state]bool{waiting: true, running: true}[v.state]
		if (place[id] != "") != want || (place[id] == "running") != (v.state == running) {
			return fmt.Errorf("vCPU %d in state %d is %q", id, v.state, place[id])
		}
		if throttled[id] != v.throttled {
			return fmt.Errorf("vCPU %d throttled: %v", id, v.throttled)
		}
	}
	return nil
}

func ns(n int) time.Duration { return time.Duration(n) }

func reserve(budget, period int) VCPU {
	return VCPU{Reservation: Reservation{Budget: ns(budget), Period: ns(period)}, Node: -1}
}

func must(t testing.TB, s *Scheduler, v VCPU) ID {
	id, err := s.Add(v)
	require.NoError(t, err)
	return id
}
