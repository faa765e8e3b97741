package sched

import "math/bits"

// wake makes a blocked vCPU wait, where it will run soonest.
func (s *Scheduler) wake(id ID) {
	v := &s.vcpus[id]
	v.state, v.since, v.woken = waiting, s.now, true
	v.wakes++
	s.classify(id)
	if v.class == roundRobin {
		v.used = 0
		if !s.idle.Has(int(v.cpu)) {
			if c := s.idleFor(v, int(v.cpu)); c >= 0 {
				v.cpu = int32(c)
			} else {
				v.cpu = s.fewest(v, s.queued[v.cpu])
			}
		}
	}
	s.enqueue(id, false)
}

// enqueue puts a waiting vCPU into the queue of its class and has its CPU look, or, if
// that is busy, an idle one.
func (s *Scheduler) enqueue(id ID, front bool) {
	v := &s.vcpus[id]
	q := int(v.cpu)
	switch v.class {
	case urgent:
		s.cpus[q].urgent.pushBack(s.vcpus, id)
		s.mark(q)
		return
	case deadline:
		q = int(v.home)
		s.cpus[q].ready.Push(s.pos, int32(id), int64(v.due))
	case roundRobin:
		if front {
			s.cpus[q].rr.pushFront(s.vcpus, id)
		} else {
			s.cpus[q].rr.pushBack(s.vcpus, id)
		}
		s.queued[q]++
	}
	s.loaded.set(q)
	s.mark(q)
	if !s.idle.Has(q) {
		if c := s.idleFor(v, q); c >= 0 {
			s.mark(c)
		}
	}
}

// dequeue takes a waiting vCPU out of the queue of its class.
func (s *Scheduler) dequeue(id ID) {
	v := &s.vcpus[id]
	q := int(v.cpu)
	switch v.class {
	case urgent:
		s.cpus[q].urgent.remove(s.vcpus, id)
		s.mark(q)
		return
	case deadline:
		q = int(v.home)
		s.cpus[q].ready.Remove(s.pos, int32(id))
	case roundRobin:
		s.cpus[q].rr.remove(s.vcpus, id)
		s.queued[q]--
	}
	p := &s.cpus[q]
	s.loaded.put(q, p.ready.Len() > 0 || p.rr.n > 0)
	s.mark(q)
}

// idleFor is an idle CPU that v may use, of c's node first, or -1.
func (s *Scheduler) idleFor(v *vcpu, c int) int {
	m := s.masks[v.mask]
	if near := after(s.idle, m, s.nodes[c], c); near >= 0 {
		return near
	}
	return after(s.idle, m, m, c)
}

// fewest is the CPU where v would wait for the fewest turns, if that is at most limit,
// or where it is. A CPU that runs something is a turn more than those that wait there.
// A turn is longer than moving costs, or v stays.
func (s *Scheduler) fewest(v *vcpu, limit int32) int32 {
	here, best := int(v.cpu), v.cpu
	slice := s.slice(here, v)
	for w, word := range s.masks[v.mask] {
		for ; word != 0; word &= word - 1 {
			c := w*64 + bits.TrailingZeros64(word)
			if n := s.queued[c] + 1; c != here && (n < limit || n == limit && best == v.cpu) && slice > s.cost(here, c) {
				best, limit = int32(c), n
			}
		}
	}
	return best
}

func (s *Scheduler) cost(from, to int) Time {
	if s.cpus[from].node == s.cpus[to].node {
		return Time(s.cfg.MigrationCost)
	}
	return Time(s.cfg.NodeCost)
}

// slice follows load: the more wait at c, the shorter it is.
func (s *Scheduler) slice(c int, v *vcpu) Time {
	each := Time(s.cfg.Latency) / Time(s.queued[c]+1)
	return min(max(each, Time(s.cfg.MinSlice)), Time(s.cfg.MaxSlice)) * Time(v.weight)
}

// urgentCPU is where a waiting vCPU's urgent interrupt goes: where the vCPU waits, unless
// someone with a deadline or another interrupt is served there and round-robin elsewhere.
func (s *Scheduler) urgentCPU(v *vcpu) int {
	c := int(v.cpu)
	if v.class == deadline {
		c = int(v.home)
	}
	if s.lowly.Has(c) {
		return c
	}
	m := s.masks[v.mask]
	if near := after(s.lowly, m, s.nodes[c], c); near >= 0 {
		return near
	}
	if far := after(s.lowly, m, m, c); far >= 0 {
		return far
	}
	return c
}
