package sched

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// An edfJob is what the oracle knows of a vCPU: it looks at all of them each nanosecond.
type edfJob struct {
	budget, period int
	left, due      int
	next           int // release of the next job
}

// Jobs never ask for more than the budget nor more often than the period: each one's
// deadline is its release and the period. The schedule is the oracle's, step for step.
func TestScheduleIsTheBruteForceEDFOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRig(t, plain(1))
		var jobs []edfJob
		for range rapid.IntRange(1, 6).Draw(t, "vcpus") {
			period := rapid.IntRange(2, 40).Draw(t, "period")
			budget := rapid.IntRange(1, period).Draw(t, "budget")
			if _, err := r.s.Add(reserve(budget, period)); err != nil {
				require.ErrorIs(t, err, ErrNotAdmitted)
				continue
			}
			jobs = append(jobs, edfJob{budget: budget, period: period, next: rapid.IntRange(0, 20).Draw(t, "phase")})
		}
		current := -1
		elect := func() { // who runs goes on unless somebody is due before
			for i := range jobs {
				if jobs[i].left > 0 && (current < 0 || jobs[i].due < jobs[current].due) {
					current = i
				}
			}
		}
		for now := range 200 {
			for i := range jobs {
				j := &jobs[i]
				if j.next > now {
					continue
				}
				require.Zero(t, j.left, "the oracle itself misses a deadline: admission was wrong")
				demand := j.budget
				if rapid.Bool().Draw(t, "less") {
					demand = rapid.IntRange(1, j.budget).Draw(t, "demand")
				}
				j.left, j.due = demand, now+j.period
				j.next = now + j.period + rapid.SampledFrom([]int{0, 0, 0, 1, 7}).Draw(t, "late")
				r.give(ID(i), demand)
				elect()
			}
			require.EqualValues(t, current, r.run[0], "at %d", now)
			if current >= 0 {
				if jobs[current].left--; jobs[current].left == 0 {
					current = -1
					elect()
				}
			}
			r.step()
		}
		for i := range jobs {
			require.Zero(t, r.s.Stats(ID(i)).Misses)
		}
	})
}

// Whatever anyone asks for, on any number of CPUs: the admitted ones get their budget by
// their deadlines, urgent storms keep to their bound, no CPU idles while one waits that
// may use it, and round-robin is not starved.
func TestAdmittedAreServedWhateverTheOthersDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cpus := rapid.IntRange(1, 4).Draw(t, "cpus")
		cfg := plain(cpus)
		cfg.Bound = 0.95
		cfg.Direct, cfg.UrgentShare, cfg.UrgentSlice = true, 0.125, 3
		cfg.UrgentBurst = ns(rapid.IntRange(3, 9).Draw(t, "burst"))
		if cpus > 1 && rapid.Bool().Draw(t, "nodes") {
			cfg.Nodes = []int{0, 0, 1, 1}[:cpus]
		}
		r := newRig(t, cfg)
		tenant, err := r.s.AddTenant(Tenant{UrgentRate: 1e9 / 20, UrgentBurst: 3})
		require.NoError(t, err)
		storm, err := r.s.AddTenant(Tenant{UrgentRate: 1e9, UrgentBurst: 1000})
		require.NoError(t, err)
		for range rapid.IntRange(1, 10).Draw(t, "vcpus") {
			v := VCPU{Tenant: rapid.SampledFrom([]TenantID{0, tenant, storm}).Draw(t, "tenant"), Node: rapid.IntRange(-1, 1).Draw(t, "node")}
			if rapid.Bool().Draw(t, "reserved") {
				period := rapid.IntRange(10, 80).Draw(t, "period")
				deadline := rapid.IntRange(period/2, period).Draw(t, "deadline")
				v.Reservation = Reservation{ns(rapid.IntRange(1, 1+deadline/2).Draw(t, "budget")), ns(period), ns(deadline)}
			}
			if rapid.IntRange(0, 3).Draw(t, "pin") == 0 {
				v.Affinity = MaskOf(rapid.IntRange(0, cpus-1).Draw(t, "to"))
			}
			if id, err := r.s.Add(v); err == nil {
				r.ids = append(r.ids, id)
			}
		}
		if len(r.ids) == 0 {
			return
		}
		greedy := map[ID]bool{}
		for _, id := range r.ids {
			if greedy[id] = rapid.IntRange(0, 2).Draw(t, "greedy") == 0; greedy[id] {
				r.give(id, -1)
			}
		}
		const steps = 300
		urgentAt := make([][]time.Duration, cpus) // of each CPU: urgent time up to each step
		for range steps {
			for range rapid.IntRange(0, 5).Draw(t, "events") - 3 {
				id := rapid.SampledFrom(r.ids).Draw(t, "id")
				switch {
				case greedy[id]:
					r.s.Interrupt(r.now, id)
					r.apply()
				case rapid.Bool().Draw(t, "urgent"):
					r.interrupt(id, rapid.IntRange(1, 6).Draw(t, "work"))
				default:
					r.give(id, rapid.IntRange(1, 30).Draw(t, "work"))
				}
			}
			r.ticks()
			r.workConserving()
			r.step()
			r.s.Account(r.now)
			r.apply()
			for c := range cpus {
				urgentAt[c] = append(urgentAt[c], r.s.CPU(c).Urgent)
			}
		}
		for c, used := range urgentAt {
			for from := range used {
				for to := from + 1; to < len(used); to += 7 {
					require.LessOrEqual(t, float64(used[to]-used[from]), float64(cfg.UrgentBurst)+cfg.UrgentShare*float64(to-from)+1e-6, "CPU %d, %d to %d", c, from, to)
				}
			}
		}
		for _, id := range r.ids {
			stats := r.s.Stats(id)
			require.Zero(t, stats.Misses, "vCPU %d", id)
			v := &r.s.vcpus[id]
			if greedy[id] && v.period > 0 {
				whole := steps / int(v.period)
				require.GreaterOrEqual(t, r.done[id], whole*int(v.budget), "vCPU %d", id)
			} else if greedy[id] {
				// 1 - 0.95 of a CPU is round-robin's, at a slice of 5 or more for each.
				require.Positive(t, r.done[id], "vCPU %d", id)
			}
		}
	})
}

// workConserving: no CPU idles while somebody waits elsewhere whom it may run.
func (r *rig) workConserving() {
	for c, id := range r.run {
		if id != None {
			continue
		}
		for i := range r.s.vcpus {
			if v := &r.s.vcpus[i]; v.state == waiting && v.class != urgent && r.s.masks[v.mask].Has(c) {
				require.Fail(r.t, "idle", "CPU %d idles at %d while vCPU %d waits", c, r.now, i)
			}
		}
	}
}

// A storm from one tenant over a hundred others: everyone else of round-robin gets what
// is theirs.
func TestStormStarvesNobody(t *testing.T) {
	cfg := DefaultConfig(1)
	s, err := New(cfg)
	require.NoError(t, err)
	quiet, _ := s.AddTenant(Tenant{})
	storm, err := s.AddTenant(Tenant{UrgentRate: 1e9, UrgentBurst: 1 << 20})
	require.NoError(t, err)
	hog := must(t, s, VCPU{Tenant: quiet})
	kept := must(t, s, VCPU{Tenant: quiet, Reservation: Reservation{Budget: 3 * time.Millisecond, Period: 10 * time.Millisecond}})
	var stormy []ID
	for range 20 {
		stormy = append(stormy, must(t, s, VCPU{Tenant: storm}))
	}
	s.Wake(0, hog)
	s.Wake(0, kept)
	end := Time(2 * time.Second)
	until := Never
	for now := Time(0); now < end; now += 2000 {
		for until <= now {
			s.Tick(until, 0)
			for _, d := range s.Decisions() {
				until = d.Until
			}
		}
		s.Interrupt(now, stormy[int(now/2000)%len(stormy)])
		for _, d := range s.Decisions() {
			until = d.Until
		}
	}
	s.Account(end)
	require.Zero(t, s.Stats(kept).Misses)
	require.GreaterOrEqual(t, s.Stats(kept).Run, 600*time.Millisecond)
	require.InDelta(t, 0.1, s.CPU(0).Urgent.Seconds()/2, 0.01)
	// 60 % is round-robin's, of 22 who want it.
	require.InDelta(t, 1.2/22, s.Stats(hog).Run.Seconds(), 0.02)
}

// feed carries out any bytes as events, and gives the decisions.
func feed(t require.TestingT, data []byte) []Decision {
	cfg := plain(3)
	cfg.Nodes = []int{0, 1, 1}
	cfg.Direct, cfg.UrgentShare, cfg.UrgentBurst, cfg.MigrationCost, cfg.NodeCost = true, 0.1, 20, 3, 9
	s, err := New(cfg)
	require.NoError(t, err)
	tenant, err := s.AddTenant(Tenant{UrgentRate: 1e8, UrgentBurst: 4})
	require.NoError(t, err)
	var now Time
	var all []Decision
	for len(data) >= 4 {
		op, a, b := data[0], data[1], binary.LittleEndian.Uint16(data[2:])
		data = data[4:]
		id := ID(a%24) - 1
		switch op % 8 {
		case 0:
			v := VCPU{Tenant: tenant, Node: int(a) % 3, Weight: int(a) % 4}
			if b&1 != 0 {
				v.Reservation = Reservation{Budget: ns(1 + int(b>>1&15)), Period: ns(20 + int(b>>8)), Deadline: ns(16 + int(b>>5&3))}
			}
			if a&1 != 0 {
				v.Affinity = Mask{uint64(a)>>1&7 | 1}
			}
			if len(s.vcpus) < 24 {
				_, _ = s.Add(v) // a refusal is an outcome, too
			}
		case 1:
			s.Remove(now, id)
		case 2, 3:
			s.Wake(now, id)
		case 4:
			s.Interrupt(now, id)
		case 5:
			s.Block(now, id)
		default:
			now += Time(b % 64)
			s.Tick(now, int(a%4))
		}
		all = append(all, s.Decisions()...)
		if err := s.consistent(); err != nil {
			require.NoError(t, err, "op %d of %d", op%8, id)
		}
	}
	return all
}

func TestAnyEventsKeepTheBooksAndEqualOnesDecideEqually(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOfN(rapid.Byte(), 400, 1200).Draw(t, "events")
		require.Equal(t, feed(t, data), feed(t, data))
	})
}

func FuzzEvents(f *testing.F) {
	f.Add([]byte{0, 1, 7, 0, 0, 2, 0, 0, 2, 1, 0, 0, 2, 2, 0, 0, 6, 0, 9, 0, 4, 2, 0, 0, 5, 1, 0, 0, 1, 1, 0, 0})
	f.Add([]byte{0, 0, 0xff, 30, 2, 1, 0, 0, 6, 0, 40, 0, 6, 0, 40, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 4096 {
			feed(t, data)
		}
	})
}
