package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"gvmm/bench"
)

// experimentHelp are the lines on an experiment, by its name.
var experimentHelp = map[string]struct{ short, long string }{
	"ipc": {"Messages between threads and processes: user interrupts against what the kernel has",
		`Send messages between two threads and between two processes of a Linux guest, by user
interrupt, futex, eventfd, signal, pipe, FIFO and socket: 1 and 4096 bytes, answered one
by one (ping-pong) and as fast as they go (one-way), to receivers that spin and that
block. Each pair has two of everything, one a direction.`},
	"wake": {"How long an event takes to its handler, and to who waits: threaded or in its context",
		`Raise events on one CPU for a thread that waits on another, and take the time to the
handler, and to the waiting thread: through a thread of the handler's own, by eventfd and
futex; by eventfd alone; by a user interrupt in the context of the waiting thread, which
sleeps or which computes.`},
	"flip": {"Handing a buffer over by remapping its pages against a copy, by size",
		`Hand buffers of 4 KiB to 4 MiB over by copying, and by moving their pages to the
receiver's address, with one CPU's translations to drop and with another's to shoot down,
and find the size from which each is better.`},
	"rings": {"Requests by shared rings in batches against a call and an interrupt for each",
		`Send requests to a server on another CPU, and take their completions: by a system call
and a signal each, and by shared rings with a user interrupt a batch, where the other
side sleeps; in batches of 1 to 128. Rates, latency, and how often the scheduler had to
switch.`},
	"storm": {"A storm of events on a receiver that has work to do",
		`Send items as fast as a ring takes them to a receiver that computes meanwhile, which hears
of each by a signal, by a user interrupt each (edge), by one while something is there
(level), by one and then by polling (as NAPI), and coalesced; and count interrupts,
spurious ones, and what the receiver got done.`},
	"aio": {"Reads mixed with work: synchronous, io_uring, and io_uring with user interrupts",
		`Read from the guest's disk, 4 KiB, 4 MiB and 40 MiB at a time, while the program has
tasks to do: by pread, by io_uring with the kernel's thread submitting, and by the same
with each completion a user interrupt. Total time, and latency by size.`},
}

// experimentCommand is gvmm bench NAME.
func experimentCommand(e *bench.Experiment) *cobra.Command {
	var o bench.ExperimentOptions
	var asJSON bool
	var memory, picture, way string
	help := experimentHelp[e.Name]
	c := &cobra.Command{
		Use:   e.Name,
		Short: help.short,
		Long: help.long + `

The guest is an image of gvmm image build debian --uintr, on the software CPU. Its ways
alternate in each round; ratios are those of the same round, and their median is shown.
A program that loses a message or gets a wrong one fails.`,
		Example: fmt.Sprintf("  gvmm bench %s --image guest.img\n  gvmm bench %s --rounds 9 --json --plot %s.svg > %s.json", e.Name, e.Name, e.Name, e.Name),
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Rounds < 1 || o.Rounds > 1000 || o.CPUs < 1 {
				return errors.New("--rounds wants 1 to 1000, --cpus at least 1")
			}
			if picture != "" {
				if err := bench.CheckPicture(picture); err != nil {
					return fmt.Errorf("--plot: %w", err)
				}
			}
			if way != "native" && way != "resident" {
				return fmt.Errorf("--way %s: native or resident", way)
			}
			o.Resident = way == "resident"
			var err error
			if o.Memory, err = parseSize(memory); err != nil {
				return err
			}
			o.Progress = progress(cmd.ErrOrStderr(), "bench "+e.Name)
			result, err := e.Run(cmd.Context(), o)
			if err == nil && picture != "" {
				err = e.Draw(result, picture)
			}
			return benchOutcome(cmd, result, err, asJSON, func(w io.Writer) { printExperiment(w, e, result) })
		},
	}
	s := c.Flags()
	s.StringVar(&o.Image, "image", "guest.img", "the guest")
	s.IntVar(&o.CPUs, "cpus", 2, "virtual CPUs")
	s.StringVar(&memory, "memory", "512M", "RAM, with M or G")
	s.IntVar(&o.Rounds, "rounds", 5, "rounds; medians are reported")
	s.StringVar(&way, "way", "native", "user interrupts: native (the CPU has them) or resident (it has not, and the guest's driver does its work)")
	s.StringArrayVar(&o.Arguments, "set", nil, "NAME=NUMBER for the program, such as messages=10000 (repeatable)")
	s.StringVar(&picture, "plot", "", "draw a picture, by its name an SVG, PNG or PDF")
	s.BoolVar(&asJSON, "json", false, "print one JSON object")
	_ = c.RegisterFlagCompletionFunc("way", cobra.FixedCompletions([]string{"native", "resident"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func printExperiment(w io.Writer, e *bench.Experiment, r *bench.ExperimentResult) {
	t := newTable(w)
	header := table.Row{}
	for _, l := range append(append([]string{}, e.Labels[1:]...), e.Labels[0]) {
		header = append(header, l)
	}
	var values []bench.Value
	for _, v := range e.Values {
		if !v.Hidden {
			values = append(values, v)
			header = append(header, v.Header)
		}
	}
	t.AppendHeader(append(header, "to "+e.Control))
	condition := func(row bench.ExperimentRow) (words []string) {
		for _, l := range e.Labels[1:] {
			words = append(words, row.Labels[l])
		}
		return words
	}
	for i, row := range r.Rows {
		if i > 0 && strings.Join(condition(row), "\x00") != strings.Join(condition(r.Rows[i-1]), "\x00") {
			t.AppendSeparator()
		}
		line := table.Row{}
		for _, word := range condition(row) {
			line = append(line, word)
		}
		line = append(line, row.Labels[e.Labels[0]])
		for _, v := range values {
			line = append(line, showValue(row, v))
		}
		t.AppendRow(append(line, showRatio(row.Ratio)))
	}
	t.Render()
	fmt.Fprintf(w, "%s, user interrupts %s; medians of %d rounds, alternating; %d CPUs on %d of the host's.\n%s\n",
		r.Command, r.Way, r.Rounds, r.CPUs, r.HostCPUs, e.Remark)
	for _, c := range r.Claims {
		switch {
		case !c.Measured:
			fmt.Fprintf(w, "not measured: %s (wanted: %.4g).\n", c.Text, c.AtLeast)
		case c.Holds:
			fmt.Fprintf(w, "reached: %s: %.4g (wanted: %.4g; %s).\n", c.Text, c.Value, c.AtLeast, c.Citation)
		default:
			fmt.Fprintf(w, "missed: %s: %.4g (wanted: %.4g; %s).\n", c.Text, c.Value, c.AtLeast, c.Citation)
		}
	}
	for _, c := range r.Crossovers {
		if c.Found {
			fmt.Fprintf(w, "%s is better than %s from %d %s on.\n", c.Way, r.Control, c.From, c.Label)
		} else {
			fmt.Fprintf(w, "%s is not better than %s, whatever the %s.\n", c.Way, r.Control, c.Label)
		}
	}
	for _, a := range r.Absent {
		fmt.Fprintf(w, "not measured: %s: %s.\n", a.What, a.Why)
	}
}

func showValue(row bench.ExperimentRow, v bench.Value) string {
	x, there := row.Values[v.Name]
	switch {
	case !there:
		return "-"
	case v.Unit == bench.Nanoseconds:
		d := time.Duration(x.Median)
		return d.Round(max(10*time.Nanosecond, d/1000)).String()
	case v.Unit == bench.Each:
		return fmt.Sprintf("%.3f", x.Median)
	}
	return fmt.Sprintf("%.0f", x.Median)
}

func showRatio(ratio float64) string {
	if ratio == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", ratio)
}
