package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"gvmm/vcpu"
	"gvmm/vmm"
)

// An Experiment is a program in a Linux guest that compares ways to do the same work, alternating, and how its numbers
// are shown. Its line format is described in guests/linux/programs/bench.h.
type Experiment struct {
	Name    string
	Program string   // in the guest
	Title   string   // of table and picture
	Labels  []string // what each measure has; the first is the way, which is compared
	Control string   // the way that ratios are to
	Values  []Value  // what measures have; the first is what ratios are of
	Claims  []Claim
	// Crossover, if set, is the label, a number, from some value of which on another way is better than the control.
	Crossover string
	Picture   Picture
	Remark    string // what the table cannot say
}

// A Value is one number of each measure.
type Value struct {
	Name   string // in lines and JSON
	Header string
	Unit   Unit
	// Optional values may be missing from a measure. Hidden ones are not in the table.
	Optional, Hidden bool
}

// A Unit is what a Value counts, and whether more of it is better.
type Unit int

// Units.
const (
	Nanoseconds Unit = iota // less is better
	PerSecond               // more is better
	Count                   // neither
	Each                    // of something that an item costs: less is better
)

// A Claim is what an experiment is held against: how many times better one measure is than another, in the same round; or,
// without To, what a measure's value is.
type Claim struct {
	Text     string
	Value    string
	Of, To   []string // values of the labels, in their order
	AtLeast  float64
	Citation string // where the bar comes from
}

// ExperimentOptions shape a run.
type ExperimentOptions struct {
	Image     string // of gvmm image build debian --uintr
	CPUs      int
	Memory    uint64 // bytes
	Rounds    int
	Arguments []string // more of the program's, NAME=NUMBER
	// Resident hides the CPU's user interrupts, so that the guest's driver does its work.
	Resident bool

	// Progress, if set, is called when a round has begun.
	Progress func(done, total int)
}

// A Spread is a value over the rounds.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// ExperimentRow is one way under one condition.
type ExperimentRow struct {
	Labels map[string]string `json:"labels"`
	Values map[string]Spread `json:"values"`
	// Ratio is how many times better the first value is than the control's under the same condition, the median of the
	// rounds' ratios; 0 where there is none.
	Ratio float64 `json:"ratio_to_control"`

	rounds map[int]map[string]float64
}

// ClaimResult is what became of a claim. Measured is false where the guest left one of its measures out.
type ClaimResult struct {
	Text     string  `json:"text"`
	Value    float64 `json:"value"`
	AtLeast  float64 `json:"at_least"`
	Holds    bool    `json:"holds"`
	Measured bool    `json:"measured"`
	Citation string  `json:"citation,omitempty"`
}

// A Crossover is where a way begins to be better than the control, and stays so to the end of what was measured. Without
// Found it does not.
type Crossover struct {
	Way   string `json:"way"`
	Label string `json:"label"`
	From  uint64 `json:"from"`
	Found bool   `json:"found"`
}

// Absent is what a program could not measure, and why.
type Absent struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

// ExperimentResult is an experiment's outcome.
type ExperimentResult struct {
	Experiment string          `json:"experiment"`
	Way        string          `json:"way"` // of user interrupts: native, or resident
	CPUs       int             `json:"cpus"`
	HostCPUs   int             `json:"host_cpus"`
	Rounds     int             `json:"rounds"`
	Control    string          `json:"control"`
	Command    string          `json:"command"` // in the guest
	Rows       []ExperimentRow `json:"rows"`
	Claims     []ClaimResult   `json:"claims,omitempty"`
	Crossovers []Crossover     `json:"crossovers,omitempty"`
	Absent     []Absent        `json:"absent,omitempty"`
}

var argument = regexp.MustCompile(`^[a-z_]+=[0-9]+$`)

// Run boots the image on the software CPU, has it run the program, and reads its measures.
func (e *Experiment) Run(ctx context.Context, o ExperimentOptions) (*ExperimentResult, error) {
	words := []string{e.Program, fmt.Sprintf("rounds=%d", o.Rounds)}
	for _, a := range o.Arguments {
		if !argument.MatchString(a) {
			return nil, &SetupError{fmt.Errorf("bench: %q: a program's argument is NAME=NUMBER", a)}
		}
		words = append(words, a)
	}
	r := &ExperimentResult{
		Experiment: e.Name, Way: vcpu.WayNative.String(), CPUs: o.CPUs, HostCPUs: runtime.NumCPU(), Rounds: o.Rounds,
		Control: e.Control, Command: strings.Join(words, " "),
	}
	if o.Resident {
		r.Way = vcpu.WayResident.String()
	}
	lines := &measures{experiment: e}
	if o.Progress != nil {
		lines.began = func(round int) { o.Progress(min(round, o.Rounds), o.Rounds) }
	}
	report, err := Run(ctx, vmm.Config{
		Image: o.Image, Command: fmt.Sprintf("quiet pti=off gvmm.run='%s'", r.Command), Defaults: true, CPUs: o.CPUs, Memory: o.Memory,
		Accel: vcpu.AccelSoft, UINTR: !o.Resident, Way: way(o.Resident), Posted: true, Serial: lines, NoReset: true,
	})
	switch {
	case err != nil:
		return nil, err
	case report.Status != 0:
		return nil, fmt.Errorf("bench: %q ended with status %d in the guest: %s", r.Command, report.Status/2, lines.tail())
	}
	if err := lines.complete(o.Rounds); err != nil {
		return nil, fmt.Errorf("%w; the guest's last words: %s", err, lines.tail())
	}
	if o.Progress != nil {
		o.Progress(o.Rounds, o.Rounds)
	}
	r.Absent = lines.absent
	return r, e.tabulate(r, lines.all)
}

func way(resident bool) vcpu.Way {
	if resident {
		return vcpu.WayNone
	}
	return vcpu.WayNative
}

// errTwice is a program that measured the same thing twice in a round.
var errTwice = errors.New("bench: a measure that was there already in that round")

// tabulate makes rows, in the order in which they first came, and judges the claims.
func (e *Experiment) tabulate(r *ExperimentResult, all []measure) error {
	place := make(map[string]int)
	for _, m := range all {
		key := e.key(m.Labels)
		at, known := place[key]
		if !known {
			at = len(r.Rows)
			place[key] = at
			r.Rows = append(r.Rows, ExperimentRow{Labels: m.Labels, rounds: make(map[int]map[string]float64)})
		}
		if r.Rows[at].rounds[m.Round] != nil {
			return fmt.Errorf("%w: %v, round %d", errTwice, m.Labels, m.Round)
		}
		r.Rows[at].rounds[m.Round] = m.Values
	}
	row := func(labels map[string]string) *ExperimentRow {
		if at, known := place[e.key(labels)]; known {
			return &r.Rows[at]
		}
		return nil
	}
	for i := range r.Rows {
		this := &r.Rows[i]
		this.spread()
		control := maps.Clone(this.Labels)
		control[e.Labels[0]] = e.Control
		this.Ratio = e.better(e.Values[0].Name, this, row(control))
	}
	for _, c := range e.Claims {
		r.Claims = append(r.Claims, e.judge(c, row))
	}
	if e.Crossover != "" {
		r.Crossovers = e.crossovers(r.Rows)
	}
	return nil
}

// crossovers looks at the rows of each way from the last to the first: they come in rising order.
func (e *Experiment) crossovers(rows []ExperimentRow) (all []Crossover) {
	ended := make(map[string]bool)
	for _, row := range slices.Backward(rows) {
		way := row.Labels[e.Labels[0]]
		from, err := strconv.ParseUint(row.Labels[e.Crossover], 10, 63)
		if way == e.Control || err != nil {
			continue
		}
		at := slices.IndexFunc(all, func(c Crossover) bool { return c.Way == way })
		if at < 0 {
			at, all = len(all), append(all, Crossover{Way: way, Label: e.Crossover})
		}
		if ended[way] = ended[way] || row.Ratio <= 1; !ended[way] {
			all[at].From, all[at].Found = from, true
		}
	}
	slices.Reverse(all)
	return all
}

// key is labels in their order.
func (e *Experiment) key(labels map[string]string) string {
	values := make([]string, len(e.Labels))
	for i, l := range e.Labels {
		values[i] = labels[l]
	}
	return strings.Join(values, "\x00")
}

func (e *Experiment) labels(values []string) map[string]string {
	m := make(map[string]string, len(values))
	for i, v := range values {
		m[e.Labels[i]] = v
	}
	return m
}

func (e *Experiment) value(name string) Value {
	for _, v := range e.Values {
		if v.Name == name {
			return v
		}
	}
	return Value{Name: name}
}

// spread sums the rounds up.
func (r *ExperimentRow) spread() {
	values := make(map[string][]float64)
	for _, round := range r.rounds {
		for name, v := range round {
			values[name] = append(values[name], v)
		}
	}
	r.Values = make(map[string]Spread, len(values))
	for name, v := range values {
		r.Values[name] = Spread{Median: median(v), Min: slices.Min(v), Max: slices.Max(v)}
	}
}

// better is how many times better a value of a is than b's, the median over the rounds that have both.
func (e *Experiment) better(name string, a, b *ExperimentRow) float64 {
	if a == nil || b == nil {
		return 0
	}
	var ratios []float64
	for round, of := range a.rounds {
		x, y := of[name], b.rounds[round][name]
		if unit := e.value(name).Unit; unit == Nanoseconds || unit == Each {
			x, y = y, x
		}
		if x > 0 && y > 0 {
			ratios = append(ratios, x/y)
		}
	}
	return median(ratios)
}

func (e *Experiment) judge(c Claim, row func(labels map[string]string) *ExperimentRow) ClaimResult {
	r := ClaimResult{Text: c.Text, AtLeast: c.AtLeast, Citation: c.Citation}
	of := row(e.labels(c.Of))
	switch {
	case of == nil:
	case len(c.To) == 0:
		r.Value = of.Values[c.Value].Median
	default:
		r.Value = e.better(c.Value, of, row(e.labels(c.To)))
	}
	r.Measured = r.Value > 0
	r.Holds = r.Measured && r.Value >= c.AtLeast
	return r
}
