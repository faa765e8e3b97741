package irqchip

import (
	"encoding/binary"
	"sync"

	"gvmm/vmm/pci"
)

// IOAPICBase and IOAPICSize are the page of the IOAPIC's registers.
const (
	IOAPICBase = 0xFEC00000
	IOAPICSize = 4096
)

const ioapicPins = 24

// Registers in the page: the first two reach those behind them.
const (
	ioregsel = 0x00
	iowin    = 0x10
	ioeoi    = 0x40
)

// Registers behind IOREGSEL.
const (
	ioapicID      = 0x00
	ioapicVersion = 0x01
	ioapicARB     = 0x02
	ioapicBoot    = 0x03
	ioapicTable   = 0x10 // two each
)

const (
	versionValue = 0x20 | (ioapicPins-1)<<16 // 20H: there is an EOI register
	bootMessages = 1                         // interrupts are messages on the system bus
)

// rte is a redirection table entry. Its bits 63:48 and 11 go into the message's address as they are, and so the same bits serve both of VT-d's
// formats (iommu.md §1.8).
type rte uint64

const (
	rteRemoteIRR rte = 1 << 14 // read only
	rteLevel     rte = 1 << 15
	rteMasked    rte = 1 << 16
	rteWritable  rte = 0xFFFF<<48 | rteMasked | rteLevel | 1<<13 | 1<<11 | 7<<8 | 0xFF
)

func (e rte) vector() uint8      { return uint8(e) }
func (e rte) delivery() delivery { return delivery(e >> 8 & 7) }

// level reports whether the entry waits for EOI: a trigger mode means something to the modes with vectors alone.
func (e rte) level() bool { return e&rteLevel != 0 && e.delivery() <= deliverLowest }

// message is what the entry sends.
func (e rte) message() pci.Message {
	m := pci.Message{
		Address: messageBase | uint64(e>>48)<<4 | uint64(e>>11&1)<<2,
		Data:    uint32(e&0x7FF) | msgAssert,
	}
	if e.level() {
		m.Data |= msgLevel
	}
	return m
}

// sending is a message that a pin's change made, to be sent when the lock is no longer held.
type sending struct {
	ok      bool
	level   bool
	pin     uint8
	retries uint64 // IOAPIC.retries when it was made
	message pci.Message
}

// IOAPIC is an I/O APIC of version 20H with 24 pins (82093AA, and its EOI register as chipsets have it). Polarity is kept but means nothing: a pin is
// asserted or not. Its methods may be called from any goroutine.
type IOAPIC struct {
	send pci.MSISender

	mu     sync.Mutex // guards what follows; not held while a message is sent
	sel    uint8
	id     uint32
	high   uint32 // pins that are asserted
	levels uint32 // pins whose remote IRR is set
	table  [ioapicPins]rte

	retries uint64 // calls of retry
}

var _ pci.Region = (*IOAPIC)(nil)

func (a *IOAPIC) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sel, a.id, a.levels = 0, 0, 0
	for i := range a.table {
		a.table[i] = rteMasked
	}
}

// setPin sets a pin and sends what that makes.
func (a *IOAPIC) setPin(pin int, high bool) { a.deliver(a.set(pin, high)) }

// set sets a pin. The message is the caller's to deliver.
func (a *IOAPIC) set(pin int, high bool) sending {
	a.mu.Lock()
	defer a.mu.Unlock()
	bit := uint32(1) << pin
	if !high {
		a.high &^= bit
		return sending{}
	}
	rose := a.high&bit == 0
	a.high |= bit
	if rose || a.table[pin].level() {
		return a.service(pin)
	}
	return sending{}
}

// service is what a pin that wants to be served sends: nothing if it may not. An edge at a masked pin is lost (82093AA §3.2.4). The lock is held.
func (a *IOAPIC) service(pin int) sending {
	e := a.table[pin]
	if e&rteMasked != 0 {
		return sending{}
	}
	if e.level() {
		bit := uint32(1) << pin
		if a.high&bit == 0 || a.levels&bit != 0 {
			return sending{}
		}
		a.levels |= bit
	}
	return sending{ok: true, pin: uint8(pin), level: e.level(), retries: a.retries, message: e.message()}
}

// deliver sends a message. If nobody takes a level-triggered one nobody will end it either: its remote IRR goes, and if a local APIC began to listen
// meanwhile it is sent again.
func (a *IOAPIC) deliver(s sending) {
	for s.ok && a.send.SendMSI(s.message) != nil && s.level {
		s = a.refused(s)
	}
}

func (a *IOAPIC) refused(s sending) sending {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.levels &^= 1 << s.pin
	if a.retries == s.retries {
		return sending{}
	}
	return a.service(int(s.pin))
}

// EOI ends a level-triggered vector at each pin that has it: the broadcast of a local APIC, or a write of the EOI register. What is still asserted is
// sent again.
func (a *IOAPIC) EOI(vector uint8) {
	a.mu.Lock()
	ended := uint32(0)
	for pin, e := range a.table {
		if bit := uint32(1) << pin; a.levels&bit != 0 && e.vector() == vector {
			ended |= bit
		}
	}
	a.levels &^= ended
	a.serviceAndUnlock(ended)
}

// retry sends what is asserted and was refused: a local APIC began to listen.
func (a *IOAPIC) retry() {
	a.mu.Lock()
	a.retries++
	a.serviceAndUnlock(1<<ioapicPins - 1)
}

// serviceAndUnlock serves the level-triggered pins among pins.
func (a *IOAPIC) serviceAndUnlock(pins uint32) {
	var out [ioapicPins]sending
	n := 0
	for pin, e := range a.table {
		if pins>>pin&1 == 0 || !e.level() {
			continue
		}
		if s := a.service(pin); s.ok {
			out[n] = s
			n++
		}
	}
	a.mu.Unlock()
	for i := range n {
		a.deliver(out[i])
	}
}

// ReadMMIO implements [pci.Region]. Registers are 32 bits; other places read zero.
func (a *IOAPIC) ReadMMIO(off uint64, p []byte) {
	clear(p)
	var b [4]byte
	a.mu.Lock()
	switch off {
	case ioregsel:
		b[0] = a.sel
	case iowin:
		binary.LittleEndian.PutUint32(b[:], a.read(a.sel))
	}
	a.mu.Unlock()
	copy(p, b[:])
}

// WriteMMIO implements [pci.Region]. A store narrower than a register has zeros above it.
func (a *IOAPIC) WriteMMIO(off uint64, p []byte) {
	var b [4]byte
	copy(b[:], p)
	v := binary.LittleEndian.Uint32(b[:])
	switch off {
	case ioregsel:
		a.mu.Lock()
		a.sel = b[0]
		a.mu.Unlock()
	case iowin:
		a.mu.Lock()
		s := a.write(a.sel, v)
		a.mu.Unlock()
		a.deliver(s)
	case ioeoi:
		a.EOI(uint8(v))
	}
}

func (a *IOAPIC) read(r uint8) uint32 {
	switch r {
	case ioapicID, ioapicARB:
		return a.id
	case ioapicVersion:
		return versionValue
	case ioapicBoot:
		return bootMessages
	}
	pin := int(r) - ioapicTable
	if pin < 0 || pin >= 2*ioapicPins {
		return 0
	}
	e := a.table[pin/2]
	if a.levels>>(pin/2)&1 != 0 {
		e |= rteRemoteIRR
	}
	return uint32(e >> (pin & 1 * 32))
}

func (a *IOAPIC) write(r uint8, v uint32) sending {
	if r == ioapicID {
		a.id = v & 0x0F000000
		return sending{}
	}
	half := int(r) - ioapicTable
	if half < 0 || half >= 2*ioapicPins {
		return sending{}
	}
	pin, shift := half/2, half&1*32
	e := &a.table[pin]
	*e = (*e&^(0xFFFFFFFF<<shift) | rte(v)<<shift) & rteWritable
	if !e.level() {
		a.levels &^= 1 << pin // the way to be rid of remote IRR without EOI
		return sending{}
	}
	return a.service(pin)
}
