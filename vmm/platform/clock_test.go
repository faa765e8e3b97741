package platform

import (
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// fake is a clock that tests move, with the interrupts that came.
type fake struct {
	now   uint64
	hz    uint64
	high  bool
	rises []uint64
}

func (f *fake) clock() Clock { return Clock{Now: func() uint64 { return f.now }, Hz: f.hz} }

func (f *fake) irq(high bool) {
	if high && !f.high {
		f.rises = append(f.rises, f.now)
	}
	f.high = high
}

// firstSecond is 2024-02-29 23:59:58.
const firstSecond = 1709251198

// wall is a wall clock that goes with the fake one.
func (f *fake) wall() time.Time {
	return time.Unix(int64(f.now/f.hz)+firstSecond, int64(f.now%f.hz*nanos/f.hz))
}

// timed is a device with deadlines.
type timed interface {
	Deadline() uint64
	Tick(now uint64)
}

// run lets time pass until end as a machine does, and fails if a deadline does not move on.
func (f *fake) run(t require.TestingT, d timed, end uint64) {
	for steps := 0; d.Deadline() <= end; steps++ {
		require.Less(t, steps, 1_000_000, "deadlines without end")
		f.now = max(f.now, d.Deadline())
		d.Tick(f.now)
		require.Greater(t, d.Deadline(), f.now, "a deadline that has passed was not met")
	}
	f.now = end
	d.Tick(end)
}

// ports is a device at ports.
type ports interface {
	Read(port uint16, p []byte)
	Write(port uint16, p []byte)
}

func in(d ports, port uint16) byte {
	var b [1]byte
	d.Read(port, b[:])
	return b[0]
}

func out(d ports, port uint16, v ...byte) { d.Write(port, v) }

func TestRatesAreExactAtAllTimes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rate{rapid.SampledFrom([]uint64{crystal, 32768, nanos}).Draw(t, "num"), rapid.Uint64Range(1, 3<<60).Draw(t, "den")}
		now := rapid.Uint64().Draw(t, "now")
		want := new(big.Int).SetUint64(now)
		want.Div(want.Mul(want, new(big.Int).SetUint64(r.num)), new(big.Int).SetUint64(r.den))
		if !want.IsUint64() {
			require.EqualValues(t, Never, r.ticks(now))
			return
		}
		k := r.ticks(now)
		require.Equal(t, want.Uint64(), k)
		at := r.at(k)
		require.LessOrEqual(t, at, now)
		require.Equal(t, k, r.ticks(at), "reached")
		if at > 0 && k > 0 {
			require.Less(t, r.ticks(at-1), k, "not before")
		}
	})
}

func TestTimesBeyondTheClockAreNever(t *testing.T) {
	require.EqualValues(t, Never, rate{1, 3}.at(Never/2))
	require.EqualValues(t, Never, rate{crystal, 1 << 60}.at(Never))
	require.EqualValues(t, 1, Clock{}.hertz())
}

// devices are all of the package, on one clock.
func devices(f *fake) map[string]ports {
	return map[string]ports{
		"pit":   NewPIT(PITConfig{Clock: f.clock(), IRQ: f.irq}),
		"cmos":  NewCMOS(CMOSConfig{Clock: f.clock(), Wall: f.wall, IRQ: f.irq, Low: 1 << 30}),
		"pm":    NewPM(PMConfig{Clock: f.clock(), Base: 0x600, IRQ: f.irq}),
		"fwcfg": NewFwCfg(FwCfgConfig{CPUs: 2, Memory: make(ram, 1<<16)}),
		"reset": NewReset(nil),
	}
}

// FuzzHostilePorts gives every device any sequence of accesses at any times: five bytes an
// access, of which the first says what it is.
func FuzzHostilePorts(f *testing.F) {
	f.Add([]byte{1, 0x43, 0x34, 9, 9, 0, 0x40, 1, 2, 3, 0x40, 0x43, 0xff, 0, 1})
	f.Add([]byte{1, 0x70, 0x0b, 0x72, 0, 1, 0x71, 0xff, 0, 0, 0x80, 1, 1, 1, 1})
	bases := []uint16{0, 0x510, 0x600, 0xcf0, 0xffff}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &fake{hz: 2_100_000_000}
		all := devices(c)
		for ; len(b) >= 5; b = b[5:] {
			port := bases[int(b[0]>>2&7)%len(bases)] + uint16(b[1])
			data := make([]byte, []int{1, 2, 4}[int(b[0]>>5&3)%3])
			copy(data, b[2:])
			c.now += uint64(b[4]) << (b[3] & 31)
			for _, d := range all {
				if b[0]&1 != 0 {
					d.Write(port, data)
				} else {
					d.Read(port, data)
				}
				if d, ok := d.(timed); ok && b[0]&2 != 0 {
					d.Tick(c.now)
					require.Greater(t, d.Deadline(), c.now)
				}
			}
		}
	})
}

func TestPortsThatADeviceDoesNotDecodeReadAsOnes(t *testing.T) {
	for name, d := range devices(&fake{hz: 1e9}) {
		p := []byte{1, 2, 3, 4}
		d.Read(0x1234, p)
		require.Equal(t, []byte{0xff, 0xff, 0xff, 0xff}, p, name)
		d.Write(0x1234, p)
	}
}

func TestAccessesAllocateNothing(t *testing.T) {
	f := &fake{hz: 1e9}
	p := make([]byte, 1)
	for name, d := range devices(f) {
		n := testing.AllocsPerRun(100, func() {
			f.now += 1000
			for _, port := range []uint16{0x40, 0x43, 0x61, 0x64, 0x71, 0x92, 0x511, 0x600, 0x608} {
				d.Read(port, p)
				d.Write(port, p)
			}
			if d, ok := d.(timed); ok {
				d.Tick(f.now)
			}
		})
		require.Zero(t, n, name)
	}
}
