package pci

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// MaxVectors is the largest MSI-X table (PCI 3.0 §6.8.2.3).
const MaxVectors = 2048

// ErrVectors reports a table size outside 1..MaxVectors.
var ErrVectors = errors.New("pci: MSI-X table size")

// MSI-X capability and table layout (PCI 3.0 §6.8.2).
const (
	msixControl       = 2
	msixFunctionMask  = 1 << 14
	msixEnable        = 1 << 15
	msixEntrySize     = 16
	msixEntryMask     = 1 << 0
	stateEnabled      = 1 << 0
	stateFunctionMask = 1 << 1
	stateSilenced     = 1 << 2 // no bus mastering
)

// MSIX is a function's MSI-X table and pending bits.
//
// Each vector has a lock of its own, held while its message leaves: a message
// is always an entry as it stood at one moment, nothing leaves a vector once
// the write that masks it has returned, and a pending bit is delivered exactly
// once. Two vectors never wait for each other.
type MSIX struct {
	sender  MSISender
	vectors []vector

	control sync.Mutex    // serialises changes of state
	state   atomic.Uint32 // state bits; messages leave while it is stateEnabled alone
}

// vector fills a cache line: neighbours belong to different queues.
type vector struct {
	mu      sync.Mutex
	address uint64
	data    uint32
	control uint32
	pending bool
	stats   MSIXStats
	_       [8]byte
}

// MSIXStats counts what became of signals.
type MSIXStats struct {
	Sent    uint64 // messages that left
	Held    uint64 // signals that set a pending bit, or found it set
	Refused uint64 // messages that the sender refused
}

// NewMSIX makes a table of n vectors, all masked, not enabled.
func NewMSIX(n int, sender MSISender) (*MSIX, error) {
	if n < 1 || n > MaxVectors {
		return nil, fmt.Errorf("%w: %d is not in 1..%d", ErrVectors, n, MaxVectors)
	}
	x := &MSIX{sender: sender, vectors: make([]vector, n)}
	for i := range x.vectors {
		x.vectors[i].control = msixEntryMask
	}
	return x, nil
}

// AddMSIX gives the function its MSI-X capability. The device has put x.Table()
// and x.PBA() into its BARs at these places (8-byte aligned).
func (f *Function) AddMSIX(x *MSIX, tableBAR int, tableOff uint32, pbaBAR int, pbaOff uint32) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.msix != nil || (tableBAR|pbaBAR)&^7 != 0 || (tableOff|pbaOff)&7 != 0 {
		return fmt.Errorf("%w: MSI-X", ErrCapability)
	}
	var body, mask [10]byte
	binary.LittleEndian.PutUint16(body[0:], uint16(len(x.vectors)-1))
	binary.LittleEndian.PutUint32(body[2:], tableOff|uint32(tableBAR))
	binary.LittleEndian.PutUint32(body[6:], pbaOff|uint32(pbaBAR))
	binary.LittleEndian.PutUint16(mask[0:], msixEnable|msixFunctionMask)
	at, err := f.addCapability(Capability{ID: CapMSIX, Body: body[:], Writable: mask[:]})
	if err != nil {
		return err
	}
	f.msix, f.msixCap = x, at
	x.setSilenced(true) // bus mastering is off at reset
	return nil
}

// Vectors is the size of the table.
func (x *MSIX) Vectors() int { return len(x.vectors) }

// Enabled tells whether the guest has switched the function to MSI-X.
func (x *MSIX) Enabled() bool { return x.state.Load()&stateEnabled != 0 }

// Signal raises a vector: its message leaves, or its pending bit is set while
// the vector, the function or bus mastering holds it back. A vector that does
// not exist, or any while MSI-X is off, is dropped. It does not allocate.
func (x *MSIX) Signal(n uint16) {
	if int(n) >= len(x.vectors) {
		return
	}
	v := &x.vectors[n]
	v.mu.Lock()
	switch state := x.state.Load(); {
	case state&stateEnabled == 0:
	case state != stateEnabled || v.control&msixEntryMask != 0:
		v.pending = true
		v.stats.Held++
	default:
		x.send(v)
	}
	v.mu.Unlock()
}

// send lets v's message go. v.mu is held.
func (x *MSIX) send(v *vector) {
	if err := x.sender.SendMSI(Message{Address: v.address, Data: v.data}); err != nil {
		v.stats.Refused++
		return
	}
	v.stats.Sent++
}

// release sends what is pending if nothing holds it back. v.mu is held.
func (x *MSIX) release(v *vector) {
	if v.pending && x.state.Load() == stateEnabled && v.control&msixEntryMask == 0 {
		v.pending = false
		x.send(v)
	}
}

// Stats sums over all vectors.
func (x *MSIX) Stats() MSIXStats {
	var s MSIXStats
	for i := range x.vectors {
		v := x.VectorStats(uint16(i))
		s.Sent += v.Sent
		s.Held += v.Held
		s.Refused += v.Refused
	}
	return s
}

// VectorStats counts for one vector; zero if it does not exist.
func (x *MSIX) VectorStats(n uint16) MSIXStats {
	if int(n) >= len(x.vectors) {
		return MSIXStats{}
	}
	v := &x.vectors[n]
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.stats
}

func (x *MSIX) setControl(control uint16) {
	var bits uint32
	if control&msixEnable != 0 {
		bits |= stateEnabled
	}
	if control&msixFunctionMask != 0 {
		bits |= stateFunctionMask
	}
	x.change(stateEnabled|stateFunctionMask, bits)
}

func (x *MSIX) setSilenced(on bool) {
	var bits uint32
	if on {
		bits = stateSilenced
	}
	x.change(stateSilenced, bits)
}

// change sets the masked state bits, then passes through every vector: after
// it no signal that saw the old state is under way, and what the new state
// allows has left.
func (x *MSIX) change(mask, bits uint32) {
	x.control.Lock()
	defer x.control.Unlock()
	old := x.state.Load()
	if old&mask == bits {
		return
	}
	x.state.Store(old&^mask | bits)
	for i := range x.vectors {
		v := &x.vectors[i]
		v.mu.Lock()
		x.release(v)
		v.mu.Unlock()
	}
}

func (x *MSIX) reset() {
	for i := range x.vectors {
		v := &x.vectors[i]
		v.mu.Lock()
		v.address, v.data, v.control, v.pending = 0, 0, msixEntryMask, false
		v.mu.Unlock()
	}
}
