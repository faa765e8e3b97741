package hw

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/kvm"
	"gvmm/uintr/spec"
	"gvmm/vcpu"
)

func TestGuestCPUIDNamesItsProcessorAndUserInterrupts(t *testing.T) {
	host := kvm.CPUID{
		{Function: 1, EBX: 0xffffffff, EDX: 7},
		{Function: spec.CPUIDLeaf, EDX: spec.CPUIDBit | 0x10},
		{Function: 0xb, EDX: 99},
		{Function: 0xb, Index: 1, EDX: 99},
	}
	before := slices.Clone(host)
	for _, uintr := range []bool{false, true} {
		leaves := vcpu.DiscoveryLeaves(vcpu.WayResident, true, 0xfeb00000, 4, 0xfed90000)
		c := guestCPUID(host, CPUConfig{ID: 3, CPUs: 4, UINTR: uintr, Leaves: leaves})
		require.Equal(t, uint32(0x0304ffff), c.Find(1, 0).EBX)
		require.Equal(t, uint32(7), c.Find(1, 0).EDX)
		want := uint32(0x10)
		if uintr {
			want |= spec.CPUIDBit
		}
		require.Equal(t, want, c.Find(spec.CPUIDLeaf, 0).EDX)
		require.Equal(t, uint32(3), c.Find(0xb, 0).EDX)
		require.Equal(t, uint32(3), c.Find(0xb, 1).EDX)
		require.Equal(t, kvm.CPUIDEntry{
			Function: 0x40000101, EAX: 3 | 0x100, EBX: 0xfeb00000, ECX: 4, EDX: 0xfed90000,
		}, *c.Find(0x40000101, 0))
		require.Equal(t, uint32(0x40000101), c.Find(0x40000100, 0).EAX)
	}
	require.Equal(t, before, host, "the host's table is shared by all processors")
}

func TestChooseTakesWhatWorks(t *testing.T) {
	works, fails := Trial{Works: true}, Trial{Why: "because"}
	for _, c := range []struct {
		direct, resident Trial
		want, chosen     vcpu.Way
		fails            bool
	}{
		{works, works, vcpu.WayNone, vcpu.WayDirect, false},
		{fails, works, vcpu.WayNone, vcpu.WayResident, false},
		{fails, fails, vcpu.WayNone, vcpu.WayNone, true},
		{works, works, vcpu.WayResident, vcpu.WayResident, false},
		{works, works, vcpu.WayDirect, vcpu.WayDirect, false},
		{fails, works, vcpu.WayDirect, vcpu.WayNone, true},
		{works, fails, vcpu.WayResident, vcpu.WayNone, true},
	} {
		p := &Probe{Direct: c.direct, Resident: c.resident}
		way, err := p.Choose(c.want)
		require.Equal(t, c.chosen, way)
		if c.fails {
			require.ErrorIs(t, err, ErrWay)
			require.ErrorContains(t, err, "because")
		} else {
			require.NoError(t, err)
		}
	}
}
