package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"gvmm/vcpu"
	"gvmm/vmm"
)

// VsQEMUOptions shape the comparison with QEMU.
type VsQEMUOptions struct {
	Image    string // the loops image
	QEMU     string // program, sought in PATH
	CPU      string // QEMU's model
	Millions int    // instructions of each loop
	Repeat   int    // of each loop in a run; the shortest counts
	Rounds   int    // of both engines, one after the other

	// Progress, if set, is called when a run has ended.
	Progress func(done, total int)
}

// EngineTime is one loop on one engine: medians over the rounds.
type EngineTime struct {
	MIPS float64 `json:"mips,omitempty"` // guest instructions, in millions a second
	NS   float64 `json:"ns"`             // an operation
}

// VsQEMURow is one loop on both.
type VsQEMURow struct {
	Loop         string     `json:"loop"`
	Operations   uint64     `json:"operations"`
	Instructions uint64     `json:"instructions,omitempty"`
	Checksum     string     `json:"checksum"` // the same on both
	Soft         EngineTime `json:"soft"`
	QEMU         EngineTime `json:"qemu"`
	Ratio        float64    `json:"ratio"` // of speeds, soft to QEMU: the median over the rounds
}

// VsQEMUResult is the comparison's outcome.
type VsQEMUResult struct {
	Version string      `json:"qemu_version"`
	Rounds  int         `json:"rounds"`
	Rows    []VsQEMURow `json:"rows"`
	Mean    float64     `json:"geometric_mean"` // of the ratios of MeanLoops
}

// MeanLoops are the loops whose ratios the mean is of (softcpu.md §6).
var MeanLoops = []string{"ALU", "call", "table", "words", "random"}

// engineRun is one run of the image.
type engineRun struct {
	loops []loopTime
	hz    float64
}

func (r *engineRun) seconds(i int) float64 { return float64(r.loops[i].ticks) / r.hz }

// VsQEMU runs the loops image on the software CPU and under QEMU's translator, alternating, and compares.
func VsQEMU(ctx context.Context, o VsQEMUOptions) (*VsQEMUResult, error) {
	path, version, err := findQEMU(ctx, o.QEMU)
	if err != nil {
		return nil, err
	}
	result := &VsQEMUResult{Version: version, Rounds: o.Rounds}
	var soft, qemu []*engineRun
	done := 0
	for range o.Rounds {
		for _, e := range []struct {
			runs *[]*engineRun
			run  func(context.Context, *transcript) error
		}{{&soft, o.runSoft}, {&qemu, func(ctx context.Context, t *transcript) error { return o.runQEMU(ctx, path, t) }}} {
			var t transcript
			if err := e.run(ctx, &t); err != nil {
				return nil, err
			}
			loops, hz, err := t.loops()
			if err != nil {
				return nil, err
			}
			*e.runs = append(*e.runs, &engineRun{loops, hz})
			if done++; o.Progress != nil {
				o.Progress(done, 2*o.Rounds)
			}
		}
	}
	return result, result.compare(soft, qemu)
}

// findQEMU finds QEMU's program, and what it says of its version.
func findQEMU(ctx context.Context, program string) (path, version string, err error) {
	if path, err = exec.LookPath(program); err != nil {
		return "", "", &SetupError{fmt.Errorf("%s is not in PATH; `make bench-qemu` installs it on Debian: %w", program, err)}
	}
	text, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", "", &SetupError{fmt.Errorf("%s --version: %w", path, err)}
	}
	version, _, _ = strings.Cut(string(text), "\n")
	return path, version, nil
}

func (o *VsQEMUOptions) command() string {
	return fmt.Sprintf("millions=%d repeat=%d", o.Millions, o.Repeat)
}

func (o *VsQEMUOptions) runSoft(ctx context.Context, t *transcript) error {
	r, err := Run(ctx, vmm.Config{Image: o.Image, Command: o.command(), Accel: vcpu.AccelSoft, Serial: t})
	if err == nil && r.Status != 0 {
		err = fmt.Errorf("the guest failed with status %d: %s", r.Status, bytes.TrimSpace(t.text.Bytes()))
	}
	return err
}

// exitGuest is QEMU's status when the guest wrote 0 to isa-debug-exit.
const exitGuest = 1

func (o *VsQEMUOptions) runQEMU(ctx context.Context, path string, t *transcript) error {
	var complaint bytes.Buffer
	c := exec.CommandContext(ctx, path, "-accel", "tcg", "-machine", "pc", "-cpu", o.CPU, "-m", "64", "-nodefaults", "-no-user-config",
		"-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot",
		"-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel", o.Image, "-append", o.command())
	c.Stdout, c.Stderr, c.WaitDelay = t, &complaint, time.Second
	err := c.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &exit) && exit.ExitCode() == exitGuest && !t.end.IsZero():
		return nil
	case err == nil:
		err = errors.New("it ended without the guest's status")
	}
	return fmt.Errorf("%s: %w: %s%s", o.QEMU, err, complaint.String(), bytes.TrimSpace(t.text.Bytes()))
}

// compare fills the rows in.
func (r *VsQEMUResult) compare(soft, qemu []*engineRun) error {
	model := soft[0]
	for _, run := range append(append([]*engineRun(nil), soft...), qemu...) {
		if err := model.same(run); err != nil {
			return err
		}
	}
	var ratios []float64
	for i, l := range model.loops {
		row := VsQEMURow{Loop: l.name, Operations: l.operations, Instructions: l.instructions, Checksum: l.checksum}
		row.Soft, row.QEMU = l.on(soft, i), l.on(qemu, i)
		each := make([]float64, len(soft))
		for n := range soft {
			each[n] = ratio(qemu[n].seconds(i), soft[n].seconds(i))
		}
		row.Ratio = median(each)
		r.Rows = append(r.Rows, row)
		for _, name := range MeanLoops {
			if name == l.name {
				ratios = append(ratios, row.Ratio)
			}
		}
	}
	if len(ratios) != len(MeanLoops) {
		return fmt.Errorf("%w: %d of its loops are there", errTranscript, len(ratios))
	}
	r.Mean = geometricMean(ratios)
	return nil
}

// same reports that another run computed what r did.
func (r *engineRun) same(other *engineRun) error {
	if len(r.loops) != len(other.loops) {
		return fmt.Errorf("%w: %d loops, then %d", errTranscript, len(r.loops), len(other.loops))
	}
	for i, a := range r.loops {
		b := other.loops[i]
		if a.name != b.name || a.operations != b.operations || a.instructions != b.instructions {
			return fmt.Errorf("%w: loop %s is not the same work as loop %s", errTranscript, a.name, b.name)
		}
		if a.checksum != b.checksum {
			return fmt.Errorf("loop %s computed %s in one run and %s in another", a.name, a.checksum, b.checksum)
		}
	}
	return nil
}

// on is the loop's time on one engine, i its place in the runs.
func (l *loopTime) on(runs []*engineRun, i int) EngineTime {
	seconds := make([]float64, len(runs))
	for n, run := range runs {
		seconds[n] = run.seconds(i)
	}
	s := median(seconds)
	return EngineTime{MIPS: ratio(float64(l.instructions)/1e6, s), NS: ratio(s*1e9, float64(l.operations))}
}
