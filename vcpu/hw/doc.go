// Package hw is a virtual processor over the host's KVM, and the ways by which
// user interrupts reach its guest although neither CPU nor KVM need know them:
//
//   - direct: the guest's notification and invalid-opcode gates lead to
//     microcode at CPL 3;
//   - resident: the same microcode at CPL 0, out of the program's reach.
//
// In both the architectural state lives in a Block of guest memory, which the
// microcode works on while the processor runs and this package while it
// serves an MSR access; the rules are those of package uintr in either case.
//
// Probe tries the ways in a small machine of its own before they are used, and
// measures what an interrupt costs: only its counters may call a way exit-free.
package hw
