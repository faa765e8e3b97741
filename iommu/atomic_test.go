package iommu

import "gvmm/vmm/memory"

// atomicStore stores v at the start of b as a device's aligned write does.
func atomicStore(b []byte, v uint64) { memory.Store64(b, v) }
