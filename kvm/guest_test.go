package kvm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Where a test guest finds things. Segments ES, FS and GS are based at devices.
const (
	guestRAM    = 64 << 10
	entry       = 0x1000 // of the program
	handlerBase = 0x2000 // of interrupt handlers, 32 bytes each
	stackTop    = 0x8000
	mmioBase    = 0xd0000    // ES: no memory, no device of KVM's
	lapicBase   = 0xfee00000 // FS
	ioapicBase  = 0xfec00000 // GS
	donePort    = 0x80       // written when a program ends

	lapicID  = 0x20
	lapicEOI = 0xb0
	lapicSVR = 0xf0
)

// A guest is a machine with 64 KiB of memory and one vCPU in real mode.
type guest struct {
	t   testing.TB
	sys *System
	vm  *VM
	cpu *VCPU
	run *Run
	ram []byte
}

// openSystem skips the test where the host has no KVM.
func openSystem(t testing.TB) *System {
	t.Helper()
	sys, err := Open(DefaultPath)
	if err != nil {
		t.Skipf("needs KVM: %v", err)
	}
	t.Cleanup(func() { sys.Close() })
	return sys
}

// needCap skips the test where the machine lacks a capability.
func needCap(t testing.TB, vm *VM, c Cap) {
	t.Helper()
	n, err := vm.CheckExtension(c)
	require.NoError(t, err)
	if n == 0 {
		t.Skipf("needs %s", c)
	}
}

// newGuest makes a guest about to run program. Each setup runs before the vCPU
// exists, where most machine-wide options belong.
func newGuest(t testing.TB, program code, setup ...func(*VM)) *guest {
	t.Helper()
	g := &guest{t: t, sys: openSystem(t)}
	var err error
	g.vm, err = g.sys.CreateVM()
	require.NoError(t, err)
	t.Cleanup(func() { g.vm.Close() })
	require.NoError(t, g.vm.SetIdentityMapAddr(0xfeffc000))
	require.NoError(t, g.vm.SetTSSAddr(0xfeffd000))
	for _, f := range setup {
		f(g.vm)
	}
	g.ram = mapMemory(t, guestRAM)
	require.NoError(t, g.vm.SetUserMemoryRegion(MemoryRegion{Memory: g.ram}))
	copy(g.ram[entry:], program)

	g.cpu, err = g.vm.CreateVCPU(0)
	require.NoError(t, err)
	t.Cleanup(func() { g.cpu.Close() })
	g.run = g.cpu.RunPage()
	g.reset()
	return g
}

func mapMemory(t testing.TB, size int) []byte {
	t.Helper()
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Munmap(mem) })
	return mem
}

// reset puts the vCPU at the program's entry.
func (g *guest) reset() {
	g.t.Helper()
	var s SRegs
	require.NoError(g.t, g.cpu.GetSRegs(&s))
	s.CS.Base, s.CS.Selector = 0, 0
	s.ES.Base, s.ES.Selector = mmioBase, mmioBase>>4
	s.FS.Base, s.GS.Base = lapicBase, ioapicBase
	require.NoError(g.t, g.cpu.SetSRegs(&s))
	require.NoError(g.t, g.cpu.SetRegs(&Regs{RIP: entry, RSP: stackTop, RFLAGS: 2}))
}

// handle installs an interrupt handler.
func (g *guest) handle(vector uint8, handler code) {
	at := handlerBase + 32*uint16(vector)
	require.LessOrEqual(g.t, len(handler), 32)
	copy(g.ram[at:], handler)
	binary.LittleEndian.PutUint32(g.ram[4*int(vector):], uint32(at)) // IVT: offset, segment 0
}

// enableLAPIC switches the local APIC on, as guests do by its spurious vector.
func (g *guest) enableLAPIC() {
	g.t.Helper()
	var l LAPIC
	require.NoError(g.t, g.cpu.GetLAPIC(&l))
	l.SetReg(lapicSVR, 0x1ff)
	require.NoError(g.t, g.cpu.SetLAPIC(&l))
}

// resume runs the guest until it leaves for a reason of its own. A guest that
// does not within ten seconds fails the test.
func (g *guest) resume() ExitReason {
	g.t.Helper()
	stop := g.kickAfter(10 * time.Second)
	defer stop()
	for {
		err := g.cpu.Run()
		switch {
		case err == nil:
			return g.run.ExitReason()
		case (errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN)) && !g.run.ImmediateExit():
			continue // a signal of the Go runtime's
		}
		require.FailNow(g.t, "guest did not leave", "%v, %s", err, g.where())
	}
}

// kickAfter kicks the vCPU, which runs on this goroutine, after d.
func (g *guest) kickAfter(d time.Duration) (stop func()) {
	runtime.LockOSThread()
	pid, tid := os.Getpid(), unix.Gettid()
	timer := time.AfterFunc(d, func() {
		g.run.SetImmediateExit(true)
		unix.Tgkill(pid, tid, unix.SIGURG) // which the Go runtime handles and ignores
	})
	return func() {
		timer.Stop()
		runtime.UnlockOSThread()
	}
}

func (g *guest) where() string {
	var r Regs
	if err := g.cpu.GetRegs(&r); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("at %#x", r.RIP)
}

// expect resumes the guest and requires the exit reason.
func (g *guest) expect(want ExitReason) {
	g.t.Helper()
	got := g.resume()
	if got == want {
		return
	}
	detail := any(nil)
	switch got {
	case ExitIO:
		detail = g.run.IO()
	case ExitMMIO:
		detail = g.run.MMIO()
	case ExitX86RDMSR, ExitX86WRMSR:
		detail = g.run.MSR()
	case ExitInternalError:
		detail = g.run.InternalError()
	case ExitFailEntry:
		detail = g.run.FailEntry()
	}
	require.FailNow(g.t, "unexpected exit", "got %s, want %s, %s: %+v", got, want, g.where(), detail)
}

// expectOut resumes the guest and requires a byte written to a port.
func (g *guest) expectOut(port uint16, want uint8) {
	g.t.Helper()
	g.expect(ExitIO)
	x := g.run.IO()
	require.Equal(g.t, IO{Direction: IOOut, Size: 1, Port: port, Count: 1, Data: []byte{want}}, x)
}

// expectDone requires that the program ended with the given value.
func (g *guest) expectDone(want uint8) {
	g.t.Helper()
	g.expectOut(donePort, want)
}
