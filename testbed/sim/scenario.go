package sim

import (
	"fmt"
	"math"
	"time"

	"gvmm/testbed/load"
	"gvmm/testbed/sched"
)

// NoisyNeighbour is the pattern of Scenario in which one tenant in a hundred, at least
// one, storms and computes all the time, and the others are Poisson.
const NoisyNeighbour = "noisy"

// noisyFactor is how often more a noisy neighbour's interrupts come than the others'.
const noisyFactor = 20

// handlersPerPeriod is how many mean handlers a budget of our choosing has room for: few
// would be used up by every clump of arrivals.
const handlersPerPeriod = 16

// A Scenario is a Config in a few numbers: equal tenants on equal CPUs.
type Scenario struct {
	Tenants, CPUs, Nodes int
	Pattern              string        // a load.Kind, or NoisyNeighbour
	Load                 float64       // share of all CPUs that the handlers ask for; without Rate
	Rate                 float64       // interrupts a second of each tenant; 0: from Load
	Service              time.Duration // mean time of a handler, exponential
	Background           float64       // share of all CPUs that computation asks for
	Chunk                time.Duration // mean piece of computation, exponential

	Policy sched.Policy
	Direct bool
	// Budget and Period of each tenant; 0 and 0: an equal share of what the CPUs can
	// promise, with a period long enough for handlersPerPeriod.
	Budget, Period time.Duration
	Deadline       time.Duration // for responses
	UrgentRate     float64       // direct schedulings a second of each tenant
	UrgentBurst    int

	Duration time.Duration
	Seed     uint64
	Posted   bool
	Depth    int
	Costs    Costs
}

// Config is the scenario in full.
func (s Scenario) Config() (Config, error) {
	wrong := func(format string, args ...any) (Config, error) {
		return Config{}, fmt.Errorf("%w: %s", ErrConfig, fmt.Sprintf(format, args...))
	}
	switch {
	case s.Tenants < 1 || s.Tenants > MaxTenants:
		return wrong("%d tenants: 1 to %d", s.Tenants, MaxTenants)
	case s.CPUs < 1 || s.CPUs > sched.MaxCPUs || s.Nodes < 1 || s.Nodes > s.CPUs:
		return wrong("%d CPUs on %d nodes: 1 to %d CPUs, on 1 to as many nodes", s.CPUs, s.Nodes, sched.MaxCPUs)
	case !(s.Load >= 0 && s.Load <= 100) || !(s.Background >= 0 && s.Background <= 100):
		return wrong("a load of %v and a background of %v: 0 to 100 times the CPUs", s.Load, s.Background)
	case s.Service <= 0 || s.Background > 0 && s.Chunk <= 0:
		return wrong("handlers of %v and computation of %v: more than 0", s.Service, s.Chunk)
	}
	cfg := sched.DefaultConfig(s.CPUs)
	cfg.Policy, cfg.Direct = s.Policy, s.Direct
	for c := range s.CPUs {
		cfg.Nodes = append(cfg.Nodes, c*s.Nodes/s.CPUs)
	}
	reservation, err := s.reservation(cfg)
	if err != nil {
		return Config{}, err
	}
	each := float64(s.CPUs) / float64(s.Tenants)
	rate := s.Rate
	if rate == 0 {
		rate = s.Load * each / s.Service.Seconds()
	}
	group := Group{
		Name: "tenants", Tenants: s.Tenants, Reservation: reservation, Deadline: s.Deadline,
		Urgent:     sched.Tenant{UrgentRate: s.UrgentRate, UrgentBurst: s.UrgentBurst},
		Interrupts: load.Stream{Pattern: pattern(s.Pattern, rate), Service: load.Service{Mean: s.Service, Distribution: load.Exponential}},
	}
	if s.Background > 0 {
		group.Background = load.Stream{
			Pattern: load.Pattern{Kind: load.Poisson, Rate: s.Background * each / s.Chunk.Seconds()},
			Service: load.Service{Mean: s.Chunk, Distribution: load.Exponential},
		}
	}
	groups := []Group{group}
	if s.Pattern == NoisyNeighbour {
		if s.Tenants < 2 {
			return wrong("a noisy neighbour wants at least 2 tenants")
		}
		noisy := group
		noisy.Name, noisy.Tenants, noisy.Greedy = "noisy", max(1, s.Tenants/100), true
		noisy.Background = load.Stream{}
		noisy.Interrupts.Pattern = storms(noisyFactor * rate)
		groups[0].Tenants -= noisy.Tenants
		groups = append(groups, noisy)
	}
	c := Config{Scheduler: cfg, Groups: groups, Costs: s.Costs, Posted: s.Posted, Duration: s.Duration, Seed: s.Seed, Depth: s.Depth}
	return c, c.Validate()
}

func pattern(name string, rate float64) load.Pattern {
	switch name {
	case NoisyNeighbour:
		return load.Pattern{Kind: load.Poisson, Rate: rate}
	case string(load.Bursts):
		return load.Pattern{Kind: load.Bursts, Rate: rate, Burst: 8, Spacing: time.Microsecond}
	case string(load.Storms):
		return storms(rate)
	}
	return load.Pattern{Kind: load.Kind(name), Rate: rate}
}

// storms are on for a fifth of the time, and of 100 arrivals or 10 ms at least.
func storms(rate float64) load.Pattern {
	on := 10 * time.Millisecond
	if rate > 0 {
		on = max(on, time.Duration(min(100/rate/5*1e9, float64(time.Hour))))
	}
	return load.Pattern{Kind: load.Storms, Rate: rate, On: on, Off: 4 * on}
}

func (s Scenario) reservation(cfg sched.Config) (sched.Reservation, error) {
	if s.Budget != 0 || s.Period != 0 {
		return sched.Reservation{Budget: s.Budget, Period: s.Period}, nil
	}
	const least = 10 * time.Millisecond
	density := cfg.Capacity(least) / math.Ceil(float64(s.Tenants)/float64(s.CPUs))
	ns := max(float64(least), handlersPerPeriod*float64(s.Service)/density)
	if ns > float64(time.Hour) {
		return sched.Reservation{}, fmt.Errorf("%w: %d tenants on %d CPUs leave each a share of %.2g: too little for handlers of %v within an hour", ErrConfig, s.Tenants, s.CPUs, density, s.Service)
	}
	period := time.Duration(ns)
	return sched.Reservation{Budget: time.Duration(float64(period) * density), Period: period}, nil
}
