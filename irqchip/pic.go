package irqchip

import "math/bits"

// pic is one 8259A. Names are its data sheet's.
type pic struct {
	irr, isr, imr uint8
	lines         uint8 // levels of the IR inputs
	elcr          uint8 // inputs that are level-triggered
	base          uint8 // vector of IR0: T7-T3 of ICW2
	lowest        uint8 // input with the lowest priority, 7 after ICW1
	step          picStep
	single        bool
	wantsICW4     bool
	aeoi          bool // automatic end of interrupt
	rotate        bool // in AEOI mode
	special       bool // special mask mode
	nested        bool // special fully nested mode
	readISR       bool // OCW3: reads give ISR, not IRR
	poll          bool // the next read is an acknowledgement
}

// picStep is which initialization command word comes next at the odd port.
type picStep uint8

const (
	picReady picStep = iota
	picICW2
	picICW3
	picICW4
	picOff // before the first ICW1
)

const (
	picCascade = 2 // the master's input that is the slave's output
	picIR7     = 7 // what an INTA cycle without request gets
)

// input sets the level of an IR input. An edge is remembered until it is acknowledged, even if the input falls first: a processor that the host keeps
// waiting must not lose a pulse. (The data sheet makes it IR7 then.) A level is not.
func (c *pic) input(ir int, high bool) {
	bit := uint8(1) << ir
	switch {
	case high && (c.elcr&bit != 0 || c.lines&bit == 0):
		c.irr |= bit
	case !high && c.elcr&bit != 0:
		c.irr &^= bit
	}
	c.lines &^= bit
	if high {
		c.lines |= bit
	}
}

// first is the input of the highest priority in set, and its place in the order; set is not 0.
func (c *pic) first(set uint8) (ir, place int) {
	shift := int(c.lowest+1) & 7
	place = bits.TrailingZeros8(bits.RotateLeft8(set, -shift))
	return (place + shift) & 7, place
}

// request is the input that asks for an interrupt, -1 if none does. cascaded is the input whose device may interrupt itself (special fully nested
// mode), -1 for none.
func (c *pic) request(cascaded int) int {
	asking := c.irr &^ c.imr
	if asking == 0 || c.step != picReady {
		return -1
	}
	ir, place := c.first(asking)
	inService := c.isr
	if c.special {
		inService &^= c.imr
	}
	if c.nested && cascaded >= 0 {
		inService &^= 1 << cascaded
	}
	if inService != 0 {
		if _, p := c.first(inService); p <= place {
			return -1
		}
	}
	return ir
}

// take is the INTA cycle: the input that is served. Without a request that is IR7, which is not in service then.
func (c *pic) take(cascaded int) uint8 {
	ir := c.request(cascaded)
	if ir < 0 {
		return picIR7
	}
	c.acknowledge(ir)
	return uint8(ir)
}

// acknowledge puts an input's interrupt into service.
func (c *pic) acknowledge(ir int) {
	bit := uint8(1) << ir
	if c.elcr&bit == 0 {
		c.irr &^= bit
	}
	switch {
	case !c.aeoi:
		c.isr |= bit
	case c.rotate:
		c.lowest = uint8(ir)
	}
}

// command is a write to the even port.
func (c *pic) command(v uint8) {
	switch {
	case v&0x10 != 0: // ICW1
		*c = pic{
			irr: c.lines & c.elcr, lines: c.lines, elcr: c.elcr, base: c.base, lowest: 7,
			step: picICW2, single: v&2 != 0, wantsICW4: v&1 != 0,
		}
	case v&0x08 != 0: // OCW3
		if v&0x40 != 0 {
			c.special = v&0x20 != 0
		}
		if v&2 != 0 {
			c.readISR = v&1 != 0
		}
		c.poll = v&4 != 0
	default:
		c.ocw2(v)
	}
}

// ocw2 is the end of interrupts and the order of priorities.
func (c *pic) ocw2(v uint8) {
	level := v & 7
	rotate, specific, eoi := v&0x80 != 0, v&0x40 != 0, v&0x20 != 0
	if !eoi {
		switch {
		case !specific:
			c.rotate = rotate
		case rotate:
			c.lowest = level
		}
		return
	}
	if !specific {
		served := c.isr
		if c.special {
			served &^= c.imr
		}
		if served == 0 {
			return
		}
		ir, _ := c.first(served)
		level = uint8(ir)
	}
	c.isr &^= 1 << level
	if rotate {
		c.lowest = level
	}
}

// data is a write to the odd port.
func (c *pic) data(v uint8) {
	switch c.step {
	case picICW2:
		c.base = v & 0xF8
		switch {
		case !c.single:
			c.step = picICW3
		case c.wantsICW4:
			c.step = picICW4
		default:
			c.step = picReady
		}
	case picICW3: // who is cascaded with whom is soldered
		c.step = picReady
		if c.wantsICW4 {
			c.step = picICW4
		}
	case picICW4:
		c.aeoi = v&2 != 0
		c.nested = v&0x10 != 0
		c.step = picReady
	default:
		c.imr = v
	}
}

// setELCR says which inputs are level-triggered.
func (c *pic) setELCR(v uint8) {
	c.elcr = v
	c.irr = c.irr&^v | c.lines&v
}
