package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"gvmm/bench"
	"gvmm/kvm"
	"gvmm/vcpu"
)

func benchCommand() *cobra.Command {
	c := group("bench", "Experiments, each against its control in the same run",
		benchExitsCommand(), benchUIPICommand(), benchAttackCommand(), benchVsQEMUCommand(), benchBootCommand())
	for _, e := range bench.Experiments {
		c.AddCommand(experimentCommand(e))
	}
	return c
}

func benchExitsCommand() *cobra.Command {
	var o bench.ExitsOptions
	var asJSON bool
	var way string
	c := &cobra.Command{
		Use:   "exits",
		Short: "What a disk completion costs in each of four ways to reach the user program",
		Long: `Measure the four ways in which a completion can reach the user program, on the
same reads, alternating:

  polled UPID              the program looks at its UPID; nobody is notified
  user-posted              the IOMMU posts to the UPID; a user interrupt
  kernel, then signal      remapped to the guest kernel, which calls the program
  the same, doorbell exits ... and the program's doorbells leave to user space
  user-posted, by kick     for scale: a signal takes the vCPU out, its registers are
                           rewritten, and no gate of the guest's is needed

Where the UPID is out of the program's reach (resident) the first one polls the
used ring instead, and is named so.`,
		Example: `  gvmm bench exits --image out/guest.img
  gvmm bench exits --image out/guest.img --way resident --requests 2000 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.Way, err = parseWay(way); err != nil {
				return err
			}
			if o.Way == vcpu.WayNone && !canKVM(o.KVM) {
				o.Way = vcpu.WayNative
				fmt.Fprintln(cmd.ErrOrStderr(), "gvmm: no KVM here: on the software CPU, without the kick")
			}
			if o.Requests < 1 || o.Rounds < 1 || len(o.Depths) == 0 {
				return errors.New("--requests, --rounds and --depth want numbers of at least 1")
			}
			return runBenchExits(cmd, o, asJSON)
		},
	}
	s := c.Flags()
	s.StringVar(&o.Image, "image", "out/guest.img", "the bare guest's image")
	s.StringVar(&o.Disk, "disk", "", "host file to read [4 MiB of random bytes, removed afterwards]")
	s.StringVar(&way, "way", "auto", "how user interrupts go: auto, native (the software CPU), direct or resident (over KVM)")
	s.IntVar(&o.Requests, "requests", 4096, "reads of 4 KiB in each pass")
	s.IntSliceVar(&o.Depths, "depth", []int{1, 32}, "queue depths, 1 to 64")
	s.IntVar(&o.Rounds, "rounds", 3, "rounds; medians are reported")
	s.StringVar(&o.KVM, "kvm", "/dev/kvm", "the KVM device")
	s.BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

func runBenchExits(cmd *cobra.Command, o bench.ExitsOptions, asJSON bool) error {
	if o.Disk == "" {
		dir, err := os.MkdirTemp("", "gvmm-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.Disk = filepath.Join(dir, "disk.img")
		b := make([]byte, 4<<20)
		_, _ = rand.Read(b) // never fails
		if err := os.WriteFile(o.Disk, b, 0o600); err != nil {
			return err
		}
	}
	o.Progress = progress(cmd.ErrOrStderr(), "bench exits")
	result, err := bench.Exits(cmd.Context(), o)
	return benchOutcome(cmd, result, err, asJSON, func(w io.Writer) { printExits(w, result) })
}

func printExits(w io.Writer, r *bench.ExitsResult) {
	t := newTable(w)
	t.AppendHeader(table.Row{"depth", "completion reaches the program", "exits/completion", "of KVM", "interpreted", "to user space",
		"p50", "p99", "completions/s", "exits ratio", "p50 ratio", "to kick"})
	for i, row := range r.Rows {
		if i > 0 && row.Depth != r.Rows[i-1].Depth {
			t.AppendSeparator()
		}
		us := func(ns int64) string { return time.Duration(ns).Round(100 * time.Nanosecond).String() }
		t.AppendRow(table.Row{row.Depth, row.Variant, fmt.Sprintf("%.2f", row.ExitsPerCompletion), fmt.Sprintf("%.2f", row.KVMExits),
			fmt.Sprintf("%.2f", row.Interpreted), fmt.Sprintf("%.3f", row.UserExits), us(row.P50), us(row.P99),
			fmt.Sprintf("%.0f", row.CompletionsPerSec), fmt.Sprintf("%.3f", row.ExitsRatio), fmt.Sprintf("%.3f", row.LatencyRatio), fmt.Sprintf("%.2f", row.KickRatio)})
	}
	t.Render()
	fmt.Fprintf(w, "way %s; %d requests a pass, medians of %d rounds, variants alternating; ratios to %q,\nand of p50 to %q (a signal to the vCPU's thread, registers rewritten), at the same depth.\n",
		r.Way, r.Requests, r.Rounds, bench.Signal, bench.Kick)
}

// canKVM tells whether the KVM device can be used.
func canKVM(path string) bool {
	system, err := kvm.Open(path)
	if err != nil {
		return false
	}
	return system.Close() == nil
}
