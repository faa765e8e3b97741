package pci

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// What goes wrong when a function is put together.
var (
	ErrAttached   = errors.New("pci: function is already on a bus")
	ErrBAR        = errors.New("pci: BAR cannot be placed there")
	ErrCapability = errors.New("pci: capability does not fit")
	ErrOccupied   = errors.New("pci: requester id is taken")
)

// IDs is what a function says it is.
type IDs struct {
	Vendor, Device             uint16
	Revision                   uint8
	Class                      uint32 // base class<<16 | subclass<<8 | interface
	SubsystemVendor, Subsystem uint16
}

// Function is one PCI function with a type 0 header, and with no INTx
// pin unless AddPin gives it one.
//
// It is built first (AddBAR, AddCapability, AddMSIX, AddMSI, AddPin, OnBusMaster), then put on
// a [Bus]; from then on its configuration space is the guest's, and its
// methods may be called from any goroutine.
type Function struct {
	mu       sync.Mutex
	space    Config
	writable Config
	reset    Config // space as it was when attached
	bars     [6]*bar
	nextCap  int // where the next capability goes
	lastCap  int // the register that will point at it
	handlers []Window
	msix     *MSIX
	msixCap  int
	msi      *MSI
	msiCap   int
	line     func(high bool) // INTA#, nil if there is none
	asserted bool
	high     bool // the pin
	decoder  AddressSpace

	master   atomic.Bool
	onMaster func(bool)
}

// NewFunction makes a function with no BAR and no capability.
func NewFunction(ids IDs) *Function {
	f := &Function{
		space:    make(Config, ConfigSize),
		writable: make(Config, ConfigSize),
		nextCap:  headerEnd,
		lastCap:  offCapabilities,
	}
	f.space.putU16(offVendorID, ids.Vendor)
	f.space.putU16(offDeviceID, ids.Device)
	f.space.putU32(offRevision, ids.Class<<8|uint32(ids.Revision))
	f.space.putU16(offSubsystemVendor, ids.SubsystemVendor)
	f.space.putU16(offSubsystemID, ids.Subsystem)
	f.writable.putU16(offCommand, commandWritable)
	f.writable[offCacheLine] = 0xFF
	f.writable[offInterruptLine] = 0xFF
	return f
}

// BusMaster tells whether the guest lets the function reach memory. While it
// does not, no MSI-X message leaves (they stay pending), and a device starts
// no new request.
func (f *Function) BusMaster() bool { return f.master.Load() }

// OnBusMaster has fn called, with the configuration lock held, when the guest
// switches bus mastering on or off.
func (f *Function) OnBusMaster(fn func(on bool)) { f.onMaster = fn }

// Config is a copy of the configuration space.
func (f *Function) Config() Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append(Config(nil), f.space...)
}

// ReadConfig reads configuration space at off. Bytes past its end are ones.
func (f *Function) ReadConfig(off int, p []byte) {
	parts(off, p, func(off int, p []byte) {
		if off < 0 || off >= ConfigSize {
			ones(p)
			return
		}
		if h := f.handler(off); h != nil {
			h.Region.ReadMMIO(uint64(off)-h.Offset, p)
			return
		}
		f.mu.Lock()
		copy(p, f.space[off:])
		f.mu.Unlock()
	})
}

// WriteConfig writes configuration space at off: only writable bits change,
// and what they govern (decoding, MSI-X, bus mastering) follows at once.
func (f *Function) WriteConfig(off int, p []byte) { f.writeConfig(off, p) }

// writeConfig reports whether a BAR left its place, so that another's that
// wanted it can be tried again.
func (f *Function) writeConfig(off int, p []byte) (released bool) {
	parts(off, p, func(off int, p []byte) {
		if off < 0 || off >= ConfigSize {
			return
		}
		if h := f.handler(off); h != nil {
			h.Region.WriteMMIO(uint64(off)-h.Offset, p)
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.space.write(f.writable, off, p)
		released = f.follow() || released
	})
	return released
}

// follow makes the rest of the function agree with the space. f.mu is held.
func (f *Function) follow() (released bool) {
	if f.msix != nil {
		f.msix.setControl(f.space.u16(f.msixCap + msixControl))
	}
	if on := f.space.Command()&CommandBusMaster != 0; on != f.master.Load() {
		f.master.Store(on)
		if f.msix != nil {
			f.msix.setSilenced(!on)
		}
		if f.onMaster != nil {
			f.onMaster(on)
		}
	}
	if f.msi != nil {
		f.msi.follow(f.space, f.msiCap, f.master.Load())
	}
	f.drive()
	return f.decode()
}

// Reset is a bus reset: BARs leave the address space and every register, the
// MSI-X table included, is as it was when the function was attached.
func (f *Function) Reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reset == nil {
		return
	}
	copy(f.space, f.reset)
	f.asserted = false
	f.follow()
	if f.msix != nil {
		f.msix.reset()
	}
}

func (f *Function) attach(space AddressSpace) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reset != nil {
		return ErrAttached
	}
	f.reset = append(Config(nil), f.space...)
	f.decoder = space
	f.decode()
	return nil
}

func (f *Function) setMultifunction() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.space[offHeaderType] |= multifunction
	f.reset[offHeaderType] |= multifunction
}

// retry decodes again what could not be decoded before.
func (f *Function) retry() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.decode()
}

// building refuses changes to a function that a guest can already see.
func (f *Function) building(what string) error {
	if f.reset != nil {
		return fmt.Errorf("%s: %w", what, ErrAttached)
	}
	return nil
}

// parts cuts an access into naturally aligned pieces of 1, 2 or 4 bytes, as a
// bridge does, so that no piece crosses a register.
func parts(off int, p []byte, do func(off int, p []byte)) {
	for len(p) > 0 {
		n := 4
		for off&(n-1) != 0 || n > len(p) {
			n >>= 1
		}
		do(off, p[:n])
		off, p = off+n, p[n:]
	}
}

func ones(p []byte) {
	for i := range p {
		p[i] = 0xFF
	}
}
