// Package uintrtest is the table of user-interrupt cases as data: what a CPU holds, one event, and what must be seen
// afterwards (`uintr.md §1.5-1.9, §3`). Run carries a case out with package uintr over a small flat memory. A guest
// program carries out the same case with whatever its machine brings, from the record that Encode makes, and answers
// with a record for Decode. Compare judges both, so that all engines agree case by case.
//
// Records are flat and little-endian; uintrtest.h, generated from the same offsets, is their C side. Addresses in the
// table are symbolic (Addr): the guest tells where its arrays, stack and code are with a Bases record.
//
// What a case is: state, memory and registers are loaded, the CPU is at CPL 3 in 64-bit mode with CR4.UINTR, IF=1 and
// 4-level paging, and nothing is deliverable. Then one instruction executes or one interrupt arrives. If a user interrupt
// is deliverable after it, one delivery follows and the case ends at the handler's first instruction. A fault ends the
// case where it is raised.
package uintrtest
