// Package sched decides which vCPU each host CPU runs: earliest deadline first with
// admission control, round-robin below it, direct scheduling of urgent interrupts
// above it. docs/testbed.md has the rules and their proofs.
//
// It is pure logic over an abstract clock: events in (Wake, Interrupt, Block, Tick),
// decisions out, no goroutine, no lock, no time of its own. A simulator calls it
// directly; whoever runs real threads calls it under one lock and carries out what
// Decisions says. The same events at the same times give the same decisions.
//
// EDF is partitioned: a vCPU with a reservation has one home CPU, where the test of
// one processor is exact, rather than the M-(M-1)·Umax that global EDF promises; heaps
// stay short and caches warm. An idle CPU still runs what waits elsewhere.
//
// Events cost O(log n + CPUs) for n vCPUs of a CPU, the second term being words of
// bit sets and one array of counts, and allocate nothing once the heaps have grown.
package sched
