package kvm

import (
	"encoding/binary"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestRegistersAreReadBack(t *testing.T) {
	g := newGuest(t, code{}.hlt())
	want := Regs{
		RAX: 1, RBX: 2, RCX: 3, RDX: 4, RSI: 5, RDI: 6, RSP: 7, RBP: 8,
		R8: 9, R9: 10, R10: 11, R11: 12, R12: 13, R13: 14, R14: 15, R15: 16, RIP: 17, RFLAGS: 2,
	}
	require.NoError(t, g.cpu.SetRegs(&want))
	var got Regs
	require.NoError(t, g.cpu.GetRegs(&got))
	require.Equal(t, want, got)
}

func TestSpecialRegistersAreReadBack(t *testing.T) {
	g := newGuest(t, code{}.hlt())
	var want, got SRegs
	require.NoError(t, g.cpu.GetSRegs(&want))
	want.GDT = DTable{Base: 0x3000, Limit: 0x27}
	want.IDT = DTable{Base: 0x4000, Limit: 0x3ff}
	want.CR2, want.CR3 = 0x1234, 0x5000
	want.DS.Base = 0x12340
	require.NoError(t, g.cpu.SetSRegs(&want))
	require.NoError(t, g.cpu.GetSRegs(&got))
	require.Equal(t, want.GDT, got.GDT)
	require.Equal(t, want.IDT, got.IDT)
	require.Equal(t, want.CR2, got.CR2)
	require.Equal(t, want.CR3, got.CR3)
	require.Equal(t, want.DS.Base, got.DS.Base)
}

func TestReservedControlRegisterBitIsRefused(t *testing.T) {
	g := newGuest(t, code{}.hlt())
	var s SRegs
	require.NoError(t, g.cpu.GetSRegs(&s))
	s.CR4 |= 1 << 31
	err := g.cpu.SetSRegs(&s)
	require.ErrorIs(t, err, unix.EINVAL)
	require.ErrorContains(t, err, "KVM_SET_SREGS")
}

func TestDebugRegistersAreReadBack(t *testing.T) {
	g := newGuest(t, code{}.hlt())
	needCap(t, g.vm, CapDebugRegs)
	want := DebugRegs{DB: [4]uint64{0x10, 0x20, 0x30, 0x40}, DR6: 0xffff0ff0, DR7: 0x400}
	require.NoError(t, g.cpu.SetDebugRegs(&want))
	var got DebugRegs
	require.NoError(t, g.cpu.GetDebugRegs(&got))
	require.Equal(t, want, got)
}

func TestFPUStateIsReadBack(t *testing.T) {
	g := newGuest(t, code{}.hlt())
	skipOnPVM(t, "KVM_SET_FPU is lost there")
	want := FPU{FCW: 0x37f, MXCSR: 0x1f80}
	want.XMM[3][15] = 0x99
	require.NoError(t, g.cpu.SetFPU(&want))
	var got FPU
	require.NoError(t, g.cpu.GetFPU(&got))
	require.Equal(t, want, got)
}

// skipOnPVM ends the test where kvm_pvm is known to differ (kvm-hosts.md §6).
func skipOnPVM(t *testing.T, why string) {
	t.Helper()
	if DescribeHost(os.DirFS("/")).Kind == HostPVM {
		t.Skip("kvm_pvm: " + why)
	}
}

// XSAVE image: SDM vol. 1 §13.4.
const (
	xsaveXMM0     = 160
	xsaveXStateBV = 512
)

func TestXSAVEImageIsReadBack(t *testing.T) {
	g := newGuest(t, code{}.hlt())
	needCap(t, g.vm, CapXSAVE)
	image := make([]byte, g.cpu.XSAVESize())
	require.NoError(t, g.cpu.GetXSAVE(image))
	binary.LittleEndian.PutUint64(image[xsaveXStateBV:], 3)
	binary.LittleEndian.PutUint64(image[xsaveXMM0:], 0x0123456789abcdef)
	require.NoError(t, g.cpu.SetXSAVE(image))

	gets := map[string]func([]byte) error{"GetXSAVE": g.cpu.GetXSAVE}
	if n, err := g.vm.CheckExtension(CapXSAVE2); err == nil && n > 0 {
		gets["GetXSAVE2"] = g.cpu.GetXSAVE2
	}
	for name, get := range gets {
		got := make([]byte, g.cpu.XSAVESize())
		require.NoError(t, get(got), name)
		require.Equal(t, uint64(0x0123456789abcdef), binary.LittleEndian.Uint64(got[xsaveXMM0:]), name)
	}
}

func TestShortXSAVEBufferIsRefused(t *testing.T) {
	g := newGuest(t, code{}.hlt())
	for _, access := range []func([]byte) error{g.cpu.GetXSAVE, g.cpu.GetXSAVE2, g.cpu.SetXSAVE} {
		require.ErrorIs(t, access(make([]byte, 4095)), unix.EINVAL)
		require.ErrorIs(t, access(nil), unix.EINVAL)
	}
}

func TestXCR0IsReadBack(t *testing.T) {
	g := newGuest(t, code{}.hlt())
	needCap(t, g.vm, CapXCRS)
	leaves, err := g.sys.GetSupportedCPUID()
	require.NoError(t, err)
	require.NoError(t, g.cpu.SetCPUID2(leaves))
	want := XCRS{NrXCRs: 1}
	want.XCRs[0] = XCR{Value: 3} // x87 and SSE
	require.NoError(t, g.cpu.SetXCRS(&want))
	var got XCRS
	require.NoError(t, g.cpu.GetXCRS(&got))
	require.Equal(t, want, got)
}

func TestPendingExceptionReachesItsHandler(t *testing.T) {
	g := newGuest(t, code{}.spin())
	needCap(t, g.vm, CapVCPUEvents)
	g.handle(6, code{}.out(donePort, 6))
	var e VCPUEvents
	require.NoError(t, g.cpu.GetVCPUEvents(&e))
	require.Zero(t, e.Exception.Injected)
	e.Exception.Injected, e.Exception.Nr = 1, 6
	require.NoError(t, g.cpu.SetVCPUEvents(&e))
	g.expectDone(6)
}

func TestMPStateIsReadBack(t *testing.T) {
	g := newGuest(t, code{}.hlt(), withSplitIRQChip(t))
	second, err := g.vm.CreateVCPU(1)
	require.NoError(t, err)
	defer second.Close()
	require.Equal(t, uint32(1), second.ID())
	state, err := second.GetMPState()
	require.NoError(t, err)
	require.Equal(t, MPStateUninitialized, state)
	require.NoError(t, second.SetMPState(MPStateRunnable))
	state, err = second.GetMPState()
	require.NoError(t, err)
	require.Equal(t, MPStateRunnable, state)
}

func TestLAPICRegistersAreReadBack(t *testing.T) {
	g := newGuest(t, code{}.hlt(), withSplitIRQChip(t))
	g.enableLAPIC()
	var l LAPIC
	require.NoError(t, g.cpu.GetLAPIC(&l))
	require.Equal(t, uint32(0x1ff), l.Reg(lapicSVR))
	require.Zero(t, l.Reg(lapicID))
}

func TestCPUIDLeafOfOursIsKept(t *testing.T) {
	g := newGuest(t, code{}.
		raw(0x66, 0xb8).imm32(0x40000100).movECX(0).raw(0x0f, 0xa2). // cpuid
		movDX(0x20).outEAX())
	leaves, err := g.sys.GetSupportedCPUID()
	require.NoError(t, err)
	require.NotNil(t, leaves.Find(0, 0))
	leaves.Set(CPUIDEntry{Function: 0x40000100, EAX: 0x6d6d7667})
	require.NoError(t, g.cpu.SetCPUID2(leaves))

	got, err := g.cpu.GetCPUID2()
	require.NoError(t, err)
	require.Len(t, got, len(leaves))
	require.Equal(t, uint32(0x6d6d7667), got.Find(0x40000100, 0).EAX)
	g.expect(ExitIO)
	require.Equal(t, []byte("gvmm"), g.run.IO().Data)
}

func TestTooManyCPUIDLeavesAreRefused(t *testing.T) {
	g := newGuest(t, code{}.hlt())
	require.ErrorIs(t, g.cpu.SetCPUID2(make(CPUID, 257)), unix.E2BIG)
}

func TestCPUIDFindMatchesTheIndexWhereItCounts(t *testing.T) {
	leaves := CPUID{
		{Function: 1, Index: 9, EAX: 10},
		{Function: 4, Index: 0, Flags: CPUIDFlagSignificantIndex, EAX: 40},
		{Function: 4, Index: 1, Flags: CPUIDFlagSignificantIndex, EAX: 41},
	}
	require.Equal(t, uint32(10), leaves.Find(1, 0).EAX)
	require.Equal(t, uint32(41), leaves.Find(4, 1).EAX)
	require.Nil(t, leaves.Find(4, 2))
	require.Nil(t, leaves.Find(7, 0))

	leaves.Set(CPUIDEntry{Function: 4, Index: 1, Flags: CPUIDFlagSignificantIndex, EAX: 43})
	leaves.Set(CPUIDEntry{Function: 7, EAX: 70})
	require.Len(t, leaves, 4)
	require.Equal(t, uint32(43), leaves.Find(4, 1).EAX)
	require.Equal(t, uint32(70), leaves.Find(7, 0).EAX)
}

func TestTSCFrequencyIsReadBack(t *testing.T) {
	g := newGuest(t, code{}.hlt())
	needCap(t, g.vm, CapGetTSCKHz)
	khz, err := g.cpu.GetTSCKHz()
	require.NoError(t, err)
	require.NotZero(t, khz)
	require.NoError(t, g.cpu.SetTSCKHz(khz)) // the host's own frequency is always allowed
	if n, err := g.vm.CheckExtension(CapVMTSCControl); err == nil && n > 0 {
		require.NoError(t, g.vm.SetTSCKHz(khz))
		got, err := g.vm.GetTSCKHz()
		require.NoError(t, err)
		require.Equal(t, khz, got)
	}
}

func TestTSCOffsetShowsInTheGuest(t *testing.T) {
	g := newGuest(t, code{}.raw(0x0f, 0x31, 0x66, 0x89, 0xd0).movDX(0x20).outEAX()) // rdtsc; mov eax, edx
	ok, err := g.cpu.HasTSCOffset()
	require.NoError(t, err)
	if !ok {
		t.Skip("needs KVM_VCPU_TSC_OFFSET")
	}
	const offset = 0x5a5a5a5a << 32
	require.NoError(t, g.cpu.SetTSCOffset(offset))
	skipOnPVM(t, "the TSC is the host's and the offset stays 0")
	got, err := g.cpu.GetTSCOffset()
	require.NoError(t, err)
	require.Equal(t, uint64(offset), got)

	g.expect(ExitIO)
	high := binary.LittleEndian.Uint32(g.run.IO().Data)
	host := uint32(hostTSC(t, g.vm) >> 32)
	require.InDelta(t, 0x5a5a5a5a, high-host, 1)
}

// hostTSC returns the host's TSC as KVM sees it.
func hostTSC(t *testing.T, vm *VM) uint64 {
	t.Helper()
	c, err := vm.GetClock()
	require.NoError(t, err)
	if c.Flags&ClockHostTSC == 0 {
		t.Skip("needs KVM_CLOCK_HOST_TSC")
	}
	return c.HostTSC
}

func TestClockAdvances(t *testing.T) {
	g := newGuest(t, code{}.hlt())
	before, err := g.vm.GetClock()
	require.NoError(t, err)
	after, err := g.vm.GetClock()
	require.NoError(t, err)
	require.Greater(t, after.Clock, before.Clock)
}

func TestTranslateIsTheIdentityWithoutPaging(t *testing.T) {
	g := newGuest(t, code{}.hlt())
	got, err := g.cpu.Translate(0x1234)
	require.NoError(t, err)
	require.Equal(t, uint64(0x1234), got.PhysicalAddress)
	require.NotZero(t, got.Valid)
}

func TestTranslateWalksThePageTables(t *testing.T) {
	g := newGuest(t, code{}.hlt())
	leaves, err := g.sys.GetSupportedCPUID()
	require.NoError(t, err)
	require.NoError(t, g.cpu.SetCPUID2(leaves)) // which has long mode
	// Four levels from 0x4000 on: linear 0x2000 is physical 0x8000.
	for i, entry := range []uint64{0x5000, 0x6000, 0x7000} {
		binary.LittleEndian.PutUint64(g.ram[0x4000+0x1000*i:], entry|3)
	}
	binary.LittleEndian.PutUint64(g.ram[0x7000+8*2:], 0x8000|3)
	var s SRegs
	require.NoError(t, g.cpu.GetSRegs(&s))
	s.CR3 = 0x4000
	s.CR4 |= 1 << 5        // PAE
	s.EFER |= 1<<8 | 1<<10 // LME, LMA
	s.CR0 |= 1<<31 | 1<<0  // PG, PE
	s.CS.L, s.CS.DB = 1, 0
	require.NoError(t, g.cpu.SetSRegs(&s))

	got, err := g.cpu.Translate(0x2123)
	require.NoError(t, err)
	require.NotZero(t, got.Valid)
	require.Equal(t, uint64(0x8123), got.PhysicalAddress)
	got, err = g.cpu.Translate(0x3000)
	require.NoError(t, err)
	require.Zero(t, got.Valid)
}
