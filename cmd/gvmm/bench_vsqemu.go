package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"gvmm/bench"
)

func benchVsQEMUCommand() *cobra.Command {
	var o bench.VsQEMUOptions
	var asJSON bool
	c := &cobra.Command{
		Use:   "vs-qemu",
		Short: "The software CPU against QEMU's translator, on the same guest",
		Long: `Run the same loops in the same guest on the software CPU and under
qemu-system-x86_64 -accel tcg, alternating, and compare speeds. The guest times each
loop by its TSC, whose frequency is taken from the wall time of each run; both must
compute the same checksums. The mean is of the ratios of five loops: arithmetic with
loads and stores, calls, CRC by a table, addition of long numbers, loads from random
pages.`,
		Example: `  gvmm bench vs-qemu --image out/loops.img
  gvmm bench vs-qemu --rounds 9 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Rounds < 1 || o.Repeat < 1 || o.Millions < 1 {
				return errors.New("--rounds, --repeat and --millions want numbers of at least 1")
			}
			o.Progress = progress(cmd.ErrOrStderr(), "bench vs-qemu")
			result, err := bench.VsQEMU(cmd.Context(), o)
			return benchOutcome(cmd, result, err, asJSON, func(w io.Writer) { printVsQEMU(w, result) })
		},
	}
	s := c.Flags()
	s.StringVar(&o.Image, "image", "out/loops.img", "the loops image")
	s.StringVar(&o.QEMU, "qemu", "qemu-system-x86_64", "QEMU's program")
	s.StringVar(&o.CPU, "qemu-cpu", "max", "QEMU's CPU model")
	s.IntVar(&o.Millions, "millions", 2, "millions of instructions of each loop: few, so that a busy host lets some runs through whole")
	s.IntVar(&o.Repeat, "repeat", 30, "runs of each loop, of which the shortest counts")
	s.IntVar(&o.Rounds, "rounds", 5, "rounds; medians are reported")
	s.BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

func printVsQEMU(w io.Writer, r *bench.VsQEMUResult) {
	t := newTable(w)
	t.AppendHeader(table.Row{"loop", "gvmm soft", "QEMU TCG", "ratio"})
	traps := false
	for _, row := range r.Rows {
		show := func(e bench.EngineTime) string {
			if row.Instructions == 0 {
				return fmt.Sprintf("%.0f ns each", e.NS)
			}
			return fmt.Sprintf("%.0f MIPS", e.MIPS)
		}
		if row.Instructions == 0 && !traps {
			t.AppendSeparator()
			traps = true
		}
		t.AppendRow(table.Row{row.Loop, show(row.Soft), show(row.QEMU), fmt.Sprintf("%.2f", row.Ratio)})
	}
	t.AppendFooter(table.Row{"geometric mean of five", "", "", fmt.Sprintf("%.2f", r.Mean)})
	t.Style().Format.Footer = 0 // as it is written
	t.Render()
	fmt.Fprintf(w, "%s; medians of %d rounds, alternating; ratio: gvmm's speed to QEMU's, above 1 gvmm is faster.\n", r.Version, r.Rounds)
	fmt.Fprintf(w, "the mean is of %s; all checksums agree.\n", strings.Join(bench.MeanLoops, ", "))
}

// benchOutcome prints an experiment's result or turns its error into the command's.
func benchOutcome(cmd *cobra.Command, result any, err error, asJSON bool, show func(io.Writer)) error {
	var setup *bench.SetupError
	switch {
	case errors.As(err, &setup):
		return setup.Err
	case err != nil:
		return &failed{err}
	case asJSON:
		return printJSON(cmd.OutOrStdout(), result)
	}
	show(cmd.OutOrStdout())
	return nil
}
