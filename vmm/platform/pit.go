package platform

import (
	"sync"
	"sync/atomic"
)

// Ports of the PIT.
const (
	PortPIT     = 0x40 // counters 0 to 2, control word
	PITPorts    = 4
	PortSpeaker = 0x61 // NMI status and control: counter 2's gate and output
)

const (
	pitControl = 3
	// refreshTicks is between two changes of port 61H's refresh bit, about 15 µs.
	refreshTicks = 18

	speakerGate    = 1 << 0
	speakerKept    = 0x0f
	speakerRefresh = 1 << 4
	speakerOut     = 1 << 5
)

// PITConfig is what a PIT stands on.
type PITConfig struct {
	Clock
	IRQ func(high bool) // counter 0's output, ISA IRQ 0
}

// PIT is the 8254 programmable interval timer and port 61H (82C54 data sheet). Its
// methods may be called from any goroutine.
//
// Nobody sees IRQ's falls but an edge-triggered input, so it falls when it next
// rises, unless a write to counter 0 set the output: half as many deadlines, and a
// tick that the guest has not taken stays asked for. Rises that passed unseen between
// two looks at the clock are one.
type PIT struct {
	clock    Clock
	rate     rate
	deadline atomic.Uint64

	mu       sync.Mutex
	irq      line
	tick     uint64 // the latest seen
	counters [3]counter
	speaker  byte
}

// NewPIT returns a PIT whose counters wait for their first count: interrupts come
// once the guest programs them.
func NewPIT(c PITConfig) *PIT {
	p := &PIT{clock: c.Clock, rate: rate{crystal, 3 * c.hertz()}}
	// The output is high before any count, without that being an interrupt.
	p.irq = line{set: c.IRQ, high: true}
	for i := range p.counters {
		p.counters[i] = newCounter(i != 2)
	}
	p.deadline.Store(Never)
	return p
}

// Deadline is the time of counter 0's next interrupt.
func (p *PIT) Deadline() uint64 { return p.deadline.Load() }

// Tick raises what fell due.
func (p *PIT) Tick(now uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sync(now)
	p.arm()
}

// Read answers ports 40H-43H and 61H.
func (p *PIT) Read(port uint16, b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sync(p.clock.Now())
	for i := range b {
		b[i] = p.read(port + uint16(i))
	}
	p.arm()
}

// Write answers ports 40H-43H and 61H.
func (p *PIT) Write(port uint16, b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sync(p.clock.Now())
	for i, v := range b {
		p.write(port+uint16(i), v)
	}
	p.arm()
}

// sync brings the counters to now.
func (p *PIT) sync(now uint64) {
	p.tick = max(p.tick, p.rate.ticks(now))
	for i := range p.counters {
		if p.counters[i].advance(p.tick) && i == 0 {
			p.irq.edge()
		}
	}
}

func (p *PIT) arm() {
	d := uint64(Never)
	if due, ok := p.counters[0].due(p.tick); ok {
		d = p.rate.at(due)
	}
	p.deadline.Store(d)
}

func (p *PIT) read(port uint16) byte {
	switch {
	case port >= PortPIT && port < PortPIT+pitControl:
		return p.counters[port-PortPIT].read(p.tick)
	case port == PortSpeaker:
		v := p.speaker
		if p.tick/refreshTicks&1 != 0 {
			v |= speakerRefresh
		}
		if p.counters[2].out(p.tick) {
			v |= speakerOut
		}
		return v
	}
	return 0xff // the control word is write only
}

func (p *PIT) write(port uint16, v byte) {
	switch {
	case port >= PortPIT && port < PortPIT+pitControl:
		p.counters[port-PortPIT].write(p.tick, v)
	case port == PortPIT+pitControl:
		p.control(v)
	case port == PortSpeaker:
		p.speaker = v & speakerKept
		p.counters[2].setGate(p.tick, v&speakerGate != 0)
		return
	default:
		return
	}
	if port == PortPIT || port == PortPIT+pitControl && v>>6 == 0 {
		p.irq.show(p.counters[0].out(p.tick))
	}
}

// control takes a control word: a counter's mode, its latch command, or a read-back
// command for several.
func (p *PIT) control(v byte) {
	if n := v >> 6; n < 3 {
		c := &p.counters[n]
		if v>>4&3 == accessLatch {
			c.latch(p.tick)
		} else {
			c.program(p.tick, v&0x3f)
		}
		return
	}
	for i := range p.counters {
		if v>>(i+1)&1 == 0 {
			continue
		}
		if v&(1<<5) == 0 {
			p.counters[i].latch(p.tick)
		}
		if v&(1<<4) == 0 {
			p.counters[i].latchStatus(p.tick)
		}
	}
}
