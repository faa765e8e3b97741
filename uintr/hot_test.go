package uintr_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/uintr"
	"gvmm/uintr/spec"
)

// roundTrip is one user interrupt from SENDUIPI to UIRET on one CPU.
func (c *cpu) roundTrip() error {
	n, sent, err := c.SENDUIPI(&c.mem, c, 1)
	if err != nil || !sent || !c.Identify(c, n.Vector) {
		return errBroken
	}
	if err := c.ProcessNotification(&c.mem, c); err != nil {
		return err
	}
	if delivered, err := c.Deliver(&c.mem, c); err != nil || !delivered {
		return errBroken
	}
	c.context.RSP += 8
	return c.UIRET(&c.mem, c)
}

func TestSuccessAllocatesNothing(t *testing.T) {
	c := newCPU(t)
	insn := code(t, "66 F3 41 0F C7 F0")
	var x [spec.XSaveSize]byte
	failed := false
	check := func(ok bool) { failed = failed || !ok }
	require.Zero(t, testing.AllocsPerRun(100, func() {
		check(c.roundTrip() == nil)
		check(c.TESTUI(c) == nil && c.CLUI(c) == nil && c.STUI(c) == nil)
		_, ok := uintr.Match(insn)
		check(ok)
		c.Image(&x)
		c.Saved()
		check(c.XRSTORS(&x, 48) == nil)
		check(c.WriteMSR(spec.MSRMisc, ownNV<<spec.MiscUINVShift|3, 48) == nil)
		_, err := c.ReadMSR(spec.MSRMisc)
		check(err == nil)
		check(uintr.CheckXSS(spec.XSSUINTR) == nil)
	}))
	require.False(t, failed)
}

// A hostile guest chooses every word of the state, the tables and the registers: nothing panics, and what faults leaves
// UIRR, UIF and the registers alone.
func FuzzHostileState(f *testing.F) {
	f.Add(uint64(1), uint64(handlerLA), uint64(128), uint64(upidLA), uint64(uittLA|1), uint64(0x105), uint64(upidLA), uint64(0), uint64(stackTop), uint64(0))
	f.Add(^uint64(0), uint64(1)<<47, uint64(stackTop|1), uint64(3), ^uint64(0), uint64(0x4001), uint64(7), uint64(0xFF), uint64(stackLow+16), ^uint64(0))
	f.Fuzz(func(t *testing.T, uirr, handler, adjust, pd, tt, low, high, control, rsp, index uint64) {
		c := newCPU(t)
		c.State = uintr.State{
			UIRR: uirr, UIF: true, Handler: handler, StackAdjust: adjust, UINV: uint8(control),
			UPIDAddr: pd, UITTAddr: tt, UITTSize: uint32(index),
		}
		c.uitt(t, 0).Store(spec.UITTEntry{Low: low, High: high})
		c.upid(t, 0).Init(spec.Control(control), low)
		c.context.RSP = rsp
		for _, step := range []func() error{
			func() error { _, _, err := c.SENDUIPI(&c.mem, c, index); return err },
			func() error { return c.ProcessNotification(&c.mem, c) },
			func() error { _, err := c.Deliver(&c.mem, c); return err },
			func() error { return c.UIRET(&c.mem, c) },
		} {
			state, context := c.State, c.context
			if err := step(); err != nil {
				require.IsType(t, (*uintr.Fault)(nil), err)
				require.Equal(t, state, c.State)
				require.Equal(t, context, c.context)
			}
		}
	})
}

func FuzzSENDUIPIEntry(f *testing.F) {
	f.Add(uint64(0x501), uint64(upidLA+64), uint64(0))
	f.Add(uint64(0x4001), uint64(upidLA), uint64(0x80))
	f.Add(uint64(0x3F01), uint64(unmapped), uint64(3))
	f.Fuzz(func(t *testing.T, low, high, control uint64) {
		c := newCPU(t)
		c.uitt(t, 0).Store(spec.UITTEntry{Low: low, High: high})
		c.upid(t, 1).Init(spec.Control(control), 0)
		n, sent, err := c.SENDUIPI(&c.mem, c, 0)
		posted := c.upid(t, 1).PIR()
		if err != nil {
			require.False(t, sent)
			require.Zero(t, posted)
			require.Equal(t, control, c.upid(t, 1).Low())
			return
		}
		require.True(t, spec.UITTEntry{Low: low, High: high}.WellFormed())
		if high == upidLA+64 {
			require.Equal(t, uint64(1)<<(low>>8), posted)
			require.Equal(t, control&3 == 0, sent)
		}
		if sent && high == upidLA+64 {
			require.Equal(t, uintr.Notification{Vector: uint8(control >> 16), NDST: uint32(control >> 32)}, n)
		}
	})
}

func BenchmarkRoundTrip(b *testing.B) {
	b.ReportAllocs()
	c := newCPU(b)
	for b.Loop() {
		if err := c.roundTrip(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSENDUIPICoalesced(b *testing.B) {
	b.ReportAllocs()
	c := newCPU(b)
	for b.Loop() {
		if _, _, err := c.SENDUIPI(&c.mem, c, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDeliverNothingPending(b *testing.B) {
	b.ReportAllocs()
	c := newCPU(b)
	for b.Loop() {
		if delivered, err := c.Deliver(&c.mem, c); delivered || err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	b.ReportAllocs()
	insn := code(b, "F3 0F C7 F0 90 90 90 90")
	for b.Loop() {
		uintr.Match(insn)
	}
}
