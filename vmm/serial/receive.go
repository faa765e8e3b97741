package serial

// Receive gives the port input and returns how much of it there is room for now. While
// the guest tests the port in loopback nothing is taken.
func (p *Port) Receive(b []byte) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mcr&mcrLoop == 0 {
		for n < len(b) && p.put(b[n]) {
			n++
		}
	}
	p.refused = n < len(b)
	p.update()
	return n
}

// pollsOfAReader is how often in a row a guest reads LSR that does nothing but wait for input: more often than any
// probe for the device does.
const pollsOfAReader = 64

// Listening reports whether the guest has begun to read what arrives, by interrupts or by polling. What Receive was
// given before, a driver that starts throws away. Config.Room is called when it becomes true.
func (p *Port) Listening() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.listens
}

func (p *Port) listen() {
	if !p.listens {
		p.listens, p.refused = true, true
	}
}

// polled counts a read of LSR.
func (p *Port) polled() {
	if p.polls < pollsOfAReader {
		if p.polls++; p.polls == pollsOfAReader {
			p.listen()
		}
	}
}

// depth is how many received bytes are held.
func (p *Port) depth() int {
	if p.fcr&fcrEnable != 0 {
		return fifoBytes
	}
	return 1
}

// put reports whether there was room for v.
func (p *Port) put(v byte) bool {
	if p.held >= p.depth() {
		return false
	}
	p.fifo[(p.head+p.held)%fifoBytes] = v
	p.held++
	return true
}

// take is the oldest received byte, 0 when there is none.
func (p *Port) take() byte {
	if p.held == 0 {
		return 0
	}
	v := p.fifo[p.head]
	p.head = (p.head + 1) % fifoBytes
	p.held--
	return v
}

// hasRoom reports, once for each refusal, that Receive would take a byte again.
func (p *Port) hasRoom() bool {
	if !p.refused || p.room == nil || p.held >= p.depth() || p.mcr&mcrLoop != 0 {
		return false
	}
	p.refused = false
	return true
}

// inputs are MSR's: the line's, or in loopback what MCR drives.
func (p *Port) inputs() byte {
	if p.mcr&mcrLoop == 0 {
		return msrConnected
	}
	// DTR, RTS, OUT1, OUT2 are DSR, CTS, RI, DCD (PC16550D §8.6).
	m := p.mcr
	return m&1<<5 | m>>1&1<<4 | m>>2&1<<6 | m>>3&1<<7
}

// setInputs notes which inputs changed; of RI only its fall counts.
func (p *Port) setInputs(v byte) {
	changed := (p.modem ^ v) & msrInputs
	if v&msrRing != 0 {
		changed &^= msrRing
	}
	p.modem = v | p.modem&msrReported | changed>>msrDelta
}

// cause is IIR's low nibble: the most urgent interrupt that is on.
func (p *Port) cause() byte {
	switch {
	case p.ier&ierLine != 0 && p.overrun:
		return iirLine
	case p.ier&ierReceived != 0 && p.held > 0:
		if p.fcr&fcrEnable != 0 && p.held < triggers[p.fcr>>fcrTrigger] {
			return iirTimeout
		}
		return iirReceived
	case p.ier&ierTransmitted != 0 && p.emptied:
		return iirTransmitted
	case p.ier&ierModem != 0 && p.modem&msrReported != 0:
		return iirModem
	}
	return iirNone
}

// update sets the line. OUT2 does not gate it: that is the wiring of PCs that shared it.
func (p *Port) update() {
	if high := p.cause() != iirNone; high != p.raised {
		p.raised = high
		if p.irq != nil {
			p.irq(high)
		}
	}
}
