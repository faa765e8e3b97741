package pci

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
)

// I/O ports of configuration mechanism 1 (PCI 3.0 §3.2.2.3.2).
const (
	PortAddress = 0xCF8 // to 0xCFB; latched by 4-byte writes only
	PortData    = 0xCFC // to 0xCFF
)

// ECAMSize is the length of the memory-mapped configuration window: 256 buses,
// 32 devices, 8 functions, 4 KiB each (PCI Express 3.0 §7.2.2).
const ECAMSize = 256 << 20

// HostBridge is where a bus has its host bridge.
const HostBridge RequesterID = 0

const addressEnable = 1 << 31

// Bus holds the functions of a PCI segment and answers configuration accesses
// to them, by ports or by memory. An absent function reads as ones.
type Bus struct {
	space AddressSpace

	mu        sync.RWMutex
	address   uint32
	functions map[RequesterID]*Function
}

// NewBus makes a bus with a host bridge at 00:00.0. BARs of its functions
// appear in space.
func NewBus(space AddressSpace) *Bus {
	bridge := NewFunction(IDs{Vendor: 0x8086, Device: 0x0D57, Class: 0x060000})
	b := &Bus{space: space, functions: map[RequesterID]*Function{HostBridge: bridge}}
	// A function just made is on no other bus: attach cannot refuse it.
	_ = bridge.attach(space)
	return b
}

// Add puts f at rid, before the guest runs. ErrOccupied, ErrAttached.
func (b *Bus) Add(rid RequesterID, f *Function) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.functions[rid] != nil {
		return fmt.Errorf("add %s: %w", rid, ErrOccupied)
	}
	if err := f.attach(b.space); err != nil {
		return fmt.Errorf("add %s: %w", rid, err)
	}
	b.functions[rid] = f
	// A guest looks past function 0 only if it says there is more.
	for other, g := range b.functions {
		if other>>3 == rid>>3 && other != rid {
			g.setMultifunction()
			f.setMultifunction()
		}
	}
	return nil
}

// Function finds what is at rid, nil if nothing.
func (b *Bus) Function(rid RequesterID) *Function {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.functions[rid]
}

// RequesterIDs lists what is on the bus, in ascending order.
func (b *Bus) RequesterIDs() []RequesterID {
	b.mu.RLock()
	defer b.mu.RUnlock()
	ids := make([]RequesterID, 0, len(b.functions))
	for rid := range b.functions {
		ids = append(ids, rid)
	}
	slices.Sort(ids)
	return ids
}

// Reset resets every function and the address latch.
func (b *Bus) Reset() {
	b.mu.Lock()
	b.address = 0
	b.mu.Unlock()
	for _, rid := range b.RequesterIDs() {
		b.Function(rid).Reset()
	}
}

// ReadConfig reads a function's configuration space at off.
func (b *Bus) ReadConfig(rid RequesterID, off int, p []byte) {
	if f := b.Function(rid); f != nil {
		f.ReadConfig(off, p)
		return
	}
	ones(p)
}

// WriteConfig writes a function's configuration space at off.
func (b *Bus) WriteConfig(rid RequesterID, off int, p []byte) {
	f := b.Function(rid)
	if f == nil || !f.writeConfig(off, p) {
		return
	}
	// A BAR has left its place: who was refused it may have it now.
	for _, other := range b.RequesterIDs() {
		b.Function(other).retry()
	}
}

// ReadPort answers a read of len(p) bytes at a port in 0xCF8..0xCFF.
func (b *Bus) ReadPort(port uint16, p []byte) {
	ones(p)
	if port == PortAddress && len(p) == 4 {
		binary.LittleEndian.PutUint32(p, b.latch())
		return
	}
	if rid, off, n, ok := b.target(port, len(p)); ok {
		b.ReadConfig(rid, off, p[:n])
	}
}

// WritePort takes a write of len(p) bytes at a port in 0xCF8..0xCFF.
func (b *Bus) WritePort(port uint16, p []byte) {
	if port == PortAddress && len(p) == 4 {
		b.mu.Lock()
		b.address = binary.LittleEndian.Uint32(p)
		b.mu.Unlock()
		return
	}
	if rid, off, n, ok := b.target(port, len(p)); ok {
		b.WriteConfig(rid, off, p[:n])
	}
}

func (b *Bus) latch() uint32 {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.address
}

// target is what an access to the data port means; n bytes of it are ours,
// the rest lies past the port.
func (b *Bus) target(port uint16, size int) (rid RequesterID, off, n int, ok bool) {
	address := b.latch()
	if port < PortData || port > PortData+3 || address&addressEnable == 0 {
		return 0, 0, 0, false
	}
	byteOff := int(port - PortData)
	return RequesterID(address >> 8), int(address&0xFC) + byteOff, min(size, 4-byteOff), true
}

// ECAM is the memory-mapped configuration window, ECAMSize bytes.
func (b *Bus) ECAM() Region { return ecam{b} }

type ecam struct{ bus *Bus }

// ReadMMIO implements [Region].
func (e ecam) ReadMMIO(off uint64, p []byte) {
	if off >= ECAMSize {
		ones(p)
		return
	}
	e.bus.ReadConfig(RequesterID(off>>12), int(off&0xFFF), p)
}

// WriteMMIO implements [Region].
func (e ecam) WriteMMIO(off uint64, p []byte) {
	if off < ECAMSize {
		e.bus.WriteConfig(RequesterID(off>>12), int(off&0xFFF), p)
	}
}
