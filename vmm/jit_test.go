package vmm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/guests"
	"gvmm/vcpu"
)

// In virtual time a translated run is the interpreted one, instruction for instruction.
func TestTranslationChangesNothingInVirtualTime(t *testing.T) {
	size := 64 << 10
	if testing.Short() {
		size = 16 << 10
	}
	disk, sum := newDisk(t, size)
	c := Config{Posted: true, Command: "depth=4", Disks: []Disk{{Path: disk, ReadOnly: true}}}
	image := guestImage(t, guests.Main)
	plain, off := virtualRun(t, image, c)
	require.Equal(t, "off", off.JIT.Mode)
	require.Contains(t, plain, sum)
	for _, mode := range []vcpu.JIT{vcpu.JITOn, vcpu.JITCheck} {
		c.JIT = mode
		text, on := virtualRun(t, image, c)
		require.Equal(t, plain, text)
		require.Equal(t, off.Exits, on.Exits)
		require.Equal(t, off.Latency, on.Latency)
		require.Equal(t, off.JIT.Instructions, on.JIT.Instructions)
		require.Greater(t, on.JIT.Share, 0.5)
		require.Equal(t, mode == vcpu.JITCheck, on.JIT.Checked > 0)
	}
}

func TestTranslationIsTheSoftwareCPUs(t *testing.T) {
	_, err := New(Config{Image: "x", JIT: vcpu.JITOn, Accel: vcpu.AccelKVM})
	require.ErrorContains(t, err, "--accel soft")
	_, err = New(Config{Image: "x", JIT: vcpu.JITCheck, CPUs: 2})
	require.ErrorContains(t, err, "--icount")
}
