package hw

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/guests/guesttest"
	"gvmm/kvm"
	"gvmm/vcpu"
	"gvmm/vmm/memory"
)

func TestPageTablesAreWalkedInEveryMode(t *testing.T) {
	mem := memory.New()
	defer mem.Close()
	require.NoError(t, mem.AddRAM(0, 1<<20))
	set := func(addr, v uint64) { require.NoError(t, mem.Store64(addr, v)) }
	const (
		pg, pae, pse, la57, lma = 1 << 31, 1 << 5, 1 << 4, 1 << 12, 1 << 10
		la                      = 0x40201000 // index 1 of the directory pointers, 1 of the directory, 1 of the table
	)
	// 5-level at 0x6000, 4-level at 0x1000, PAE pointers at 0x2000: the same lower levels.
	set(0x6000, 0x1001)
	set(0x1000, 0x2001)
	set(0x2008, 0x3001)
	set(0x3008, 0x4001)
	set(0x3010, 0x80|1|0x200000) // 2 MiB
	set(0x2010, 0x80|1)          // 1 GiB at 0; a PAE pointer with PS is one of no rights
	set(0x4008, 1<<63|0x9000|1)
	set(0x5000+0x100*4, 0x7001) // 32-bit: directory entry 0x100
	set(0x5000+0x102*4, 0x00400081)
	require.NoError(t, mem.Store64(0x7000+0x201*4&^7, 0xa001<<32)) // table entry 0x201
	before := make([]byte, 1<<20)
	require.NoError(t, mem.ReadAt(before, 0))

	c := &CPU{memory: mem}
	for _, x := range []struct {
		name   string
		s      kvm.SRegs
		la, pa uint64
		ok     bool
	}{
		{"no paging", kvm.SRegs{CR0: 1}, 0x1_2345_6789, 0x23456789, true},
		{"4-level", kvm.SRegs{CR0: pg, CR4: pae, EFER: lma, CR3: 0x1000}, la | 0xabc, 0x9abc, true},
		{"4-level, not canonical", kvm.SRegs{CR0: pg, CR4: pae, EFER: lma, CR3: 0x1000}, 1<<47 | la, 0, false},
		{"4-level, 2 MiB", kvm.SRegs{CR0: pg, CR4: pae, EFER: lma, CR3: 0x1000}, 0x40412345, 0x212345, true},
		{"4-level, 1 GiB", kvm.SRegs{CR0: pg, CR4: pae, EFER: lma, CR3: 0x1000}, 0x8ab12345, 0x0ab12345, true},
		{"4-level, not present", kvm.SRegs{CR0: pg, CR4: pae, EFER: lma, CR3: 0x1000}, 0x40202000, 0, false},
		{"4-level, tables that are no RAM", kvm.SRegs{CR0: pg, CR4: pae, EFER: lma, CR3: 1 << 40}, la, 0, false},
		{"5-level", kvm.SRegs{CR0: pg, CR4: pae | la57, EFER: lma, CR3: 0x6000}, la, 0x9000, true},
		{"PAE", kvm.SRegs{CR0: pg, CR4: pae, CR3: 0x2000}, la | 1<<40, 0x9000, true},
		{"32-bit, 4 KiB", kvm.SRegs{CR0: pg, CR4: pse, CR3: 0x5000}, 0x40201004, 0xa004, true},
		{"32-bit, 4 MiB", kvm.SRegs{CR0: pg, CR4: pse, CR3: 0x5000}, 0x40812345, 0x412345, true},
		{"32-bit, PS without PSE is a table", kvm.SRegs{CR0: pg, CR3: 0x5000}, 0x40812345, 0, false},
	} {
		pa, ok := c.walk(&x.s, x.la)
		require.Equal(t, x.ok, ok, x.name)
		if ok {
			require.Equal(t, x.pa, pa, x.name)
		}
	}
	after := make([]byte, 1<<20)
	require.NoError(t, mem.ReadAt(after, 0))
	require.Equal(t, before, after, "nothing was marked accessed")
}

func TestWatchedRangesAreCutForDebugRegisters(t *testing.T) {
	w := func(addr, n uint64) vcpu.Watch { return vcpu.Watch{Addr: addr, Size: n, Write: true} }
	for _, x := range []struct {
		want  vcpu.Watch
		parts []vcpu.Watch
	}{
		{w(0x1000, 8), []vcpu.Watch{w(0x1000, 8)}},
		{w(0x1001, 8), []vcpu.Watch{w(0x1001, 1), w(0x1002, 2), w(0x1004, 4), w(0x1008, 1)}},
		{w(0x1000, 24), []vcpu.Watch{w(0x1000, 8), w(0x1008, 8), w(0x1010, 8)}},
		{w(0x1001, 24), nil},
		{w(0x1000, 64), nil},
	} {
		var h hostDebug
		err := h.watch(x.want)
		if x.parts == nil {
			require.ErrorIs(t, err, ErrDebug)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, x.parts, h.slots[:h.used])
	}
}

// debugProbe is the probe's machine, halted.
func debugProbe(t *testing.T) *probeMachine {
	t.Helper()
	guesttest.RequireKVM(t)
	p := new(probeMachine)
	require.NoError(t, p.open(kvm.DefaultPath, probeShim, false))
	t.Cleanup(p.close)
	require.True(t, p.wait(probeStarted, 0))
	p.halt()
	return p
}

func TestRegistersOverKVMAreSetAsTheyWereRead(t *testing.T) {
	c := debugProbe(t).cpu
	var now, got vcpu.Registers
	require.NoError(t, c.Registers(&now))
	require.GreaterOrEqual(t, now.RIP, uint64(probeSpin))
	require.Less(t, now.RIP, uint64(probeEnd))
	require.EqualValues(t, probeUserCS, now.Selectors[1])
	require.EqualValues(t, probePML4, now.CR3)

	want := now
	for i := range want.General {
		want.General[i] = uint64(i) * 0x0101010101010101
	}
	want.General[7] = now.General[7]
	for i := range want.XMM {
		want.XMM[i][3] = byte(i + 1)
	}
	want.X87.ST[2][4] = 7
	want.FSBase, want.GSBase, want.KernelGSBase = 0x1000, 0x2000, 0x3000
	require.NoError(t, c.SetRegisters(&want))
	require.NoError(t, c.Registers(&got))
	require.Equal(t, want, got)

	want.CR3++
	require.ErrorIs(t, c.SetRegisters(&want), vcpu.ErrFixed)
}

func TestMemoryOverKVMIsReadAndWrittenByLinearAddress(t *testing.T) {
	p := debugProbe(t)
	b := make([]byte, 5)
	require.Equal(t, 5, p.cpu.ReadLinear(probeSpin, b))
	require.Equal(t, probeProgram[probeSpin][:5], b)
	require.Equal(t, 3, p.cpu.WriteLinear(probeData+0x100, []byte("abc")))
	require.NoError(t, p.memory.ReadAt(b[:3], probeData+0x100))
	require.Equal(t, "abc", string(b[:3]))
	require.Zero(t, p.cpu.ReadLinear(0xfee00000, b), "not RAM")
	require.Zero(t, p.cpu.ReadLinear(1<<46, b), "not mapped")
}

func TestWhatAProbeOfDebuggingSaysHolds(t *testing.T) {
	guesttest.RequireKVM(t)
	err := ProbeDebug(kvm.DefaultPath)
	if err != nil {
		require.ErrorIs(t, err, ErrDebug)
		t.Skip(err)
	}
	p := debugProbe(t)
	require.NoError(t, p.cpu.SetDebug(&vcpu.Debug{Breaks: []uint64{probeLoop}}))
	for range 5 {
		trap := p.stopped()
		require.Equal(t, &vcpu.Trap{Kind: vcpu.TrapBreak, Addr: probeLoop}, trap)
		require.NoError(t, p.cpu.SetDebug(&vcpu.Debug{Breaks: []uint64{probeLoop}, Resume: true, ResumeAt: probeLoop}))
	}
	require.NoError(t, p.cpu.SetDebug(nil))
}
