package vmm

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/guests"
	"gvmm/vcpu"
	"gvmm/vcpu/trace"
)

// virtualRun runs a guest in virtual time and returns all that it printed and its report.
func virtualRun(t *testing.T, image string, c Config) (string, *Report) {
	t.Helper()
	c.Image, c.UINTR, c.ICount, c.Accel = image, true, 1, vcpu.AccelSoft
	m, serial, status := runGuest(t, c)
	require.Zero(t, status, serial)
	return serial, m.Report()
}

func TestVirtualTimeRepeatsToTheInstruction(t *testing.T) {
	size := 256 << 10
	if testing.Short() {
		size = 16 << 10
	}
	disk, sum := newDisk(t, size)
	c := Config{Posted: true, Command: "depth=4", Disks: []Disk{{Path: disk, ReadOnly: true}}}
	image := guestImage(t, guests.Main)
	text, first := virtualRun(t, image, c)
	again, second := virtualRun(t, image, c)
	require.Contains(t, text, sum)
	require.Equal(t, text, again)
	require.Equal(t, first, second, "exits, time and latencies are the same")
	require.NotZero(t, first.Seconds)
}

func TestVirtualTimeRepeatsItsTrace(t *testing.T) {
	disk, _ := newDisk(t, 64<<10)
	image := guestImage(t, guests.Main)
	traced := func(seed uint64) string {
		var text bytes.Buffer
		log := trace.New(&text, trace.Instructions|trace.Exits|trace.Interrupts|trace.User)
		virtualRun(t, image, Config{
			Posted: true, Command: "depth=2 requests=8 hash=0", Disks: []Disk{{Path: disk, ReadOnly: true}}, Trace: log, Seed: seed,
		})
		require.NoError(t, log.Flush())
		return text.String()
	}
	first := traced(1)
	require.Greater(t, len(first), 100_000)
	require.True(t, first == traced(1), "two traces of one run differ")
}

func TestVirtualTimeRepeatsWithSeveralProcessors(t *testing.T) {
	image := guestImage(t, guests.IPI)
	c := Config{CPUs: 3, Command: "rounds=20 soak=100"}
	text, first := virtualRun(t, image, c)
	again, second := virtualRun(t, image, c)
	require.Equal(t, text, again)
	require.Equal(t, first.Exits, second.Exits)
}

func TestVirtualTimeGoesOnWhereAllProcessorsHalt(t *testing.T) {
	v := &virtualClock{icount: 2}
	require.Zero(t, v.TSC())
	v.round = 100
	require.EqualValues(t, 100, v.TSC())
	require.Equal(t, virtualEpoch.Nanosecond()+100, v.wall().Nanosecond())
}

func TestVirtualTimeIsForTheSoftwareCPU(t *testing.T) {
	_, err := New(Config{Image: "x", ICount: 1, Accel: vcpu.AccelKVM})
	require.ErrorContains(t, err, "--accel soft")
	_, err = New(Config{Image: "x", ICount: 1 << 40})
	require.ErrorContains(t, err, "ns an instruction")
}
