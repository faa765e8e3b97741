package sim

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gvmm/testbed/load"
	"gvmm/testbed/sched"
)

func scenario() Scenario {
	return Scenario{
		Tenants: 64, CPUs: 4, Nodes: 2, Pattern: "poisson", Load: 0.4, Service: 10 * time.Microsecond, Background: 0.2, Chunk: time.Millisecond,
		Direct: true, Deadline: 5 * time.Millisecond, UrgentRate: 500, UrgentBurst: 4, Duration: 300 * time.Millisecond, Seed: 1, Posted: true, Depth: 64, Costs: DefaultCosts(),
	}
}

func run(t require.TestingT, s Scenario) *Result {
	cfg, err := s.Config()
	require.NoError(t, err)
	r, err := Run(context.Background(), cfg, nil)
	require.NoError(t, err)
	for _, g := range r.Groups {
		require.Equal(t, g.Interrupts, g.Handled+g.Lost+g.Pending, "group %s", g.Name)
		require.LessOrEqual(t, g.Fairness, 1.0000001)
	}
	require.LessOrEqual(t, r.Utilization, 1.0000001)
	return r
}

func TestEqualSeedsGiveEqualResultsAndOthersDoNot(t *testing.T) {
	for _, pattern := range []string{"steady", "poisson", "bursts", "storms", "noisy"} {
		t.Run(pattern, func(t *testing.T) {
			s := scenario()
			s.Pattern = pattern
			a, b := run(t, s), run(t, s)
			s.Seed++
			c := run(t, s)
			a.Speed, b.Speed, c.Speed, c.Seed = Speed{}, Speed{}, Speed{}, a.Seed
			require.Equal(t, a, b)
			require.NotEqual(t, a, c)
			require.Positive(t, a.Groups[0].Handled)
		})
	}
}

// One tenant, one CPU, nothing else: each latency can be told by hand.
func TestLatencyOfALoneTenantIsItsCosts(t *testing.T) {
	for _, tc := range []struct {
		name     string
		posted   bool
		greedy   bool
		want     time.Duration
		perEvent float64
	}{
		{"halted, posted", true, false, 250, 1},       // the vCPU was the last to run here: no switch; the halt exits
		{"halted, not posted", false, false, 1450, 2}, // one exit more
		{"running, posted", true, true, 250, 0},
		{"running, not posted", false, true, 2650, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := Config{
				Scheduler: sched.DefaultConfig(1), Costs: DefaultCosts(), Posted: tc.posted, Duration: time.Second, Depth: 4,
				Groups: []Group{{Name: "one", Tenants: 1, Greedy: tc.greedy, Interrupts: load.Stream{
					Pattern: load.Pattern{Kind: load.Steady, Rate: 1000}, Service: load.Service{Mean: 10000, Distribution: load.Constant}}}},
			}
			r, err := Run(context.Background(), cfg, nil)
			require.NoError(t, err)
			g := r.Groups[0]
			require.EqualValues(t, 1000, g.Handled)
			require.InEpsilon(t, int64(tc.want), g.Latency.P50, 0.001)
			require.InEpsilon(t, int64(tc.want)+10000, g.Response.P50, 0.001)
			require.InDelta(t, tc.perEvent, r.ExitsPerInterrupt, 0.01)
			if tc.greedy {
				require.InDelta(t, 1, r.Utilization, 1e-6)
			} else {
				require.InDelta(t, (10000+float64(tc.want))*1000/1e9, r.Utilization, 1e-4)
			}
		})
	}
}

// Interrupts at random into a CPU that serves them in order are an M/M/1 queue: the mean
// wait is ρ/(1-ρ) services. It is the handlers' waiting, since one takes what is pending.
func TestHandlersQueueAsTheFormulaSays(t *testing.T) {
	cfg := Config{
		Scheduler: sched.DefaultConfig(1), Posted: true, Duration: 20 * time.Second, Depth: 1000, Seed: 3,
		Groups: []Group{{Name: "one", Tenants: 1, Interrupts: load.Stream{
			Pattern: load.Pattern{Kind: load.Poisson, Rate: 6000}, Service: load.Service{Mean: 100 * time.Microsecond, Distribution: load.Exponential}}}},
	}
	r, err := Run(context.Background(), cfg, nil)
	require.NoError(t, err)
	require.InEpsilon(t, 0.6/0.4*100e3, r.Groups[0].Latency.Mean, 0.06)
	require.InEpsilon(t, 0.6, r.Utilization, 0.02)
}

func TestPostingSavesExitsOnTheSameArrivals(t *testing.T) {
	s := scenario()
	posted := run(t, s)
	s.Posted = false
	control := run(t, s)
	require.Equal(t, posted.Groups[0].Interrupts, control.Groups[0].Interrupts)
	require.Zero(t, posted.Groups[0].InterruptExits)
	require.Greater(t, control.ExitsPerInterrupt, posted.ExitsPerInterrupt+0.5)
	require.Greater(t, control.Groups[0].Latency.P50, posted.Groups[0].Latency.P50)
}

func TestEqualTenantsAreServedEqually(t *testing.T) {
	for _, p := range []sched.Policy{sched.EDF, sched.RoundRobin} {
		s := scenario()
		s.Policy, s.Background, s.Duration = p, 0, time.Second
		s.Load = 0.6
		require.Greater(t, run(t, s).Groups[0].Fairness, 0.98)
	}
	// Ten greedy ones on three CPUs.
	cfg := Config{Scheduler: sched.DefaultConfig(3), Duration: 2 * time.Second, Depth: 1, Groups: []Group{{Name: "hogs", Tenants: 10, Greedy: true}}}
	r, err := Run(context.Background(), cfg, nil)
	require.NoError(t, err)
	require.Greater(t, r.Groups[0].Fairness, 0.99)
	require.InDelta(t, 1, r.Utilization, 1e-6)
}

func TestNoisyNeighbourMovesOthersLittleUnderEDF(t *testing.T) {
	s := scenario()
	s.Tenants, s.Background, s.Duration = 400, 0, time.Second // as many noisy ones as CPUs
	s.Load = 0.2
	quiet := run(t, s)
	s.Pattern = NoisyNeighbour
	edf := run(t, s)
	s.Policy, s.Direct = sched.RoundRobin, false
	rr := run(t, s)
	q, e, o := quiet.Groups[0], edf.Groups[0], rr.Groups[0]
	require.Less(t, float64(e.Latency.P99), 1.5*float64(q.Latency.P99))
	require.Greater(t, o.Latency.P99, 20*e.Latency.P99)
	require.Greater(t, o.Response.P99, 5*e.Response.P99)
	require.Greater(t, e.Fairness, 0.98)
	require.Zero(t, edf.Groups[0].BudgetMisses)
}

func TestRefusedReservationsAreCountedAndRunWithout(t *testing.T) {
	s := scenario()
	s.Budget, s.Period = 4*time.Millisecond, 10*time.Millisecond // two fit on each of the 4 CPUs
	s.Duration = 50 * time.Millisecond
	r := run(t, s)
	require.Equal(t, 64-8, r.Groups[0].Refused)
	require.Positive(t, r.Groups[0].Handled)
}

func TestOverloadLosesInterruptsAndStaysBounded(t *testing.T) {
	s := scenario()
	s.Load, s.Depth, s.Background = 5, 8, 0
	cfg, err := s.Config()
	require.NoError(t, err)
	sim, err := newSimulation(&cfg)
	require.NoError(t, err)
	for sim.step(int64(cfg.Duration)) {
	}
	require.LessOrEqual(t, len(sim.pool.nodes), 64*8)
	r := run(t, s)
	require.Positive(t, r.Groups[0].Lost)
	require.Greater(t, r.Utilization, 0.99)
}

func TestAnyScenarioKeepsItsBooks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := scenario()
		s.Tenants = rapid.IntRange(2, 40).Draw(t, "tenants")
		s.CPUs = rapid.IntRange(1, 8).Draw(t, "cpus")
		s.Nodes = rapid.IntRange(1, s.CPUs).Draw(t, "nodes")
		s.Pattern = rapid.SampledFrom([]string{"steady", "poisson", "bursts", "storms", "noisy"}).Draw(t, "pattern")
		s.Load = rapid.Float64Range(0.01, 2).Draw(t, "load")
		s.Background = rapid.Float64Range(0.01, 2).Draw(t, "background")
		s.Policy = rapid.SampledFrom([]sched.Policy{sched.EDF, sched.RoundRobin}).Draw(t, "policy")
		s.Direct, s.Posted = rapid.Bool().Draw(t, "direct"), rapid.Bool().Draw(t, "posted")
		s.Depth = rapid.IntRange(1, 8).Draw(t, "depth")
		s.Seed = rapid.Uint64().Draw(t, "seed")
		s.Duration = 10 * time.Millisecond
		r := run(t, s)
		for _, g := range r.Groups {
			require.Zero(t, g.BudgetMisses)
		}
	})
}

func TestCancelledRunStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	cfg, err := scenario().Config()
	require.NoError(t, err)
	_, err = Run(ctx, cfg, nil)
	require.ErrorIs(t, err, context.Canceled)
}

func TestWrongScenariosAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Scenario){
		"no tenants":          func(s *Scenario) { s.Tenants = 0 },
		"no CPUs":             func(s *Scenario) { s.CPUs = 0 },
		"more nodes":          func(s *Scenario) { s.Nodes = 9 },
		"unknown pattern":     func(s *Scenario) { s.Pattern = "often" },
		"negative load":       func(s *Scenario) { s.Load = -1 },
		"no service":          func(s *Scenario) { s.Service = 0 },
		"no duration":         func(s *Scenario) { s.Duration = 0 },
		"no depth":            func(s *Scenario) { s.Depth = 0 },
		"cost":                func(s *Scenario) { s.Costs.Exit = -1 },
		"exits":               func(s *Scenario) { s.Costs.ExitsRunning = -1 },
		"one noisy neighbour": func(s *Scenario) { s.Tenants, s.Pattern = 1, NoisyNeighbour },
		"deadline":            func(s *Scenario) { s.Deadline = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			s := scenario()
			change(&s)
			_, err := s.Config()
			require.Error(t, err)
		})
	}
}

func BenchmarkSimulate(b *testing.B) {
	s := scenario()
	s.Tenants, s.CPUs = 10_000, 16
	cfg, err := s.Config()
	if err != nil {
		b.Fatal(err)
	}
	sim, err := newSimulation(&cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !sim.step(load.Never - 1) {
			b.Fatal("no event left")
		}
	}
}
