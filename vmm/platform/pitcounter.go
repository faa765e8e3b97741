package platform

// The access field of a control word.
const (
	accessLatch = 0
	accessLow   = 1
	accessHigh  = 2
	accessBoth  = 3
)

const (
	statusOut  = 1 << 7
	statusNull = 1 << 6
	controlBCD = 1
)

// counter is one of the 8254's. Instead of counting it knows at which tick its
// counting element was loaded and with what; everything else follows from the tick at
// which somebody looks. A CLK pulse comes at the beginning of each tick.
type counter struct {
	control byte // access, mode and BCD, as in the control word
	gate    bool

	// The count register.
	register uint16
	written  bool // holds a count since the control word
	half     bool // of two bytes the first is written
	low      byte

	// The counting element.
	armed   bool // was loaded, or will be at from
	loading bool // from is a tick to come, and the register is what it loads
	null    bool // the register was not taken yet
	from    uint64
	n       uint64 // loaded at from, 1 to 65536
	next    uint64 // takes over at turn; 0: nothing does
	turn    uint64
	turnLow bool // and OUT is low from there on (mode 3)
	still   bool // does not count: pulses have stopped mattering after frozen of them
	frozen  uint64
	held    uint64 // count and OUT before from
	heldOut bool
	seen    uint64 // rises up to this tick were told

	// The output latch.
	second      bool // the next byte read is the high one
	latched     bool
	value       uint16
	statusReady bool
	status      byte
}

// newCounter is in mode 3 without a count.
func newCounter(gate bool) counter {
	return counter{control: accessBoth<<4 | 3<<1, gate: gate, null: true, heldOut: true}
}

// mode is 0 to 5; the control word's 6 and 7 are 2 and 3.
func (c *counter) mode() byte {
	m := c.control >> 1 & 7
	if m > 5 {
		m -= 4
	}
	return m
}

func (c *counter) access() byte { return c.control >> 4 & 3 }

// modulus is how many counts there are.
func (c *counter) modulus() uint64 {
	if c.control&controlBCD != 0 {
		return 10000
	}
	return 1 << 16
}

// initial is the count that the register stands for: 0 is the largest.
func (c *counter) initial() uint64 {
	v := uint64(c.register)
	if c.control&controlBCD != 0 {
		v = v>>12*1000 + v>>8&15*100 + v>>4&15*10 + v&15
	}
	if v == 0 {
		return c.modulus()
	}
	return v
}

// elapsed is the pulses counted since the load, false before it.
func (c *counter) elapsed(t uint64) (uint64, bool) {
	e := int64(t - c.from)
	switch {
	case !c.armed || c.loading && e < 0:
		return 0, false
	case c.still:
		return c.frozen, true
	}
	return uint64(e), true
}

// out is the level of OUT.
func (c *counter) out(t uint64) bool {
	e, ok := c.elapsed(t)
	if !ok {
		return c.heldOut
	}
	switch c.mode() {
	case 0:
		return e >= c.n && !c.half
	case 1:
		return e >= c.n
	case 2: // low for the last pulse; a count of 1 is not allowed and has none
		return c.still || e%c.n != c.n-1 || c.n == 1
	case 3:
		return c.still || e%c.n < c.n-c.n/2
	default:
		return e != c.n
	}
}

// count is what the counting element shows, in the counter's own digits.
func (c *counter) count(t uint64) uint16 {
	e, ok := c.elapsed(t)
	m := c.modulus()
	var v uint64
	switch {
	case !ok:
		v = c.held
	case c.mode() == 2:
		v = c.n - e%c.n
	case c.mode() == 3: // by two, from an even count, in each half
		phase, high := e%c.n, c.n-c.n/2
		if phase >= high {
			phase -= high
		}
		v = c.n&^1 - 2*phase
	default:
		v = c.n%m + m - e%m
	}
	v %= m
	if c.control&controlBCD != 0 {
		v = v/1000<<12 | v/100%10<<8 | v/10%10<<4 | v%10
	}
	return uint16(v)
}

// nextRise is the first tick after t at which OUT rises, if nothing is written.
func (c *counter) nextRise(t uint64) (uint64, bool) {
	switch {
	case c.loading && c.mode() >= 4 && !c.heldOut && t < c.from: // a load ends the strobe too
		return c.from, true
	case !c.armed || c.still:
		return 0, false
	}
	e := uint64(max(int64(t-c.from), 0))
	switch c.mode() {
	case 0, 1:
		return c.from + c.n, e < c.n
	case 2, 3:
		return c.from + (e/c.n+1)*c.n, c.n > 1
	default:
		return c.from + c.n + 1, e <= c.n
	}
}

// due is the next tick that has something to tell: a rise, or a new count.
func (c *counter) due(t uint64) (uint64, bool) {
	if c.next != 0 && !c.still {
		return c.turn, true
	}
	return c.nextRise(t)
}

// advance brings the counter to tick t and reports whether OUT rose on the way.
func (c *counter) advance(t uint64) (rose bool) {
	if c.next != 0 && !c.still && t >= c.turn {
		r, ok := c.nextRise(c.seen)
		rose = ok && r <= c.turn
		c.n, c.from, c.next, c.null = c.next, c.turn, 0, false
		if c.turnLow {
			c.from -= c.n - c.n/2
		}
		c.seen = c.turn
	}
	if r, ok := c.nextRise(c.seen); ok && r <= t {
		rose = true
	}
	c.seen = t
	if c.loading && t >= c.from {
		c.loading, c.null = false, false
	}
	return rose
}

// load makes the next pulse load the counting element from the register.
func (c *counter) load(t uint64) {
	out := c.out(t)
	switch c.mode() {
	case 0:
		out = false
	case 2, 3:
		out = true
	}
	c.hold(t)
	c.heldOut = out
	c.armed, c.loading, c.n, c.from, c.next = true, true, c.initial(), t+1, 0
	c.still = !c.gate && c.mode() != 1 && c.mode() != 5
	c.frozen = 0
}

// hold keeps what the counting element shows until it is loaded.
func (c *counter) hold(t uint64) {
	v := uint64(c.count(t))
	if c.control&controlBCD != 0 {
		v = v>>12*1000 + v>>8&15*100 + v>>4&15*10 + v&15
	}
	c.held = v
}

func (c *counter) freeze(t uint64) {
	if !c.still {
		c.frozen, _ = c.elapsed(t)
		c.still = true
	}
}

func (c *counter) resume(t uint64) {
	if !c.still {
		return
	}
	c.still = false
	if !c.loading {
		c.from = t - c.frozen
	}
}

// setGate moves the GATE input.
func (c *counter) setGate(t uint64, gate bool) {
	if c.gate == gate {
		return
	}
	c.gate = gate
	switch m := c.mode(); {
	case gate && (m == 0 || m == 4):
		if !c.half || m == 4 {
			c.resume(t)
		}
	case gate:
		if c.written {
			c.load(t)
		}
	case m != 1 && m != 5:
		c.freeze(t)
	}
}

// program takes a control word.
func (c *counter) program(t uint64, control byte) {
	c.hold(t)
	*c = counter{control: control, gate: c.gate, null: true, held: c.held, seen: t}
	c.heldOut = c.mode() != 0
}

// write takes a byte of a count.
func (c *counter) write(t uint64, v byte) {
	switch c.access() {
	case accessLow:
		c.register = uint16(v)
	case accessHigh:
		c.register = uint16(v) << 8
	default:
		if c.half = !c.half; c.half {
			c.low = v
			if c.mode() == 0 { // stops, with OUT low at once
				c.freeze(t)
			}
			return
		}
		c.register = uint16(v)<<8 | uint16(c.low)
	}
	c.written, c.null = true, true
	switch m := c.mode(); {
	case m == 0 || m == 4:
		c.load(t)
	case c.loading:
		c.n = c.initial()
	case m == 1 || m == 5: // the next trigger takes it
	case !c.armed:
		c.load(t)
	case !c.still:
		c.takeAtEnd(t)
	}
}

// takeAtEnd makes a count written while modes 2 and 3 run wait for the end of the
// period, or of the half of it.
func (c *counter) takeAtEnd(t uint64) {
	phase := (t - c.from) % c.n
	c.next, c.turn, c.turnLow = c.initial(), t-phase+c.n, false
	if high := c.n - c.n/2; c.mode() == 3 && phase < high {
		c.turn, c.turnLow = t-phase+high, true
	}
}

// latch keeps the count until it is read.
func (c *counter) latch(t uint64) {
	if !c.latched {
		c.latched, c.value = true, c.count(t)
	}
}

func (c *counter) latchStatus(t uint64) {
	if c.statusReady {
		return
	}
	c.statusReady, c.status = true, c.control
	if c.out(t) {
		c.status |= statusOut
	}
	if c.null {
		c.status |= statusNull
	}
}

// read gives the latched status, or the next byte of the latched count or of the count as it is.
func (c *counter) read(t uint64) byte {
	if c.statusReady {
		c.statusReady = false
		return c.status
	}
	v := c.value
	if !c.latched {
		v = c.count(t)
	}
	high := c.access() == accessHigh
	if c.access() == accessBoth {
		high, c.second = c.second, !c.second
	}
	if high || c.access() == accessLow {
		c.latched = false
	}
	if high {
		return byte(v >> 8)
	}
	return byte(v)
}
