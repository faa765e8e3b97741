package sched

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEarliestDeadlineRunsFirstAndPreempts(t *testing.T) {
	r := newRig(t, plain(1))
	a, b := r.add(reserve(6, 30)), r.add(reserve(2, 10))
	r.give(a, 6)
	require.Equal(t, "aa", r.trace(2))
	r.give(b, 2) // due at 12, before 30
	require.Equal(t, "bbaaaa..", r.trace(8))
	require.EqualValues(t, 1, r.s.Stats(a).Preemptions)
	require.EqualValues(t, 2, r.s.Stats(a).Steal)
	require.Zero(t, r.s.Stats(a).Misses+r.s.Stats(b).Misses)
}

func TestEqualDeadlineDoesNotPreempt(t *testing.T) {
	r := newRig(t, plain(1))
	a, b := r.add(reserve(3, 12)), r.add(reserve(2, 10))
	r.give(a, 3)
	r.steps(2)
	r.give(b, 2)
	require.Equal(t, "abb", r.trace(3))
}

func TestBudgetIsHeldAndComesBackWithThePeriod(t *testing.T) {
	r := newRig(t, plain(1))
	a, b := r.add(reserve(3, 10)), r.add(VCPU{})
	r.give(a, -1)
	r.give(b, -1)
	// a's 3 first; what is left is shared by slices of 20.
	require.Equal(t, "aaabbbbbbbaaabbbbbbb", r.trace(20))
}

func TestUsedUpReservationFallsToRoundRobinAndWastesNothing(t *testing.T) {
	r := newRig(t, plain(1))
	a := r.add(reserve(3, 10))
	r.give(a, -1)
	require.Equal(t, strings.Repeat("a", 30), r.trace(30))
	require.EqualValues(t, 1, r.s.Stats(a).Wakes)
}

func TestWakeRuleKeepsBandwidthNotBudget(t *testing.T) {
	r := newRig(t, plain(1))
	a := r.add(reserve(5, 10))
	r.give(a, 1)
	r.steps(8) // 4 of 5 left with 2 to go: more than half of it
	r.give(a, 4)
	require.EqualValues(t, 18, r.s.vcpus[a].due)
	require.EqualValues(t, 5, r.s.vcpus[a].left)

	r = newRig(t, plain(1))
	a = r.add(reserve(5, 10))
	r.give(a, 4)
	r.steps(6) // 1 left with 4 to go: kept
	r.give(a, 4)
	require.EqualValues(t, 10, r.s.vcpus[a].due)
	require.EqualValues(t, 1, r.s.vcpus[a].left)
}

func TestConstrainedDeadlineWaitsForItsPeriod(t *testing.T) {
	r := newRig(t, plain(1))
	a := r.add(VCPU{Reservation: Reservation{Budget: 2, Deadline: 4, Period: 12}, Node: -1})
	b := r.add(VCPU{})
	r.give(b, -1)
	r.give(a, -1)
	require.Equal(t, "aabbbbbbbbbbaabb", r.trace(16))
	require.Zero(t, r.s.Stats(a).Misses)
}

func TestAdmission(t *testing.T) {
	type row struct {
		name  string
		cpus  int
		bound float64
		add   []Reservation
		admit int // how many of them
	}
	third := Reservation{Budget: 1, Period: 3}
	for _, tc := range []row{
		{"to exactly 1", 1, 1, []Reservation{{Budget: 5, Period: 10}, {Budget: 10, Period: 20}, {Budget: 1, Period: 1e9}}, 2},
		{"three thirds", 1, 1, []Reservation{third, third, third, {Budget: 1, Period: 1e6}}, 3},
		{"to the bound", 1, 0.5, []Reservation{{Budget: 5, Period: 10}, {Budget: 1, Period: 1e6}}, 1},
		{"by density where deadlines are short", 1, 1, []Reservation{{Budget: 5, Period: 100, Deadline: 10}, {Budget: 5, Period: 100, Deadline: 9}}, 1},
		{"on as many CPUs as there are", 2, 1, []Reservation{{Budget: 6, Period: 10}, {Budget: 6, Period: 10}, {Budget: 6, Period: 10}}, 2},
		{"partitioned: two halves left are not one", 2, 1, []Reservation{{Budget: 5, Period: 10}, {Budget: 5, Period: 10}, {Budget: 6, Period: 10}}, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := plain(tc.cpus)
			cfg.Bound = tc.bound
			r := newRig(t, cfg)
			admitted := 0
			for _, res := range tc.add {
				if _, err := r.s.Add(VCPU{Reservation: res, Node: -1}); err == nil {
					admitted++
				} else {
					require.ErrorIs(t, err, ErrNotAdmitted)
				}
			}
			require.Equal(t, tc.admit, admitted)
		})
	}
}

func TestAdmissionKeepsUrgentTimeFree(t *testing.T) {
	cfg := plain(1)
	cfg.Direct, cfg.UrgentShare, cfg.UrgentBurst = true, 0.2, 8
	r := newRig(t, cfg)
	_, err := r.s.Add(reserve(21, 40)) // 0.525 + 0.2 + 8/40: fits; then 8/16 does not
	require.NoError(t, err)
	_, err = r.s.Add(reserve(1, 16))
	require.ErrorIs(t, err, ErrNotAdmitted)
	_, err = r.s.Add(reserve(4, 80))
	require.NoError(t, err)
	require.InDelta(t, 0.6, cfg.Capacity(40), 1e-9)
}

func TestRemovedReservationsGiveTheirRoomBack(t *testing.T) {
	cfg := plain(1)
	cfg.Direct, cfg.UrgentBurst = true, 8
	cfg.UrgentShare = 1.0 / 1024
	r := newRig(t, cfg)
	a := must(t, r.s, reserve(5, 16)) // density 0.31, and bursts half of 16
	_, err := r.s.Add(reserve(50, 100))
	require.ErrorIs(t, err, ErrNotAdmitted)
	r.s.Remove(0, a)
	b := must(t, r.s, reserve(50, 100))
	require.Equal(t, a, b, "the ID is free again")
	require.InDelta(t, 0.5, r.s.CPU(0).Density, 1e-9)
}

func TestRoundRobinTakesTurnsAndSlicesFollowLoad(t *testing.T) {
	r := newRig(t, plain(1))
	a, b := r.add(VCPU{}), r.add(VCPU{})
	r.give(a, -1)
	r.give(b, -1)
	require.Equal(t, strings.Repeat("a", 20)+strings.Repeat("b", 20)+"a", r.trace(41)) // 40/2
	c, d := r.add(VCPU{}), r.add(VCPU{})
	r.give(c, -1)
	r.give(d, -1)
	require.Equal(t, "aaaaaaaaa"+strings.Repeat("b", 10)+strings.Repeat("c", 10)+strings.Repeat("d", 10), r.trace(39)) // 40/4
}

func TestSliceHasALeastAndAMost(t *testing.T) {
	r := newRig(t, plain(1))
	for range 50 {
		r.give(r.add(VCPU{}), -1)
	}
	require.Equal(t, "aaaaabbbbbc", r.trace(11))
}

func TestWeightMultipliesSlices(t *testing.T) {
	r := newRig(t, plain(1))
	a, b := r.add(VCPU{Weight: 3}), r.add(VCPU{})
	r.give(a, -1)
	r.give(b, -1)
	r.steps(800)
	require.InDelta(t, 3, float64(r.done[a])/float64(r.done[b]), 0.2)
}

func TestPreemptedTurnGoesOn(t *testing.T) {
	r := newRig(t, plain(1))
	a, b, e := r.add(VCPU{}), r.add(VCPU{}), r.add(reserve(2, 50))
	r.give(a, -1)
	r.give(b, -1)
	r.steps(5)
	r.give(e, 2)
	require.Equal(t, "cc"+strings.Repeat("a", 15)+"b", r.trace(18))
}

func TestOddOneGoesRound(t *testing.T) {
	r := newRig(t, plain(2))
	for range 3 {
		r.give(r.add(VCPU{}), -1)
	}
	r.steps(3000)
	for _, id := range r.ids {
		require.InDelta(t, 2000, r.done[id], 60)
	}
}

func TestAffinityIsKept(t *testing.T) {
	r := newRig(t, plain(3))
	a, b, c := r.add(VCPU{Affinity: MaskOf(1)}), r.add(VCPU{Affinity: MaskOf(1)}), r.add(VCPU{Affinity: MaskOf(1, 2), Reservation: Reservation{Budget: 5, Period: 10}})
	for _, id := range []ID{a, b, c} {
		r.give(id, -1)
	}
	r.steps(300) // the rig judges each step
	require.EqualValues(t, 0, r.s.CPU(0).Busy)
	require.InDelta(t, r.done[a], r.done[b], 25)
	_, err := r.s.Add(VCPU{Affinity: MaskOf(3)})
	require.ErrorIs(t, err, ErrConfig)
}

func TestPlacementPrefersTheNodeOfTheMemory(t *testing.T) {
	cfg := plain(4)
	cfg.Nodes = []int{0, 0, 1, 1}
	r := newRig(t, cfg)
	home := func(v VCPU) int { return r.s.Home(must(t, r.s, v)) }
	onNode := func(n int) VCPU { return VCPU{Reservation: Reservation{Budget: 6, Period: 10}, Node: n} }
	require.Equal(t, 2, home(onNode(1)))
	require.Equal(t, 3, home(onNode(1)))
	require.Equal(t, 0, home(onNode(1)), "its node is full")
	require.Equal(t, 1, home(onNode(-1)))
	require.Equal(t, 2, home(VCPU{Node: 1}))
	require.Equal(t, 3, home(VCPU{Node: 1}))
}

func TestWakingGoesToAnIdleCPUOfTheNode(t *testing.T) {
	cfg := plain(4)
	cfg.Nodes = []int{0, 1, 0, 1}
	r := newRig(t, cfg)
	a, b := r.add(VCPU{Affinity: MaskOf(0)}), r.add(VCPU{Node: 0})
	r.s.vcpus[b].cpu = 0
	r.give(a, -1)
	r.give(b, -1)
	require.Equal(t, []ID{a, None, b, None}, r.run)
}

func TestIdleCPUTakesAWarmVCPUOnlyAfterItsCost(t *testing.T) {
	cfg := plain(2)
	cfg.MigrationCost, cfg.NodeCost = 7, 15
	for name, nodes := range map[string][]int{"same node": nil, "other node": {0, 1}} {
		t.Run(name, func(t *testing.T) {
			cfg := cfg
			cfg.Nodes = nodes
			r := newRig(t, cfg)
			a, e := r.add(VCPU{}), r.add(VCPU{Affinity: MaskOf(0), Reservation: Reservation{Budget: 50, Period: 100}})
			r.give(a, -1)
			require.Equal(t, a, r.run[0])
			r.steps(5)
			r.give(e, 50)
			want := 7
			if nodes != nil {
				want = 15
			}
			r.steps(want)
			require.Equal(t, None, r.run[1])
			r.steps(1)
			require.Equal(t, a, r.run[1])
			require.EqualValues(t, 1, r.s.Stats(a).Migrations)
		})
	}
}

func TestGuestReservationYieldsToTheHomeOnes(t *testing.T) {
	r := newRig(t, plain(2))
	a := r.add(VCPU{Reservation: Reservation{Budget: 20, Period: 60}, Node: -1})                      // home 0
	x := r.add(VCPU{Reservation: Reservation{Budget: 10, Period: 70}, Affinity: MaskOf(1), Node: -1}) // home 1
	b := r.add(VCPU{Reservation: Reservation{Budget: 20, Period: 90}, Node: -1})                      // home 1
	c := r.add(VCPU{Reservation: Reservation{Budget: 5, Period: 40}, Node: -1})                       // home 0
	require.Equal(t, []int{0, 1, 1, 0}, []int{r.s.Home(a), r.s.Home(x), r.s.Home(b), r.s.Home(c)})
	r.give(a, 20)
	r.give(c, 5) // goes before a at home; a goes to the idle CPU
	require.Equal(t, []ID{c, a}, r.run)
	r.give(x, 10) // due at 70, after a's 60: but this is x's home
	require.Equal(t, []ID{c, x}, r.run)
	r.steps(5)
	require.Equal(t, []ID{a, x}, r.run)
}

func urgentConfig(cpus int) Config {
	cfg := plain(cpus)
	cfg.Direct, cfg.UrgentShare, cfg.UrgentBurst = true, 0.25, 8
	return cfg
}

func TestUrgentInterruptSchedulesAtOnceForItsSlice(t *testing.T) {
	r := newRig(t, urgentConfig(1))
	tenant, err := r.s.AddTenant(Tenant{UrgentRate: 1e6, UrgentBurst: 1})
	require.NoError(t, err)
	e, h, u := r.add(reserve(16, 40)), r.add(VCPU{}), r.add(VCPU{Tenant: tenant})
	r.give(e, 16)
	r.give(h, -1)
	r.steps(2)
	r.interrupt(u, 6)
	require.Equal(t, u, r.run[0], "before a deadline, with nobody else to push aside")
	require.Equal(t, "cccc"+strings.Repeat("a", 14)+strings.Repeat("b", 20)+"cc", r.trace(40))
	require.EqualValues(t, 1, r.s.Stats(u).Direct)
	require.EqualValues(t, 4, r.s.CPU(0).Urgent)
	require.Zero(t, r.s.Stats(e).Misses)
}

func TestUrgentInterruptPrefersToPushRoundRobinAside(t *testing.T) {
	r := newRig(t, urgentConfig(2))
	tenant, _ := r.s.AddTenant(Tenant{UrgentRate: 1e6, UrgentBurst: 1})
	e, h, u := r.add(reserve(16, 40)), r.add(VCPU{}), r.add(VCPU{Tenant: tenant})
	r.give(e, 16)
	r.give(h, -1)
	r.interrupt(u, 2)
	require.Equal(t, []ID{e, u}, r.run)
}

func TestUnusedUrgentTimeIsGivenBack(t *testing.T) {
	r := newRig(t, urgentConfig(1))
	tenant, _ := r.s.AddTenant(Tenant{UrgentRate: 1e9, UrgentBurst: 100})
	h, u := r.add(VCPU{}), r.add(VCPU{Tenant: tenant})
	r.give(h, -1)
	for range 5 { // 8 in the bucket: two slices, but five interrupts of 1
		r.interrupt(u, 1)
		r.steps(1)
	}
	require.EqualValues(t, 5, r.s.Stats(u).Direct)
}

func TestInterruptForARunningVCPUChangesNothing(t *testing.T) {
	r := newRig(t, urgentConfig(1))
	a := r.add(VCPU{})
	r.give(a, -1)
	r.interrupt(a, 0)
	require.Equal(t, a, r.run[0])
	require.Zero(t, r.s.Stats(a).Direct+r.s.Stats(a).Deferred)
}

func TestStormIsDeferredByTheTenantsBucket(t *testing.T) {
	r := newRig(t, urgentConfig(1))
	tenant, _ := r.s.AddTenant(Tenant{UrgentRate: 1e9 / 100, UrgentBurst: 2})
	h, u := r.add(VCPU{}), r.add(VCPU{Tenant: tenant})
	r.give(h, -1)
	for range 300 {
		if r.work[u] == 0 {
			r.interrupt(u, 1)
		}
		r.steps(1)
	}
	require.EqualValues(t, 2+2, r.s.Stats(u).Direct) // the burst, and one each 100
	require.Positive(t, r.s.Stats(u).Deferred)
}

func TestRoundRobinPolicyIgnoresReservations(t *testing.T) {
	cfg := plain(1)
	cfg.Policy = RoundRobin
	r := newRig(t, cfg)
	a, b := r.add(VCPU{}), r.add(reserve(9, 10))
	must(t, r.s, reserve(9, 10)) // nothing to admit
	r.give(a, -1)
	r.give(b, 5)
	require.Equal(t, strings.Repeat("a", 20)+"bbbbb", r.trace(25))
}

func TestWakeLatencyAndStealAreAccounted(t *testing.T) {
	r := newRig(t, plain(1))
	a, b := r.add(VCPU{}), r.add(VCPU{})
	r.give(a, 12)
	r.give(b, 3)
	r.steps(20)
	r.s.Account(r.now)
	require.Equal(t, Stats{Run: 3, Steal: 12, WakeLatency: 12, MaxLatency: 12, Wakes: 1}, r.s.Stats(b))
	require.Equal(t, CPUStats{Busy: 15, Switches: 2}, r.s.CPU(0))
}

func TestLateTicksAreMissesAndEndInOneEach(t *testing.T) {
	r := newRig(t, plain(1))
	a := r.add(reserve(5, 10))
	r.s.Wake(0, a)
	r.s.Tick(25, 0) // whoever should have called at 5 slept
	require.EqualValues(t, 1, r.s.Stats(a).Misses)
	require.NoError(t, r.s.consistent())
	r.s.Tick(26, 0)
	require.EqualValues(t, 1, r.s.Stats(a).Misses)
}

func TestWrongInputIsRefused(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no CPUs":        func(c *Config) { c.CPUs = 0 },
		"too many":       func(c *Config) { c.CPUs = MaxCPUs + 1 },
		"nodes missing":  func(c *Config) { c.Nodes = []int{0} },
		"negative node":  func(c *Config) { c.Nodes = []int{0, -1} },
		"bound":          func(c *Config) { c.Bound = 1.1 },
		"slices":         func(c *Config) { c.MaxSlice = c.MinSlice - 1 },
		"costs":          func(c *Config) { c.NodeCost = c.MigrationCost - 1 },
		"urgent":         func(c *Config) { c.UrgentBurst = c.UrgentSlice - 1 },
		"unknown policy": func(c *Config) { c.Policy = 7 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := DefaultConfig(2)
			require.NoError(t, cfg.Validate())
			change(&cfg)
			_, err := New(cfg)
			require.ErrorIs(t, err, ErrConfig)
		})
	}
	r := newRig(t, plain(1))
	for _, res := range []Reservation{{Budget: 1}, {Period: 1}, {Budget: 2, Period: 1}, {Budget: 1, Period: 4, Deadline: 5}, {Budget: -1, Period: 4}, {Budget: 1, Period: 2 * time.Hour}} {
		_, err := r.s.Add(VCPU{Reservation: res})
		require.ErrorIs(t, err, ErrConfig)
	}
	_, err := r.s.Add(VCPU{Tenant: 9})
	require.ErrorIs(t, err, ErrConfig)
	_, err = r.s.Add(VCPU{Weight: -1})
	require.ErrorIs(t, err, ErrConfig)
	_, err = r.s.AddTenant(Tenant{UrgentRate: 1})
	require.ErrorIs(t, err, ErrConfig)
}
