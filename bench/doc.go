// Package bench runs guests against each other: a run beside its control, and
// experiments whose variants alternate in one run, because the machines on which
// they run are noisy and only ratios of neighbours mean anything.
package bench
