package serial

import (
	"io"
	"sync"
)

// Register offsets (PC16550D §8).
const (
	regData    = 0 // THR, RBR; divisor latch low while DLAB
	regIER     = 1 // divisor latch high while DLAB
	regIIR     = 2 // FCR when written
	regLCR     = 3
	regMCR     = 4
	regLSR     = 5
	regMSR     = 6
	regScratch = 7
)

// Bits of the registers.
const (
	ierReceived    = 1 << 0
	ierTransmitted = 1 << 1
	ierLine        = 1 << 2
	ierModem       = 1 << 3
	ierBits        = 0x0f

	iirNone        = 0x01 // no interrupt pending
	iirModem       = 0x00
	iirTransmitted = 0x02
	iirReceived    = 0x04
	iirLine        = 0x06
	iirTimeout     = 0x0c
	iirFIFO        = 0xc0

	fcrEnable  = 1 << 0
	fcrClear   = 1 << 1 // the receive FIFO
	fcrTrigger = 6      // shift

	lcrDLAB = 1 << 7

	mcrLoop = 1 << 4
	mcrBits = 0x1f

	lsrReady    = 1 << 0
	lsrOverrun  = 1 << 1
	lsrIdle     = 0x60 // THR and transmitter empty
	msrInputs   = 0xf0
	msrRing     = 1 << 6
	msrDelta    = 4 // shift from an input to its change
	msrReported = 0x0f

	msrConnected = 0xb0 // DCD, DSR, CTS
)

// Ports is how many ports the device decodes.
const Ports = 8

// fifoBytes is the depth of the receive FIFO; without FIFOs one byte is held.
const fifoBytes = 16

// triggers are the FIFO levels that interrupt, by FCR bits 7:6.
var triggers = [4]int{1, 4, 8, 14}

// Config is what a port stands on.
type Config struct {
	Out io.Writer       // what is transmitted; nil loses it
	IRQ func(high bool) // the interrupt line, ISA IRQ 4; called with the port's lock held
	// Room is told that Receive, having refused a byte, would take one now. It is called
	// without the lock, by the processor that read: it must not block.
	Room func()
}

// Port is a serial port. Its methods may be called from any goroutine.
type Port struct {
	room func()

	mu      sync.Mutex
	out     io.Writer
	byte1   [1]byte // what out is given
	irq     func(high bool)
	raised  bool
	latch   [2]byte // divisor
	ier     byte
	fcr     byte
	lcr     byte
	mcr     byte
	scratch byte
	overrun bool
	modem   byte // MSR
	emptied bool // the transmitter became empty, not yet told
	fifo    [fifoBytes]byte
	head    int
	held    int // bytes in fifo
	refused bool
	polls   int  // reads of LSR since something was sent or received, up to pollsOfAReader
	listens bool // the guest reads what arrives
}

// New returns a port that transmits to out. A write that fails is lost, as on a
// line with nobody at the other end.
func New(out io.Writer) *Port { return NewPort(Config{Out: out}) }

// NewPort returns a port as a reset leaves it.
func NewPort(c Config) *Port {
	p := &Port{out: c.Out, irq: c.IRQ, room: c.Room, modem: msrConnected}
	if p.out == nil {
		p.out = io.Discard
	}
	return p
}

// Read returns the register at offset off, 0..7.
func (p *Port) Read(off uint16) byte {
	v, room := p.read(off % Ports)
	if room {
		p.room()
	}
	return v
}

func (p *Port) read(off uint16) (v byte, room bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	latched := p.lcr&lcrDLAB != 0
	switch {
	case off <= regIER && latched:
		return p.latch[off], false
	case off == regData:
		v = p.take()
		p.polls = 0
	case off == regIER:
		return p.ier, false
	case off == regIIR:
		if v = p.cause(); v == iirTransmitted {
			p.emptied = false
		}
		if p.fcr&fcrEnable != 0 {
			v |= iirFIFO
		}
	case off == regLCR:
		return p.lcr, false
	case off == regMCR:
		return p.mcr, false
	case off == regLSR:
		v = lsrIdle
		if p.held > 0 {
			v |= lsrReady
		}
		if p.overrun {
			v |= lsrOverrun
		}
		p.overrun = false
		p.polled()
	case off == regMSR:
		v = p.modem
		p.modem &= msrInputs
	default:
		return p.scratch, false
	}
	p.update()
	return v, p.hasRoom()
}

// Write sets the register at offset off, 0..7.
func (p *Port) Write(off uint16, v byte) {
	if p.write(off%Ports, v) {
		p.room()
	}
}

func (p *Port) write(off uint16, v byte) (room bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	latched := p.lcr&lcrDLAB != 0
	switch {
	case off <= regIER && latched:
		p.latch[off] = v
	case off == regData:
		p.transmit(v)
	case off == regIER:
		// Asking for it while the transmitter is empty is told at once.
		if v&^p.ier&ierTransmitted != 0 {
			p.emptied = true
		}
		p.ier = v & ierBits
		if p.ier&ierReceived != 0 {
			p.listen()
		}
	case off == regIIR:
		p.controlFIFO(v)
	case off == regLCR:
		p.lcr = v
	case off == regMCR:
		p.mcr = v & mcrBits
		p.setInputs(p.inputs())
	case off == regScratch:
		p.scratch = v
	}
	p.update()
	return p.hasRoom()
}

// transmit sends a byte, or receives it while the port is looped back.
func (p *Port) transmit(v byte) {
	p.emptied = false
	p.polls = 0
	p.update()
	if p.mcr&mcrLoop == 0 {
		p.byte1[0] = v
		_, _ = p.out.Write(p.byte1[:])
	} else if !p.put(v) {
		p.overrun = true
	}
	p.emptied = true
}

// controlFIFO takes FCR: its other bits count only with the FIFOs on, and turning them
// on or off empties them.
func (p *Port) controlFIFO(v byte) {
	if v&fcrEnable == 0 {
		v = 0
	}
	if (v^p.fcr)&fcrEnable != 0 || v&fcrClear != 0 {
		p.held, p.head = 0, 0
	}
	p.fcr = v
}
