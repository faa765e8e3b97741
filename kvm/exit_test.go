package kvm

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestPortWriteLeavesWithItsData(t *testing.T) {
	g := newGuest(t, code{}.out(0x3f8, 'x').movEAX(0x11223344).outEAX().hlt())
	g.expectOut(0x3f8, 'x')
	g.expect(ExitIO)
	require.Equal(t, IO{Direction: IOOut, Size: 4, Port: 0x3f8, Count: 1, Data: []byte{0x44, 0x33, 0x22, 0x11}}, g.run.IO())
}

func TestPortReadTakesTheReply(t *testing.T) {
	g := newGuest(t, code{}.movDX(0x60).inAL().movDX(donePort).outAL())
	g.expect(ExitIO)
	x := g.run.IO()
	require.Equal(t, IO{Direction: IOIn, Size: 1, Port: 0x60, Count: 1, Data: x.Data}, x)
	x.Data[0] = 0xa5
	g.expectDone(0xa5)
}

func TestStringPortReadTakesAllOfTheReply(t *testing.T) {
	// ES is at the MMIO hole: put it back over memory first (push ds; pop es).
	g := newGuest(t, code{}.raw(0x1e, 0x07).movDX(0x60).movCX(8).movDI(0x4000).repINSB().out(donePort, 1))
	var got []byte
	for len(got) < 8 {
		g.expect(ExitIO)
		x := g.run.IO()
		require.Equal(t, uint16(0x60), x.Port)
		require.Len(t, x.Data, int(x.Count)*int(x.Size))
		for i := range x.Data {
			x.Data[i] = byte(0xf0 + len(got))
			got = append(got, x.Data[i])
		}
	}
	g.expectDone(1)
	require.Equal(t, got, g.ram[0x4000:0x4008])
}

func TestMMIOWriteLeavesWithItsData(t *testing.T) {
	g := newGuest(t, code{}.movEAX(0xcafef00d).es().storeEAX(0x10).movAL(7).es().storeAL(0x21).hlt())
	g.expect(ExitMMIO)
	require.Equal(t, MMIO{Addr: mmioBase + 0x10, Write: true, Data: []byte{0x0d, 0xf0, 0xfe, 0xca}}, g.run.MMIO())
	g.expect(ExitMMIO)
	require.Equal(t, MMIO{Addr: mmioBase + 0x21, Write: true, Data: []byte{7}}, g.run.MMIO())
}

func TestMMIOReadTakesTheReply(t *testing.T) {
	g := newGuest(t, code{}.es().loadEAX(0x40).movDX(0x99).outEAX())
	g.expect(ExitMMIO)
	x := g.run.MMIO()
	require.Equal(t, uint64(mmioBase+0x40), x.Addr)
	require.False(t, x.Write)
	require.Len(t, x.Data, 4)
	copy(x.Data, []byte{1, 2, 3, 4})
	g.expect(ExitIO)
	require.Equal(t, []byte{1, 2, 3, 4}, g.run.IO().Data)
}

func TestHaltLeavesWithoutAnIRQChip(t *testing.T) {
	g := newGuest(t, code{}.hlt())
	g.expect(ExitHLT)
}

func TestUnemulatableInstructionLeavesWithItsBytes(t *testing.T) {
	// SSE arithmetic on MMIO is in no emulator.
	insn := []byte{0x26, 0x0f, 0x58, 0x06, 0x00, 0x00} // addps xmm0, es:[0]
	g := newGuest(t, code{}.raw(insn...).hlt())
	var s SRegs
	require.NoError(t, g.cpu.GetSRegs(&s))
	s.CR4 |= 1 << 9 // OSFXSR
	require.NoError(t, g.cpu.SetSRegs(&s))

	g.expect(ExitInternalError)
	x := g.run.InternalError()
	require.Equal(t, InternalErrorEmulation, x.Cause)
	require.True(t, bytes.HasPrefix(x.Insn, insn), "%x", x.Insn)
	require.LessOrEqual(t, len(x.Insn), 15)
	require.GreaterOrEqual(t, len(x.Data), 3)
}

func TestExitOnEmulationFailureCanBeEnabled(t *testing.T) {
	g := newGuest(t, code{}.hlt())
	needCap(t, g.vm, CapExitOnEmulationFailure)
	require.NoError(t, g.vm.EnableCap(CapExitOnEmulationFailure, 1))
}

func TestImmediateExitReturnsBeforeTheGuestRuns(t *testing.T) {
	g := newGuest(t, code{}.out(donePort, 1))
	needCap(t, g.vm, CapImmediateExit)
	g.run.SetImmediateExit(true)
	require.True(t, g.run.ImmediateExit())
	require.Equal(t, unix.EINTR, g.cpu.Run())
	var r Regs
	require.NoError(t, g.cpu.GetRegs(&r))
	require.Equal(t, uint64(entry), r.RIP)

	g.run.SetImmediateExit(false)
	g.expectDone(1)
}

func TestImmediateExitCompletesThePortRead(t *testing.T) {
	g := newGuest(t, code{}.movDX(0x60).inAL().movDX(donePort).outAL())
	g.expect(ExitIO)
	g.run.IO().Data[0] = 0x77
	g.run.SetImmediateExit(true)
	require.Equal(t, unix.EINTR, g.cpu.Run())
	g.run.SetImmediateExit(false)
	var r Regs
	require.NoError(t, g.cpu.GetRegs(&r))
	require.Equal(t, uint64(0x77), r.RAX&0xff)
	require.Equal(t, uint64(entry+4), r.RIP)
}

func TestKickStopsASpinningGuest(t *testing.T) {
	g := newGuest(t, code{}.spin())
	stop := g.kickAfter(20 * time.Millisecond)
	defer stop()
	for !g.run.ImmediateExit() {
		require.Equal(t, unix.EINTR, g.cpu.Run())
	}
}

func TestSyncRegsShowAndTakeRegisters(t *testing.T) {
	// out; then show BL, which the host changes meanwhile.
	g := newGuest(t, code{}.out(0x10, 0x5a).raw(0x88, 0xd8).movDX(donePort).outAL())
	n, err := g.vm.CheckExtension(CapSyncRegs)
	require.NoError(t, err)
	const all = SyncRegs | SyncSRegs | SyncEvents
	if uint64(n)&all != all {
		t.Skipf("needs %s for all classes, has %#x", CapSyncRegs, n)
	}
	g.run.SetValidRegs(all)
	g.expectOut(0x10, 0x5a)
	require.Equal(t, uint64(0x5a), g.run.Regs().RAX&0xff)
	require.Equal(t, uint64(0x10), g.run.Regs().RDX)
	require.Equal(t, uint64(mmioBase), g.run.SRegs().ES.Base)
	require.Zero(t, g.run.Events().Exception.Injected)

	g.run.Regs().RBX = 0x3c
	g.run.SetDirtyRegs(SyncRegs)
	require.Equal(t, SyncRegs, g.run.DirtyRegs())
	g.expectDone(0x3c)
	require.Zero(t, g.run.DirtyRegs())
}

func TestSingleStepLeavesAtTheNextInstruction(t *testing.T) {
	g := newGuest(t, code{}.nop().nop().out(donePort, 1))
	needCap(t, g.vm, CapSetGuestDebug)
	require.NoError(t, g.cpu.SetGuestDebug(&GuestDebug{Control: GuestDebugEnable | GuestDebugSingleStep}))
	g.expect(ExitDebug)
	x := g.run.Debug()
	require.Equal(t, uint32(1), x.Exception)
	require.Equal(t, uint64(entry+1), x.PC)
	require.NotZero(t, x.DR6&(1<<14)) // BS

	require.NoError(t, g.cpu.SetGuestDebug(&GuestDebug{}))
	g.expectDone(1)
}

func TestHardwareBreakpointLeavesAtItsAddress(t *testing.T) {
	g := newGuest(t, code{}.nop().nop().nop().out(donePort, 1))
	needCap(t, g.vm, CapSetGuestDebug)
	d := GuestDebug{Control: GuestDebugEnable | GuestDebugUseHWBP}
	d.DebugReg[0] = entry + 2
	d.DebugReg[7] = 1<<10 | 1<<0 // L0, execution
	require.NoError(t, g.cpu.SetGuestDebug(&d))
	g.expect(ExitDebug)
	require.Equal(t, uint64(entry+2), g.run.Debug().PC)
	require.NotZero(t, g.run.Debug().DR6&1) // B0

	require.NoError(t, g.cpu.SetGuestDebug(&GuestDebug{}))
	g.expectDone(1)
}

func TestInterruptIsInjectedWhenTheWindowOpens(t *testing.T) {
	g := newGuest(t, code{}.out(0x10, 1).sti().nop().nop().spin())
	g.handle(0x40, code{}.out(donePort, 0x40))
	g.expectOut(0x10, 1)
	require.False(t, g.run.InterruptFlag())
	require.False(t, g.run.ReadyForInterruptInjection())
	g.run.SetRequestInterruptWindow(true)
	g.expect(ExitIRQWindowOpen)
	require.True(t, g.run.InterruptFlag())
	require.True(t, g.run.ReadyForInterruptInjection())
	g.run.SetRequestInterruptWindow(false)
	require.NoError(t, g.cpu.Interrupt(0x40))
	g.expectDone(0x40)
}

func TestNMIReachesItsHandler(t *testing.T) {
	g := newGuest(t, code{}.out(0x10, 1).spin())
	needCap(t, g.vm, CapUserNMI)
	g.handle(2, code{}.out(donePort, 2))
	g.expectOut(0x10, 1)
	require.NoError(t, g.cpu.NMI())
	g.expectDone(2)
}

// Control leaves to user space and back without garbage: registers are read and
// written, and the exit decoded, on every round.
func TestRunAndItsAccessorsDoNotAllocate(t *testing.T) {
	g := newGuest(t, code{}.movDX(0x10).outAL().jmp(entry+3))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var r Regs
	var s SRegs
	var sum int
	allocs := testing.AllocsPerRun(200, func() {
		for g.cpu.Run() == unix.EINTR {
		}
		if g.run.ExitReason() == ExitIO {
			sum += len(g.run.IO().Data)
		}
		if g.cpu.GetRegs(&r) != nil || g.cpu.SetRegs(&r) != nil || g.cpu.GetSRegs(&s) != nil {
			sum = -1 << 20
		}
	})
	require.Zero(t, allocs)
	require.Equal(t, 201, sum)
}

func BenchmarkRunPortWrite(b *testing.B) {
	g := newGuest(b, code{}.movDX(0x10).outAL().jmp(entry+3))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b.ReportAllocs()
	for b.Loop() {
		for g.cpu.Run() == unix.EINTR {
		}
		if g.run.ExitReason() != ExitIO {
			b.Fatal(g.run.ExitReason())
		}
	}
}
