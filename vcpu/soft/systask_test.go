package soft

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func (r *sysRig) busy(sel uint16) bool { return r.get64(uint64(atGDT+sel&^7))>>41&1 != 0 }

func TestTaskSwitchByCallAndBack(t *testing.T) {
	for _, x := range []struct {
		about string
		sel   uint16
	}{{"TSS", selTSS2}, {"task gate", selTaskGate}} {
		t.Run(x.about, func(t *testing.T) {
			r := protectedRig(t)
			c := r.c
			r.newTask(selCode32, selData)
			r.gdt(selTSS, desc(atTSS, 0x20ff, attrP|typeTSSBusy))
			c.r[rdi] = 0xdddd
			r.code(0x9a, 0, 0, 0, 0, byte(x.sel), 0).steps(1)
			require.EqualValues(t, 0x9990, c.rip)
			require.EqualValues(t, selTSS2, c.seg[tr].sel)
			require.EqualValues(t, stack1, c.r[rsp])
			require.EqualValues(t, 0x1000, c.r[rax])
			require.NotZero(t, c.rflags&flagNT)
			require.NotZero(t, c.cr0&cr0TS)
			require.True(t, r.busy(selTSS), "the outer task stays busy")
			require.True(t, r.busy(selTSS2))
			require.EqualValues(t, selTSS, r.get16(atTSS2))
			require.EqualValues(t, atCode+7, r.get32(atTSS+tssEIP))
			require.EqualValues(t, 0xdddd, r.get32(atTSS+40+4*rdi))
			require.EqualValues(t, selCode32, r.get16(atTSS+76))
			r.code(0xcf).steps(1)
			require.EqualValues(t, atCode+7, c.rip)
			require.EqualValues(t, selTSS, c.seg[tr].sel)
			require.EqualValues(t, 0xdddd, c.r[rdi])
			require.EqualValues(t, stack0, c.r[rsp])
			require.Zero(t, c.rflags&flagNT)
			require.False(t, r.busy(selTSS2))
			require.True(t, r.busy(selTSS))
			require.Zero(t, r.get32(atTSS2+tssEIP+4)&flagNT, "IRET saves NT as 0")
		})
	}
}

func TestTaskSwitchByJumpFreesTheOldTask(t *testing.T) {
	r := protectedRig(t)
	r.newTask(selCode32, selData)
	r.gdt(selTSS, desc(atTSS, 0x20ff, attrP|typeTSSBusy))
	r.code(0xea, 0, 0, 0, 0, selTSS2, 0).steps(1)
	require.EqualValues(t, 0x9990, r.c.rip)
	require.False(t, r.busy(selTSS))
	require.True(t, r.busy(selTSS2))
	require.Zero(t, r.c.rflags&flagNT)
	require.Zero(t, r.get16(atTSS2))
}

func TestTaskOf16Bits(t *testing.T) {
	r := protectedRig(t)
	r.gdt(selTSS, desc(atTSS, 0x20ff, attrP|typeTSSBusy))
	for i, v := range []uint16{0x9990, 2, 1, 2, 3, 4, 0x7ff0, 6, 7, 8, selData16, selCode16, selData16, selData16, 0} {
		r.put16(atTSS2+tss16IP+2*i, v)
	}
	r.code(0xea, 0, 0, 0, 0, selTSS16, 0).steps(1)
	require.EqualValues(t, 0x9990, r.c.rip)
	require.EqualValues(t, 0xffff0001, r.c.r[rax])
	require.EqualValues(t, selCode16, r.c.seg[cs].sel)
	require.True(t, r.c.seg[fs].null)
}

func TestTaskSwitchesThatFail(t *testing.T) {
	for _, x := range []struct {
		about  string
		set    func(r *sysRig)
		vector int
		code   uint64
		inside bool // of the new task
	}{
		{"busy", func(r *sysRig) { r.gdt(selTSS2, desc(atTSS2, 0x67, attrP|typeTSSBusy)) }, vectorGP, selTSS2, false},
		{"absent", func(r *sysRig) { r.gdt(selTSS2, desc(atTSS2, 0x67, typeTSS)) }, vectorNP, selTSS2, false},
		{"short", func(r *sysRig) { r.gdt(selTSS2, desc(atTSS2, 0x66, attrP|typeTSS)) }, vectorTS, selTSS2, false},
		{"no CS", func(r *sysRig) { r.put32(atTSS2+76, 0) }, vectorTS, 0, true},
		{"CS is data", func(r *sysRig) { r.put32(atTSS2+76, selData) }, vectorTS, selData, true},
		{"no SS", func(r *sysRig) { r.put32(atTSS2+80, 0) }, vectorTS, 0, true},
		{"SS beyond", func(r *sysRig) { r.put32(atTSS2+80, selEnd) }, vectorTS, selEnd, true},
		{"SS absent", func(r *sysRig) { r.put32(atTSS2+80, selAbsent) }, vectorSS, selAbsent, true},
		{"DS absent", func(r *sysRig) { r.put32(atTSS2+84, selAbsent) }, vectorNP, selAbsent, true},
		{"LDT is data", func(r *sysRig) { r.put32(atTSS2+tssLDT, selData) }, vectorTS, selData, true},
		{"EIP beyond the limit", func(r *sysRig) { r.put32(atTSS2+76, selCode16); r.put32(atTSS2+tssEIP, 0x10000) }, vectorGP, 0, true},
	} {
		t.Run(x.about, func(t *testing.T) {
			r := protectedRig(t)
			r.newTask(selCode32, selData)
			r.gdt(selTSS, desc(atTSS, 0x20ff, attrP|typeTSSBusy))
			x.set(r)
			r.code(0xea, 0, 0, 0, 0, selTSS2, 0)
			c := r.c
			require.False(t, c.one())
			require.EqualValues(t, x.vector, c.fault.vector)
			require.EqualValues(t, x.code, c.fault.code)
			if x.inside {
				require.EqualValues(t, selTSS2, c.seg[tr].sel)
				require.NotEqualValues(t, atCode, c.rip)
			} else {
				require.EqualValues(t, selTSS, c.seg[tr].sel)
				require.EqualValues(t, atCode, c.rip)
				require.True(t, r.busy(selTSS))
			}
		})
	}
}

func TestTrapBitOfATaskIsADebugException(t *testing.T) {
	r := protectedRig(t)
	r.newTask(selCode32, selData)
	r.put16(atTSS2+tssDebug, 1)
	r.code(0xea, 0, 0, 0, 0, selTSS2, 0).steps(1)
	require.Equal(t, vectorDB, r.vector())
	require.EqualValues(t, 0x9990, r.top(0))
	require.Zero(t, r.top(2)&flagRF)
	require.EqualValues(t, dr6Fixed|dr6BT, r.c.dr6)
}

func TestNestedTaskReturnNeedsABusyTask(t *testing.T) {
	r := protectedRig(t)
	r.put16(atTSS, selTSS2)
	r.c.rflags |= flagNT
	r.code(0xcf).steps(1)
	r.faults(vectorTS, selTSS2, "")
}
