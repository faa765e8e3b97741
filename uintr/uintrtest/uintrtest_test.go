package uintrtest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTableHasUniqueNames(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Cases() {
		require.False(t, seen[c.Name], c.Name)
		seen[c.Name] = true
	}
	require.GreaterOrEqual(t, len(seen), 60)
}

func TestNothingIsDeliverableBeforeACase(t *testing.T) {
	for _, c := range Cases() {
		require.False(t, c.Before.UIF && c.Before.UIRR != 0, c.Name)
		require.Zero(t, c.RFLAGS&^(allUser|flagTF), c.Name)
		require.True(t, c.RFLAGS&flagTF == 0 || c.NoHardware != "", c.Name)
	}
}

// A guest loads a state by WRMSR where its CPU has the MSRs: what they refuse must be marked.
func TestStatesForGuestsAreLoadable(t *testing.T) {
	for _, c := range Cases() {
		if c.NoHardware != "" {
			continue
		}
		v := FlatBases.Values(c.Before, c.Op)
		require.Zero(t, v.Handler>>47, c.Name)
		require.Zero(t, v.UPIDAddr>>47|v.UPIDAddr&63, c.Name)
		require.Zero(t, v.UITTAddr>>47|v.UITTAddr&14, c.Name)
		require.LessOrEqual(t, v.UINV, uint32(255), c.Name)
	}
}

func TestPlacedFramesArePresent(t *testing.T) {
	for _, c := range Cases() {
		if c.Flags&FlagPlaceFrame == 0 {
			continue
		}
		p := newCPU(&c)
		for _, la := range []uint64{p.context.RSP, p.context.RSP + 23} {
			_, err := p.memory.Data(la, 1, true)
			require.NoError(t, err, c.Name)
		}
	}
}

func TestRunRefusesNothingButFaults(t *testing.T) {
	p := &cpu{}
	require.ErrorIs(t, p.fault(ErrRecord), ErrRecord)
}

func TestAddrResolves(t *testing.T) {
	for _, row := range []struct {
		addr Addr
		want uint64
	}{
		{Literal(1 << 47), 1 << 47},
		{Literal(1<<64 - 64), 1<<64 - 64},
		{KindUPIDArray.At(64), FlatBases.UPIDArray + 64},
		{KindUITTArray.At(1), FlatBases.UITTArray + 1},
		{KindHandler.At(0), FlatBases.Handler},
		{KindStackTop.At(-8), FlatBases.StackTop - 8},
		{KindUnmapped.At(4095), FlatBases.Unmapped + 4095},
		{KindNonCanonical.At(3), 0x8000_0000_0000_0003},
		{KindOp.At(0), FlatBases.Op[UIRET]},
		{KindAfter.At(1), FlatBases.After[UIRET] + 1},
	} {
		require.Equal(t, row.want, FlatBases.Resolve(row.addr, UIRET), "%#x", uint64(row.addr))
	}
}

func TestFlatMemoryFaultCodes(t *testing.T) {
	var m FlatMemory
	m.Map(0x1000, false)
	m.Map(0x3000, true)
	for _, row := range []struct {
		name        string
		la          uint64
		n           int
		write, user bool
		code        int
	}{
		{"supervisor reads supervisor", 0x1000, 8, false, false, -1},
		{"supervisor writes user", 0x3FF8, 8, true, false, -1},
		{"user writes user", 0x3000, 8, true, true, -1},
		{"user reads supervisor", 0x1000, 8, false, true, 5},
		{"user writes supervisor", 0x1000, 8, true, true, 7},
		{"user reads nothing", 0x2000, 8, false, true, 4},
		{"supervisor writes nothing", 0x2000, 8, true, false, 2},
		{"supervisor reads nothing", 0x2FFF, 1, false, false, 0},
		{"view past a page", 0x3FFC, 8, false, true, 4},
		{"address space's end", 1<<64 - 8, 8, false, false, 0},
	} {
		view, err := m.view(row.la, row.n, row.write, row.user)
		if row.code < 0 {
			require.NoError(t, err, row.name)
			require.Len(t, view, row.n, row.name)
			continue
		}
		p := &cpu{}
		require.NoError(t, p.fault(err), row.name)
		require.Equal(t, uint32(vectorPF), p.result.FaultVector, row.name)
		require.Equal(t, uint32(row.code), p.result.FaultError, row.name)
		require.Equal(t, row.la, p.result.FaultAddress, row.name)
	}
}
