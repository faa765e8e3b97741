package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"gvmm/bench"
)

func benchAttackCommand() *cobra.Command {
	var o bench.AttackOptions
	var asJSON bool
	c := &cobra.Command{
		Use:   "attack",
		Short: "What a hostile tenant costs its neighbour at the IOMMU",
		Long: `Have one tenant's function attack another's through the remapping unit, and measure
the other's completions meanwhile: a translation and a post to its own UPID. Each
attack alternates with a time in which the attacker posts to itself as fast, so that
the processor it takes is not what is measured. An attack that is not refused, a
request of the neighbour's that is lost, or one that it did not make, is an error.
The two want two host CPUs.`,
		Example: `  gvmm bench attack
  gvmm bench attack --window 200ms --rounds 20 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Window <= 0 || o.Window > time.Minute || o.Rounds < 1 {
				return errors.New("--window wants more than nothing and at most 1m, --rounds at least 1")
			}
			o.Progress = progress(cmd.ErrOrStderr(), "bench attack")
			result, err := bench.Attack(cmd.Context(), o)
			return benchOutcome(cmd, result, err, asJSON, func(w io.Writer) { printAttack(w, result) })
		},
	}
	s := c.Flags()
	s.DurationVar(&o.Window, "window", 50*time.Millisecond, "of each measure")
	s.IntVar(&o.Rounds, "rounds", 10, "rounds; medians are reported")
	s.BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

func printAttack(w io.Writer, r *bench.AttackResult) {
	t := newTable(w)
	t.AppendHeader(table.Row{"attack", "attempts", "refused", "recorded as", "p50 quiet", "attacked", "ratio", "p99 quiet", "attacked", "ratio"})
	ns := func(v float64) string { return time.Duration(v).String() }
	for _, row := range r.Rows {
		var reasons []string
		for reason := range row.Reasons {
			reasons = append(reasons, reason)
		}
		slices.Sort(reasons)
		t.AppendRow(table.Row{row.Attack, row.Attempts, row.Refused, strings.Join(reasons, ", "),
			ns(row.Quiet.P50), ns(row.Attacked.P50), fmt.Sprintf("%.2f", row.RatioP50),
			ns(row.Quiet.P99), ns(row.Attacked.P99), fmt.Sprintf("%.2f", row.RatioP99)})
	}
	t.Render()
	fmt.Fprintf(w, "the neighbour's completion, a translation and a post; %v a measure, medians of %d rounds, attack and quiet alternating.\n", r.Window, r.Rounds)
	fmt.Fprintln(w, "no request of the neighbour's was lost, and it found none that was not its own.")
}
