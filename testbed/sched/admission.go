package sched

import (
	"fmt"
	"math/bits"
	"time"
)

// densityOne is a density of 1: densities are kept in 2^-40, rounded down, so that
// three thirds fit; a thousand vCPUs of a CPU then exceed it by less than 1 ns a second.
const densityOne = 1 << 40

// checked completes the reservation and says what is wrong with it.
func (r Reservation) checked() (Reservation, error) {
	if r == (Reservation{}) {
		return r, nil
	}
	if r.Deadline == 0 {
		r.Deadline = r.Period
	}
	if r.Budget <= 0 || r.Deadline < r.Budget || r.Period < r.Deadline || r.Period > time.Hour {
		return r, fmt.Errorf("%w: a budget of %v in %v by %v: 0 < budget <= deadline <= period <= 1h", ErrConfig, r.Budget, r.Period, r.Deadline)
	}
	return r, nil
}

// density is budget / deadline, in 2^-40.
func (r Reservation) density() uint64 {
	hi, lo := bits.Mul64(uint64(r.Budget), densityOne)
	q, _ := bits.Div64(hi, lo, uint64(r.Deadline))
	return q
}

// fits is the test of one CPU. Demand in any t >= the least deadline is at most
// density·t, urgent time before it share·t + burst: both fit into t if
// density + share + burst/least <= 1.
func (s *Scheduler) fits(density uint64, least Time) bool {
	limit := uint64(s.cfg.Bound * densityOne)
	return density+s.urgentShare(least) <= limit
}

func (s *Scheduler) urgentShare(least Time) uint64 {
	if !s.cfg.Direct || s.cfg.UrgentShare == 0 {
		return 0
	}
	return uint64((s.cfg.UrgentShare + float64(s.cfg.UrgentBurst)/float64(least)) * densityOne)
}

// Capacity is the density that reservations with deadlines of least or more can have on
// one CPU: less than Bound by what is kept for urgent interrupts; at least 0.
func (c Config) Capacity(least time.Duration) float64 {
	s := Scheduler{cfg: c}
	return max(0, c.Bound-float64(s.urgentShare(Time(least)))/densityOne)
}

// admit finds a home: among the CPUs that v may use, its node's first, the one with the
// least density that has room (worst fit: it leaves round-robin something everywhere).
func (s *Scheduler) admit(mask Mask, node int, r Reservation) (home int, err error) {
	home = -1
	density := r.density()
	for _, local := range []bool{true, false} {
		for c := range s.cpus {
			p := &s.cpus[c]
			if !mask.Has(c) || (node >= 0 && p.node == node) != local {
				continue
			}
			if home >= 0 && p.density >= s.cpus[home].density {
				continue
			}
			if s.fits(p.density+density, min(p.least, Time(r.Deadline))) {
				home = c
			}
		}
		if home >= 0 {
			return home, nil
		}
	}
	return -1, fmt.Errorf("%w: no allowed CPU has a density of %.4g left by %v (bound %.4g, of which urgent interrupts keep %.4g)", ErrNotAdmitted,
		float64(density)/densityOne, r.Deadline, s.cfg.Bound, float64(s.urgentShare(Time(r.Deadline)))/densityOne)
}

// leave gives a reservation back.
func (s *Scheduler) leave(v *vcpu) {
	p := &s.cpus[v.home]
	p.density -= Reservation{Budget: time.Duration(v.budget), Deadline: time.Duration(v.relative)}.density()
	if v.relative != p.least {
		return
	}
	p.least = Never
	for i := range s.vcpus {
		if w := &s.vcpus[i]; w != v && w.state != gone && w.period > 0 && w.home == v.home {
			p.least = min(p.least, w.relative)
		}
	}
}

// spread finds a CPU for a vCPU without a reservation: its node's first, the fewest
// vCPUs already there.
func (s *Scheduler) spread(mask Mask, node int) int {
	best := -1
	var bestLocal bool
	for c := range s.cpus {
		p := &s.cpus[c]
		local := p.node == node
		if mask.Has(c) && (best < 0 || local && !bestLocal || local == bestLocal && p.assigned < s.cpus[best].assigned) {
			best, bestLocal = c, local
		}
	}
	return best
}
