package virtiotest

import (
	"errors"
	"fmt"
)

// ErrUnmapped reports an access that is not wholly inside one slot.
var ErrUnmapped = errors.New("virtiotest: unmapped")

// PageSize is where a scattered Memory cuts segments.
const PageSize = 4096

// Memory is guest memory on the heap. It satisfies virtio.DMA.
type Memory struct {
	// Scattered hands out segments page by page, as an IOMMU would.
	Scattered bool
	slots     []slot
}

type slot struct {
	base uint64
	host []byte
}

// NewMemory makes a memory with one slot at base.
func NewMemory(base uint64, size int) *Memory {
	m := &Memory{}
	m.AddSlot(base, size)
	return m
}

// AddSlot adds size bytes at base.
func (m *Memory) AddSlot(base uint64, size int) {
	m.slots = append(m.slots, slot{base, alignedBytes(size)})
}

// Bytes is the host's view of [addr, addr+n); it panics outside a slot, which
// is the test's mistake.
func (m *Memory) Bytes(addr uint64, n int) []byte {
	b, err := m.find(addr, uint64(n))
	if err != nil {
		panic(err)
	}
	return b
}

func (m *Memory) find(addr, n uint64) ([]byte, error) {
	for _, s := range m.slots {
		if off := addr - s.base; addr >= s.base && off < uint64(len(s.host)) && n <= uint64(len(s.host))-off {
			return s.host[off : off+n : off+n], nil
		}
	}
	return nil, fmt.Errorf("%w: %#x+%#x", ErrUnmapped, addr, n)
}

// View implements virtio.DMA. It holds the device to its half of the contract:
// naturally aligned, inside a page.
func (m *Memory) View(addr uint64, n int, _ bool) ([]byte, error) {
	if n <= 0 || n > PageSize || addr%uint64(n) != 0 {
		return nil, fmt.Errorf("virtiotest: view of %d bytes at %#x is not aligned", n, addr)
	}
	return m.find(addr, uint64(n))
}

// Segments implements virtio.DMA.
func (m *Memory) Segments(dst [][]byte, addr uint64, n uint32, _ bool) ([][]byte, error) {
	b, err := m.find(addr, uint64(n))
	if err != nil {
		return dst, err
	}
	for m.Scattered && len(b) > 0 {
		part := min(len(b), int(PageSize-addr%PageSize))
		dst = append(dst, b[:part])
		b, addr = b[part:], addr+uint64(part)
	}
	if len(b) > 0 {
		dst = append(dst, b)
	}
	return dst, nil
}
