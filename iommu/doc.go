// Package iommu is a VT-d remapping unit as a guest sees it: a register page, and the path of every interrupt message from a function to the
// local APICs. What a message may raise is the remapping table's entry to say; an entry either *remaps* the message to a vector of a local APIC,
// *posts* it to a virtual CPU's descriptor, or *user-posts* it to a UPID (`iommu.md §1.7, §2.5`), whose owner then gets a user interrupt.
//
// A device never knows that the unit is there: it sends through the pci.MSISender that Sender bound to its requester id. A message that is refused
// becomes a fault record, as in hardware, and a count; it never reaches a local APIC or a descriptor.
//
// The path of a message takes no lock shared between requesters and allocates nothing. It reads one immutable snapshot of the registers, and the
// table entry in one 16-byte access for every message: with nothing cached there is nothing to invalidate, which is what the registers say
// (no queued invalidation, no DMA remapping).
package iommu
