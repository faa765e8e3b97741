// Package irqchip is how interrupt messages reach local APICs, and the doorbells
// with which one processor raises another's notification vector.
//
// Kernel is the host kernel's: local APICs inside KVM, reached by KVM_SIGNAL_MSI,
// and doorbells that are an ioeventfd and an irqfd on the same eventfd, so that a
// store at CPL 3 of one processor becomes an interrupt at another with no
// user-space exit at either end (kvm-hosts.md §1).
//
// Soft is our own, for processors that are our own: a local APIC each (SDM 3 ch. 10;
// xAPIC and x2APIC), an IOAPIC and a pair of 8259s. A message takes no lock: it is a
// bit in the receiver's IRR and a Signal to who runs that processor, which then asks
// Pending and calls Acknowledge and EOI. Timers have no thread: the processor looks at
// Deadline and calls Tick.
package irqchip
