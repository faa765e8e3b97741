package pci

import (
	"encoding/binary"
	"fmt"
	"sync"
)

// CapMSI is the id of the MSI capability.
const CapMSI = 0x05

// MSI capability layout (PCI 3.0 §6.8.1), for a 64-bit address and no mask bits.
const (
	msiControl = 2
	msiAddress = 4
	msiData    = 12
	msiEnable  = 1 << 0
	msi64      = 1 << 7
)

// MSI is a function's one message-signalled interrupt. Its lock is held while
// the message leaves, so that none leaves once the write that switches it off
// has returned.
type MSI struct {
	sender MSISender

	mu      sync.Mutex
	enabled bool
	silent  bool // no bus mastering
	message Message
	stats   MSIXStats
}

// NewMSI makes an MSI that is not enabled.
func NewMSI(sender MSISender) *MSI { return &MSI{sender: sender, silent: true} }

// AddMSI gives the function its MSI capability.
func (f *Function) AddMSI(x *MSI) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.msi != nil {
		return fmt.Errorf("%w: MSI", ErrCapability)
	}
	body, mask := make([]byte, 12), make([]byte, 12)
	binary.LittleEndian.PutUint16(body, msi64)
	binary.LittleEndian.PutUint16(mask, msiEnable)
	binary.LittleEndian.PutUint32(mask[msiAddress-2:], ^uint32(3))
	binary.LittleEndian.PutUint32(mask[msiAddress+2:], ^uint32(0))
	binary.LittleEndian.PutUint16(mask[msiData-2:], ^uint16(0))
	at, err := f.addCapability(Capability{ID: CapMSI, Body: body, Writable: mask})
	if err != nil {
		return err
	}
	f.msi, f.msiCap = x, at
	return nil
}

// Enabled tells whether the guest has switched the function to MSI.
func (x *MSI) Enabled() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.enabled
}

// Signal sends the message, and reports whether MSI is enabled: if not the
// function has its pin. Without bus mastering the message is lost.
func (x *MSI) Signal() (enabled bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case !x.enabled:
		return false
	case x.silent:
		x.stats.Held++
	case x.sender.SendMSI(x.message) != nil:
		x.stats.Refused++
	default:
		x.stats.Sent++
	}
	return true
}

// Stats counts what became of signals. Held ones were lost.
func (x *MSI) Stats() MSIXStats {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.stats
}

// follow takes what the configuration space says.
func (x *MSI) follow(c Config, at int, master bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.enabled = c.u16(at+msiControl)&msiEnable != 0
	x.silent = !master
	x.message = Message{
		Address: uint64(c.u32(at+msiAddress)) | uint64(c.u32(at+msiAddress+4))<<32,
		Data:    uint32(c.u16(at + msiData)),
	}
}
