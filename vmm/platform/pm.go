package platform

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
)

// Where the ACPI fixed registers lie from PMConfig.Base on: what a FADT says.
const (
	PMEvent   = 0 // PM1a_EVT_BLK: status and enable, 4 bytes
	PMControl = 4 // PM1a_CNT_BLK, 2 bytes
	PMTimer   = 8 // PM_TMR_BLK, 4 bytes
	PMPorts   = 16

	// SleepOff is the SLP_TYP of S5, as the DSDT's \_S5 object must say.
	SleepOff = 5
)

// Bits of PM1 status and enable, and of PM1 control (ACPI §4.8.3).
const (
	pmTimer       = 1 << 0
	pmGlobal      = 1 << 5
	pmPower       = 1 << 8
	pmSleep       = 1 << 9
	pmRTC         = 1 << 10
	pmWake        = 1 << 15
	pmStatusBits  = pmTimer | pmGlobal | pmPower | pmSleep | pmRTC | pmWake
	pmEnableBits  = pmTimer | pmGlobal | pmPower | pmSleep | pmRTC
	controlSCI    = 1 << 0
	controlType   = 7 << 10
	controlSleep  = 1 << 13
	controlKept   = controlType | 1<<1 // and BM_RLD
	pmLast        = PMTimer + 4
	pmEnableAt    = 2
	controlTypeAt = 10
)

// PMConfig is what the ACPI fixed registers stand on.
type PMConfig struct {
	Clock
	Base     uint16          // first port
	Wide     bool            // the timer has 32 bits, not 24: the FADT's TMR_VAL_EXT
	IRQ      func(high bool) // the SCI
	PowerOff func()          // the guest asked for S5; called without a lock
}

// PM is the ACPI fixed hardware: power management timer, PM1a event and control
// registers. There is no system-management mode: it is always in ACPI mode, so the
// FADT's SMI_CMD is 0. Its methods may be called from any goroutine.
type PM struct {
	config   PMConfig
	rate     rate
	width    uint // of the timer, bits
	deadline atomic.Uint64

	mu      sync.Mutex
	sci     line
	status  uint16
	enable  uint16
	control uint16
	tick    uint64 // of the timer, the latest seen
	turns   uint64 // changes of its highest bit that were told
}

// NewPM returns the registers as a reset leaves them.
func NewPM(c PMConfig) *PM {
	p := &PM{config: c, rate: rate{crystal, c.hertz()}, width: 24, sci: line{set: c.IRQ}}
	if c.Wide {
		p.width = 32
	}
	p.tick = p.rate.ticks(c.Now())
	p.turns = p.tick >> (p.width - 1)
	p.deadline.Store(Never)
	return p
}

// PressPower is a press of the power button.
func (p *PM) PressPower() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status |= pmPower
	p.update()
}

// Deadline is when the timer's highest bit next changes, if the guest wants that interrupt.
func (p *PM) Deadline() uint64 { return p.deadline.Load() }

// Tick raises what fell due.
func (p *PM) Tick(now uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sync(now)
	p.update()
}

// sync brings the timer to now.
func (p *PM) sync(now uint64) {
	p.tick = max(p.tick, p.rate.ticks(now))
	if turns := p.tick >> (p.width - 1); turns != p.turns {
		p.turns = turns
		p.status |= pmTimer
	}
}

// update sets line and deadline to what the registers say.
func (p *PM) update() {
	p.sci.show(p.status&p.enable != 0)
	d := uint64(Never)
	if p.enable&^p.status&pmTimer != 0 {
		d = p.rate.at((p.turns + 1) << (p.width - 1))
	}
	p.deadline.Store(d)
}

// Read answers the ports from Base on.
func (p *PM) Read(port uint16, b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sync(p.config.Now())
	p.update()
	var regs [pmLast]byte
	le := binary.LittleEndian
	le.PutUint16(regs[PMEvent:], p.status)
	le.PutUint16(regs[PMEvent+pmEnableAt:], p.enable)
	le.PutUint16(regs[PMControl:], p.control|controlSCI)
	le.PutUint32(regs[PMTimer:], uint32(p.tick&(1<<p.width-1)))
	ones(b)
	for i := range b {
		if off := port + uint16(i) - p.config.Base; off < pmLast && off&^1 != PMControl+2 {
			b[i] = regs[off]
		}
	}
}

// Write answers the ports from Base on.
func (p *PM) Write(port uint16, b []byte) {
	if p.write(port, b) && p.config.PowerOff != nil {
		p.config.PowerOff()
	}
}

// write reports whether the guest asked for S5.
func (p *PM) write(port uint16, b []byte) (off bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sync(p.config.Now())
	for i, v := range b {
		at := port + uint16(i) - p.config.Base
		shift := at & 1 * 8
		word, mask := uint16(v)<<shift, uint16(0xff)<<shift
		switch at &^ 1 {
		case PMEvent: // a 1 clears
			p.status &^= word & pmStatusBits
		case PMEvent + pmEnableAt:
			p.enable = p.enable&^mask | word&pmEnableBits
		case PMControl:
			p.control = p.control&^mask | word&controlKept
			off = off || word&controlSleep != 0 && p.control&controlType == SleepOff<<controlTypeAt
		}
	}
	p.update()
	return off
}
