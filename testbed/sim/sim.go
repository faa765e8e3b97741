package sim

import (
	"context"
	"errors"
	"runtime"
	"time"

	"gvmm/testbed/internal/pq"
	"gvmm/testbed/load"
	"gvmm/testbed/sched"
)

// A simulation is one run's state. Events are the next arrival of each stream, and for
// each CPU the end of its tenant's present work or the scheduler's timer.
type simulation struct {
	cfg     *Config
	sched   *sched.Scheduler
	tenants []tenant
	groups  []groupCount
	pool    pool
	cpus    []hostCPU

	streams   pq.Heap // ids: 2·tenant for interrupts, +1 for computation
	streamPos []int32
	pieces    pq.Heap // ids: CPUs
	piecePos  []int32

	now    int64
	events uint64
}

// Run simulates. Progress, if not nil, is told now and then how much of the duration
// has passed. The error is ErrConfig, the scheduler's or load's, or the context's.
func Run(ctx context.Context, cfg Config, progress func(done, total time.Duration)) (*Result, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	begin := time.Now()
	s, err := newSimulation(&cfg)
	if err != nil {
		return nil, err
	}
	end := int64(cfg.Duration)
	for {
		if s.events&0xffff == 0 {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if progress != nil {
				progress(time.Duration(s.now), cfg.Duration)
			}
		}
		if !s.step(end) {
			break
		}
	}
	for c := range s.cpus {
		s.account(c, end)
	}
	s.sched.Account(sched.Time(end))
	if progress != nil {
		progress(cfg.Duration, cfg.Duration)
	}
	r := s.result()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	wall := time.Since(begin)
	r.Speed = Speed{Wall: wall, EventsPerSecond: float64(s.events) / wall.Seconds(), Heap: m.HeapAlloc}
	return r, nil
}

func newSimulation(cfg *Config) (*simulation, error) {
	scheduler, err := sched.New(cfg.Scheduler)
	if err != nil {
		return nil, err
	}
	total := 0
	for i := range cfg.Groups {
		total += cfg.Groups[i].Tenants
	}
	s := &simulation{
		cfg: cfg, sched: scheduler, tenants: make([]tenant, total), pool: pool{free: nobody},
		cpus: make([]hostCPU, cfg.Scheduler.CPUs), streamPos: make([]int32, 2*total), piecePos: make([]int32, cfg.Scheduler.CPUs),
	}
	for c := range s.cpus {
		s.cpus[c] = hostCPU{run: sched.None, last: sched.None, until: load.Never}
		s.pieces.Push(s.piecePos, int32(c), load.Never)
	}
	for range cfg.Groups {
		s.groups = append(s.groups, newGroupCount())
	}
	first := 0
	for g := range cfg.Groups {
		for i := first; i < first+cfg.Groups[g].Tenants; i++ {
			if err := s.populate(i, g); err != nil {
				return nil, err
			}
		}
		first += cfg.Groups[g].Tenants
	}
	return s, nil
}

// populate is tenant i of group g. One that is not admitted runs without a reservation.
func (s *simulation) populate(i, g int) error {
	group := &s.cfg.Groups[g]
	id, err := s.sched.AddTenant(group.Urgent)
	if err != nil {
		return err
	}
	v := sched.VCPU{Tenant: id, Reservation: group.Reservation, Node: -1}
	_, err = s.sched.Add(v)
	if errors.Is(err, sched.ErrNotAdmitted) {
		v.Reservation = sched.Reservation{}
		s.groups[g].refused++
		_, err = s.sched.Add(v)
	}
	if err != nil {
		return err
	}
	t := &s.tenants[i]
	*t = tenant{cpu: -1, group: uint16(g)}
	for k, state := range []*load.State{&t.arrivals, &t.service, &t.background} {
		*state = load.NewState(s.cfg.Seed, uint64(3*i+k))
	}
	if group.Interrupts.Rate > 0 {
		s.streams.Push(s.streamPos, int32(2*i), group.Interrupts.Next(&t.arrivals))
	}
	if group.Greedy {
		s.sched.Wake(0, sched.ID(i))
		s.apply()
	} else if group.Background.Rate > 0 {
		s.streams.Push(s.streamPos, int32(2*i+1), group.Background.Next(&t.background))
	}
	return nil
}

// step is one event, or false if none is left before the end.
func (s *simulation) step(end int64) bool {
	piece := s.pieces.Min()
	arrival := pq.Item{Key: load.Never}
	if s.streams.Len() > 0 {
		arrival = s.streams.Min()
	}
	if min(piece.Key, arrival.Key) >= end {
		return false
	}
	s.events++
	if piece.Key <= arrival.Key {
		s.now = piece.Key
		s.piece(int(piece.ID))
		return true
	}
	s.now = arrival.Key
	i := int(arrival.ID / 2)
	t := &s.tenants[i]
	group := &s.cfg.Groups[t.group]
	var gap int64
	if arrival.ID%2 == 0 {
		s.interrupt(i)
		gap = group.Interrupts.Next(&t.arrivals)
	} else {
		s.compute(i)
		gap = group.Background.Next(&t.background)
	}
	if gap >= end-s.now {
		s.streams.Remove(s.streamPos, arrival.ID)
	} else {
		s.streams.Fix(s.streamPos, arrival.ID, s.now+gap)
	}
	return true
}

// onCPU is the CPU that runs tenant i, or -1.
func (s *simulation) onCPU(i int) int {
	if c := s.tenants[i].cpu; c >= 0 && s.cpus[c].run == sched.ID(i) {
		return int(c)
	}
	return -1
}

// interrupt is a completion for tenant i.
func (s *simulation) interrupt(i int) {
	t := &s.tenants[i]
	t.interrupts++
	if int(t.pending) >= s.cfg.Depth {
		t.lost++
		return
	}
	s.pool.push(t, s.now)
	c := s.onCPU(i)
	if c < 0 {
		s.sched.Interrupt(sched.Time(s.now), sched.ID(i))
		s.apply()
		return
	}
	if t.phase == computing { // else the handler that is running takes it, too
		s.account(c, s.now)
		s.deliver(t, s.cfg.Costs.ExitsRunning)
		s.arm(c)
	}
}

// compute is computation for tenant i.
func (s *simulation) compute(i int) {
	t := &s.tenants[i]
	c := s.onCPU(i)
	if c >= 0 {
		s.account(c, s.now)
	}
	work := s.cfg.Groups[t.group].Background.Service.Draw(&t.background)
	t.compute += work
	t.asked += work
	if c >= 0 {
		s.arm(c)
		return
	}
	s.sched.Wake(sched.Time(s.now), sched.ID(i))
	s.apply()
}

// deliver begins with the first pending interrupt.
func (s *simulation) deliver(t *tenant, exits int) {
	t.arrived = s.pool.pop(t)
	t.phase = delivering
	t.overhead += int64(s.cfg.Costs.Deliver)
	if !s.cfg.Posted {
		t.overhead += int64(exits) * int64(s.cfg.Costs.Exit)
		s.groups[t.group].exits += uint64(exits)
	}
}

// handle enters the handler.
func (s *simulation) handle(t *tenant) {
	latency := s.now - t.arrived
	s.groups[t.group].record(s.groups[t.group].latency, latency)
	t.latencies += latency
	t.slowest = max(t.slowest, latency)
	t.handler = s.cfg.Groups[t.group].Interrupts.Service.Draw(&t.service)
	t.asked += t.handler
	t.phase = handling
}

// handled returns from the handler, or goes on with what came meanwhile.
func (s *simulation) handled(t *tenant) {
	g := &s.groups[t.group]
	response := s.now - t.arrived
	g.record(g.response, response)
	t.handled++
	if d := s.cfg.Groups[t.group].Deadline; d > 0 && response > int64(d) {
		t.misses++
	}
	t.phase = computing
	if t.pending > 0 {
		g.coalesced++
		t.arrived = s.pool.pop(t)
		s.handle(t)
	}
}

// piece is the end of a piece of work on c, or its timer.
func (s *simulation) piece(c int) {
	p := &s.cpus[c]
	s.account(c, s.now)
	if p.run != sched.None && !s.next(c) {
		s.groups[s.tenants[p.run].group].halts++
		s.sched.Block(sched.Time(s.now), p.run)
	}
	if p.until <= s.now {
		s.sched.Tick(sched.Time(s.now), c)
	}
	s.apply()
	s.arm(c)
}

// next finds the tenant of c its next piece of work; false if there is none.
func (s *simulation) next(c int) bool {
	t := &s.tenants[s.cpus[c].run]
	for {
		switch {
		case t.overhead > 0:
			return true
		case t.phase == delivering:
			s.handle(t)
		case t.phase == handling && t.handler == 0:
			s.handled(t)
		case t.phase == handling:
			return true
		case t.pending > 0:
			s.deliver(t, s.cfg.Costs.ExitsEntered)
		default:
			return t.compute > 0 || s.cfg.Groups[t.group].Greedy
		}
	}
}

// account brings the tenant of c up to now.
func (s *simulation) account(c int, now int64) {
	p := &s.cpus[c]
	if p.run != sched.None {
		t := &s.tenants[p.run]
		t.progress(now-p.at, s.cfg.Groups[t.group].Greedy)
	}
	p.at = now
}

// arm sets the time of c's next event.
func (s *simulation) arm(c int) {
	p := &s.cpus[c]
	at := p.until
	if p.run != sched.None {
		t := &s.tenants[p.run]
		if left := t.remaining(s.cfg.Groups[t.group].Greedy); left < load.Never {
			at = min(at, s.now+left)
		}
	}
	s.pieces.Fix(s.piecePos, int32(c), at)
}

// apply carries out what the scheduler decided: all stops, then all starts.
func (s *simulation) apply() {
	decisions := s.sched.Decisions()
	for _, d := range decisions {
		p := &s.cpus[d.CPU]
		s.account(d.CPU, s.now)
		p.until = int64(d.Until)
		if p.run != d.Run {
			p.run = sched.None
		}
	}
	for _, d := range decisions {
		p := &s.cpus[d.CPU]
		if d.Run != p.run {
			p.run = d.Run
			t := &s.tenants[d.Run]
			if p.last != d.Run {
				t.overhead += int64(s.cfg.Costs.Switch)
			}
			if t.cpu >= 0 && int(t.cpu) != d.CPU {
				t.overhead += int64(s.cfg.Costs.Migrate)
			}
			t.cpu, p.last = int32(d.CPU), d.Run
			s.next(d.CPU)
		}
		s.arm(d.CPU)
	}
}
