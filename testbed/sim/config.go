package sim

import (
	"errors"
	"fmt"
	"time"

	"gvmm/testbed/load"
	"gvmm/testbed/sched"
)

// ErrConfig is what a wrong configuration is refused with.
var ErrConfig = errors.New("sim: wrong configuration")

// MaxTenants bounds the sum of all groups.
const MaxTenants = 4_000_000

// A Group is tenants of equal terms, each with one vCPU.
type Group struct {
	Name        string            `json:"name"`
	Tenants     int               `json:"tenants"`
	Interrupts  load.Stream       `json:"interrupts"`       // completions and what their handlers take
	Background  load.Stream       `json:"background"`       // computation that handlers interrupt
	Greedy      bool              `json:"greedy,omitempty"` // it computes whenever it may
	Reservation sched.Reservation `json:"reservation"`
	Deadline    time.Duration     `json:"deadline"` // from arrival to the handler's return; 0: not judged
	Urgent      sched.Tenant      `json:"urgent"`
}

// Costs are what things take, measured elsewhere or assumed.
type Costs struct {
	Switch  time.Duration `json:"switch"`  // to another vCPU, its entry included
	Migrate time.Duration `json:"migrate"` // to run where it did not run last
	Deliver time.Duration `json:"deliver"` // an interrupt, to the handler's first instruction
	Exit    time.Duration `json:"exit"`    // one VM exit and entry

	// Exits of an interrupt that is not posted, into a vCPU that runs and into one that
	// is entered for it. One that is posted has none.
	ExitsRunning int `json:"exits_running"`
	ExitsEntered int `json:"exits_entered"`
}

// DefaultCosts are assumed, of the order that today's servers show; the two exits are
// for the interrupt and its end.
func DefaultCosts() Costs {
	return Costs{
		Switch: 2 * time.Microsecond, Migrate: 3 * time.Microsecond, Deliver: 250 * time.Nanosecond, Exit: 1200 * time.Nanosecond,
		ExitsRunning: 2, ExitsEntered: 1,
	}
}

// A Config is one run.
type Config struct {
	Scheduler sched.Config  `json:"-"`
	Groups    []Group       `json:"groups"`
	Costs     Costs         `json:"costs"`
	Posted    bool          `json:"posted"`
	Duration  time.Duration `json:"duration"`
	Seed      uint64        `json:"seed"`
	Depth     int           `json:"depth"` // interrupts that may be pending for a tenant, 1 to 65535; others are lost
}

// Validate says what is wrong with the configuration, or nil.
func (c *Config) Validate() error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrConfig, fmt.Sprintf(format, args...))
	}
	if err := c.Scheduler.Validate(); err != nil {
		return err
	}
	if c.Duration <= 0 || c.Duration > 24*time.Hour {
		return wrong("duration %v: more than 0, at most 24h", c.Duration)
	}
	if c.Depth < 1 || c.Depth > 65535 {
		return wrong("depth %d: 1 to 65535", c.Depth)
	}
	costs := c.Costs
	for _, d := range []time.Duration{costs.Switch, costs.Migrate, costs.Deliver, costs.Exit} {
		if d < 0 || d > time.Second {
			return wrong("a cost of %v: 0 to 1s", d)
		}
	}
	if costs.ExitsRunning < 0 || costs.ExitsEntered < 0 || costs.ExitsRunning > 1000 || costs.ExitsEntered > 1000 {
		return wrong("%d and %d exits an interrupt: 0 to 1000", costs.ExitsRunning, costs.ExitsEntered)
	}
	total := 0
	for i := range c.Groups {
		g := &c.Groups[i]
		if g.Tenants < 1 || g.Tenants > MaxTenants-total {
			return wrong("group %q of %d tenants: at least 1, at most %d in all", g.Name, g.Tenants, MaxTenants)
		}
		total += g.Tenants
		for _, s := range []load.Stream{g.Interrupts, g.Background} {
			if s.Rate == 0 && s.Kind == "" {
				continue
			}
			if err := s.Validate(); err != nil {
				return fmt.Errorf("group %q: %w", g.Name, err)
			}
		}
		if g.Deadline < 0 {
			return wrong("group %q: deadline %v is below 0", g.Name, g.Deadline)
		}
	}
	if total == 0 {
		return wrong("no tenants")
	}
	return nil
}
