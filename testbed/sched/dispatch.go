package sched

import "time"

// pullScan bounds how many of a queue an idle CPU looks at for one that it may run.
const pullScan = 32

func (s *Scheduler) mark(c int) {
	if p := &s.cpus[c]; !p.todo {
		p.todo = true
		s.todo = append(s.todo, int32(c))
	}
}

// settle reschedules every CPU that something happened to. A vCPU that is pushed off a
// foreign CPU goes home and may push another one off there, which then goes home: it
// ends, for each such step leaves fewer away from home.
func (s *Scheduler) settle() {
	for i := 0; i < len(s.todo); i++ {
		c := int(s.todo[i])
		s.cpus[c].todo = false
		s.reschedule(c)
	}
	s.todo = s.todo[:0]
}

func (s *Scheduler) reschedule(c int) {
	p := &s.cpus[c]
	s.refill(c)
	s.charge(c)
	if p.run != None {
		s.expire(c)
	}
	if p.run != None && s.beaten(c) {
		s.stop(c, false)
	}
	if p.run == None {
		if id := s.pick(c); id != None {
			s.start(c, id)
		}
	}
	s.conclude(c)
}

// charge accounts the running vCPU's time up to now.
func (s *Scheduler) charge(c int) {
	p := &s.cpus[c]
	d := s.now - p.charged
	p.charged = s.now
	if p.run == None {
		return
	}
	v := &s.vcpus[p.run]
	v.run += d
	p.busy += d
	switch v.class {
	case urgent:
		v.grant -= d
		p.urgentTime += d
	case deadline:
		v.left -= d
		v.late(s.now)
	case roundRobin:
		v.used += d
	}
}

// expire ends the running vCPU's turn if its slice, budget or grant is used up.
func (s *Scheduler) expire(c int) {
	p := &s.cpus[c]
	id := p.run
	v := &s.vcpus[id]
	switch v.class {
	case urgent:
		if v.grant > 0 {
			return
		}
		p.bucket.take(s.now, time.Duration(-v.grant))
		v.grant = 0
		s.classify(id)
	case deadline:
		if v.left > 0 {
			return
		}
		s.throttle(id)
	case roundRobin:
		if p.rr.n == 0 || v.used < s.slice(c, v) {
			return
		}
	}
	s.stop(c, true)
}

// classify finds the class that is a vCPU's own, which is in no queue.
func (s *Scheduler) classify(id ID) {
	v := &s.vcpus[id]
	v.class = roundRobin
	if v.period == 0 || v.throttled {
		return
	}
	v.resume(s.now)
	if v.left > 0 {
		v.class = deadline
	} else {
		s.throttle(id)
	}
}

// throttle puts a vCPU without budget into round-robin until the replenishment.
func (s *Scheduler) throttle(id ID) {
	v := &s.vcpus[id]
	v.class, v.throttled, v.used = roundRobin, true, 0
	s.cpus[v.home].replenish.Push(s.pos, int32(id), int64(v.replenish))
	s.mark(int(v.home))
}

// refill replenishes the budgets that are due at home c.
func (s *Scheduler) refill(c int) {
	p := &s.cpus[c]
	for p.replenish.Len() > 0 && Time(p.replenish.Min().Key) <= s.now {
		id := ID(p.replenish.Pop(s.pos).ID)
		v := &s.vcpus[id]
		v.throttled = false
		begin := v.replenish
		if s.now-begin >= v.period {
			begin = s.now // the tick came a period late: nothing to make up for
		}
		switch {
		case v.class == urgent:
			v.renew(begin)
		case v.state == running:
			s.charge(int(v.cpu))
			v.renew(begin)
			v.class = deadline
			s.mark(int(v.cpu))
		default:
			s.dequeue(id)
			v.renew(begin)
			v.class = deadline
			s.enqueue(id, false)
		}
	}
}

// beaten tells whether someone who waits at c goes before the running vCPU: urgent,
// then whose home this is by deadline, then guests with a reservation elsewhere, then
// round-robin.
func (s *Scheduler) beaten(c int) bool {
	p := &s.cpus[c]
	v := &s.vcpus[p.run]
	switch {
	case v.class == urgent:
		return false
	case p.urgent.n > 0:
		return true
	case p.ready.Len() == 0:
		return false
	case v.class != deadline || int(v.home) != c:
		return true
	}
	return Time(p.ready.Min().Key) < v.due
}

// vacate takes the running vCPU off c.
func (s *Scheduler) vacate(c int) { s.cpus[c].run = None }

// stop takes the running vCPU off c and queues it: at the end, or, where it had more of
// its turn, in front.
func (s *Scheduler) stop(c int, ended bool) {
	id := s.cpus[c].run
	v := &s.vcpus[id]
	s.vacate(c)
	v.state, v.since = waiting, s.now
	v.hotUntil = s.now + Time(s.cfg.MigrationCost)
	if !ended {
		v.preemptions++
	} else if v.class == roundRobin {
		// Behind all that wait here, or elsewhere behind no more: with three on two CPUs
		// the odd one so goes round.
		v.used = 0
		v.cpu = s.fewest(v, s.queued[c])
	}
	s.enqueue(id, !ended)
}

// start runs a vCPU, which is in no queue, on c.
func (s *Scheduler) start(c int, id ID) {
	p, v := &s.cpus[c], &s.vcpus[id]
	waited := s.now - v.since
	v.steal += waited
	if v.woken {
		v.woken = false
		v.wakeLatency += waited
		v.maxLatency = max(v.maxLatency, waited)
	}
	if v.ran >= 0 && int(v.ran) != c {
		v.migrations++
	}
	v.cpu, v.ran = int32(c), int32(c)
	if p.last != id {
		p.last = id
		p.switches++
	}
	v.state = running
	p.run, p.charged = id, s.now
	if v.class == deadline {
		v.late(s.now)
	}
}

// pick takes the first who waits for c out of its queue.
func (s *Scheduler) pick(c int) ID {
	p := &s.cpus[c]
	id := None
	switch {
	case p.urgent.n > 0:
		id = p.urgent.head
	case p.ready.Len() > 0:
		id = ID(p.ready.Min().ID)
	case p.rr.n > 0:
		id = p.rr.head
	default:
		return s.pull(c)
	}
	s.dequeue(id)
	return id
}

// pull takes a vCPU that waits elsewhere, of the same node first. One just preempted is
// left for as long as moving it would cost more than it waits; then Tick comes again.
func (s *Scheduler) pull(c int) ID {
	p := &s.cpus[c]
	p.retry = Never
	for _, near := range []bool{true, false} {
		for i := 1; i < len(s.cpus); i++ {
			q := (c + i) % len(s.cpus)
			if !s.loaded.Has(q) || (s.cpus[q].node == p.node) != near {
				continue
			}
			if id := s.pullFrom(c, q, near); id != None {
				s.dequeue(id)
				return id
			}
		}
	}
	return None
}

func (s *Scheduler) pullFrom(c, q int, near bool) ID {
	p, from := &s.cpus[c], &s.cpus[q]
	may := func(id ID) bool {
		v := &s.vcpus[id]
		if !s.masks[v.mask].Has(c) {
			return false
		}
		cold := v.hotUntil
		if !near && cold > 0 {
			cold += Time(s.cfg.NodeCost - s.cfg.MigrationCost)
		}
		if cold > s.now {
			p.retry = min(p.retry, cold)
			return false
		}
		return true
	}
	for i := range min(pullScan, from.ready.Len()) {
		if id := ID(from.ready.At(i).ID); may(id) {
			return id
		}
	}
	id := from.rr.head
	for i := 0; i < pullScan && id != None; i++ {
		if may(id) {
			return id
		}
		id = s.vcpus[id].next
	}
	return None
}

// conclude says when c wants to be asked again, and tells the caller if that or whom it
// runs has changed.
func (s *Scheduler) conclude(c int) {
	p := &s.cpus[c]
	until := p.retry
	low := false
	if p.run != None {
		until = Never
		switch v := &s.vcpus[p.run]; v.class {
		case urgent:
			until = s.now + v.grant
		case deadline:
			until = s.now + v.left
		case roundRobin:
			low = true
			if p.rr.n > 0 {
				until = s.now + max(0, s.slice(c, v)-v.used)
			}
		}
	}
	s.lowly.put(c, low)
	s.idle.put(c, p.run == None)
	if p.replenish.Len() > 0 {
		until = min(until, Time(p.replenish.Min().Key))
	}
	if until == p.until && p.run == p.told {
		return
	}
	p.until, p.told = until, p.run
	if !p.changed {
		p.changed = true
		s.changed = append(s.changed, int32(c))
	}
}
