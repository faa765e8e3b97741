package platform

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const mega = 1_000_000

// newTestCMOS goes by a clock of 1 MHz: a tick is a microsecond.
func newTestCMOS() (*fake, *CMOS) {
	f := &fake{hz: mega}
	return f, NewCMOS(CMOSConfig{Clock: f.clock(), Wall: f.wall, IRQ: f.irq, Low: 3 << 30, High: 5 << 30, CPUs: 4})
}

func get(d ports, reg byte) byte {
	out(d, PortCMOS, reg)
	return in(d, PortCMOS+1)
}

func set(d ports, reg, v byte) {
	out(d, PortCMOS, reg)
	out(d, PortCMOS+1, v)
}

// timeRegs are century, year, month, day, weekday, hour, minute and second.
func timeRegs(d ports) (v []byte) {
	for _, reg := range []byte{regCentury, regYear, regMonth, regDay, regWeekday, regHour, regMinute, regSecond} {
		v = append(v, get(d, reg))
	}
	return v
}

func TestTheClockShowsTheWallsTime(t *testing.T) {
	f, d := newTestCMOS()
	require.Equal(t, []byte{0x20, 0x24, 0x02, 0x29, 5, 0x23, 0x59, 0x58}, timeRegs(d))
	f.now = 2 * mega
	require.Equal(t, []byte{0x20, 0x24, 0x03, 0x01, 6, 0, 0, 0}, timeRegs(d))
	require.EqualValues(t, dValid, get(d, regD))
	f.now -= mega
	set(d, regB, b24Hour|bBinary)
	require.Equal(t, []byte{20, 24, 2, 29, 5, 23, 59, 59}, timeRegs(d))
	set(d, regB, 0)
	require.EqualValues(t, hourPM|0x11, get(d, regHour))
	f.now += mega
	require.EqualValues(t, 0x12, get(d, regHour), "midnight")
}

func TestHoursGoBothWays(t *testing.T) {
	_, d := newTestCMOS()
	for _, b := range []byte{0, b24Hour, bBinary, b24Hour | bBinary} {
		d.ram[regB] = b
		for h := range 24 {
			require.Equal(t, h, d.decodeHour(d.encodeHour(h)), "%#x", b)
		}
	}
}

func TestAnUpdateIsAnnounced(t *testing.T) {
	f, d := newTestCMOS()
	for at, want := range map[uint64]byte{0: 0x26, mega - 245: 0x26, mega - 244: 0xa6, mega - 1: 0xa6, mega: 0x26} {
		f.now = at
		require.Equal(t, want, get(d, regA), "at %d", at)
	}
	f.now = mega - 1
	set(d, regB, bSet|b24Hour)
	require.EqualValues(t, 0x26, get(d, regA), "not while time stands still")
	set(d, regA, 0xff)
	require.EqualValues(t, 0x7f, get(d, regA), "read only")
}

func TestATimeThatIsSetGoesOn(t *testing.T) {
	f, d := newTestCMOS()
	f.now = 300_000
	set(d, regB, bSet|b24Hour)
	f.now += 5 * mega
	require.Equal(t, []byte{0x20, 0x24, 0x02, 0x29, 5, 0x23, 0x59, 0x58}, timeRegs(d), "stands still")
	for i, reg := range []byte{regCentury, regYear, regMonth, regDay, regHour, regMinute, regSecond} {
		set(d, reg, []byte{0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59}[i])
	}
	require.EqualValues(t, 0x99, get(d, regYear))
	set(d, regB, b24Hour)
	require.Equal(t, []byte{0x19, 0x99, 0x12, 0x31, 6, 0x23, 0x59, 0x59}, timeRegs(d))
	f.now += 699_999
	require.EqualValues(t, 0x59, get(d, regSecond), "the second goes on where it was")
	f.now++
	require.Equal(t, []byte{0x20, 0x00, 0x01, 0x01, 7, 0, 0, 0}, timeRegs(d))

	set(d, regMinute, 0x30) // without stopping it
	f.now += mega
	require.Equal(t, []byte{0x20, 0x00, 0x01, 0x01, 7, 0, 0x30, 1}, timeRegs(d))
}

func TestADividerLetGoUpdatesHalfASecondLater(t *testing.T) {
	f, d := newTestCMOS()
	set(d, regB, bSet|b24Hour)
	set(d, regA, 0x76)
	set(d, regSecond, 0x10)
	set(d, regB, b24Hour)
	f.now += 10 * mega
	require.EqualValues(t, 0x10, get(d, regSecond), "held")
	set(d, regA, 0x26)
	f.now += 499_999
	require.EqualValues(t, 0x10, get(d, regSecond))
	f.now++
	require.EqualValues(t, 0x11, get(d, regSecond))
}

func TestAnyTimeCanBeSetAndReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		_, d := newTestCMOS()
		mode := rapid.SampledFrom([]byte{0, b24Hour, bBinary, b24Hour | bBinary}).Draw(t, "mode")
		at := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "time"), 0).UTC()
		set(d, regB, bSet|mode)
		for _, reg := range []byte{regCentury, regYear, regMonth, regDay, regHour, regMinute, regSecond} {
			set(d, reg, d.field(reg, at))
		}
		set(d, regB, mode)
		require.Equal(t, at.Unix(), d.time().sec)
		require.EqualValues(t, d.encode(int(at.Weekday())+1), get(d, regWeekday))
	})
}

func TestUpdatesInterruptEachSecondUntilRead(t *testing.T) {
	f, d := newTestCMOS()
	require.EqualValues(t, Never, d.Deadline())
	set(d, regB, b24Hour|bUpdate)
	f.run(t, d, 5*mega/2)
	require.Equal(t, []uint64{mega}, f.rises, "held until register C is read")
	require.EqualValues(t, cRequest|bUpdate, get(d, regC)&^(bPeriodic|bAlarm))
	require.False(t, f.high)
	f.run(t, d, 7*mega/2)
	require.Equal(t, []uint64{mega, 3 * mega}, f.rises)
	get(d, regC)
	require.Zero(t, get(d, regC), "reading clears")
	set(d, regB, b24Hour|bUpdate|bSet)
	require.Zero(t, get(d, regB)&bUpdate, "setting the time turns it off")
	f.run(t, d, 10*mega)
	require.Len(t, f.rises, 2)
}

func TestPeriodicInterruptsComeAtTheirRate(t *testing.T) {
	for rs, hz := range map[byte]int{0: 0, 1: 256, 2: 128, 3: 8192, 6: 1024, 15: 2} {
		f, d := newTestCMOS()
		set(d, regA, 0x20|rs)
		set(d, regB, b24Hour|bPeriodic)
		n := 0
		for d.Deadline() <= 2*mega {
			f.now = d.Deadline()
			d.Tick(f.now)
			require.True(t, f.high)
			require.EqualValues(t, cRequest|bPeriodic, get(d, regC)&^(bUpdate|bAlarm))
			n++
		}
		require.Equal(t, 2*hz, n, "rate %d", rs)
	}
}

func TestTheAlarmInterruptsAtItsTime(t *testing.T) {
	const start = 23*3600 + 59*60 + 58 // of the day
	for name, c := range map[string]struct {
		hour, minute, second byte
		first, again         int // seconds of the day
	}{
		"one time":       {0x07, 0x30, 0x15, 7*3600 + 30*60 + 15, daySeconds},
		"next second":    {0x23, 0x59, 0x59, start + 1, daySeconds},
		"this second":    {0x23, 0x59, 0x58, start, daySeconds},
		"every second":   {0xff, 0xc0, 0xff, start + 1, 1},
		"every minute":   {0xff, 0xff, 0x00, 0, 60},
		"every hour":     {0xff, 0x30, 0x00, 30 * 60, 3600},
		"a whole minute": {0x00, 0x01, 0xff, 60, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f, d := newTestCMOS()
			set(d, regHourAlarm, c.hour)
			set(d, regMinuteAlarm, c.minute)
			set(d, regSecondAlarm, c.second)
			set(d, regB, b24Hour|bAlarm)
			first := uint64((c.first-start+daySeconds-1)%daySeconds+1) * mega
			f.run(t, d, first)
			require.Equal(t, []uint64{first}, f.rises)
			require.NotZero(t, get(d, regC)&bAlarm)
			f.run(t, d, first+uint64(c.again)*mega)
			require.Equal(t, []uint64{first, first + uint64(c.again)*mega}, f.rises)
		})
	}
}

func TestAnAlarmThatIsNoTimeNeverComes(t *testing.T) {
	for _, bad := range []byte{regHourAlarm, regMinuteAlarm, regSecondAlarm} {
		_, d := newTestCMOS()
		for _, reg := range []byte{regHourAlarm, regMinuteAlarm, regSecondAlarm} {
			set(d, reg, 0xff)
		}
		set(d, bad, 0x99)
		set(d, regB, b24Hour|bAlarm)
		require.EqualValues(t, Never, d.Deadline())
	}
}

func TestFlagsThatNobodyAskedForCanBePolled(t *testing.T) {
	f, d := newTestCMOS()
	set(d, regMinuteAlarm, 0xff)
	set(d, regHourAlarm, 0xff)
	f.now = 2 * mega // past 00:00:00
	require.EqualValues(t, bPeriodic|bAlarm|bUpdate, get(d, regC))
	require.Empty(t, f.rises)
	f.now += mega
	in(d, PortCMOS+1)
	f.now += mega
	set(d, regB, b24Hour|bUpdate)
	require.True(t, f.high, "an interrupt enabled late comes at once")
}

func TestAWallClockThatStandsStillOrGoesBackIsNoStorm(t *testing.T) {
	f := &fake{hz: 2_000 * mega}
	at := time.Unix(1000, nanos-1)
	d := NewCMOS(CMOSConfig{Clock: f.clock(), Wall: func() time.Time { return at }, IRQ: f.irq})
	set(d, regB, b24Hour|bUpdate)
	require.GreaterOrEqual(t, d.Deadline(), f.hz*leastNanos/nanos)
	at = time.Unix(900, 0)
	f.now = d.Deadline()
	d.Tick(f.now)
	require.Empty(t, f.rises)
	at = time.Unix(901, 0)
	d.Tick(f.now)
	require.Len(t, f.rises, 1)
}

func TestTheCMOSSaysHowLargeTheMachineIs(t *testing.T) {
	word := func(d ports, reg byte) int { return int(get(d, reg)) | int(get(d, reg+1))<<8 }
	_, d := newTestCMOS()
	require.Equal(t, 640, word(d, cmosBase))
	require.Equal(t, 0xffff, word(d, cmosExtended))
	require.Equal(t, 0xffff, word(d, cmosExtended2))
	require.Equal(t, (3<<30-16<<20)>>16, word(d, cmosAbove16M))
	require.Equal(t, 5<<30>>16, word(d, cmosAbove4G)|int(get(d, cmosAbove4G+2))<<16)
	require.EqualValues(t, 3, get(d, cmosCPUs))
	sum := 0
	for reg := byte(firstSummed); reg <= lastSummed; reg++ {
		sum += int(get(d, reg))
	}
	require.Equal(t, sum, int(get(d, cmosSum))<<8|int(get(d, cmosSum+1)))

	small := NewCMOS(CMOSConfig{Clock: (&fake{hz: 1}).clock(), Low: 512 << 10})
	require.Equal(t, 512, word(small, cmosBase))
	require.Zero(t, word(small, cmosExtended))
	require.Zero(t, word(small, cmosAbove16M))
	require.Zero(t, get(small, cmosCPUs))
}

func TestTheIndexPortMasksNMI(t *testing.T) {
	_, d := newTestCMOS()
	require.False(t, d.NMIMasked())
	out(d, PortCMOS, cmosNMI|cmosShutdown, 0x0a) // a word: index and data
	require.True(t, d.NMIMasked())
	require.EqualValues(t, 0x0a, d.Shutdown())
	require.EqualValues(t, 0xff, in(d, PortCMOS), "write only")
	out(d, PortCMOS, cmosShutdown)
	require.False(t, d.NMIMasked())
	require.EqualValues(t, 0x0a, in(d, PortCMOS+1))
	set(d, regD, 0)
	require.EqualValues(t, dValid, get(d, regD), "read only")
}

func TestProcessorsMayUseADeviceAtOnce(t *testing.T) {
	c := Clock{Now: func() uint64 { return 5 }, Hz: mega}
	for _, d := range []ports{
		NewPIT(PITConfig{Clock: c}), NewCMOS(CMOSConfig{Clock: c}), NewPM(PMConfig{Clock: c, Base: 0x600}),
		NewFwCfg(FwCfgConfig{}), NewReset(nil),
	} {
		var wait sync.WaitGroup
		for range 4 {
			wait.Go(func() {
				for port := range uint16(0x700) {
					out(d, port, byte(port))
					in(d, port)
					if d, ok := d.(timed); ok {
						d.Tick(d.Deadline() & 0xffff)
					}
				}
			})
		}
		wait.Wait()
	}
}
