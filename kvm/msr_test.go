package kvm

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const (
	msrUINTRTimer  = 0x985 // on no KVM known: uintr.md's first MSR
	msrLSTAR       = 0xc0000082
	msrTSC         = 0x10
	msrNoSuch      = 0x4b564dff
	vectorGP       = 13
	everyMSRReason = MSRExitReasonInval | MSRExitReasonUnknown | MSRExitReasonFilter
)

func withUserSpaceMSR(t testing.TB, reasons MSRExitReason) func(*VM) {
	return func(vm *VM) {
		needCap(t, vm, CapX86UserSpaceMSR)
		require.NoError(t, vm.EnableUserSpaceMSR(reasons))
	}
}

// needMSRFaults skips the test where KVM is told to pretend that every MSR
// exists.
func needMSRFaults(t *testing.T) {
	t.Helper()
	if parameter(os.DirFS("/"), "kvm", "ignore_msrs") {
		t.Skip("needs the kvm module without ignore_msrs")
	}
}

func TestMSRReadTakesTheReply(t *testing.T) {
	needMSRFaults(t)
	program := code{}.movECX(msrUINTRTimer).rdmsr().
		raw(0x66, 0x89, 0xd3). // mov ebx, edx
		movDX(0x20).outEAX().
		raw(0x66, 0x89, 0xd8). // mov eax, ebx
		outEAX()
	g := newGuest(t, program, withUserSpaceMSR(t, everyMSRReason))
	g.expect(ExitX86RDMSR)
	x := g.run.MSR()
	require.Equal(t, uint32(msrUINTRTimer), x.Index)
	require.NotZero(t, x.Reason&(MSRExitReasonInval|MSRExitReasonUnknown))
	require.False(t, x.Write)
	g.run.ReplyMSR(0x1122334455667788)
	g.expect(ExitIO)
	require.Equal(t, []byte{0x88, 0x77, 0x66, 0x55}, g.run.IO().Data)
	g.expect(ExitIO)
	require.Equal(t, []byte{0x44, 0x33, 0x22, 0x11}, g.run.IO().Data)
}

func TestMSRWriteLeavesWithItsData(t *testing.T) {
	needMSRFaults(t)
	g := newGuest(t, code{}.movECX(msrUINTRTimer).movEDX(0xaabbccdd).movEAX(0x11223344).wrmsr().out(donePort, 0),
		withUserSpaceMSR(t, everyMSRReason))
	g.expect(ExitX86WRMSR)
	x := g.run.MSR()
	require.Equal(t, MSR{Index: msrUINTRTimer, Reason: x.Reason, Data: 0xaabbccdd11223344, Write: true}, x)
	g.expectDone(0)
}

func TestRefusedMSRIsAGeneralProtectionFault(t *testing.T) {
	needMSRFaults(t)
	for name, access := range map[string]code{"read": code{}.rdmsr(), "write": code{}.wrmsr()} {
		t.Run(name, func(t *testing.T) {
			program := append(code{}.movECX(msrUINTRTimer), access...)
			g := newGuest(t, program.out(donePort, 0), withUserSpaceMSR(t, everyMSRReason))
			g.handle(vectorGP, code{}.out(donePort, vectorGP))
			reason := g.resume()
			require.Contains(t, []ExitReason{ExitX86RDMSR, ExitX86WRMSR}, reason)
			g.run.RefuseMSR()
			g.expectDone(vectorGP)
		})
	}
}

func TestUnknownMSRFaultsWithoutTheCapability(t *testing.T) {
	needMSRFaults(t)
	g := newGuest(t, code{}.movECX(msrUINTRTimer).rdmsr().out(donePort, 0))
	g.handle(vectorGP, code{}.out(donePort, vectorGP))
	g.expectDone(vectorGP)
}

func TestFilteredMSRLeavesForItsReason(t *testing.T) {
	g := newGuest(t, code{}.movECX(msrLSTAR).rdmsr().movECX(msrLSTAR+1).rdmsr().wrmsr().out(donePort, 0),
		withUserSpaceMSR(t, MSRExitReasonFilter))
	needCap(t, g.vm, CapX86MSRFilter)
	// Bit 1 of the bitmap denies LSTAR; the neighbours stay KVM's.
	filter := MSRFilter{Ranges: []MSRFilterRange{{
		Flags: MSRFilterRead | MSRFilterWrite, Base: msrLSTAR - 1, Count: 9, Bitmap: []byte{0xfd, 0xff},
	}}}
	require.NoError(t, g.vm.SetMSRFilter(filter))
	g.expect(ExitX86RDMSR)
	x := g.run.MSR()
	require.Equal(t, uint32(msrLSTAR), x.Index)
	require.Equal(t, MSRExitReasonFilter, x.Reason)
	g.expectDone(0)

	require.NoError(t, g.vm.SetMSRFilter(MSRFilter{}))
	g.reset()
	g.expectDone(0)
}

func TestMSRFilterRefusesBitmapsShorterThanTheirRange(t *testing.T) {
	g := newGuest(t, code{}.hlt())
	for name, r := range map[string]MSRFilterRange{
		"no registers": {Flags: MSRFilterRead, Bitmap: []byte{0}},
		"short bitmap": {Flags: MSRFilterRead, Count: 9, Bitmap: []byte{0}},
		"no bitmap":    {Flags: MSRFilterRead, Count: 1},
		"too many":     {Flags: MSRFilterRead, Count: 12289, Bitmap: make([]byte, 2000)},
		"wraps":        {Flags: MSRFilterRead, Count: 1<<32 - 1, Bitmap: make([]byte, 2000)},
	} {
		require.ErrorIs(t, g.vm.SetMSRFilter(MSRFilter{Ranges: []MSRFilterRange{r}}), unix.EINVAL, name)
	}
	require.ErrorIs(t, g.vm.SetMSRFilter(MSRFilter{Ranges: make([]MSRFilterRange, 17)}), unix.E2BIG)
}

func TestMSRsAreWrittenAndReadInOrder(t *testing.T) {
	g := newGuest(t, code{}.hlt())
	n, err := g.cpu.SetMSRs([]MSREntry{{Index: msrLSTAR, Data: 0x1234}, {Index: msrLSTAR + 1, Data: 0x5678}})
	require.NoError(t, err)
	require.Equal(t, 2, n)

	got := []MSREntry{{Index: msrLSTAR + 1}, {Index: msrLSTAR}}
	n, err = g.cpu.GetMSRs(got)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Equal(t, []MSREntry{{Index: msrLSTAR + 1, Data: 0x5678}, {Index: msrLSTAR, Data: 0x1234}}, got)
}

func TestRefusedMSREndsTheList(t *testing.T) {
	needMSRFaults(t)
	g := newGuest(t, code{}.hlt())
	for _, access := range []func([]MSREntry) (int, error){g.cpu.GetMSRs, g.cpu.SetMSRs} {
		n, err := access([]MSREntry{{Index: msrLSTAR, Data: 1}, {Index: msrNoSuch, Data: 1}, {Index: msrLSTAR, Data: 2}})
		require.Equal(t, 1, n)
		require.ErrorIs(t, err, ErrMSR)
		require.ErrorContains(t, err, "0x4b564dff")
	}
	n, err := g.cpu.GetMSRs(make([]MSREntry, 300))
	require.Zero(t, n)
	require.ErrorIs(t, err, unix.E2BIG)
}

func TestMSRIndexListHasTheSystemCallMSRs(t *testing.T) {
	list, err := openSystem(t).GetMSRIndexList()
	require.NoError(t, err)
	require.Contains(t, list, uint32(msrLSTAR))
	require.Contains(t, list, uint32(msrTSC))
	require.NotContains(t, list, uint32(msrNoSuch))
	for i, index := range list {
		require.NotZero(t, index, "entry %d", i)
	}
}
