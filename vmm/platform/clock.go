package platform

import "math/bits"

// Never is the deadline of a device that waits for nothing.
const Never = ^uint64(0)

// Clock is the time that devices go by.
type Clock struct {
	Now func() uint64 // ticks since the machine began; any goroutine, should not go back
	Hz  uint64        // ticks a second
}

// crystal is the PC's 14.31818 MHz divided by 4: the ACPI timer's rate, and three times the 8254's.
const crystal = 3579545

// hertz bounds a clock's rate, so that what is computed from it has room.
func (c Clock) hertz() uint64 { return min(max(c.Hz, 1), 1<<60) }

// rate turns the clock's ticks into a device's: num/den of them.
type rate struct{ num, den uint64 }

// ticks is how many device ticks have ended at t, saturating.
func (r rate) ticks(t uint64) uint64 {
	hi, lo := bits.Mul64(t, r.num)
	if hi >= r.den {
		return Never
	}
	q, _ := bits.Div64(hi, lo, r.den)
	return q
}

// at is the first time at which k device ticks have ended, Never where that is beyond the clock.
func (r rate) at(k uint64) uint64 {
	hi, lo := bits.Mul64(k, r.den)
	lo, carry := bits.Add64(lo, r.num-1, 0)
	hi += carry
	if hi >= r.num {
		return Never
	}
	q, _ := bits.Div64(hi, lo, r.num)
	return q
}

// line is an interrupt line that calls its function only when the level changes.
type line struct {
	set  func(high bool)
	high bool
}

func (l *line) show(high bool) {
	if l.high == high {
		return
	}
	l.high = high
	if l.set != nil {
		l.set(high)
	}
}

// edge makes the line rise, whatever it was.
func (l *line) edge() {
	l.show(false)
	l.show(true)
}

func ones(p []byte) {
	for i := range p {
		p[i] = 0xff
	}
}
