package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"gvmm/testbed/sched"
	"gvmm/testbed/sim"
)

func testbedCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "testbed",
		Short: "Many tenants on one host",
		Args:  cobra.NoArgs,
	}
	c.AddCommand(testbedSimulateCommand())
	return c
}

// A simulation is what gvmm testbed simulate prints as JSON.
type simulation struct {
	Run     *sim.Result `json:"run"`
	Control *sim.Result `json:"control,omitempty"`
	Saved   *float64    `json:"saved_exits_per_interrupt,omitempty"`
}

func testbedSimulateCommand() *cobra.Command {
	s := sim.Scenario{Costs: sim.DefaultCosts()}
	var asJSON bool
	var policy, posted string
	c := &cobra.Command{
		Use:   "simulate",
		Short: "Predict how up to millions of tenants share CPUs",
		Long: `Simulate tenants of one vCPU each, to which completions come as interrupts, on host
CPUs that the test bed's own scheduler shares out. Everything printed is modelled: the
costs are numbers you pass in, and only scheduling and queueing are played through.
Equal seeds give equal results.

--pattern says how interrupts come to a tenant:

  steady   at equal gaps
  poisson  independently
  bursts   eight at a time
  storms   five times as often for a fifth of the time, else silence
  noisy    poisson, but one tenant in a hundred is a noisy neighbour: twenty times as
           many, in storms, and it computes whenever it may

--policy edf gives each tenant a reservation, which is admitted or refused; rr shares in
turns. With --direct an urgent interrupt schedules a vCPU that does not run at once, as
far as its tenant's --urgent-rate goes. --posted both, the default, runs twice with the
same arrivals: posted to the running user program, and not, as the control.`,
		Example: `  gvmm testbed simulate
  gvmm testbed simulate --tenants 1000 --cpus 8 --pattern noisy --policy rr --direct=false
  gvmm testbed simulate --tenants 1000000 --cpus 64 --duration 200ms --posted on
  gvmm testbed simulate --cost-exit 3us --cost-deliver 700ns --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch policy {
			case "edf":
				s.Policy = sched.EDF
			case "rr":
				s.Policy = sched.RoundRobin
			default:
				return fmt.Errorf("--policy %q: edf or rr", policy)
			}
			r, err := simulate(cmd, s, posted)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), r)
			}
			printSimulation(cmd.OutOrStdout(), s, policy, r)
			return nil
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.IntVar(&s.Tenants, "tenants", 1000, "tenants, one vCPU each")
	f.IntVar(&s.CPUs, "cpus", 8, "host CPUs")
	f.IntVar(&s.Nodes, "nodes", 1, "NUMA nodes that the CPUs are on")
	f.StringVar(&s.Pattern, "pattern", "poisson", "steady, poisson, bursts, storms or noisy")
	f.StringVar(&policy, "policy", "edf", "edf or rr")
	f.DurationVar(&s.Duration, "duration", time.Second, "simulated time")
	f.Uint64Var(&s.Seed, "seed", 1, "of arrivals and service times")
	f.StringVar(&posted, "posted", "both", "interrupts are posted: on, off or both")
	f.Float64Var(&s.Load, "load", 0.4, "share of all CPUs that the interrupts' handlers ask for")
	f.Float64Var(&s.Rate, "rate", 0, "interrupts a second of each tenant, instead of --load")
	f.DurationVar(&s.Service, "service", 10*time.Microsecond, "mean time of a handler")
	f.Float64Var(&s.Background, "background", 0.2, "share of all CPUs that computation asks for")
	f.DurationVar(&s.Chunk, "chunk", time.Millisecond, "mean piece of computation")
	f.IntVar(&s.Depth, "depth", 256, "interrupts that may be pending for a tenant; more are lost")
	f.DurationVar(&s.Deadline, "deadline", 10*time.Millisecond, "from arrival to the handler's return; later is a miss")
	f.DurationVar(&s.Budget, "budget", 0, "CPU time of each tenant in a --period [an equal share]")
	f.DurationVar(&s.Period, "period", 0, "period of --budget [10 ms, or 16 handlers' worth of budget]")
	f.BoolVar(&s.Direct, "direct", true, "urgent interrupts schedule their vCPU at once")
	f.Float64Var(&s.UrgentRate, "urgent-rate", 500, "such schedulings a second of each tenant")
	f.IntVar(&s.UrgentBurst, "urgent-burst", 4, "of them at once")
	f.DurationVar(&s.Costs.Switch, "cost-switch", s.Costs.Switch, "to another vCPU")
	f.DurationVar(&s.Costs.Migrate, "cost-migrate", s.Costs.Migrate, "to another CPU than the last")
	f.DurationVar(&s.Costs.Deliver, "cost-deliver", s.Costs.Deliver, "an interrupt to its handler")
	f.DurationVar(&s.Costs.Exit, "cost-exit", s.Costs.Exit, "a VM exit and entry")
	f.IntVar(&s.Costs.ExitsRunning, "exits-running", s.Costs.ExitsRunning, "exits of an unposted interrupt into a vCPU that runs")
	f.IntVar(&s.Costs.ExitsEntered, "exits-entered", s.Costs.ExitsEntered, "and into one that is entered for it")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

func simulate(cmd *cobra.Command, s sim.Scenario, posted string) (*simulation, error) {
	if posted != "on" && posted != "off" && posted != "both" {
		return nil, fmt.Errorf("--posted %q: on, off or both", posted)
	}
	one := func(posted bool, what string) (*sim.Result, error) {
		s.Posted = posted
		cfg, err := s.Config()
		if err != nil {
			return nil, err
		}
		show := progress(cmd.ErrOrStderr(), what)
		r, err := sim.Run(cmd.Context(), cfg, func(done, total time.Duration) {
			if show != nil {
				show(int(done.Milliseconds()), max(1, int(total.Milliseconds())))
			}
		})
		if err != nil && !errors.Is(err, context.Canceled) {
			return nil, fmt.Errorf("simulate: %w", err)
		}
		return r, err
	}
	r, err := one(posted != "off", "simulated ms")
	if err != nil || posted != "both" {
		return &simulation{Run: r}, err
	}
	control, err := one(false, "control, simulated ms")
	if err != nil {
		return nil, err
	}
	saved := control.ExitsPerInterrupt - r.ExitsPerInterrupt
	return &simulation{r, control, &saved}, nil
}

func printSimulation(w io.Writer, s sim.Scenario, policy string, r *simulation) {
	var groups []sim.GroupResult
	header := table.Row{"modelled"}
	for i := range r.Run.Groups {
		name := r.Run.Groups[i].Name
		groups = append(groups, r.Run.Groups[i])
		header = append(header, name+map[bool]string{true: ", posted", false: ", not posted"}[r.Run.Posted])
		if r.Control != nil {
			groups = append(groups, r.Control.Groups[i])
			header = append(header, name+", control")
		}
	}
	t := newTable(w)
	t.AppendHeader(header)
	row := func(name string, value func(sim.GroupResult) any) {
		line := table.Row{name}
		for _, g := range groups {
			line = append(line, value(g))
		}
		t.AppendRow(line)
	}
	row("tenants", func(g sim.GroupResult) any { return g.Tenants })
	if s.Policy == sched.EDF {
		row("reserved for each", func(g sim.GroupResult) any {
			return fmt.Sprintf("%v in %v", g.Reservation.Budget.Round(100), g.Reservation.Period.Round(time.Microsecond))
		})
		row("reservations refused", func(g sim.GroupResult) any { return g.Refused })
		row("budgets given late", func(g sim.GroupResult) any { return g.BudgetMisses })
	}
	row("interrupts", func(g sim.GroupResult) any { return g.Interrupts })
	row("handled", func(g sim.GroupResult) any { return g.Handled })
	row("coalesced, of these", func(g sim.GroupResult) any { return g.Coalesced })
	row("lost", func(g sim.GroupResult) any { return g.Lost })
	row("scheduled at once", func(g sim.GroupResult) any { return g.Direct })
	t.AppendSeparator()
	for _, q := range []struct {
		name string
		of   func(sim.Quantiles) int64
	}{
		{"p50", func(q sim.Quantiles) int64 { return q.P50 }},
		{"p99", func(q sim.Quantiles) int64 { return q.P99 }},
		{"p99.9", func(q sim.Quantiles) int64 { return q.P999 }},
	} {
		row("device to handler, "+q.name, func(g sim.GroupResult) any { return simulated(g.Latency, q.of) })
	}
	row("to its return, p99", func(g sim.GroupResult) any {
		return simulated(g.Response, func(q sim.Quantiles) int64 { return q.P99 })
	})
	row("returned after "+s.Deadline.String(), func(g sim.GroupResult) any { return g.Misses })
	t.AppendSeparator()
	row("CPU", func(g sim.GroupResult) any { return fmt.Sprintf("%.3f s", g.CPU) })
	row("steal", func(g sim.GroupResult) any { return fmt.Sprintf("%.3f s", g.Steal) })
	row("Jain's fairness", func(g sim.GroupResult) any { return fmt.Sprintf("%.4f", g.Fairness) })
	row("exits: interrupts", func(g sim.GroupResult) any { return g.InterruptExits })
	row("exits: halts", func(g sim.GroupResult) any { return g.HaltExits })
	row("exits: preemptions", func(g sim.GroupResult) any { return g.Preemptions })
	t.Render()
	printSimulated(w, s, policy, r)
}

func simulated(q sim.Quantiles, of func(sim.Quantiles) int64) string {
	if q.Samples == 0 {
		return "-"
	}
	return time.Duration(of(q)).Round(10 * time.Nanosecond).String()
}

// printSimulated says in sentences what the table cannot.
func printSimulated(w io.Writer, s sim.Scenario, policy string, r *simulation) {
	run := r.Run
	fmt.Fprintf(w, "%v of %d CPUs, %s, %s, seed %d: %.1f %% busy, %.1f %% in urgent slices, %.1f %% reserved; %.2f exits per interrupt.\n",
		s.Duration, s.CPUs, s.Pattern, policy, s.Seed, 100*run.Utilization, 100*run.Urgent, 100*run.Density, run.ExitsPerInterrupt)
	if r.Control != nil {
		fmt.Fprintf(w, "saved: %.2f exits per interrupt (%.1f %% of the control run's %.2f), modelled.\n",
			*r.Saved, 100**r.Saved/max(r.Control.ExitsPerInterrupt, 1e-9), r.Control.ExitsPerInterrupt)
	}
	c := s.Costs
	fmt.Fprintf(w, "costs put in: switch %v, migration %v, delivery %v, exit %v; unposted, %d exits into a running vCPU and %d into one entered for it.\n",
		c.Switch, c.Migrate, c.Deliver, c.Exit, c.ExitsRunning, c.ExitsEntered)
	fmt.Fprintf(w, "the simulator: %d events in %v, %.2g events/s, %d MiB.\n", run.Events, run.Speed.Wall.Round(time.Millisecond), run.Speed.EventsPerSecond, run.Speed.Heap>>20)
}
