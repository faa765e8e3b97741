package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"gvmm/bench"
)

func benchBootCommand() *cobra.Command {
	var o bench.BootOptions
	var asJSON bool
	var memory string
	c := &cobra.Command{
		Use:   "boot IMAGE",
		Short: "A Linux kernel's boot on the software CPU against QEMU's translator",
		Long: `Boot the same Linux kernel, with the same initial RAM disk and command line, on the
software CPU and under qemu-system-x86_64 -accel tcg, alternating, and compare the
time from the start of the machine to the line that the kernel prints right before
its first program. Each loads the kernel in its own way. IMAGE is a kernel, or a raw disk
whose kernel and initial RAM disk are booted.`,
		Example: `  gvmm bench boot guest.img
  gvmm bench boot --initrd initrd.img vmlinuz
  gvmm bench boot --initrd initrd.img --append 'console=ttyS0 cryptomgr.notests' --rounds 9 --json vmlinuz`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Rounds < 1 || o.CPUs < 1 {
				return errors.New("--rounds and --cpus want numbers of at least 1")
			}
			var err error
			if o.Memory, err = parseSize(memory); err != nil {
				return err
			}
			o.Kernel = args[0]
			o.Progress = progress(cmd.ErrOrStderr(), "bench boot")
			result, err := bench.Boot(cmd.Context(), o)
			return benchOutcome(cmd, result, err, asJSON, func(w io.Writer) { printBoot(w, result) })
		},
	}
	s := c.Flags()
	s.StringVar(&o.Initrd, "initrd", "", "the initial RAM disk")
	s.StringVar(&o.Command, "append", "console=ttyS0", "the kernel's command line")
	s.StringVar(&memory, "memory", "512M", "RAM, with M or G")
	s.IntVar(&o.CPUs, "cpus", 1, "virtual CPUs")
	s.StringVar(&o.Marker, "marker", bench.BootMarker, "what the kernel prints when the boot is over")
	s.StringVar(&o.QEMU, "qemu", "qemu-system-x86_64", "QEMU's program")
	s.StringVar(&o.CPU, "qemu-cpu", "max", "QEMU's CPU model")
	s.IntVar(&o.Rounds, "rounds", 5, "rounds; medians are reported")
	s.BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

func printBoot(w io.Writer, r *bench.BootResult) {
	t := newTable(w)
	t.AppendHeader(table.Row{"boot", "median", "min", "max"})
	row := func(name string, b bench.BootTimes) {
		t.AppendRow(table.Row{name, fmt.Sprintf("%.2f s", b.Median), fmt.Sprintf("%.2f s", b.Min), fmt.Sprintf("%.2f s", b.Max)})
	}
	row("gvmm soft", r.Soft)
	row("QEMU TCG", r.QEMU)
	t.AppendFooter(table.Row{"ratio of times", fmt.Sprintf("%.2f", r.Ratio)})
	t.Style().Format.Footer = 0 // as it is written
	t.Render()
	fmt.Fprintf(w, "%s; %d CPUs, command line %q; %d rounds, alternating; below 1 gvmm is faster.\n", r.Version, r.CPUs, r.Command, r.Rounds)
}
