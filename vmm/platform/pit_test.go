package platform

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// third is a clock of which three ticks are one of the PIT's.
const third = crystal

func newTestPIT() (*fake, *PIT) {
	f := &fake{hz: third}
	return f, NewPIT(PITConfig{Clock: f.clock(), IRQ: f.irq})
}

// program writes a control word and a two-byte count.
func program(p *PIT, n int, mode byte, count uint16) {
	out(p, PortPIT+3, byte(n)<<6|0x30|mode<<1)
	out(p, PortPIT+uint16(n), byte(count))
	out(p, PortPIT+uint16(n), byte(count>>8))
}

func latched(p *PIT, n int) int {
	out(p, PortPIT+3, byte(n)<<6)
	low := in(p, PortPIT+uint16(n))
	return int(in(p, PortPIT+uint16(n)))<<8 | int(low)
}

func TestThePeriodicModesInterruptOnceAPeriod(t *testing.T) {
	for _, mode := range []byte{2, 3, 6, 7} {
		f, p := newTestPIT()
		require.EqualValues(t, Never, p.Deadline(), "quiet until programmed")
		program(p, 0, mode, 1000)
		require.Empty(t, f.rises, "programming is no interrupt")
		f.run(t, p, 3*4500)
		require.Equal(t, []uint64{3 * 1001, 3 * 2001, 3 * 3001, 3 * 4001}, f.rises, "mode %d", mode)
	}
}

func TestACountOfZeroIsTheLargest(t *testing.T) {
	f, p := newTestPIT()
	program(p, 0, 2, 0)
	f.run(t, p, 3*200_000)
	require.Equal(t, []uint64{3 * 65537, 3 * 131073, 3 * 196609}, f.rises)
}

func TestTheOneShotInterruptsOnceAndAgainWhenRewritten(t *testing.T) {
	f, p := newTestPIT()
	program(p, 0, 0, 100)
	require.False(t, f.high)
	f.run(t, p, 3*500)
	require.Equal(t, []uint64{3 * 101}, f.rises)
	require.EqualValues(t, Never, p.Deadline())
	out(p, PortPIT, 50)
	require.False(t, f.high, "the first byte lowers the output")
	f.run(t, p, 3*600)
	out(p, PortPIT, 0)
	f.run(t, p, 3*1000)
	require.Equal(t, []uint64{3 * 101, 3 * 651}, f.rises)
}

func TestASoftwareStrobeInterruptsWhenItEnds(t *testing.T) {
	f, p := newTestPIT()
	program(p, 0, 4, 100)
	f.run(t, p, 3*500)
	require.Equal(t, []uint64{3 * 102}, f.rises)
}

func TestPeriodsSleptThroughAreOneInterrupt(t *testing.T) {
	f, p := newTestPIT()
	program(p, 0, 2, 100)
	f.now = 3 * 1000
	p.Tick(f.now)
	require.Len(t, f.rises, 1)
	f.run(t, p, 3*1102)
	require.Equal(t, []uint64{3 * 1000, 3 * 1001, 3 * 1101}, f.rises, "and the phase is kept")
}

func TestAClockThatGoesBackStopsTime(t *testing.T) {
	f, p := newTestPIT()
	program(p, 0, 2, 1000)
	f.now = 3 * 500
	v := latched(p, 0)
	f.now = 0
	require.Equal(t, v, latched(p, 0))
	p.Tick(0)
	require.Empty(t, f.rises)
}

func TestTheSpeakerPortTimesWithCounter2(t *testing.T) {
	f, p := newTestPIT()
	require.Zero(t, in(p, PortSpeaker)&0x0f)
	out(p, PortSpeaker, 0xf1) // gate, no speaker
	require.EqualValues(t, 1, in(p, PortSpeaker)&0xcf)
	program(p, 2, 0, 11932)
	require.Zero(t, in(p, PortSpeaker)&speakerOut)
	f.now = 3*11933 - 1
	require.Zero(t, in(p, PortSpeaker)&speakerOut)
	f.now++
	require.NotZero(t, in(p, PortSpeaker)&speakerOut, "after 10 ms")
	require.Empty(t, f.rises, "counter 2 interrupts nobody")

	program(p, 2, 0, 1000)
	f.now += 3 * 101
	out(p, PortSpeaker, 0)
	f.now += 3 * 5000
	require.Equal(t, 900, latched(p, 2), "the gate holds the count")
	out(p, PortSpeaker, 1)
	f.now += 3 * 100
	require.Equal(t, 800, latched(p, 2))
}

func TestASquareWaveOfAnOddCountIsHighAPulseLonger(t *testing.T) {
	f, p := newTestPIT()
	out(p, PortSpeaker, speakerGate)
	program(p, 2, 3, 5)
	var wave []bool
	var counts []int
	for range 10 {
		f.now += 3
		wave = append(wave, in(p, PortSpeaker)&speakerOut != 0)
		counts = append(counts, latched(p, 2))
	}
	require.Equal(t, []bool{true, true, true, false, false, true, true, true, false, false}, wave)
	require.Equal(t, []int{4, 2, 0, 4, 2, 4, 2, 0, 4, 2}, counts)
}

func TestHalfACountHoldsMode0WhateverTheGate(t *testing.T) {
	f, p := newTestPIT()
	out(p, PortSpeaker, speakerGate)
	program(p, 2, 0, 1000)
	f.now = 3 * 101
	out(p, PortPIT+2, 7)
	out(p, PortSpeaker, 0)
	out(p, PortSpeaker, speakerGate)
	f.now += 3 * 100
	require.Equal(t, 900, latched(p, 2))
	out(p, PortPIT+2, 1)
	f.now += 3 * 3
	require.Equal(t, 0x107-2, latched(p, 2))
}

func TestTheRefreshBitToggles(t *testing.T) {
	f, p := newTestPIT()
	changes, last := 0, in(p, PortSpeaker)&speakerRefresh
	for range 1000 {
		f.now += 3
		if v := in(p, PortSpeaker) & speakerRefresh; v != last {
			changes, last = changes+1, v
		}
	}
	require.Equal(t, 1000/refreshTicks, changes)
}

func TestLatchesHoldUntilTheyAreRead(t *testing.T) {
	f, p := newTestPIT()
	program(p, 0, 2, 1000)
	f.now = 3 * 101
	out(p, PortPIT+3, 0xc2) // read back: count and status of counter 0
	f.now = 3 * 301
	out(p, PortPIT+3, 0xc2) // ignored while both are held
	require.EqualValues(t, statusOut|0x34, in(p, PortPIT), "status first")
	require.EqualValues(t, 900&0xff, in(p, PortPIT))
	require.EqualValues(t, 900>>8, in(p, PortPIT))
	require.EqualValues(t, 700&0xff, in(p, PortPIT), "then the count as it is")
	require.EqualValues(t, 700>>8, in(p, PortPIT))
}

func TestTheNullFlagSaysThatACountWaits(t *testing.T) {
	f, p := newTestPIT()
	status := func() byte {
		out(p, PortPIT+3, 0xe2)
		return in(p, PortPIT) & statusNull
	}
	require.NotZero(t, status())
	program(p, 0, 2, 1000)
	require.NotZero(t, status(), "the next pulse loads it")
	f.now = 3
	require.Zero(t, status())
	out(p, PortPIT, 9)
	out(p, PortPIT, 0)
	f.now = 3 * 1000
	require.NotZero(t, status(), "the period's end takes it")
	f.now = 3 * 1001
	require.Zero(t, status())
	require.Equal(t, 9, latched(p, 0))
}

func TestSingleByteCountsAndReads(t *testing.T) {
	f, p := newTestPIT()
	out(p, PortPIT+3, 0x14) // counter 0, low byte, mode 2
	out(p, PortPIT, 100)
	f.now = 3 * 11
	require.EqualValues(t, 90, in(p, PortPIT))
	require.EqualValues(t, 90, in(p, PortPIT))
	out(p, PortPIT+3, 0x24) // high byte
	out(p, PortPIT, 2)
	f.now += 3 * 2
	require.EqualValues(t, 1, in(p, PortPIT), "511")
	require.EqualValues(t, 0xff, in(p, PortPIT+3), "the control word is write only")
}

func TestAWordIsAByteAtEachPort(t *testing.T) {
	f, p := newTestPIT()
	out(p, PortPIT+3, 0x14)
	out(p, PortPIT+3, 0x54)
	out(p, PortPIT, 10, 20)
	f.now = 3
	b := make([]byte, 2)
	p.Read(PortPIT, b)
	require.Equal(t, []byte{10, 20}, b)
}

// pulses is an 8254 counter that counts: the data sheet's words, pulse by pulse.
type pulses struct {
	mode             int
	bcd              bool
	gate, out        bool
	register, ce     int
	written, loading bool
	armed            bool // a terminal count is to come (modes 0, 1, 4, 5)
	running          bool
	strobe           bool
	odd              bool
	half             bool
}

func (c *pulses) modulus() int {
	if c.bcd {
		return 10000
	}
	return 65536
}

func (c *pulses) program(mode int, bcd bool) {
	ce := c.ce % c.modulus()
	*c = pulses{mode: mode, bcd: bcd, gate: c.gate, ce: ce, out: mode != 0}
}

func (c *pulses) first() {
	if c.half = true; c.mode == 0 {
		c.out = false
	}
}

func (c *pulses) write(n int) {
	c.half, c.register, c.written = false, n, true
	switch c.mode {
	case 0:
		c.out, c.loading = false, true
	case 4:
		c.loading = true
	case 2, 3:
		if !c.running {
			c.loading = true
		}
	}
}

func (c *pulses) setGate(g bool) {
	if g == c.gate {
		return
	}
	c.gate = g
	switch c.mode {
	case 1, 5:
		c.loading = c.loading || g && c.written
	case 2, 3:
		c.out = true
		c.loading = c.loading || g && c.written
	}
}

func (c *pulses) level() bool {
	if c.mode >= 4 {
		return !c.strobe
	}
	return c.out
}

func (c *pulses) reload() {
	c.ce, c.odd = c.register, false
	if c.mode == 3 {
		c.odd, c.ce = c.ce%2 != 0, c.ce&^1
	}
}

func (c *pulses) pulse() {
	if c.loading {
		c.reload()
		c.loading, c.running, c.armed, c.strobe = false, true, true, false
		c.out = c.mode != 0 && c.mode != 1
		return
	}
	if !c.running || !c.gate && c.mode != 1 && c.mode != 5 || c.mode == 0 && c.half {
		return
	}
	switch c.mode {
	case 2:
		switch c.ce--; c.ce {
		case 1:
			c.out = false
		case 0:
			c.out = true
			c.reload()
		}
	case 3:
		if c.odd && c.out && c.ce == 0 {
			c.out = false
			c.reload()
		} else if c.ce -= 2; c.ce == 0 && !(c.odd && c.out) {
			c.out = !c.out
			c.reload()
		}
	default:
		c.strobe = false
		c.ce = (c.ce + c.modulus() - 1) % c.modulus()
		if c.ce == 0 && c.armed {
			c.armed = false
			c.out = true
			c.strobe = c.mode >= 4
		}
	}
}

func (c *pulses) shown() uint16 {
	v := c.ce % c.modulus()
	if c.bcd {
		v = v/1000<<12 | v/100%10<<8 | v/10%10<<4 | v%10
	}
	return uint16(v)
}

func TestACounterIsWhatCountingPulsesGives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := uint64(0)
		c := newCounter(true)
		want := &pulses{mode: 3, gate: true, out: true}
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			switch rapid.IntRange(0, 6).Draw(t, "step") {
			case 0:
				mode, bcd := rapid.IntRange(0, 5).Draw(t, "mode"), rapid.Bool().Draw(t, "bcd")
				control := byte(accessBoth<<4 | mode<<1)
				if bcd {
					control |= controlBCD
				}
				c.program(now, control)
				want.program(mode, bcd)
			case 1, 2:
				n := rapid.OneOf(rapid.IntRange(2, 9), rapid.IntRange(0, 9999)).Draw(t, "count")
				if n == 1 {
					n = 2
				}
				v := n
				if want.bcd {
					v = n/1000<<12 | n/100%10<<8 | n/10%10<<4 | n%10
				}
				if n == 0 {
					n = want.modulus()
				}
				if !c.half {
					c.write(now, byte(v))
					want.first()
					if rapid.IntRange(0, 3).Draw(t, "only the first") == 0 {
						break
					}
				} else {
					c.low = byte(v)
				}
				c.write(now, byte(v>>8))
				want.write(n)
			case 3:
				g := rapid.Bool().Draw(t, "gate")
				c.setGate(now, g)
				want.setGate(g)
			default:
				n := rapid.OneOf(rapid.IntRange(1, 6), rapid.IntRange(1, 30)).Draw(t, "pulses")
				rose := false
				for range n {
					before := want.level()
					want.pulse()
					rose = rose || !before && want.level()
				}
				now += uint64(n)
				require.Equal(t, rose, c.advance(now), "rise")
			}
			require.Equal(t, want.level(), c.out(now), "OUT")
			require.Equal(t, want.shown(), c.count(now), "count")
		}
	})
}

func TestTheNextRiseIsWhenOUTRises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, p := newTestPIT()
		for range 4 {
			program(p, 0, byte(rapid.IntRange(0, 5).Draw(t, "mode")), uint16(rapid.IntRange(2, 40).Draw(t, "count")))
			if rapid.Bool().Draw(t, "again") {
				f.now += uint64(rapid.IntRange(0, 100).Draw(t, "later"))
				p.Tick(f.now)
				out(p, PortPIT, byte(rapid.IntRange(2, 40).Draw(t, "count")))
				out(p, PortPIT, 0)
			}
			f.rises = nil
			c, end := p.counters[0], f.now+3*200
			last := c.out(p.tick)
			var want []uint64
			for at := p.tick + 1; at <= end/3; at++ {
				c.advance(at)
				if v := c.out(at); v != last {
					last = v
					if v {
						want = append(want, 3*at)
					}
				}
			}
			f.run(t, p, end)
			require.Equal(t, want, f.rises)
		}
	})
}

func TestACountWrittenDuringTheStrobeEndsIt(t *testing.T) {
	f, p := newTestPIT()
	program(p, 0, 4, 100)
	f.now = 3 * 101
	out(p, PortPIT, 50)
	out(p, PortPIT, 0)
	require.False(t, f.high, "the strobe")
	f.run(t, p, 3*500)
	require.Equal(t, []uint64{3 * 102, 3 * 153}, f.rises)
}
