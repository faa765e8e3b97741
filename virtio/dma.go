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

// Revocable is a DMA from which the driver can take addresses back: it must
// then be told when nobody uses them any more. A queue over one uses a client.
type Revocable interface {
	DMA
	// Client returns a new client, with so many requests at most.
	Client(requests int) Client
}

// Client is a DMA whose user says how long it uses what it was given.
type Client interface {
	DMA
	// Enter and Leave bracket the use of views, from any goroutine.
	Enter() (section uint64)
	Leave(section uint64)
	// Begin starts a request, to which what Segments gives belongs until the
	// next one begins. It belongs to the goroutine that calls Segments. False
	// means that there are as many as there may be.
	Begin() (request int, ok bool)
	// End says that nothing of a request is used any more.
	End(request int)
	// Close ends all requests.
	Close()
}
