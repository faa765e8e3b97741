// Package irqchip is how interrupt messages reach local APICs, and the doorbells
// with which one processor raises another's notification vector.
//
// Kernel is the host kernel's: local APICs inside KVM, reached by KVM_SIGNAL_MSI,
// and doorbells that are an ioeventfd and an irqfd on the same eventfd, so that a
// store at CPL 3 of one processor becomes an interrupt at another with no
// user-space exit at either end (kvm-hosts.md §1).
package irqchip
