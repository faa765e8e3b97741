// Package iommu is a VT-d remapping unit in legacy mode as a guest sees it: a register page, the path of every interrupt message from a function to the
// local APICs, and the path of every DMA request to memory.
//
// What a message may raise is the remapping table's entry to say; an entry either *remaps* the message to a vector of a local APIC, *posts* it to a
// virtual CPU's descriptor, or *user-posts* it to a UPID (`iommu.md §1.7, §2.5`), whose owner then gets a user interrupt. Where a DMA request goes is
// the second-level tables' to say, which the requester's context entry names. A request that is refused becomes a fault record, as in hardware, and a
// count; it reaches nobody.
//
// A device never knows that the unit is there: it sends through the pci.MSISender that Sender bound to its requester id, and reaches memory by the
// DMAView that View did. If it keeps what it was given, as a request under way does, it has a Client of the view, so that a guest that takes a mapping
// back learns when nobody uses it any more: an invalidation wait is over then, and not before.
//
// Neither path takes a lock shared between requesters or allocates anything, but for a translation or an entry that is not cached, which takes the lock
// of a shard. Each reads one immutable snapshot of the registers. Interrupt entries are cached while queued invalidation is on, since nothing else
// invalidates them; without Config.DMA nothing is cached, and an entry is read in one 16-byte access for every message.
//
// The order of things, on which invalidation rests: what a guest takes back is first no longer found in a cache (a slot is emptied, or a generation
// passes), then sections that may still use it are waited for, then requests that say they do. Whoever fills a cache reads the generations before the
// tables, under the lock that emptying the slot takes too.
package iommu
