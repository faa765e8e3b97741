// Package serial is the first serial port of a PC, a 16550A (PC16550D data
// sheet), as far as a guest's output needs it: what is transmitted goes to a
// writer at once, nothing is ever received, and no interrupt is raised.
package serial

import (
	"io"
	"sync"
)

// Register offsets (PC16550D §8).
const (
	regData      = 0 // THR, RBR; divisor latch low while DLAB
	regIER       = 1 // divisor latch high while DLAB
	regIIR       = 2 // FCR when written
	regLCR       = 3
	regMCR       = 4
	regLSR       = 5
	regMSR       = 6
	regScratch   = 7
	lcrDLAB      = 1 << 7
	lsrIdle      = 0x60 // THR and transmitter empty
	msrConnected = 0xb0 // DCD, DSR, CTS
	iirNone      = 0x01 // no interrupt pending
	fcrEnable    = 1
	iirFIFO      = 0xc0
)

// Ports is how many ports the device decodes.
const Ports = 8

// Port is a serial port. Its methods may be called from any goroutine.
type Port struct {
	mu     sync.Mutex
	out    io.Writer
	regs   [Ports]byte
	latch  [2]byte
	fifoOn bool
}

// New returns a port that transmits to out. A write that fails is lost, as on a
// line with nobody at the other end.
func New(out io.Writer) *Port { return &Port{out: out} }

// Read returns the register at offset off, 0..7.
func (p *Port) Read(off uint16) byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	latched := p.regs[regLCR]&lcrDLAB != 0
	switch {
	case off <= regIER && latched:
		return p.latch[off]
	case off == regData:
		return 0
	case off == regIIR && p.fifoOn:
		return iirNone | iirFIFO
	case off == regIIR:
		return iirNone
	case off == regLSR:
		return lsrIdle
	case off == regMSR:
		return msrConnected
	}
	return p.regs[off%Ports]
}

// Write sets the register at offset off, 0..7.
func (p *Port) Write(off uint16, v byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	latched := p.regs[regLCR]&lcrDLAB != 0
	switch {
	case off <= regIER && latched:
		p.latch[off] = v
	case off == regData:
		_, _ = p.out.Write([]byte{v})
	case off == regIIR:
		p.fifoOn = v&fcrEnable != 0
	case off == regLSR, off == regMSR:
	default:
		p.regs[off%Ports] = v
	}
}
