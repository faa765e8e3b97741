package sched

import (
	"fmt"
	"math"
	"time"

	"gvmm/testbed/internal/pq"
)

type cpu struct {
	run       ID
	last      ID      // whom it ran last
	charged   Time    // the running vCPU's time is accounted up to here
	until     Time    // when it wants Tick
	retry     Time    // idle: when a warm vCPU elsewhere may be taken
	urgent    list    // granted, in order
	rr        list    // round-robin
	ready     pq.Heap // by deadline: whose home this is
	replenish pq.Heap // by time: throttled ones whose home this is
	bucket    timeBucket
	density   uint64 // admitted
	least     Time   // the least relative deadline admitted
	assigned  int32  // vCPUs added here
	node      int
	todo      bool // to be rescheduled
	changed   bool // a decision is due
	told      ID   // by the last decision

	busy, urgentTime Time
	switches         uint64
}

// A Scheduler is the state of all CPUs. It is for one goroutine at a time.
type Scheduler struct {
	cfg  Config
	now  Time
	cpus []cpu

	vcpus   []vcpu
	pos     []int32 // of vCPUs in the heaps
	free    []ID
	tenants []interruptBucket

	masks    []Mask // distinct affinities; 0 is everywhere
	maskKeys map[string]int32

	idle    Mask    // CPUs that run nothing
	lowly   Mask    // CPUs that run in round-robin
	loaded  Mask    // CPUs where somebody waits
	nodes   []Mask  // of each CPU: the CPUs of its node
	queued  []int32 // round-robin vCPUs waiting at each CPU
	todo    []int32
	changed []int32
	out     []Decision
}

// New is a scheduler of idle CPUs.
func New(cfg Config) (*Scheduler, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := cfg.CPUs
	words := (n + 63) / 64
	s := &Scheduler{
		cfg: cfg, cpus: make([]cpu, n), queued: make([]int32, n), nodes: make([]Mask, n),
		idle: make(Mask, words), lowly: make(Mask, words), loaded: make(Mask, words), maskKeys: map[string]int32{},
		todo: make([]int32, 0, n), changed: make([]int32, 0, n), out: make([]Decision, 0, n),
	}
	every := make(Mask, words)
	byNode := map[int]Mask{}
	for c := range s.cpus {
		node := 0
		if cfg.Nodes != nil {
			node = cfg.Nodes[c]
		}
		if byNode[node] == nil {
			byNode[node] = make(Mask, words)
		}
		byNode[node].set(c)
		s.nodes[c] = byNode[node]
		s.cpus[c] = cpu{run: None, last: None, told: None, until: Never, retry: Never, least: Never, node: node,
			urgent: newList(), rr: newList(), bucket: newTimeBucket(cfg.UrgentShare, cfg.UrgentBurst)}
		every.set(c)
		s.idle.set(c)
	}
	s.masks = []Mask{every}
	return s, nil
}

// AddTenant makes a tenant known.
func (s *Scheduler) AddTenant(t Tenant) (TenantID, error) {
	if !(t.UrgentRate >= 0 && t.UrgentRate <= 1e9) || t.UrgentRate > 0 && (t.UrgentRate < 1e-3 || t.UrgentBurst < 1 || t.UrgentBurst > 1<<20) {
		return 0, fmt.Errorf("%w: %v urgent interrupts a second, %d at once: 0, or 0.001 to 1e9 and 1 to 1048576", ErrConfig, t.UrgentRate, t.UrgentBurst)
	}
	var b interruptBucket
	if t.UrgentRate > 0 {
		b.every = max(1, Time(math.Ceil(1e9/t.UrgentRate)))
		b.depth = b.every * Time(t.UrgentBurst)
	}
	s.tenants = append(s.tenants, b)
	return TenantID(len(s.tenants) - 1), nil
}

// Add admits a vCPU, blocked. ErrNotAdmitted: no CPU has room for its reservation.
func (s *Scheduler) Add(v VCPU) (ID, error) {
	if v.Tenant < 0 || int(v.Tenant) >= len(s.tenants) {
		return None, fmt.Errorf("%w: no tenant %d", ErrConfig, v.Tenant)
	}
	if v.Weight < 0 || v.Weight > 1000 {
		return None, fmt.Errorf("%w: weight %d: 1 to 1000", ErrConfig, v.Weight)
	}
	mask, err := s.intern(v.Affinity)
	if err != nil {
		return None, err
	}
	r, err := v.Reservation.checked()
	if err != nil {
		return None, err
	}
	if s.cfg.Policy == RoundRobin {
		r = Reservation{}
	}
	var home int
	if r.Budget > 0 {
		if home, err = s.admit(s.masks[mask], v.Node, r); err != nil {
			return None, err
		}
		p := &s.cpus[home]
		p.density += r.density()
		p.least = min(p.least, Time(r.Deadline))
	} else {
		home = s.spread(s.masks[mask], v.Node)
	}
	s.cpus[home].assigned++
	id := s.newID()
	s.vcpus[id] = vcpu{
		period: Time(r.Period), relative: Time(r.Deadline), budget: Time(r.Budget), weight: uint32(max(1, v.Weight)),
		prev: None, next: None, tenant: v.Tenant, cpu: int32(home), ran: -1, home: int32(home), mask: mask, state: blocked,
	}
	return id, nil
}

func (s *Scheduler) newID() ID {
	if n := len(s.free); n > 0 {
		id := s.free[n-1]
		s.free = s.free[:n-1]
		return id
	}
	s.vcpus = append(s.vcpus, vcpu{})
	s.pos = append(s.pos, -1)
	return ID(len(s.vcpus) - 1)
}

// intern finds the affinity among the distinct ones, cut to the CPUs that exist.
func (s *Scheduler) intern(m Mask) (int32, error) {
	if m == nil {
		return 0, nil
	}
	cut := make(Mask, len(s.idle))
	key := make([]byte, 0, 8*len(cut))
	var any uint64
	for w := range cut {
		if w < len(m) {
			cut[w] = m[w] & s.masks[0][w]
		}
		any |= cut[w]
		for b := range 8 {
			key = append(key, byte(cut[w]>>(8*b)))
		}
	}
	if any == 0 {
		return 0, fmt.Errorf("%w: an affinity with none of the %d CPUs", ErrConfig, len(s.cpus))
	}
	i, ok := s.maskKeys[string(key)]
	if !ok {
		i = int32(len(s.masks))
		s.masks = append(s.masks, cut)
		s.maskKeys[string(key)] = i
	}
	return i, nil
}

// Remove takes a vCPU away, whatever it does. It is O(vCPUs) at worst.
func (s *Scheduler) Remove(now Time, id ID) {
	if !s.known(id) {
		return
	}
	s.Block(now, id)
	v := &s.vcpus[id]
	s.cpus[v.home].assigned--
	if v.period > 0 {
		s.leave(v)
	}
	for c := range s.cpus {
		if s.cpus[c].last == id {
			s.cpus[c].last = None
		}
	}
	v.state = gone
	s.free = append(s.free, id)
}

func (s *Scheduler) known(id ID) bool {
	return id >= 0 && int(id) < len(s.vcpus) && s.vcpus[id].state != gone
}

func (s *Scheduler) advance(now Time) { s.now = max(s.now, now) }

// Wake says that a vCPU has something to do. It is nothing new if it had.
func (s *Scheduler) Wake(now Time, id ID) {
	s.advance(now)
	if s.known(id) && s.vcpus[id].state == blocked {
		s.wake(id)
		s.settle()
	}
}

// Interrupt says that an urgent interrupt is pending for a vCPU. One that runs takes it
// where it is. Another is woken, and if it is not at once its turn, made to be so, as
// far as its tenant's bucket and the CPU's allow.
func (s *Scheduler) Interrupt(now Time, id ID) {
	s.advance(now)
	if !s.known(id) {
		return
	}
	v := &s.vcpus[id]
	if v.state == blocked {
		s.wake(id)
		s.settle()
	}
	if v.state == running || v.class == urgent || !s.cfg.Direct {
		return
	}
	c := s.urgentCPU(v)
	p, b := &s.cpus[c], &s.tenants[v.tenant]
	if !p.bucket.has(s.now, s.cfg.UrgentSlice) || !b.has(s.now) {
		v.deferred++
		return
	}
	p.bucket.take(s.now, s.cfg.UrgentSlice)
	b.take(s.now)
	v.direct++
	s.dequeue(id)
	v.class, v.grant, v.cpu = urgent, Time(s.cfg.UrgentSlice), int32(c)
	s.enqueue(id, false)
	s.settle()
}

// Block says that a vCPU has nothing to do, whether it runs or was just preempted.
func (s *Scheduler) Block(now Time, id ID) {
	s.advance(now)
	if !s.known(id) {
		return
	}
	v := &s.vcpus[id]
	switch v.state {
	case running:
		s.charge(int(v.cpu))
		s.vacate(int(v.cpu))
		s.mark(int(v.cpu))
	case waiting:
		s.dequeue(id)
		v.steal += s.now - v.since
	default:
		return
	}
	if v.class == urgent {
		s.cpus[v.cpu].bucket.take(s.now, -time.Duration(v.grant))
	}
	if v.throttled {
		s.cpus[v.home].replenish.Remove(s.pos, int32(id))
		v.throttled = false
		s.mark(int(v.home))
	}
	v.state, v.class, v.woken, v.hotUntil = blocked, roundRobin, false, 0
	s.settle()
}

// Tick is what a decision's Until asked for.
func (s *Scheduler) Tick(now Time, cpu int) {
	s.advance(now)
	if cpu >= 0 && cpu < len(s.cpus) {
		s.mark(cpu)
		s.settle()
	}
}

// Decisions is what changed since the last call: at most one for each CPU, valid until
// the next call. Where one takes a vCPU that another gives up, the giving comes first
// in fact: carry out all stops before all starts.
func (s *Scheduler) Decisions() []Decision {
	s.out = s.out[:0]
	for _, c := range s.changed {
		p := &s.cpus[c]
		p.changed = false
		s.out = append(s.out, Decision{int(c), p.run, p.until})
	}
	s.changed = s.changed[:0]
	return s.out
}

// Stats is what happened to a vCPU; its running time up to the last event on its CPU.
func (s *Scheduler) Stats(id ID) Stats {
	if !s.known(id) {
		return Stats{}
	}
	v := &s.vcpus[id]
	stats := v.stats()
	if v.state == waiting {
		stats.Steal += time.Duration(s.now - v.since)
	}
	return stats
}

// Home is the CPU that keeps the vCPU's reservation, or to which it was first given.
func (s *Scheduler) Home(id ID) int { return int(s.vcpus[id].home) }

// CPU is what a CPU did up to its last event.
func (s *Scheduler) CPU(c int) CPUStats {
	p := &s.cpus[c]
	return CPUStats{time.Duration(p.busy), time.Duration(p.urgentTime), p.switches, float64(p.density) / densityOne}
}

// Account brings all statistics up to now.
func (s *Scheduler) Account(now Time) {
	s.advance(now)
	for c := range s.cpus {
		s.mark(c)
	}
	s.settle()
}
