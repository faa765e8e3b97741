package irqchip

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// ticks turns the clock to tsc and lets the timer look at it.
func (r *rig) ticks(l *Local, tsc uint64) {
	r.now.Store(tsc)
	l.Tick(tsc)
}

func TestOneShotFiresOnce(t *testing.T) {
	r := newListeningRig(t, 1)
	l := r.Local(0)
	r.now.Store(1000)
	r.write(l, regDivide, 0xB) // 1
	r.write(l, regLVTTimer, 0x40)
	r.write(l, regInitial, 500)
	require.EqualValues(t, 1500, l.Deadline())
	require.EqualValues(t, 500, r.read(l, regCurrent))
	r.ticks(l, 1499)
	require.False(t, l.Pending())
	require.EqualValues(t, 1, r.read(l, regCurrent))
	r.ticks(l, 1500)
	require.Equal(t, []uint8{0x40}, r.drain(l))
	require.Zero(t, r.read(l, regCurrent))
	require.EqualValues(t, never, l.Deadline())
	r.ticks(l, 100000)
	require.False(t, l.Pending())
}

func TestPeriodsDoNotDrift(t *testing.T) {
	r := newListeningRig(t, 1)
	l := r.Local(0)
	r.write(l, regDivide, 0) // 2
	r.write(l, regLVTTimer, timerPeriodic|0x40)
	r.write(l, regInitial, 50)
	for _, c := range []struct{ now, next uint64 }{{100, 200}, {230, 300}, {950, 1000}, {1000, 1100}} {
		r.ticks(l, c.now)
		require.Equal(t, []uint8{0x40}, r.drain(l), "once, however many were missed")
		require.Equal(t, c.next, l.Deadline())
	}
	r.write(l, regInitial, 0)
	require.EqualValues(t, never, l.Deadline())
	require.Zero(t, r.read(l, regCurrent))
}

func TestTSCDeadline(t *testing.T) {
	r := newListeningRig(t, 1)
	l := r.Local(0)
	require.True(t, l.WriteMSR(msrTSCDeadline, 77), "in another mode it is ignored")
	v, ok := l.ReadMSR(msrTSCDeadline)
	require.True(t, ok)
	require.Zero(t, v)

	r.write(l, regLVTTimer, timerDeadline|0x40)
	r.write(l, regInitial, 1000)
	require.Zero(t, r.read(l, regInitial), "the count is not this mode's")
	require.True(t, l.WriteMSR(msrTSCDeadline, 5000))
	require.EqualValues(t, 5000, l.Deadline())
	require.Zero(t, r.read(l, regCurrent))
	r.ticks(l, 4999)
	require.False(t, l.Pending())
	v, _ = l.ReadMSR(msrTSCDeadline)
	require.EqualValues(t, 5000, v)
	r.ticks(l, 5000)
	require.Equal(t, []uint8{0x40}, r.drain(l))
	v, _ = l.ReadMSR(msrTSCDeadline)
	require.Zero(t, v, "it is spent")

	l.WriteMSR(msrTSCDeadline, 1)
	require.EqualValues(t, 1, l.Deadline(), "one in the past is due at once")
	l.Tick(5000)
	require.Equal(t, []uint8{0x40}, r.drain(l))

	l.WriteMSR(msrTSCDeadline, 6000)
	l.WriteMSR(msrTSCDeadline, 0)
	require.EqualValues(t, never, l.Deadline())
	l.WriteMSR(msrTSCDeadline, never)
	r.ticks(l, never)
	require.False(t, l.Pending())
	v, _ = l.ReadMSR(msrTSCDeadline)
	require.EqualValues(t, never, v)
}

func TestChangingToOrFromTSCDeadlineDisarms(t *testing.T) {
	r := newListeningRig(t, 1)
	l := r.Local(0)
	r.write(l, regLVTTimer, 0x40)
	r.write(l, regInitial, 1000)
	r.write(l, regLVTTimer, timerPeriodic|0x40)
	require.NotEqual(t, never, l.Deadline(), "between the counting modes it goes on")
	r.write(l, regLVTTimer, timerDeadline|0x40)
	require.EqualValues(t, never, l.Deadline())
	l.WriteMSR(msrTSCDeadline, 1000)
	r.write(l, regLVTTimer, timerDeadline|lvtMasked|0x40)
	require.EqualValues(t, 1000, l.Deadline(), "masked is no other mode")
	r.write(l, regLVTTimer, timerOneShot|0x40)
	require.EqualValues(t, never, l.Deadline())
	v, _ := l.ReadMSR(msrTSCDeadline)
	require.Zero(t, v)
}

func TestAMaskedTimerRunsWithoutInterrupt(t *testing.T) {
	r := newListeningRig(t, 1)
	l := r.Local(0)
	r.write(l, regLVTTimer, lvtMasked|0x40)
	r.write(l, regInitial, 50)
	require.EqualValues(t, 100, l.Deadline())
	r.now.Store(200)
	r.write(l, regLVTTimer, 0x40) // too late: it has run out
	require.False(t, l.Pending())
	require.EqualValues(t, never, l.Deadline())

	r.write(l, regInitial, 50)
	r.now.Store(400)
	r.write(l, regLVTTimer, lvtMasked|0x40) // it ran out before
	require.Equal(t, []uint8{0x40}, r.drain(l))
}

func TestDivideConfiguration(t *testing.T) {
	for code, divisor := range map[uint32]uint64{0: 2, 1: 4, 2: 8, 3: 16, 8: 32, 9: 64, 0xA: 128, 0xB: 1} {
		r := newListeningRig(t, 1)
		l := r.Local(0)
		r.write(l, regDivide, code)
		r.write(l, regInitial, 1000)
		require.Equal(t, 1000*divisor, l.Deadline(), "code %x", code)
		r.now.Store(10*divisor + divisor - 1)
		require.EqualValues(t, 990, r.read(l, regCurrent))
	}
}

func TestADivisorChangedOnTheWayAppliesToWhatIsLeft(t *testing.T) {
	r := newListeningRig(t, 1)
	l := r.Local(0)
	r.write(l, regDivide, 0xB)
	r.write(l, regInitial, 1000)
	r.now.Store(400)
	r.write(l, regDivide, 0)
	require.EqualValues(t, 400+2*600, l.Deadline())
	require.EqualValues(t, 600, r.read(l, regCurrent))
}

func TestTheEndOfTimeIsNoTrouble(t *testing.T) {
	for _, hz := range []uint64{1, 999, 1e9, 3e9, ^uint64(0)} {
		r := newListeningRig(t, 1, func(c *SoftConfig) { c.Hz = hz })
		l := r.Local(0)
		for _, now := range []uint64{0, 1 << 40, never - 1, never} {
			r.now.Store(now)
			for _, mode := range []uint32{timerOneShot, timerPeriodic, timerDeadline, timerReserved} {
				r.write(l, regLVTTimer, mode|0x40)
				r.write(l, regDivide, 0xA)
				r.write(l, regInitial, 0xFFFFFFFF)
				l.WriteMSR(msrTSCDeadline, never-1)
				l.Tick(now)
				r.read(l, regCurrent)
				l.Tick(never)
			}
		}
	}
}

// TestTheTimerCountsAsAModelDoes steps the bus clock one by one through a counter as the manual describes it.
func TestTheTimerCountsAsAModelDoes(t *testing.T) {
	divisors := map[uint32]uint64{0: 2, 1: 4, 2: 8, 0xB: 1}
	rapid.Check(t, func(t *rapid.T) {
		hz := rapid.Uint64Range(1, 20).Draw(t, "hz")
		busHz := rapid.Uint64Range(1, 20).Draw(t, "bus")
		mode := rapid.SampledFrom([]uint32{timerOneShot, timerPeriodic}).Draw(t, "mode")
		code := rapid.SampledFrom([]uint32{0, 1, 2, 0xB}).Draw(t, "divide")
		initial := rapid.Uint32Range(1, 20).Draw(t, "initial")
		start := rapid.Uint64Range(0, 1000).Draw(t, "start")

		var now uint64 = start
		s := NewSoft(SoftConfig{Hz: hz, BusHz: busHz, Now: func() uint64 { return now }})
		l := s.Local(0)
		l.writeSVR(0x1FF)
		l.writeLVT(lvtTimer, mode|0x40)
		l.writeDivide(code)
		l.writeInitial(initial)

		count, ticks := initial, uint64(0)
		bus := start * busHz / hz
		for now = start; now < start+200; now++ {
			fires := false
			for ; bus < now*busHz/hz; bus++ {
				if ticks++; ticks%divisors[code] != 0 || count == 0 {
					continue
				}
				if count--; count == 0 {
					fires = true
					if mode == timerPeriodic {
						count = initial
					}
				}
			}
			require := func(ok bool, format string, args ...any) {
				if !ok {
					t.Fatalf("at %d: "+format, append([]any{now}, args...)...)
				}
			}
			require(l.readCurrent() == count, "current count %d, want %d", l.readCurrent(), count)
			require((l.Deadline() <= now) == fires, "deadline %d, fires %v", l.Deadline(), fires)
			l.Tick(now)
			require(l.Pending() == fires, "pending %v, fires %v", l.Pending(), fires)
			if v, ok := l.Acknowledge(); ok {
				require(v == 0x40, "vector %x", v)
				l.EOI()
			}
			require(l.readCurrent() == count, "current count after the tick %d, want %d", l.readCurrent(), count)
		}
	})
}
