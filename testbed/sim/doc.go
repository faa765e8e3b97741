// Package sim predicts how tenants share host CPUs: a discrete-event simulation of up
// to a million of them over the scheduler that real runs use, testbed/sched, and the
// arrivals that scenarios state, testbed/load.
//
// Everything in a Result is modelled. What is simulated is scheduling, queueing and
// the stated costs; docs/testbed.md says what is not. Equal configurations give equal
// results, but for Result.Speed. A tenant takes about 500 bytes, whatever the duration.
package sim
