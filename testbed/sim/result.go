package sim

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"gvmm/testbed/sched"
)

// longest is the longest time that histograms tell apart, in ns; it stands for longer ones.
const longest = int64(100e9)

type groupCount struct {
	latency, response       *hdrhistogram.Histogram
	refused                 int
	exits, halts, coalesced uint64
}

func newGroupCount() groupCount {
	return groupCount{latency: hdrhistogram.New(1, longest, 3), response: hdrhistogram.New(1, longest, 3)}
}

func (g *groupCount) record(h *hdrhistogram.Histogram, ns int64) {
	_ = h.RecordValue(min(max(ns, 1), longest)) // within the histogram's range
}

// Quantiles are of times in ns; 0 if there is no sample.
type Quantiles struct {
	Samples int64   `json:"samples"`
	Mean    float64 `json:"mean"`
	P50     int64   `json:"p50"`
	P99     int64   `json:"p99"`
	P999    int64   `json:"p999"`
	Max     int64   `json:"max"`
}

func quantiles(h *hdrhistogram.Histogram) Quantiles {
	if h.TotalCount() == 0 {
		return Quantiles{}
	}
	return Quantiles{h.TotalCount(), h.Mean(), h.ValueAtQuantile(50), h.ValueAtQuantile(99), h.ValueAtQuantile(99.9), h.Max()}
}

// A GroupResult is what a group's tenants got. Times are ns.
type GroupResult struct {
	Name        string            `json:"name"`
	Tenants     int               `json:"tenants"`
	Refused     int               `json:"refused"` // reservations not admitted: these ran without
	Reservation sched.Reservation `json:"reservation"`

	Interrupts uint64 `json:"interrupts"`
	Handled    uint64 `json:"handled"`
	Coalesced  uint64 `json:"coalesced"` // handled without a delivery of their own
	Lost       uint64 `json:"lost"`      // too many pending
	Pending    uint64 `json:"pending"`   // at the end, the one in work included

	Latency  Quantiles `json:"latency_ns"`  // arrival to the handler's first instruction
	Response Quantiles `json:"response_ns"` // arrival to the handler's return
	Misses   uint64    `json:"misses"`      // responses after Group.Deadline

	CPU          float64 `json:"cpu_seconds"`
	Steal        float64 `json:"steal_seconds"`
	BudgetMisses uint64  `json:"budget_misses"` // budgets that the scheduler did not give by their deadline
	Direct       uint64  `json:"direct"`        // interrupts that scheduled their vCPU at once
	Deferred     uint64  `json:"deferred"`      // that a bucket kept from it
	Preemptions  uint64  `json:"preemptions"`
	Migrations   uint64  `json:"migrations"`

	InterruptExits uint64 `json:"interrupt_exits"`
	HaltExits      uint64 `json:"halt_exits"`

	// Fairness is Jain's index over the tenants, of work done by work asked for (of
	// greedy tenants: of work done). Slowest and MeanSlowest: the worst tenant's
	// slowest latency, and the worst tenant's mean.
	Fairness    float64 `json:"fairness"`
	Slowest     int64   `json:"slowest_ns"`
	MeanSlowest float64 `json:"mean_slowest_ns"`
}

// Speed is the simulator's own, measured.
type Speed struct {
	Wall            time.Duration `json:"wall_ns"`
	EventsPerSecond float64       `json:"events_per_second"`
	Heap            uint64        `json:"heap_bytes"`
}

// A Result is one run's.
type Result struct {
	CPUs        int           `json:"cpus"`
	Duration    time.Duration `json:"duration_ns"`
	Seed        uint64        `json:"seed"`
	Posted      bool          `json:"posted"`
	Costs       Costs         `json:"costs"`
	Groups      []GroupResult `json:"groups"`
	Utilization float64       `json:"utilization"`  // of all CPUs, costs included
	Urgent      float64       `json:"urgent_share"` // of all CPUs, in urgent slices
	Density     float64       `json:"density"`      // admitted, of all CPUs
	Switches    uint64        `json:"switches"`

	// Exits are of interrupts, of halts and of preemptions.
	Exits             uint64  `json:"exits"`
	ExitsPerInterrupt float64 `json:"exits_per_interrupt"`
	Events            uint64  `json:"events"`
	Speed             Speed   `json:"speed"`
}

func (s *simulation) result() *Result {
	r := &Result{CPUs: len(s.cpus), Duration: s.cfg.Duration, Seed: s.cfg.Seed, Posted: s.cfg.Posted, Costs: s.cfg.Costs, Events: s.events}
	for c := range s.cpus {
		p := s.sched.CPU(c)
		whole := s.cfg.Duration.Seconds() * float64(len(s.cpus))
		r.Utilization += p.Busy.Seconds() / whole
		r.Urgent += p.Urgent.Seconds() / whole
		r.Density += p.Density / float64(len(s.cpus))
		r.Switches += p.Switches
	}
	first := 0
	var handled uint64
	for g := range s.groups {
		n := s.cfg.Groups[g].Tenants
		group := s.groupResult(g, first, n)
		r.Exits += group.InterruptExits + group.HaltExits + group.Preemptions
		handled += group.Handled
		r.Groups = append(r.Groups, group)
		first += n
	}
	if handled > 0 {
		r.ExitsPerInterrupt = float64(r.Exits) / float64(handled)
	}
	return r
}

func (s *simulation) groupResult(g, first, n int) GroupResult {
	count, cfg := &s.groups[g], &s.cfg.Groups[g]
	r := GroupResult{
		Name: cfg.Name, Tenants: n, Refused: count.refused, Reservation: cfg.Reservation, Coalesced: count.coalesced,
		Latency: quantiles(count.latency), Response: quantiles(count.response), InterruptExits: count.exits, HaltExits: count.halts,
	}
	var jain fairness
	mean := int64(cfg.Interrupts.Service.Mean)
	for i := first; i < first+n; i++ {
		t := &s.tenants[i]
		stats := s.sched.Stats(sched.ID(i))
		r.Interrupts += uint64(t.interrupts)
		r.Handled += uint64(t.handled)
		r.Lost += uint64(t.lost)
		r.Pending += uint64(t.pending)
		if t.phase != computing {
			r.Pending++
		}
		r.Misses += uint64(t.misses)
		r.CPU += stats.Run.Seconds()
		r.Steal += stats.Steal.Seconds()
		r.BudgetMisses += uint64(stats.Misses)
		r.Direct += uint64(stats.Direct)
		r.Deferred += uint64(stats.Deferred)
		r.Preemptions += uint64(stats.Preemptions)
		r.Migrations += uint64(stats.Migrations)
		r.Slowest = max(r.Slowest, t.slowest)
		if t.handled > 0 {
			r.MeanSlowest = max(r.MeanSlowest, float64(t.latencies)/float64(t.handled))
		}
		if asked := t.asked + (int64(t.pending)+int64(t.lost))*mean; cfg.Greedy {
			jain.add(float64(t.served))
		} else if asked > 0 {
			jain.add(float64(t.served) / float64(asked))
		}
	}
	r.Fairness = jain.index()
	return r
}

// fairness is Jain's index, (Σx)² / (n Σx²): 1 if all are equal, 1/n if one has all.
type fairness struct{ n, sum, squares float64 }

func (f *fairness) add(x float64) { f.n++; f.sum += x; f.squares += x * x }

func (f *fairness) index() float64 {
	if f.squares == 0 {
		return 1
	}
	return f.sum * f.sum / (f.n * f.squares)
}
