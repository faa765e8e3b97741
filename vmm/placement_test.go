package vmm

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// affinity is where the calling thread may run.
func affinity(t *testing.T) unix.CPUSet {
	t.Helper()
	var s unix.CPUSet
	require.NoError(t, unix.SchedGetaffinity(0, &s))
	return s
}

func TestPlacementGivesProcessorsHostCPUsOfTheirOwnAndTakesItBack(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := affinity(t)
	if before.Count() < 2 {
		t.Skip("needs two host CPUs")
	}
	p := place(1)
	require.NotNil(t, p)
	others := affinity(t)
	require.Equal(t, before.Count()-1, others.Count())
	leave := p.enter(0)
	own := affinity(t)
	require.Equal(t, 1, own.Count())
	require.True(t, own.IsSet(p.cpus[0]))
	require.False(t, others.IsSet(p.cpus[0]), "a device's thread must not share a processor's CPU")
	require.Nil(t, place(1), "one machine at a time")
	leave()
	require.Equal(t, others, affinity(t))
	p.end()
	require.Equal(t, before, affinity(t))
}

func TestPlacementLeavesThingsAloneWithoutCPUsToSpare(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := affinity(t)
	p := place(before.Count())
	require.Nil(t, p)
	p.enter(0)()
	p.end()
	require.Equal(t, before, affinity(t))
}
