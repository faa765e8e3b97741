package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"gvmm/bench"
)

func benchUIPICommand() *cobra.Command {
	var o bench.UIPIOptions
	var asJSON bool
	c := &cobra.Command{
		Use:   "uipi",
		Short: "How long SENDUIPI takes to the handler, and how many go a second",
		Long: `Measure SENDUIPI to the sending processor itself and across to another one, which
computes: on the software CPU, and on KVM in the ways that work on this host,
alternating. A time is from before SENDUIPI to the handler's first instructions, both
by RDTSC in the guest. The two processors want two host CPUs.`,
		Example: `  gvmm bench uipi --image out/uipi.img
  gvmm bench uipi --samples 10000 --rounds 9 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Samples < 1 || o.Samples > 100000 || o.Rounds < 1 {
				return errors.New("--samples wants 1 to 100000, --rounds at least 1")
			}
			o.Progress = progress(cmd.ErrOrStderr(), "bench uipi")
			result, err := bench.UIPI(cmd.Context(), o)
			return benchOutcome(cmd, result, err, asJSON, func(w io.Writer) { printUIPI(w, result) })
		},
	}
	s := c.Flags()
	s.StringVar(&o.Image, "image", "out/uipi.img", "the uipi image")
	s.IntVar(&o.Samples, "samples", 1000, "interrupts of each measure in a pass")
	s.IntVar(&o.Rounds, "rounds", 5, "rounds; medians are reported")
	s.StringVar(&o.KVM, "kvm", "/dev/kvm", "the KVM device")
	s.BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

func printUIPI(w io.Writer, r *bench.UIPIResult) {
	t := newTable(w)
	t.AppendHeader(table.Row{"SENDUIPI to", "engine, way", "minimum", "p50", "p99", "a second", "unwaited", "coalesced", "p50 to soft"})
	for i, row := range r.Rows {
		if i > 0 && row.To != r.Rows[i-1].To {
			t.AppendSeparator()
		}
		show := func(ns float64) string { return time.Duration(ns).Round(10 * time.Nanosecond).String() }
		t.AppendRow(table.Row{row.To, row.Engine + ", " + row.Way, show(row.Minimum), show(row.P50), show(row.P99), fmt.Sprintf("%.0f", row.PerSecond),
			show(row.Send), fmt.Sprintf("%.0f %%", 100*row.Coalesced), fmt.Sprintf("%.2f", row.ToSoft)})
	}
	t.Render()
	fmt.Fprintf(w, "%d interrupts a measure, medians of %d rounds, engines alternating, %d host CPUs. A second: each handled before\nthe next is sent. Unwaited: what one costs a sender that does not wait, and how many of those coalesce.\n",
		r.Samples, r.Rounds, r.CPUs)
	fmt.Fprintf(w, "published for a QEMU fork, not measured here: %v from SENDUIPI to receipt, %v with the kernel in between.\n",
		bench.PublishedUIPI, bench.PublishedUIPIKernel)
	for _, a := range r.Absent {
		fmt.Fprintf(w, "not measured: %s.\n", a)
	}
}
