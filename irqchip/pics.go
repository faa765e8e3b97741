package irqchip

import "sync"

// Ports of the 8259s and of their edge/level control registers.
const (
	portMaster     = 0x20
	portMasterData = 0x21
	portSlave      = 0xA0
	portSlaveData  = 0xA1
	portELCR       = 0x4D0
	portELCRSlave  = 0x4D1
)

// Inputs that can be level-triggered: not the timer, the keyboard, the cascade, the clock and the coprocessor.
const (
	elcrMaster = 0xF8
	elcrSlave  = 0xDE
)

// pics is a PC's pair of 8259As.
type pics struct {
	mu            sync.Mutex // guards what follows
	master, slave pic
	out           bool // the master's INT
	pulsed        bool // INT has been low for a moment since it was last looked at
}

func (p *pics) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range []*pic{&p.master, &p.slave} {
		*c = pic{imr: 0xFF, lowest: 7, step: picOff, lines: c.lines}
	}
	p.out, p.pulsed = false, false
}

// set sets an ISA line other than 2.
func (p *pics) set(line int, high bool) {
	if line < 8 {
		p.master.input(line, high)
	} else {
		p.slave.input(line-8, high)
	}
	p.update()
}

// update makes the outputs follow the inputs. The master's cascade input is the slave's output, whatever its trigger mode: the slave holds the requests.
func (p *pics) update() {
	p.master.irr &^= 1 << picCascade
	if p.slave.request(-1) >= 0 {
		p.master.irr |= 1 << picCascade
	}
	p.out = p.master.request(picCascade) >= 0
}

// inta is the INTA cycle: the vector.
func (p *pics) inta() (vector uint8) {
	ir := p.master.take(picCascade)
	vector = p.master.base + ir
	if ir == picCascade {
		vector = p.slave.base + p.slave.take(-1)
	}
	p.pulsed = true
	p.update()
	return vector
}

// read reads a port.
func (p *pics) read(port uint16) uint8 {
	c := p.chip(port)
	switch {
	case port == portELCR:
		return p.master.elcr
	case port == portELCRSlave:
		return p.slave.elcr
	case c == nil:
		return 0xFF
	case c.poll:
		return p.polled(c)
	case port&1 != 0:
		return c.imr
	case c.readISR:
		return c.isr
	}
	return c.irr
}

// polled is the read after a poll command: an acknowledgement of this 8259 alone.
func (p *pics) polled(c *pic) uint8 {
	c.poll = false
	cascaded := -1
	if c == &p.master {
		cascaded = picCascade
		p.pulsed = true
	}
	ir := c.request(cascaded)
	if ir < 0 {
		return 0
	}
	c.acknowledge(ir)
	p.update()
	return 0x80 | uint8(ir)
}

// write writes a port.
func (p *pics) write(port uint16, v uint8) {
	c := p.chip(port)
	switch {
	case port == portELCR:
		p.master.setELCR(v & elcrMaster)
	case port == portELCRSlave:
		p.slave.setELCR(v & elcrSlave)
	case c == nil:
		return
	case port&1 != 0:
		c.data(v)
	default:
		c.command(v)
	}
	p.update()
}

func (p *pics) chip(port uint16) *pic {
	switch port {
	case portMaster, portMasterData:
		return &p.master
	case portSlave, portSlaveData:
		return &p.slave
	}
	return nil
}

// inta is a processor's INTA cycle.
func (s *Soft) inta() (vector uint8) {
	s.changePICs(func(p *pics) { vector = p.inta() })
	return vector
}
