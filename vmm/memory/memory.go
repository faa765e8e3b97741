package memory

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// PageSize is the granularity of slots, in bytes.
const PageSize = 4096

var (
	// ErrUnmapped is an access that wraps, crosses the end of a slot, or hits a hole.
	ErrUnmapped = errors.New("memory: address not in RAM")
	// ErrMisaligned is an atomic access to an address that is not a multiple of its width.
	ErrMisaligned = errors.New("memory: misaligned atomic access")
	// ErrClosed is any use after Close.
	ErrClosed = errors.New("memory: closed")
	// ErrBadSlot is a slot that is empty, not page aligned, or ends beyond the address space.
	ErrBadSlot = errors.New("memory: bad slot range")
	// ErrOverlap is a slot that shares an address with one added before.
	ErrOverlap = errors.New("memory: slots overlap")
)

// Slot is one contiguous range of RAM: guest addresses [Base, Base+Size) are Host[0:Size].
type Slot struct {
	Base, Size uint64
	Host       []byte
}

// Memory is the guest-physical memory of one machine. All methods may be called from any goroutine.
type Memory struct {
	mu    sync.Mutex             // serialises AddRAM and Close
	table atomic.Pointer[[]Slot] // sorted by Base and never modified in place; nil once closed
}

// New returns a memory without slots.
func New() *Memory {
	m := new(Memory)
	m.table.Store(new([]Slot))
	return m
}

// AddRAM adds size bytes of zeroed RAM at base. The host gives pages as they are first touched.
// It fails with ErrBadSlot, ErrOverlap, ErrClosed, or the host's reason for refusing the mapping.
func (m *Memory) AddRAM(base, size uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	table := m.table.Load()
	if table == nil {
		return fmt.Errorf("add RAM: %w", ErrClosed)
	}
	if size == 0 || size > math.MaxInt || base+size < base || (base|size)%PageSize != 0 {
		return fmt.Errorf("add RAM of %#x bytes at %#x: %w", size, base, ErrBadSlot)
	}
	at := 0
	for _, s := range *table {
		if base < s.Base+s.Size && s.Base < base+size {
			return fmt.Errorf("add RAM of %#x bytes at %#x over slot [%#x, %#x): %w", size, base, s.Base, s.Base+s.Size, ErrOverlap)
		}
		if s.Base < base {
			at++
		}
	}
	host, err := mapShared(size)
	if err != nil {
		return fmt.Errorf("add RAM of %#x bytes at %#x: %w", size, base, err)
	}
	grown := slices.Insert(slices.Clone(*table), at, Slot{Base: base, Size: size, Host: host})
	m.table.Store(&grown)
	return nil
}

// Slots returns the slots in ascending order of Base, nil after Close.
func (m *Memory) Slots() []Slot {
	table := m.table.Load()
	if table == nil {
		return nil
	}
	return slices.Clone(*table)
}

// Close unmaps every slot; afterwards everything returns ErrClosed.
// A view taken earlier then points at nothing: vCPUs and devices must have stopped before, because a view that is still in use would kill the process.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	table := m.table.Swap(nil)
	if table == nil {
		return ErrClosed
	}
	var errs []error
	for _, s := range *table {
		errs = append(errs, unmap(s.Host))
	}
	return errors.Join(errs...)
}

// View returns the n bytes at addr. The slice aliases guest memory and cannot be grown past n.
// A view of no bytes exists only at an address inside a slot.
func (m *Memory) View(addr, n uint64) ([]byte, error) {
	host, err := m.from(addr)
	if err != nil {
		return nil, err
	}
	if n > uint64(len(host)) {
		return nil, ErrUnmapped
	}
	return host[:n:n], nil
}

// from returns what is left of addr's slot from addr on: at least one byte.
func (m *Memory) from(addr uint64) ([]byte, error) {
	table := m.table.Load()
	if table == nil {
		return nil, ErrClosed
	}
	for i := range *table {
		s := &(*table)[i]
		if off := addr - s.Base; off < s.Size {
			return s.Host[off:], nil
		}
	}
	return nil, ErrUnmapped
}

// ReadAt copies len(p) bytes at addr into p. The range may not cross slots. The copy is not atomic.
func (m *Memory) ReadAt(p []byte, addr uint64) error {
	b, err := m.View(addr, uint64(len(p)))
	if err != nil {
		return err
	}
	copy(p, b)
	return nil
}

// WriteAt copies p to addr. The range may not cross slots. The copy is not atomic.
func (m *Memory) WriteAt(p []byte, addr uint64) error {
	b, err := m.View(addr, uint64(len(p)))
	if err != nil {
		return err
	}
	copy(b, p)
	return nil
}
