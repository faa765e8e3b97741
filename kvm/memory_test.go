package kvm

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestDirtyLogShowsTheWrittenPage(t *testing.T) {
	g := newGuest(t, code{}.movAL(1).storeAL(0x7004).out(donePort, 0))
	require.NoError(t, g.vm.SetUserMemoryRegion(MemoryRegion{Flags: MemLogDirtyPages, Memory: g.ram}))
	var bitmap [1]uint64
	require.NoError(t, g.vm.GetDirtyLog(0, bitmap[:]))
	g.expectDone(0)
	require.NoError(t, g.vm.GetDirtyLog(0, bitmap[:]))
	require.NotZero(t, bitmap[0]&(1<<7))
	require.NoError(t, g.vm.GetDirtyLog(0, bitmap[:]))
	require.Zero(t, bitmap[0]&(1<<7), "reading begins anew")
}

func TestDirtyLogNeedsRoomForTheSlot(t *testing.T) {
	g := newGuest(t, code{}.hlt())
	const pages = 65
	require.NoError(t, g.vm.SetUserMemoryRegion(MemoryRegion{
		Slot: 1, Flags: MemLogDirtyPages, GuestPhysAddr: 1 << 20, Memory: mapMemory(t, pages*pageSize),
	}))
	require.ErrorIs(t, g.vm.GetDirtyLog(1, make([]uint64, 1)), unix.EINVAL)
	require.ErrorIs(t, g.vm.GetDirtyLog(1, nil), unix.EINVAL)
	require.NoError(t, g.vm.GetDirtyLog(1, make([]uint64, 2)))
	require.ErrorIs(t, g.vm.GetDirtyLog(2, make([]uint64, 2)), unix.EINVAL)

	require.NoError(t, g.vm.SetUserMemoryRegion(MemoryRegion{Slot: 1}))
	require.ErrorIs(t, g.vm.GetDirtyLog(1, make([]uint64, 2)), unix.EINVAL)
}

func TestReadOnlyMemoryIsReadAndWritesLeave(t *testing.T) {
	g := newGuest(t, code{}.es().loadAL(0).es().storeAL(1).movDX(donePort).outAL())
	needCap(t, g.vm, CapReadOnlyMem)
	rom := mapMemory(t, pageSize)
	rom[0] = 0x42
	require.NoError(t, g.vm.SetUserMemoryRegion(MemoryRegion{
		Slot: 1, Flags: MemReadOnly, GuestPhysAddr: mmioBase, Memory: rom,
	}))
	g.expect(ExitMMIO)
	require.Equal(t, MMIO{Addr: mmioBase + 1, Write: true, Data: []byte{0x42}}, g.run.MMIO())
	g.expectDone(0x42)
	require.Zero(t, rom[1])
}

func TestDeletedSlotIsAHole(t *testing.T) {
	g := newGuest(t, code{}.es().loadAL(0).es().loadAL(0))
	require.NoError(t, g.vm.SetUserMemoryRegion(MemoryRegion{
		Slot: 1, GuestPhysAddr: mmioBase, Memory: mapMemory(t, pageSize),
	}))
	require.NoError(t, g.vm.SetUserMemoryRegion(MemoryRegion{Slot: 1}))
	g.expect(ExitMMIO)
}

func TestUnalignedAndOverlappingRegionsAreRefused(t *testing.T) {
	g := newGuest(t, code{}.hlt())
	mem := mapMemory(t, 2*pageSize)
	for name, r := range map[string]MemoryRegion{
		"address": {Slot: 1, GuestPhysAddr: 1<<20 + 1, Memory: mem},
		"size":    {Slot: 1, GuestPhysAddr: 1 << 20, Memory: mem[:pageSize+1]},
		"memory":  {Slot: 1, GuestPhysAddr: 1 << 20, Memory: mem[16 : 16+pageSize]},
	} {
		require.ErrorIs(t, g.vm.SetUserMemoryRegion(r), unix.EINVAL, name)
	}
	err := g.vm.SetUserMemoryRegion(MemoryRegion{Slot: 1, GuestPhysAddr: pageSize, Memory: mem})
	require.ErrorIs(t, err, unix.EEXIST)
}
