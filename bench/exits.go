package bench

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"gvmm/vcpu"
	"gvmm/vcpu/hw"
	"gvmm/vmm"
)

// ExitsOptions shape the exits experiment.
type ExitsOptions struct {
	Image    string
	Disk     string // a host file, only read
	Way      vcpu.Way
	Requests int   // of each pass
	Depths   []int // queue depths
	Rounds   int   // of all variants, one after the other
	KVM      string

	// Progress, if set, is called when a pass has ended.
	Progress func(done, total int)
}

// ExitsRow is one variant at one depth: medians over the rounds.
type ExitsRow struct {
	Variant            string  `json:"variant"`
	Depth              int     `json:"depth"`
	Completions        uint64  `json:"completions"` // of all rounds
	Interrupts         uint64  `json:"interrupts"`
	ExitsPerCompletion float64 `json:"exits_per_completion"` // KVM's exits and interpreted instructions
	KVMExits           float64 `json:"kvm_exits_per_completion"`
	Interpreted        float64 `json:"interpreted_instructions_per_completion"`
	UserExits          float64 `json:"user_exits_per_completion"`
	P50                int64   `json:"p50_ns"`
	P99                int64   `json:"p99_ns"`
	CompletionsPerSec  float64 `json:"completions_per_second"`
	LatencyRatio       float64 `json:"p50_ratio_to_signal"` // to the kernel's signal at the same depth
	KickRatio          float64 `json:"p50_ratio_to_kick"`   // to the kick that rewrites registers
	ExitsRatio         float64 `json:"exits_ratio_to_signal"`
}

// ExitsResult is the experiment's outcome.
type ExitsResult struct {
	Way      string     `json:"way"`
	Requests int        `json:"requests"`
	Rounds   int        `json:"rounds"`
	Rows     []ExitsRow `json:"rows"`
	Probe    *hw.Probe  `json:"probe"`
}

// Names of the variants.
const (
	Polled          = "polled UPID"
	PolledRing      = "polled used ring" // Polled, where the UPID is out of the program's reach
	UserPosted      = "user-posted"
	Signal          = "kernel, then signal"
	SignalDoorbells = "the same, doorbell exits"
	Kick            = "user-posted, by kick" // not a way to go: what the ways are held against
)

type variant struct {
	name    string
	command string
	posted  bool
	exits   bool
	kick    bool
}

var variants = []variant{
	{name: Polled, command: "poll=1", posted: true},
	{name: UserPosted, posted: true},
	{name: Signal},
	{name: SignalDoorbells, exits: true},
	{name: Kick, posted: true, kick: true},
}

// Exits measures the four ways in which a completion can reach the user program,
// and the kick, on the same work, alternating.
func Exits(ctx context.Context, o ExitsOptions) (*ExitsResult, error) {
	variants := o.variants()
	result := &ExitsResult{Requests: o.Requests, Rounds: o.Rounds}
	runs := make(map[[2]int][]*vmm.Report) // by variant and depth
	total, done := o.Rounds*len(o.Depths)*len(variants), 0
	for range o.Rounds {
		for di, depth := range o.Depths {
			for vi, v := range variants {
				r, err := o.run(ctx, v, depth, result.Probe)
				if err != nil {
					return nil, fmt.Errorf("%s, depth %d: %w", v.name, depth, err)
				}
				result.Way, result.Probe = r.Way, r.Probe
				runs[[2]int{vi, di}] = append(runs[[2]int{vi, di}], r)
				if done++; o.Progress != nil {
					o.Progress(done, total)
				}
			}
		}
	}
	for di, depth := range o.Depths {
		first := len(result.Rows)
		for vi, v := range variants {
			name := v.name
			if name == Polled && result.Way != vcpu.WayDirect.String() {
				name = PolledRing
			}
			result.Rows = append(result.Rows, summarise(name, depth, runs[[2]int{vi, di}]))
		}
		rows := result.Rows[first:]
		named := func(name string) (row ExitsRow) {
			if i := slices.IndexFunc(rows, func(r ExitsRow) bool { return r.Variant == name }); i >= 0 {
				row = rows[i]
			}
			return row
		}
		base, kick := named(Signal), named(Kick)
		for i := range rows {
			rows[i].KickRatio = ratio(float64(rows[i].P50), float64(kick.P50))
			rows[i].LatencyRatio = ratio(float64(rows[i].P50), float64(base.P50))
			rows[i].ExitsRatio = ratio(rows[i].ExitsPerCompletion, base.ExitsPerCompletion)
		}
	}
	return result, nil
}

// variants are those that the way allows: a kick that rewrites registers is KVM's.
func (o ExitsOptions) variants() []variant {
	if o.Way != vcpu.WayNative {
		return variants
	}
	return slices.DeleteFunc(slices.Clone(variants), func(v variant) bool { return v.kick })
}

// run runs one variant. The host is probed by the first, and probe is nil then.
func (o ExitsOptions) run(ctx context.Context, v variant, depth int, probe *hw.Probe) (*vmm.Report, error) {
	var text bytes.Buffer
	r, err := Run(ctx, vmm.Config{
		Image: o.Image, Disks: []vmm.Disk{{Path: o.Disk, ReadOnly: true}}, KVM: o.KVM,
		Command: fmt.Sprintf("depth=%d requests=%d hash=0 %s", depth, o.Requests, v.command),
		UINTR:   true, Way: o.Way, Probe: probe, Posted: v.posted, DoorbellExits: v.exits, Kick: v.kick, Serial: &text,
	})
	if err == nil && r.Status != 0 {
		err = fmt.Errorf("the guest failed with status %d: %s", r.Status, bytes.TrimSpace(text.Bytes()))
	}
	return r, err
}

func summarise(name string, depth int, runs []*vmm.Report) ExitsRow {
	row := ExitsRow{Variant: name, Depth: depth}
	middle := func(f func(*vmm.Report) float64) float64 {
		values := make([]float64, len(runs))
		for i, r := range runs {
			values[i] = f(r)
		}
		return median(values)
	}
	each := func(prefix string) func(*vmm.Report) float64 {
		return func(r *vmm.Report) float64 { return ratio(float64(r.ExitSum(prefix)), float64(r.Completions)) }
	}
	for _, r := range runs {
		row.Completions += r.Completions
		row.Interrupts += r.UserInterrupts
	}
	row.ExitsPerCompletion = middle(func(r *vmm.Report) float64 { return r.ExitsPerCompletion })
	row.KVMExits = middle(each("kvm.exits"))
	row.Interpreted = middle(each("kvm.insn_emulation"))
	row.UserExits = middle(each("user."))
	row.P50 = int64(middle(func(r *vmm.Report) float64 { return float64(r.Latency.P50) }))
	row.P99 = int64(middle(func(r *vmm.Report) float64 { return float64(r.Latency.P99) }))
	row.CompletionsPerSec = middle(func(r *vmm.Report) float64 { return ratio(float64(r.Completions), r.Seconds) })
	return row
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
