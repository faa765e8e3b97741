package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"time"

	"gvmm/vcpu"
	"gvmm/vcpu/hw"
	"gvmm/vmm"
)

// UIPIOptions shape the SENDUIPI experiment.
type UIPIOptions struct {
	Image   string
	Samples int // of each measure in a pass
	Rounds  int // of all engines, one after the other
	KVM     string

	// Progress, if set, is called when a pass has ended.
	Progress func(done, total int)
}

// UIPIRow is one engine and receiver: medians over the rounds. Times are in nanoseconds, from before SENDUIPI to the
// handler's first instructions.
type UIPIRow struct {
	Engine    string  `json:"engine"`
	Way       string  `json:"way"`
	To        string  `json:"to"` // "self" or "across": the sending processor or another one
	Minimum   float64 `json:"minimum_ns"`
	P50       float64 `json:"p50_ns"`
	P99       float64 `json:"p99_ns"`
	PerSecond float64 `json:"per_second"`  // each handled before the next is sent
	Send      float64 `json:"send_ns"`     // of the sender, when it does not wait
	Coalesced float64 `json:"coalesced"`   // part of those that found the one before not handled yet
	ToSoft    float64 `json:"p50_to_soft"` // ratio to the software CPU's, of the same receiver
}

// UIPIResult is the experiment's outcome.
type UIPIResult struct {
	Samples int       `json:"samples"`
	Rounds  int       `json:"rounds"`
	CPUs    int       `json:"host_cpus"`
	Rows    []UIPIRow `json:"rows"`
	Absent  []string  `json:"absent,omitempty"` // what could not be measured here, and why
}

// What is published for the software that comes nearest: a fork of QEMU.
const (
	PublishedUIPI       = 8 * time.Microsecond   // from SENDUIPI to receipt
	PublishedUIPIKernel = 464 * time.Microsecond // when the kernel got in between
)

// uipiEngine is what carries user interrupts.
type uipiEngine struct {
	accel vcpu.Accel
	way   vcpu.Way
}

// uipiTimes are one pass's figures for one receiver, in TSC ticks but for the last.
type uipiTimes struct {
	samples, minimum, p50, p99, waited, unwaited, coalesced float64
}

var uipiLine = regexp.MustCompile(`(?m)^uipi (self|across): samples (\d+) ticks: minimum (\d+) p50 (\d+) p99 (\d+) waited (\d+) unwaited (\d+) coalesced (\d+)\r?$`)

// parseUIPI reads what the image prints, by receiver.
func parseUIPI(text []byte) (map[string]uipiTimes, error) {
	times := make(map[string]uipiTimes)
	for _, m := range uipiLine.FindAllSubmatch(text, -1) {
		var v [7]float64
		for i := range v {
			n, err := strconv.ParseUint(string(m[2+i]), 10, 63)
			if err != nil {
				return nil, fmt.Errorf("bench: %s: %w", m[0], err)
			}
			v[i] = float64(n)
		}
		times[string(m[1])] = uipiTimes{v[0], v[1], v[2], v[3], v[4], v[5], v[6]}
	}
	if len(times) == 0 {
		return nil, fmt.Errorf("bench: the guest's text is not that of the uipi image: %s", bytes.TrimSpace(text))
	}
	return times, nil
}

// UIPI measures SENDUIPI on the software CPU and on KVM in the ways that work here, alternating.
func UIPI(ctx context.Context, o UIPIOptions) (*UIPIResult, error) {
	result := &UIPIResult{Samples: o.Samples, Rounds: o.Rounds, CPUs: runtime.NumCPU()}
	engines, probe := o.engines(result)
	cpus := min(2, result.CPUs)
	if cpus < 2 {
		result.Absent = append(result.Absent, "across: two processors want two host CPUs")
	}
	runs := make([][]map[string]uipiTimes, len(engines))
	begin, ticks := time.Now(), vcpu.ReadTSC()
	for done := 0; done < o.Rounds*len(engines); done++ {
		i := done % len(engines)
		times, err := o.run(ctx, engines[i], probe, cpus)
		if err != nil {
			return nil, fmt.Errorf("%v %v: %w", engines[i].accel, engines[i].way, err)
		}
		runs[i] = append(runs[i], times)
		if o.Progress != nil {
			o.Progress(done+1, o.Rounds*len(engines))
		}
	}
	// Both engines give their guests the host's TSC.
	perTick := float64(time.Since(begin).Nanoseconds()) / float64(vcpu.ReadTSC()-ticks)
	for _, to := range []string{"self", "across"} {
		var soft UIPIRow
		for i, e := range engines {
			if _, ok := runs[i][0][to]; !ok {
				continue
			}
			row := e.row(to, runs[i], perTick)
			if i == 0 {
				soft = row
			}
			row.ToSoft = ratio(row.P50, soft.P50)
			result.Rows = append(result.Rows, row)
		}
	}
	return result, nil
}

// engines are those that work on this host, the software CPU first.
func (o *UIPIOptions) engines(r *UIPIResult) ([]uipiEngine, *hw.Probe) {
	engines := []uipiEngine{{vcpu.AccelSoft, vcpu.WayNative}}
	probe, err := hw.RunProbe(o.KVM)
	if err != nil {
		r.Absent = append(r.Absent, fmt.Sprintf("kvm: %v", err))
		return engines, nil
	}
	for _, way := range []vcpu.Way{vcpu.WayDirect, vcpu.WayResident} {
		if _, err := probe.Choose(way); err != nil {
			r.Absent = append(r.Absent, fmt.Sprintf("kvm %v: %v", way, err))
			continue
		}
		engines = append(engines, uipiEngine{vcpu.AccelKVM, way})
	}
	return engines, probe
}

// run is one pass.
func (o *UIPIOptions) run(ctx context.Context, e uipiEngine, probe *hw.Probe, cpus int) (map[string]uipiTimes, error) {
	var text bytes.Buffer
	c := vmm.Config{
		Image: o.Image, Command: fmt.Sprintf("samples=%d", o.Samples), CPUs: cpus, KVM: o.KVM,
		Accel: e.accel, Way: e.way, UINTR: true, Probe: probe, Serial: &text,
	}
	if e.accel == vcpu.AccelSoft {
		c.Probe = nil
	}
	r, err := Run(ctx, c)
	if err == nil && r.Status != 0 {
		err = fmt.Errorf("the guest failed with status %d: %s", r.Status, bytes.TrimSpace(text.Bytes()))
	}
	if err != nil {
		return nil, err
	}
	times, err := parseUIPI(text.Bytes())
	if err == nil && len(times) != cpus {
		err = errors.New("bench: the guest left a measure out")
	}
	return times, err
}

// row takes the medians of the engine's passes.
func (e uipiEngine) row(to string, runs []map[string]uipiTimes, perTick float64) UIPIRow {
	middle := func(f func(uipiTimes) float64) float64 {
		values := make([]float64, len(runs))
		for i, r := range runs {
			values[i] = f(r[to])
		}
		return median(values)
	}
	return UIPIRow{
		Engine: e.accel.String(), Way: e.way.String(), To: to,
		Minimum:   perTick * middle(func(t uipiTimes) float64 { return t.minimum }),
		P50:       perTick * middle(func(t uipiTimes) float64 { return t.p50 }),
		P99:       perTick * middle(func(t uipiTimes) float64 { return t.p99 }),
		PerSecond: middle(func(t uipiTimes) float64 { return ratio(t.samples*1e9, t.waited*perTick) }),
		Send:      perTick * middle(func(t uipiTimes) float64 { return ratio(t.unwaited, t.samples) }),
		Coalesced: middle(func(t uipiTimes) float64 { return ratio(t.coalesced, t.samples) }),
	}
}
