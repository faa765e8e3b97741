package kvm

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func newEventFD(t testing.TB) int {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// ring writes an eventfd.
func ring(t testing.TB, fd int) {
	t.Helper()
	_, err := unix.Write(fd, binary.LittleEndian.AppendUint64(nil, 1))
	require.NoError(t, err)
}

// rings takes an eventfd's count.
func rings(t testing.TB, fd int) uint64 {
	t.Helper()
	var b [8]byte
	_, err := unix.Read(fd, b[:])
	if err == unix.EAGAIN {
		return 0
	}
	require.NoError(t, err)
	return binary.LittleEndian.Uint64(b[:])
}

func withIRQChip(t testing.TB) func(*VM) {
	return func(vm *VM) {
		needCap(t, vm, CapIRQChip)
		require.NoError(t, vm.CreateIRQChip())
	}
}

func withSplitIRQChip(t testing.TB) func(*VM) {
	return func(vm *VM) {
		needCap(t, vm, CapSplitIRQChip)
		require.NoError(t, vm.EnableSplitIRQChip(24))
	}
}

// takesInterrupts is a program that tells when it is ready and then spins.
func takesInterrupts() code { return code{}.out(0x10, 1).sti().spin() }

// takes is a handler that ends the interrupt and tells its vector.
func takes(vector uint8) code {
	return code{}.storeImm32(prefixFS, lapicEOI, 0).out(0x11, vector).iret()
}

// msiTo is the address of a message to the local APIC of the given id.
func msiTo(id uint8) uint64 { return 0xfee00000 | uint64(id)<<12 }

func TestPortDoorbellWritesTheEventFDInsteadOfLeaving(t *testing.T) {
	g := newGuest(t, code{}.out(0x500, 1).out(0x500, 2).out(0x501, 3).out(donePort, 0))
	bell := IOEventFD{Addr: 0x500, Len: 1, FD: newEventFD(t), PIO: true}
	require.NoError(t, g.vm.AssignIOEventFD(bell))
	g.expectOut(0x501, 3)
	require.Equal(t, uint64(2), rings(t, bell.FD))
	g.expectDone(0)
}

func TestMMIODoorbellOfNoLengthTakesStoresOfAnyLength(t *testing.T) {
	g := newGuest(t, code{}.es().storeAL(0).es().storeEAX(0).es().storeEAX(4).out(donePort, 0))
	needCap(t, g.vm, CapIOEventFDAnyLength)
	bell := IOEventFD{Addr: mmioBase, FD: newEventFD(t)}
	require.NoError(t, g.vm.AssignIOEventFD(bell))
	g.expect(ExitMMIO) // the third store, beside the doorbell
	require.Equal(t, uint64(mmioBase+4), g.run.MMIO().Addr)
	require.Equal(t, uint64(2), rings(t, bell.FD))
}

func TestMMIODoorbellWithDataMatchTakesOnlyItsValueAndLength(t *testing.T) {
	g := newGuest(t, code{}.
		movEAX(42).es().storeEAX(0). // rings
		movEAX(43).es().storeEAX(0). // another value
		movAL(42).es().storeAL(0).   // another length
		out(donePort, 0))
	bell := IOEventFD{Addr: mmioBase, Len: 4, FD: newEventFD(t), Match: true, DataMatch: 42}
	require.NoError(t, g.vm.AssignIOEventFD(bell))
	g.expect(ExitMMIO)
	require.Equal(t, []byte{43, 0, 0, 0}, g.run.MMIO().Data)
	g.expect(ExitMMIO)
	require.Equal(t, []byte{42}, g.run.MMIO().Data)
	require.Equal(t, uint64(1), rings(t, bell.FD))
	g.expectDone(0)
}

func TestDeassignedDoorbellLeavesAgain(t *testing.T) {
	g := newGuest(t, code{}.es().storeEAX(0).es().storeEAX(0))
	bell := IOEventFD{Addr: mmioBase, Len: 4, FD: newEventFD(t)}
	require.NoError(t, g.vm.AssignIOEventFD(bell))
	require.ErrorIs(t, g.vm.AssignIOEventFD(bell), unix.EEXIST)
	require.NoError(t, g.vm.DeassignIOEventFD(bell))
	require.ErrorIs(t, g.vm.DeassignIOEventFD(bell), unix.ENOENT)
	g.expect(ExitMMIO)
	require.Zero(t, rings(t, bell.FD))
}

func TestMatchWithoutLengthIsRefused(t *testing.T) {
	g := newGuest(t, code{}.hlt())
	err := g.vm.AssignIOEventFD(IOEventFD{Addr: mmioBase, FD: newEventFD(t), Match: true})
	require.ErrorIs(t, err, unix.EINVAL)
	require.ErrorContains(t, err, "KVM_IOEVENTFD")
}

func TestIRQFDRaisesTheRoutedMessage(t *testing.T) {
	g := newGuest(t, takesInterrupts(), withSplitIRQChip(t))
	g.enableLAPIC()
	g.handle(0x51, takes(0x51))
	g.handle(0x52, takes(0x52))
	const gsi = 30
	fd := newEventFD(t)
	require.NoError(t, g.vm.SetGSIRouting([]IRQRoute{MSIRoute(gsi, msiTo(0), 0x51)}))
	require.NoError(t, g.vm.AssignIRQFD(gsi, fd))
	g.expectOut(0x10, 1)
	ring(t, fd)
	g.expectOut(0x11, 0x51)

	require.NoError(t, g.vm.SetGSIRouting([]IRQRoute{MSIRoute(gsi-1, msiTo(0), 0x51), MSIRoute(gsi, msiTo(0), 0x52)}))
	ring(t, fd)
	g.expectOut(0x11, 0x52)

	require.NoError(t, g.vm.DeassignIRQFD(gsi, fd))
	require.Zero(t, rings(t, fd), "the kernel takes the count")
	ring(t, fd)
	require.Equal(t, uint64(1), rings(t, fd), "nobody takes the count any more")
}

func TestOneEventFDIsDoorbellAndInterrupt(t *testing.T) {
	// kvm-hosts.md §1: the guest's store becomes its own interrupt with no exit.
	g := newGuest(t, code{}.sti().es().storeEAX(0).spin(), withSplitIRQChip(t))
	g.enableLAPIC()
	g.handle(0x61, takes(0x61))
	fd := newEventFD(t)
	require.NoError(t, g.vm.SetGSIRouting([]IRQRoute{MSIRoute(24, msiTo(0), 0x61)}))
	require.NoError(t, g.vm.AssignIRQFD(24, fd))
	require.NoError(t, g.vm.AssignIOEventFD(IOEventFD{Addr: mmioBase, FD: fd}))
	g.expectOut(0x11, 0x61)
}

func TestSignalMSICountsDeliveries(t *testing.T) {
	g := newGuest(t, takesInterrupts(), withSplitIRQChip(t))
	needCap(t, g.vm, CapSignalMSI)
	g.enableLAPIC()
	g.handle(0x71, takes(0x71))
	g.expectOut(0x10, 1)

	n, err := g.vm.SignalMSI(msiTo(0), 0x71)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	n, err = g.vm.SignalMSI(msiTo(0), 0x71)
	require.NoError(t, err)
	require.Contains(t, []int{0, 1}, n) // pending already: hosts that post do not tell
	g.expectOut(0x11, 0x71)

	requireNobody(t, g.vm, msiTo(9))
}

// requireNobody requires that a message finds no local APIC.
func requireNobody(t *testing.T, vm *VM, address uint64) {
	t.Helper()
	n, err := vm.SignalMSI(address, 0x71)
	if err != nil {
		require.ErrorIs(t, err, unix.EPERM)
	}
	require.Zero(t, n)
}

func TestSignalMSIDoesNotAllocate(t *testing.T) {
	g := newGuest(t, code{}.hlt(), withSplitIRQChip(t))
	g.enableLAPIC()
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if _, err := g.vm.SignalMSI(msiTo(0), 0x71); err != nil {
			panic(err)
		}
	}))
}

func TestX2APICAPITakesIDsInTheUpperAddressWord(t *testing.T) {
	g := newGuest(t, code{}.hlt(), withSplitIRQChip(t), func(vm *VM) {
		needCap(t, vm, CapX2APICAPI)
		require.NoError(t, vm.EnableX2APICAPI(X2APICAPIUse32BitIDs|X2APICAPIDisableBroadcastQuirk))
	})
	g.enableLAPIC()
	requireNobody(t, g.vm, msiTo(0)|1<<40)         // id 0x100
	_, err := g.vm.SignalMSI(msiTo(0)|1<<32, 0x41) // iommu.md §3: bits 7:0 of the upper word must be 0
	require.ErrorIs(t, err, unix.EINVAL)
}

func TestSplitIRQChipReportsTheEndOfItsLevelInterrupts(t *testing.T) {
	g := newGuest(t, takesInterrupts(), withSplitIRQChip(t))
	g.enableLAPIC()
	g.handle(0x81, takes(0x81))
	// Only routes of the reserved pins, level triggered, are watched.
	const level = 1<<15 | 1<<14
	require.NoError(t, g.vm.SetGSIRouting([]IRQRoute{MSIRoute(5, msiTo(0), level|0x81)}))
	g.expectOut(0x10, 1)
	_, err := g.vm.SignalMSI(msiTo(0), level|0x81)
	require.NoError(t, err)
	// The handler's EOI comes before its port write, but a host that interprets
	// both may leave for the write first.
	if g.resume() == ExitIO {
		require.Equal(t, uint16(0x11), g.run.IO().Port)
		g.expect(ExitIOAPICEOI)
	}
	require.Equal(t, ExitIOAPICEOI, g.run.ExitReason())
	require.Equal(t, uint8(0x81), g.run.IOAPICEOI())
}

// programPin makes the in-kernel IOAPIC send a vector for a level-triggered pin.
func (c code) programPin(pin, vector uint8) code {
	const regSel, window, redirection, level = 0x00, 0x10, 0x10, 1 << 15
	return c.
		storeImm32(prefixGS, regSel, uint32(redirection+2*pin+1)).storeImm32(prefixGS, window, 0).
		storeImm32(prefixGS, regSel, uint32(redirection+2*pin)).storeImm32(prefixGS, window, level|uint32(vector))
}

func TestResampleFDIsWrittenAtTheGuestsEOI(t *testing.T) {
	const pin = 11
	g := newGuest(t, append(code{}.programPin(pin, 0x91), takesInterrupts()...), withIRQChip(t))
	needCap(t, g.vm, CapIRQFDResample)
	g.enableLAPIC()
	g.handle(0x91, takes(0x91))
	fd, resample := newEventFD(t), newEventFD(t)
	require.NoError(t, g.vm.SetGSIRouting([]IRQRoute{IRQChipRoute(pin, IRQChipIOAPIC, pin)}))
	require.NoError(t, g.vm.AssignIRQFDResample(pin, fd, resample))
	g.expectOut(0x10, 1)
	require.Zero(t, rings(t, resample))
	ring(t, fd)
	g.expectOut(0x11, 0x91)
	require.Equal(t, uint64(1), rings(t, resample))
	require.NoError(t, g.vm.DeassignIRQFD(pin, fd))
}

func TestIRQLineRaisesAPinOfTheIOAPIC(t *testing.T) {
	const pin = 11
	g := newGuest(t, append(code{}.programPin(pin, 0x92), takesInterrupts()...), withIRQChip(t))
	g.enableLAPIC()
	g.handle(0x92, takes(0x92))
	// The default table would raise the PIC's pin as well.
	require.NoError(t, g.vm.SetGSIRouting([]IRQRoute{IRQChipRoute(pin, IRQChipIOAPIC, pin)}))
	g.expectOut(0x10, 1)
	require.NoError(t, g.vm.IRQLine(pin, true))
	g.expectOut(0x11, 0x92)
	require.NoError(t, g.vm.IRQLine(pin, false))
}

func TestPITNeedsTheWholeIRQChip(t *testing.T) {
	g := newGuest(t, code{}.hlt(), withIRQChip(t))
	require.NoError(t, g.vm.CreatePIT2())
	split := newGuest(t, code{}.hlt(), withSplitIRQChip(t))
	require.Error(t, split.vm.CreatePIT2())
}

func TestRoutesOfUnknownTypeAreRefused(t *testing.T) {
	g := newGuest(t, code{}.hlt(), withSplitIRQChip(t))
	require.ErrorIs(t, g.vm.SetGSIRouting([]IRQRoute{{GSI: 1, Type: 77}}), unix.EINVAL)
	require.NoError(t, g.vm.SetGSIRouting(nil))
}

func BenchmarkSignalMSI(b *testing.B) {
	g := newGuest(b, code{}.hlt(), withSplitIRQChip(b))
	g.enableLAPIC()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.vm.SignalMSI(msiTo(0), 0x71); err != nil {
			b.Fatal(err)
		}
	}
}
