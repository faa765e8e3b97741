package sched

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Errors of the package.
var (
	ErrConfig      = errors.New("sched: wrong configuration")
	ErrNotAdmitted = errors.New("sched: not admitted")
)

// A Time is ns on the caller's clock, which starts at 0 or later. An event earlier
// than one before it is taken to be as late.
type Time int64

// Never is later than every event.
const Never Time = math.MaxInt64

// An ID names a vCPU, a TenantID a tenant.
type (
	ID       int32
	TenantID int32
)

// None is no vCPU: an idle CPU.
const None ID = -1

// A Policy is what reservations are worth.
type Policy uint8

const (
	EDF        Policy = iota // reservations are admitted and kept
	RoundRobin               // reservations are ignored
)

// A Config describes the CPUs and the rules. DefaultConfig is one to start from.
type Config struct {
	CPUs   int   // host CPUs, 1 to MaxCPUs
	Nodes  []int // the NUMA node of each CPU; nil: all on one
	Policy Policy

	Bound float64 // what reservations and urgent time may take of a CPU, 0 to 1

	Latency  time.Duration // round-robin: within this, everyone who waits should have had a turn
	MinSlice time.Duration // but no slice is shorter
	MaxSlice time.Duration // nor longer

	MigrationCost time.Duration // a preempted vCPU is not moved within a node before it has waited for this
	NodeCost      time.Duration // nor to another node before this

	Direct      bool          // urgent interrupts schedule their vCPU at once
	UrgentSlice time.Duration // for at most this
	UrgentShare float64       // the share of a CPU that all urgent time may take
	UrgentBurst time.Duration // urgent time that may come at once on a CPU, at least UrgentSlice
}

// MaxCPUs bounds Config.CPUs.
const MaxCPUs = 4096

// DefaultConfig is for cpus CPUs on one node.
func DefaultConfig(cpus int) Config {
	return Config{
		CPUs: cpus, Bound: 0.95,
		Latency: 12 * time.Millisecond, MinSlice: time.Millisecond, MaxSlice: 6 * time.Millisecond,
		MigrationCost: 50 * time.Microsecond, NodeCost: 200 * time.Microsecond,
		Direct: true, UrgentSlice: 50 * time.Microsecond, UrgentShare: 0.1, UrgentBurst: 500 * time.Microsecond,
	}
}

// Validate says what is wrong with the configuration, or nil.
func (c *Config) Validate() error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrConfig, fmt.Sprintf(format, args...))
	}
	fraction := func(f float64) bool { return f >= 0 && f <= 1 }
	switch {
	case c.CPUs < 1 || c.CPUs > MaxCPUs:
		return wrong("%d CPUs: 1 to %d", c.CPUs, MaxCPUs)
	case c.Nodes != nil && len(c.Nodes) != c.CPUs:
		return wrong("nodes of %d CPUs, but there are %d", len(c.Nodes), c.CPUs)
	case !fraction(c.Bound) || c.Policy > RoundRobin:
		return wrong("bound %v: 0 to 1", c.Bound)
	case c.MinSlice <= 0 || c.MaxSlice < c.MinSlice || c.Latency < 0 || c.Latency > time.Hour || c.MaxSlice > time.Hour:
		return wrong("slices of %v to %v in %v: more than 0, ordered, at most 1h", c.MinSlice, c.MaxSlice, c.Latency)
	case c.MigrationCost < 0 || c.NodeCost < c.MigrationCost || c.NodeCost > time.Hour:
		return wrong("migration costs %v and %v across nodes: 0 to 1h, the second not less", c.MigrationCost, c.NodeCost)
	case c.Direct && (!fraction(c.UrgentShare) || c.UrgentSlice <= 0 || c.UrgentBurst < c.UrgentSlice || c.UrgentBurst > time.Minute):
		return wrong("urgent share %v, slice %v, burst %v: a share of 0 to 1, a slice of more than 0, a burst from it to 1m", c.UrgentShare, c.UrgentSlice, c.UrgentBurst)
	}
	for cpu, n := range c.Nodes {
		if n < 0 {
			return wrong("CPU %d on node %d", cpu, n)
		}
	}
	return nil
}

// A Tenant is what its vCPUs share: a token bucket for urgent interrupts.
type Tenant struct {
	UrgentRate  float64 // direct schedulings a second; 0: none
	UrgentBurst int     // that may come at once; at least 1 if there is a rate
}

// A Reservation is Budget of CPU time in each Period, by Deadline after the period's
// begin. The zero Reservation is none: round-robin only.
type Reservation struct {
	Budget   time.Duration `json:"budget" yaml:"budget"`
	Period   time.Duration `json:"period" yaml:"period"`
	Deadline time.Duration `json:"deadline" yaml:"deadline"` // 0: the period
}

// A VCPU is what Add is told.
type VCPU struct {
	Tenant      TenantID
	Reservation Reservation
	Affinity    Mask // where it may run; nil: everywhere
	Node        int  // the node of its memory, tried first; -1: none
	Weight      int  // multiplies its slices; 0 is 1
}

// Stats is what happened to a vCPU.
type Stats struct {
	Run         time.Duration // on a CPU
	Steal       time.Duration // could have run, and waited
	WakeLatency time.Duration // from Wake or Interrupt to running, summed over Wakes
	MaxLatency  time.Duration
	Wakes       uint32
	Misses      uint32 // deadlines by which the budget had not been given, though asked for
	Preemptions uint32 // taken off a CPU for another's sake before the end of its turn
	Migrations  uint32 // begun on a CPU other than its last
	Direct      uint32 // scheduled at once by an urgent interrupt
	Deferred    uint32 // not so, for a bucket was empty: woken as usual
}

// CPUStats is what a CPU did.
type CPUStats struct {
	Busy     time.Duration
	Urgent   time.Duration // of Busy
	Switches uint64        // to another vCPU than the last one
	Density  float64       // admitted
}

// A Decision is what a CPU has to do from now on: run a vCPU, or None, and call Tick at
// Until if no other event comes before.
type Decision struct {
	CPU   int
	Run   ID
	Until Time
}
