package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"gvmm/vcpu"
	"gvmm/vmm"
	"gvmm/vmm/terminal"
)

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// isTerminal tells whether w is a terminal: only there is progress shown.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && terminal.IsTerminal(f)
}

// spinner shows on a terminal that something goes on, until the function that it
// returns is called.
func spinner(w io.Writer, what string) func() {
	if !isTerminal(w) {
		return func() {}
	}
	p := mpb.New(mpb.WithOutput(w), mpb.WithWidth(1))
	bar := p.New(0, mpb.SpinnerStyle(), mpb.BarRemoveOnComplete(),
		mpb.AppendDecorators(decor.Name(what), decor.Elapsed(decor.ET_STYLE_GO, decor.WC{W: 6})))
	return func() {
		bar.SetTotal(1, true)
		p.Wait()
	}
}

// progress shows on a terminal how much is done; the function that it returns is
// told.
func progress(w io.Writer, what string) func(done, total int) {
	if !isTerminal(w) {
		return nil
	}
	p := mpb.New(mpb.WithOutput(w), mpb.WithWidth(40))
	bar := p.AddBar(0, mpb.BarRemoveOnComplete(), mpb.PrependDecorators(decor.Name(what+" ")),
		mpb.AppendDecorators(decor.CountersNoUnit("%d / %d")))
	return func(done, total int) {
		bar.SetTotal(int64(total), false)
		bar.SetCurrent(int64(done))
		if done == total {
			bar.SetTotal(int64(total), true)
			p.Wait()
		}
	}
}

func newTable(w io.Writer) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	return t
}

// printReport shows a run beside its control run.
func printReport(w io.Writer, r *vmm.Report) {
	fmt.Fprintln(w)
	t := newTable(w)
	header := table.Row{"", "this run"}
	if r.Control != nil {
		header = append(header, "control run")
	}
	t.AppendHeader(header)
	row := func(name string, value func(*vmm.Report) string) {
		line := table.Row{name, value(r)}
		if r.Control != nil {
			line = append(line, value(r.Control))
		}
		t.AppendRow(line)
	}
	number := func(f func(*vmm.Report) uint64) func(*vmm.Report) string {
		return func(r *vmm.Report) string { return fmt.Sprint(f(r)) }
	}
	row("engine, way", func(r *vmm.Report) string { return r.Engine + ", " + r.Way })
	row("completions go", func(r *vmm.Report) string {
		if r.Posted {
			return "posted to the user program"
		}
		return "to the guest kernel, which signals"
	})
	row("completions", number(func(r *vmm.Report) uint64 { return r.Completions }))
	row("user interrupts", number(func(r *vmm.Report) uint64 { return r.UserInterrupts }))
	row("coalesced posts", number(func(r *vmm.Report) uint64 { return r.Coalesced }))
	t.AppendSeparator()
	causes := maps.Clone(r.Exits)
	devices := maps.Clone(r.Devices)
	if r.Control != nil {
		maps.Copy(causes, r.Control.Exits)
		maps.Copy(devices, r.Control.Devices)
	}
	for _, cause := range slices.Sorted(maps.Keys(causes)) {
		row("exits: "+cause, number(func(r *vmm.Report) uint64 { return r.Exits[cause] }))
	}
	for _, device := range slices.Sorted(maps.Keys(devices)) {
		row("user exits of "+device, number(func(r *vmm.Report) uint64 { return r.Devices[device] }))
	}
	row("exits per completion", func(r *vmm.Report) string { return fmt.Sprintf("%.2f", r.ExitsPerCompletion) })
	t.AppendSeparator()
	for _, q := range []struct {
		name string
		of   func(vmm.Latency) int64
	}{
		{"device to handler, p50", func(l vmm.Latency) int64 { return l.P50 }},
		{"p99", func(l vmm.Latency) int64 { return l.P99 }},
		{"p99.9", func(l vmm.Latency) int64 { return l.P999 }},
	} {
		row(q.name, func(r *vmm.Report) string {
			if r.Latency.Samples == 0 {
				return "-"
			}
			return time.Duration(q.of(r.Latency)).Round(100 * time.Nanosecond).String()
		})
	}
	t.Render()
	printJIT(w, r.JIT)
	printRemarks(w, r)
}

// printRemarks says in sentences what the table cannot.
func printRemarks(w io.Writer, r *vmm.Report) {
	if r.Engine == vcpu.AccelSoft.String() {
		fmt.Fprintln(w, "exits per completion: soft.*, returns of the run loop to the VMM, measured; modelled.*, what a host without APIC")
		fmt.Fprintln(w, "virtualisation and posted interrupts would have left the guest for, counted in runs without posting.")
	} else {
		fmt.Fprintln(w, "exits per completion: KVM's exits, and the guest instructions that KVM interpreted instead of running them.")
	}
	if r.Control != nil {
		fmt.Fprintf(w, "saved: %.2f exits per completion (%.1f %% of the control run's).\n", r.Saved, 100*r.Saved/max(r.Control.ExitsPerCompletion, 1e-9))
	}
	if p := r.Probe; p != nil {
		if p.ExitFree {
			fmt.Fprintln(w, "exit-free here: the probe's interrupts moved neither KVM's exits nor its injections.")
		} else {
			fmt.Fprintln(w, "not exit-free here: an interrupt into a running vCPU costs this host's KVM an exit. Expected, not measured: none where KVM posts interrupts (APICv, AVIC).")
		}
		if r.KickRatio > 0 {
			fmt.Fprintf(w, "device to handler p50 is %.2f of this host's kick-and-rewrite (%v, probed in this run).\n",
				r.KickRatio, time.Duration(p.Kick.P50).Round(100*time.Nanosecond))
		}
	}
	if r.Latency.Why != "" {
		fmt.Fprintf(w, "latency: %s.\n", r.Latency.Why)
	}
	printRefused(w, r)
	for i, n := range r.Networks {
		fmt.Fprintf(w, "net%d, %s, %s: %d frames (%d bytes) sent, %d lost; %d frames (%d bytes) received, %d lost; %d malformed.\n",
			i, n.Kind, n.MAC, n.TxFrames, n.TxBytes, n.TxDropped, n.RxFrames, n.RxBytes, n.RxDropped, n.Malformed)
	}
	for _, e := range r.GuestErrors {
		fmt.Fprintf(w, "the guest's error: %s.\n", e)
	}
}

// printRefused tells what the remapping unit refused, by requester and reason.
func printRefused(w io.Writer, r *vmm.Report) {
	for _, f := range r.Refused {
		fmt.Fprintf(w, "refused by the IOMMU: %d of requester %s (%s, domain %d): %s.\n", f.Count, f.Requester, cmp.Or(f.Device, "no device"), f.Domain, f.Reason)
	}
	if n := len(r.Faults); n > 0 {
		f := r.Faults[n-1]
		fmt.Fprintf(w, "the last of them: requester %s, %s: %s.\n", f.Requester, f.What(), f.Reason)
	}
}
