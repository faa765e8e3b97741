package kvm

import (
	"testing"

	gokvm "github.com/bobuhiro11/gokvm/kvm"
	"github.com/stretchr/testify/require"
)

// These tests call an independent implementation as a witness: what one side
// writes into a vCPU, the other reads back under the same names. They stay with
// the requests that gokvm has right; its routing entries, for one, have the
// wrong size.

func TestGokvmReadsTheRegistersWeWrite(t *testing.T) {
	g := newGuest(t, code{}.hlt())
	ours := Regs{RAX: 1, RBX: 2, RSI: 3, RSP: 4, R8: 5, R15: 6, RIP: 7, RFLAGS: 2}
	require.NoError(t, g.cpu.SetRegs(&ours))
	theirs, err := gokvm.GetRegs(uintptr(g.cpu.FD()))
	require.NoError(t, err)
	require.Equal(t, gokvm.Regs{RAX: 1, RBX: 2, RSI: 3, RSP: 4, R8: 5, R15: 6, RIP: 7, RFLAGS: 2}, *theirs)

	theirs.R9, theirs.RBP = 8, 9
	require.NoError(t, gokvm.SetRegs(uintptr(g.cpu.FD()), theirs))
	require.NoError(t, g.cpu.GetRegs(&ours))
	require.Equal(t, Regs{RAX: 1, RBX: 2, RSI: 3, RSP: 4, RBP: 9, R8: 5, R9: 8, R15: 6, RIP: 7, RFLAGS: 2}, ours)
}

func TestGokvmReadsTheSpecialRegistersWeWrite(t *testing.T) {
	g := newGuest(t, code{}.hlt())
	var ours SRegs
	require.NoError(t, g.cpu.GetSRegs(&ours))
	ours.GDT = DTable{Base: 0x3000, Limit: 0x27}
	ours.CR2, ours.CR3, ours.CR8 = 0x1234, 0x5000, 3
	require.NoError(t, g.cpu.SetSRegs(&ours))

	theirs, err := gokvm.GetSregs(uintptr(g.cpu.FD()))
	require.NoError(t, err)
	require.Equal(t, ours.GDT.Base, theirs.GDT.Base)
	require.Equal(t, ours.GDT.Limit, theirs.GDT.Limit)
	require.Equal(t, ours.ES.Base, theirs.ES.Base)
	require.Equal(t, ours.CS.Limit, theirs.CS.Limit)
	require.Equal(t, ours.CS.Type, theirs.CS.Typ)
	require.Equal(t, ours.SS.DB, theirs.SS.DB)
	require.Equal(t,
		[]uint64{ours.CR0, 0x1234, 0x5000, ours.CR4, 3, ours.EFER, ours.APICBase},
		[]uint64{theirs.CR0, theirs.CR2, theirs.CR3, theirs.CR4, theirs.CR8, theirs.EFER, theirs.ApicBase})
}

func TestGokvmReadsTheDebugAndExtendedRegistersWeWrite(t *testing.T) {
	g := newGuest(t, code{}.hlt())
	require.NoError(t, g.cpu.SetDebugRegs(&DebugRegs{DB: [4]uint64{0x10, 0x20, 0x30, 0x40}, DR6: 0xffff0ff0, DR7: 0x400}))
	var debug gokvm.DebugRegs
	require.NoError(t, gokvm.GetDebugRegs(uintptr(g.cpu.FD()), &debug))
	require.Equal(t, gokvm.DebugRegs{DB: [4]uint64{0x10, 0x20, 0x30, 0x40}, DR6: 0xffff0ff0, DR7: 0x400}, debug)

	var ours XCRS
	require.NoError(t, g.cpu.GetXCRS(&ours))
	var theirs gokvm.XCRS
	require.NoError(t, gokvm.GetXCRS(uintptr(g.cpu.FD()), &theirs))
	require.Equal(t, ours.NrXCRs, theirs.NrXRCS)
	require.Equal(t, ours.XCRs[0].Value, theirs.Registers[0].Value)
}

func TestGokvmNamesTheSameCapabilities(t *testing.T) {
	for ours, theirs := range map[Cap]gokvm.Capability{
		CapIRQChip:       gokvm.CapIRQChip,
		CapSyncRegs:      gokvm.CapSyncRegs,
		CapSplitIRQChip:  gokvm.CapSplitIRQChip,
		CapX2APICAPI:     gokvm.CapX2APICAPI,
		CapImmediateExit: gokvm.CapImmediateExit,
	} {
		require.EqualValues(t, theirs, ours, ours)
	}
}
