package virtio

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// How a queue's setup, its driver or its device can be wrong. After any but
// the first the queue serves no more.
var (
	ErrQueueConfig     = errors.New("virtio: queue configuration")
	ErrAvailIndex      = errors.New("virtio: available index is more than a queue ahead")
	ErrOverrun         = errors.New("virtio: more chains in flight than the queue has entries")
	ErrDescriptorIndex = errors.New("virtio: descriptor index out of range")
	ErrChainTooLong    = errors.New("virtio: descriptor chain too long")
	ErrIndirect        = errors.New("virtio: malformed indirect descriptor")
	ErrZeroLength      = errors.New("virtio: descriptor of no bytes")
	ErrTooLarge        = errors.New("virtio: descriptor chain has too many bytes")
	ErrOrder           = errors.New("virtio: readable descriptor after a writable one")
	ErrAddress         = errors.New("virtio: address is not memory")
	ErrInFlight        = errors.New("virtio: chain is in flight already")
	ErrNotInFlight     = errors.New("virtio: chain is not in flight")
	ErrBufferID        = errors.New("virtio: buffer id out of range")
)

// DefaultMaxBytes is how much one chain may describe unless a queue is told
// otherwise.
const DefaultMaxBytes = 64 << 20

// Counters count one queue's life. They may be read at any time.
type Counters struct {
	Chains      atomic.Uint64 // popped
	Completions atomic.Uint64 // pushed
	Interrupts  atomic.Uint64 // asked for by Notify
	Suppressed  atomic.Uint64 // not asked for, as the driver wished
	Malformed   atomic.Uint64 // errors that finished a queue
}

// QueueConfig says where a virtqueue stands and whom it tells.
type QueueConfig struct {
	// Packed chooses the format: split (§2.7) or packed (§2.8).
	Packed bool
	Size   uint16 // split: a power of two; packed: 1 to MaxQueueSize
	// Desc, Avail and Used are the descriptor, driver and device areas, as addresses in DMA. Split: descriptor table,
	// available ring and used ring, aligned to 16, 2 and 4. Packed: descriptor ring, driver and device event suppression
	// structures, aligned to 16, 4 and 4.
	Desc, Avail, Used  uint64
	EventIdx, Indirect bool // negotiated features
	DMA                DMA
	MaxBytes           uint64    // of one chain; 0 means DefaultMaxBytes, 2^32 is the most
	Counters           *Counters // nil makes new ones
	// Interrupt, if set, raises the queue's interrupt; Notify calls it.
	Interrupt func()
	// OnUsed, if set, is called right before a completion is published, with the number of those before it, mod 2^16: in
	// a split queue used.idx as it stands. It must not call back.
	OnUsed func(index uint16)
	// Ready, if set, says whether the device may reach memory: while it does
	// not, Pop finds nothing. Kick the queue when it changes to true.
	Ready func() bool
}

// Queue is the device's side of a virtqueue. Pop, More, EnableKicks and
// DisableKicks belong to one goroutine; Push and Notify may be called from
// any.
type Queue struct {
	QueueConfig
	ring ring

	client   Client         // DMA, if addresses can be taken back; else nil
	requests []atomic.Int32 // of client's, plus 1, by the head of the chain in flight

	scratch [][]byte // for indirect descriptors that are not aligned; the popping side's

	failure atomic.Pointer[error] // the first error, after which nothing is served
	mu      sync.Mutex            // publishing
}

// ring is what the two formats differ in. publish, publishAll and news are called
// with Queue.mu held, the others belong to the popping goroutine. Only calls by chain go through it, none by descriptor.
type ring interface {
	// look tells whether there is a chain to take.
	look() (bool, error)
	// take puts the next chain, which look has found, into c, which is empty.
	take(c *Chain) error
	// unpop undoes the last take that is not undone.
	unpop(head uint16)
	// publish gives a chain back.
	publish(head uint16, written uint32) error
	// publishAll gives chains back all at once.
	publishAll(used []Used) error
	// news tells whether anything was published since the last call, and whether the driver wants an interrupt for it.
	news() (some, wanted bool, err error)
	// enableKicks asks for a kick for the next chain, and tells whether it is there already.
	enableKicks() (more bool, err error)
	disableKicks() error
	// awaitMore is enableKicks for a chain past all that take has ever found.
	awaitMore() (more bool, err error)
}

// NewQueue makes a queue that begins at its ring's first entry. It checks sizes, alignment
// and wrap; memory is checked at each use, since a driver's mappings change.
func NewQueue(c QueueConfig) (*Queue, error) {
	check := CheckLayout
	if c.Packed {
		check = CheckPackedLayout
	}
	if err := check(c.Size, c.Desc, c.Avail, c.Used); err != nil {
		return nil, err
	}
	switch {
	case c.DMA == nil:
		return nil, fmt.Errorf("%w: no memory", ErrQueueConfig)
	case c.MaxBytes > 1<<32:
		return nil, fmt.Errorf("%w: chains of %d bytes", ErrQueueConfig, c.MaxBytes)
	case c.MaxBytes == 0:
		c.MaxBytes = DefaultMaxBytes
	}
	if c.Counters == nil {
		c.Counters = new(Counters)
	}
	q := &Queue{QueueConfig: c}
	if c.Packed {
		q.ring = newPackedRing(q)
	} else {
		q.ring = &splitRing{queue: q, mask: c.Size - 1}
	}
	if r, ok := c.DMA.(Revocable); ok {
		q.client = r.Client(int(c.Size))
		q.DMA = q.client
		q.requests = make([]atomic.Int32, c.Size)
	}
	return q, nil
}

// Close gives up all that is in flight. Its device has stopped before.
func (q *Queue) Close() {
	if q.client != nil {
		q.client.Close()
	}
}

// enter and leave bracket each use of ring views.
func (q *Queue) enter() (section uint64) {
	if q.client == nil {
		return 0
	}
	return q.client.Enter()
}

func (q *Queue) leave(section uint64) {
	if q.client != nil {
		q.client.Leave(section)
	}
}

// begin starts the request of a chain that is about to be taken.
func (q *Queue) begin() (request int, err error) {
	if q.client == nil {
		return 0, nil
	}
	request, ok := q.client.Begin()
	if !ok {
		return 0, ErrOverrun
	}
	return request, nil
}

// hold keeps a request until head's chain is pushed. A head that is in flight
// is refused: whose addresses are still in use could not be told when one of
// the two ends.
func (q *Queue) hold(head uint16, request int) error {
	if q.client == nil {
		return nil
	}
	if !q.requests[head].CompareAndSwap(0, int32(request)+1) {
		return fmt.Errorf("%w: %d", ErrInFlight, head)
	}
	return nil
}

// drop ends the request of a chain that could not be taken.
func (q *Queue) drop(request int) {
	if q.client != nil {
		q.client.End(request)
	}
}

// end ends the request of a chain.
func (q *Queue) end(head uint16) {
	if q.client == nil || head >= q.Size {
		return
	}
	if request := q.requests[head].Swap(0); request != 0 {
		q.client.End(int(request) - 1)
	}
}

// descSize is the size of a descriptor of either format.
const descSize = 16

// CheckLayout tells whether a split queue can stand there: size a power of two
// up to MaxQueueSize, parts aligned, none past the end of the address space.
func CheckLayout(size uint16, desc, avail, used uint64) error {
	n := uint64(size)
	switch {
	case size == 0 || size&(size-1) != 0 || size > MaxQueueSize:
		return fmt.Errorf("%w: size %d", ErrQueueConfig, size)
	case desc%16 != 0 || avail%2 != 0 || used%4 != 0:
		return fmt.Errorf("%w: rings misaligned", ErrQueueConfig)
	case desc+descSize*n < desc, avail+availRing+2*n+2 < avail, used+usedRing+usedElemSize*n+4 < used:
		return fmt.Errorf("%w: rings wrap", ErrQueueConfig)
	}
	return nil
}

// CheckPackedLayout tells whether a packed queue can stand there: 1 to
// MaxQueueSize descriptors (§2.8.10.1), parts aligned, none past the end of
// the address space.
func CheckPackedLayout(size uint16, desc, driver, device uint64) error {
	switch {
	case size == 0 || size > MaxQueueSize:
		return fmt.Errorf("%w: size %d", ErrQueueConfig, size)
	case desc%16 != 0 || driver%eventSize != 0 || device%eventSize != 0:
		return fmt.Errorf("%w: rings misaligned", ErrQueueConfig)
	case desc+descSize*uint64(size) < desc:
		return fmt.Errorf("%w: ring wraps", ErrQueueConfig)
	}
	return nil
}

// fail finishes the queue, with the first error that it met.
func (q *Queue) fail(err error) error {
	if q.failure.CompareAndSwap(nil, &err) {
		q.Counters.Malformed.Add(1)
	}
	return q.Err()
}

// Err is the error that finished the queue, nil while it serves.
func (q *Queue) Err() error {
	if p := q.failure.Load(); p != nil {
		return *p
	}
	return nil
}

func (q *Queue) view(addr uint64, n int, write bool) ([]byte, error) {
	b, err := q.DMA.View(addr, n, write)
	if err != nil {
		return nil, fmt.Errorf("%w: ring at %#x: %w", ErrAddress, addr, err)
	}
	if len(b) < n {
		return nil, fmt.Errorf("%w: ring at %#x", ErrAddress, addr)
	}
	return b, nil
}

// load16 reads a ring field through the aligned word that holds it: there is
// no 16-bit atomic, and a word never leaves the field's page.
func (q *Queue) load16(addr uint64) (uint16, error) {
	b, err := q.view(addr&^3, 4, false)
	if err != nil {
		return 0, err
	}
	return uint16(loadWord(b) >> (8 * (addr & 2))), nil
}
