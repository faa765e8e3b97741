package uintr_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/uintr"
	"gvmm/uintr/spec"
)

// instructions are the five, each set up to succeed.
var instructions = map[string]func(*cpu) error{
	"SENDUIPI": func(c *cpu) error { _, _, err := c.SENDUIPI(&c.mem, c, 0); return err },
	"TESTUI":   func(c *cpu) error { return c.TESTUI(c) },
	"CLUI":     func(c *cpu) error { return c.CLUI(c) },
	"STUI":     func(c *cpu) error { return c.STUI(c) },
	"UIRET":    func(c *cpu) error { return c.UIRET(&c.mem, c) },
}

func TestInstructionsAreUndefinedOutsideTheirMode(t *testing.T) {
	for name, execute := range instructions {
		for why, change := range map[string]func(*uintr.Mode){
			"CR4.UINTR clear":    func(m *uintr.Mode) { m.UINTR = false },
			"legacy mode":        func(m *uintr.Mode) { m.LongMode, m.Code64 = false, false },
			"compatibility mode": func(m *uintr.Mode) { m.Code64 = false },
		} {
			t.Run(name+" "+why, func(t *testing.T) {
				c := newCPU(t)
				c.context.RSP = stackTop - 24
				change(&c.mode)
				state, context, pir := c.State, c.context, c.upid(t, 1).PIR()
				requireFault(t, execute(c), uintr.VectorUD, 0)
				require.Equal(t, state, c.State)
				require.Equal(t, context, c.context)
				require.Equal(t, pir, c.upid(t, 1).PIR())
			})
		}
	}
}

func TestInstructionsWorkAtAnyCPL(t *testing.T) {
	for name, execute := range instructions {
		for cpl := range uint8(4) {
			c := newCPU(t)
			c.mode.CPL = cpl
			require.NoError(t, execute(c), "%s at CPL %d", name, cpl)
		}
	}
}

func TestInstructionsButUIRETLeaveRIPToTheEngine(t *testing.T) {
	for name, execute := range instructions {
		c := newCPU(t)
		before := c.context.RIP
		require.NoError(t, execute(c))
		require.Equal(t, name != "UIRET", c.context.RIP == before, name)
	}
}

func TestSENDUIPIDisabledComesBeforeItsIndex(t *testing.T) {
	c := newCPU(t)
	c.UITTAddr &^= spec.TTEnable
	_, _, err := c.SENDUIPI(&c.mem, c, 1<<40)
	requireFault(t, err, uintr.VectorUD, 0)
}

func TestSENDUIPITableAndDescriptorObeyThePagingMode(t *testing.T) {
	const wide = uint64(1) << 50
	c := newCPU(t)
	c.mode.MaxLinearBits = 57
	require.NoError(t, c.WriteMSR(spec.MSRTT, wide|spec.TTEnable, 57))
	_, _, err := c.SENDUIPI(&c.mem, c, 0)
	requireFault(t, err, uintr.VectorGP, 0)

	c = newCPU(t)
	c.uitt(t, 0).Store(spec.NewUITTEntry(5, wide))
	_, _, err = c.SENDUIPI(&c.mem, c, 0)
	requireFault(t, err, uintr.VectorGP, 0)

	c.mode.LinearBits = 57
	_, _, err = c.SENDUIPI(&c.mem, c, 0)
	requireFault(t, err, uintr.VectorPF, uintr.PFWrite)
}

func TestTwoSendersOfOneVectorCoalesce(t *testing.T) {
	first, second := newCPU(t), newCPU(t)
	second.mem = first.mem
	_, sent, err := first.SENDUIPI(&first.mem, first, 0)
	require.NoError(t, err)
	require.True(t, sent)
	_, sent, err = second.SENDUIPI(&second.mem, second, 0)
	require.NoError(t, err)
	require.False(t, sent)
	require.Equal(t, uint64(1<<5), first.upid(t, 1).PIR())
}

func TestSelfSendAtCPL0IsDeliveredOnlyAtCPL3(t *testing.T) {
	c := newCPU(t)
	c.mode.CPL = 0
	n, sent, err := c.SENDUIPI(&c.mem, c, 1)
	require.NoError(t, err)
	require.True(t, sent)
	require.True(t, c.Identify(c, n.Vector))
	require.NoError(t, c.ProcessNotification(&c.mem, c))
	require.False(t, c.Deliverable(c))
	c.mode.CPL = 3
	delivered, err := c.Deliver(&c.mem, c)
	require.NoError(t, err)
	require.True(t, delivered)
	require.Equal(t, uint64(9), c.word(t, c.context.RSP))
}

func TestNDSTByAPICMode(t *testing.T) {
	n := uintr.Notification{NDST: 0x1234_5678}
	require.Equal(t, uint32(0x1234_5678), n.Destination(true))
	require.Equal(t, uint32(0x56), n.Destination(false))
	require.Equal(t, uint32(0xAB), uintr.Notification{NDST: spec.XAPICDestination(0xAB)}.Destination(false))
}

func TestSENDUIPIPostsBeforeANotificationIsKnown(t *testing.T) {
	c := newCPU(t)
	c.upid(t, 1).Init(spec.NewControl(otherNV, 0xFFFF_FFFF), 0) // no such APIC: SENDUIPI cannot tell
	n, sent, err := c.SENDUIPI(&c.mem, c, 2)
	require.NoError(t, err)
	require.True(t, sent)
	require.Equal(t, uintr.Notification{Vector: otherNV, NDST: 0xFFFF_FFFF}, n)
	require.Equal(t, uint64(1<<63), c.upid(t, 1).PIR())
}

func TestUIRETAtCPL0PopsWithItsOwnRights(t *testing.T) {
	c := newCPU(t)
	c.mode.CPL = 0
	c.context.RSP = stackLow
	c.context.RFLAGS = 0x2
	c.setWord(t, stackLow, 0x7000)
	c.setWord(t, stackLow+8, 0x3FFFFF)
	c.setWord(t, stackLow+16, 0x8888)
	require.NoError(t, c.UIRET(&c.mem, c))
	require.Equal(t, uintr.Context{RIP: 0x7000, RSP: 0x8888, RFLAGS: spec.FlagsUIRET | 2}, c.context)
}

func TestUIRETToAWideAddressNeedsWidePaging(t *testing.T) {
	for bits, ok := range map[uint8]bool{48: false, 57: true} {
		c := newCPU(t)
		c.UIF = false
		c.mode.LinearBits, c.mode.MaxLinearBits = bits, 57
		c.context.RSP = stackLow
		c.setWord(t, stackLow, 1<<50)
		before := c.context
		err := c.UIRET(&c.mem, c)
		require.Equal(t, ok, err == nil)
		require.Equal(t, ok, c.UIF)
		if !ok {
			requireFault(t, err, uintr.VectorGP, 0)
			require.Equal(t, before, c.context)
		}
	}
}

func TestEngineFailuresAreNotFaults(t *testing.T) {
	for _, mem := range []broken{{err: errBroken}, {view: make([]byte, 4)}} {
		want := mem.err
		if want == nil {
			want = uintr.ErrView
		}
		c := newCPU(t)
		c.UIRR = 1
		before, context := c.State, c.context
		_, _, err := c.SENDUIPI(mem, c, 0)
		require.ErrorIs(t, err, want)
		require.ErrorIs(t, c.ProcessNotification(mem, c), want)
		_, err = c.Deliver(mem, c)
		require.ErrorIs(t, err, want)
		require.ErrorIs(t, c.UIRET(mem, c), want)
		require.Equal(t, before, c.State)
		require.Equal(t, context, c.context)
	}
}
