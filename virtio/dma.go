package virtio

// DMA is a device's view of memory: guest-physical, or translated by an IOMMU.
// It covers RAM only, so a device cannot reach a device, itself included.
type DMA interface {
	// View is the n bytes at addr, contiguous, for a naturally aligned ring
	// element of at most 4096 bytes. It is used at once and not kept.
	View(addr uint64, n int, write bool) ([]byte, error)
	// Segments appends the host views of [addr, addr+n) to dst, in order. They
	// stay usable until the request that they belong to completes.
	Segments(dst [][]byte, addr uint64, n uint32, write bool) ([][]byte, error)
}
