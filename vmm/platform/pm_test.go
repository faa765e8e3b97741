package platform

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

const pmBase = 0x600

func newTestPM(wide bool) (*fake, *PM, *int) {
	f, offs := &fake{hz: crystal}, new(int)
	return f, NewPM(PMConfig{Clock: f.clock(), Base: pmBase, Wide: wide, IRQ: f.irq, PowerOff: func() { *offs++ }}), offs
}

func in32(d ports, port uint16) uint32 {
	b := make([]byte, 4)
	d.Read(port, b)
	return binary.LittleEndian.Uint32(b)
}

func TestTheTimerCountsAndWraps(t *testing.T) {
	f, p, _ := newTestPM(false)
	f.now = 1<<24 - 1
	require.EqualValues(t, 1<<24-1, in32(p, pmBase+PMTimer))
	f.now += 6
	require.EqualValues(t, 5, in32(p, pmBase+PMTimer), "24 bits")
	f, p, _ = newTestPM(true)
	f.now = 1<<32 - 1
	require.EqualValues(t, uint32(1<<32-1), in32(p, pmBase+PMTimer))
	f.now += 6
	require.EqualValues(t, 5, in32(p, pmBase+PMTimer), "32 bits")
	out(p, pmBase+PMTimer, 1, 2, 3, 4)
	require.EqualValues(t, 5, in32(p, pmBase+PMTimer), "read only")
	f.now -= 3
	require.EqualValues(t, 5, in32(p, pmBase+PMTimer), "never goes back")
}

func TestTheTimersHighestBitInterrupts(t *testing.T) {
	f, p, _ := newTestPM(false)
	f.run(t, p, 1<<23-1)
	require.Zero(t, in(p, pmBase))
	f.run(t, p, 1<<23)
	require.EqualValues(t, pmTimer, in(p, pmBase), "status without an interrupt")
	require.Empty(t, f.rises)
	out(p, pmBase, pmTimer)
	out(p, pmBase+pmEnableAt, pmTimer)
	require.EqualValues(t, 1<<24, p.Deadline())
	f.run(t, p, 1<<25)
	require.Equal(t, []uint64{1 << 24}, f.rises, "the line stays until the status is cleared")
	out(p, pmBase, 0)
	require.True(t, f.high)
	out(p, pmBase, pmTimer)
	require.False(t, f.high)
}

func TestAPowerButtonIsAnInterrupt(t *testing.T) {
	f, p, _ := newTestPM(false)
	out(p, pmBase+pmEnableAt, 0, pmPower>>8)
	p.PressPower()
	require.True(t, f.high)
	require.EqualValues(t, uint32(pmPower|pmPower<<16), in32(p, pmBase))
	out(p, pmBase, 0, pmPower>>8)
	require.False(t, f.high)
}

func TestOnlyS5TurnsTheMachineOff(t *testing.T) {
	_, p, offs := newTestPM(false)
	require.EqualValues(t, controlSCI, in(p, pmBase+PMControl), "always in ACPI mode")
	at := uint16(pmBase + PMControl)
	out(p, at, 0, SleepOff<<2)
	require.Zero(t, *offs, "a type without SLP_EN")
	out(p, at, 0, 1<<5|3<<2)
	require.Zero(t, *offs, "another state")
	require.EqualValues(t, 3<<2, in(p, at+1), "SLP_EN is write only")
	out(p, at, 0, 1<<5|SleepOff<<2)
	require.Equal(t, 1, *offs)
	out(p, at+1, 1<<5|SleepOff<<2)
	require.Equal(t, 2, *offs, "by bytes")
}

func TestTheHolesOfTheBlockReadAsOnes(t *testing.T) {
	_, p, _ := newTestPM(false)
	require.EqualValues(t, uint32(0xffff0001), in32(p, pmBase+PMControl))
	require.EqualValues(t, uint32(0xffffffff), in32(p, pmBase+12))
}
