package uintr_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gvmm/uintr"
	"gvmm/uintr/spec"
)

func TestDeliveryNeedsEachOfItsConditions(t *testing.T) {
	for name, change := range map[string]func(*cpu){
		"CR4.UINTR":       func(c *cpu) { c.mode.UINTR = false },
		"a request":       func(c *cpu) { c.UIRR = 0 },
		"UIF":             func(c *cpu) { c.UIF = false },
		"CPL 3, not 0":    func(c *cpu) { c.mode.CPL = 0 },
		"CPL 3, not 2":    func(c *cpu) { c.mode.CPL = 2 },
		"EFER.LMA":        func(c *cpu) { c.mode.LongMode = false },
		"CS.L":            func(c *cpu) { c.mode.Code64 = false },
		"no MOV SS block": func(c *cpu) { c.mode.MovSS = true },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCPU(t)
			c.UIRR = 1
			require.True(t, c.Deliverable(c))
			change(c)
			state, context := c.State, c.context
			require.False(t, c.Deliverable(c))
			delivered, err := c.Deliver(&c.mem, c)
			require.NoError(t, err)
			require.False(t, delivered)
			require.Equal(t, state, c.State)
			require.Equal(t, context, c.context)
		})
	}
}

func TestDeliveryIgnoresIF(t *testing.T) {
	c := newCPU(t)
	c.UIRR = 1
	c.context.RFLAGS &^= spec.FlagIF
	delivered, err := c.Deliver(&c.mem, c)
	require.NoError(t, err)
	require.True(t, delivered)
	require.Zero(t, c.context.RFLAGS&spec.FlagIF)
}

func TestCLUIThenNoDeliverySTUIThenDelivery(t *testing.T) {
	c := newCPU(t)
	c.UIRR = 1
	require.NoError(t, c.CLUI(c))
	delivered, err := c.Deliver(&c.mem, c)
	require.NoError(t, err)
	require.False(t, delivered)
	require.NoError(t, c.STUI(c))
	delivered, err = c.Deliver(&c.mem, c)
	require.NoError(t, err)
	require.True(t, delivered)
}

func TestSTUIInAHandlerNestsWithoutPriority(t *testing.T) {
	c := newCPU(t)
	c.UIRR = 1<<63 | 1
	c.StackAdjust = 0
	_, err := c.Deliver(&c.mem, c)
	require.NoError(t, err)
	outer := c.context.RSP
	require.Equal(t, uint64(63), c.word(t, outer))
	require.NoError(t, c.STUI(c))
	_, err = c.Deliver(&c.mem, c)
	require.NoError(t, err)
	require.Equal(t, uint64(0), c.word(t, c.context.RSP))
	require.Equal(t, outer, c.word(t, c.context.RSP+spec.FrameRSP))
	require.Equal(t, uint64(handlerLA), c.word(t, c.context.RSP+spec.FrameRIP))
}

func TestDeliveryAndUIRETRestoreTheContext(t *testing.T) {
	c := newCPU(t)
	c.UIRR = 1 << 7
	c.context.RFLAGS = 0x202 | spec.FlagTF | spec.FlagRF | spec.FlagCF
	before := c.context
	_, err := c.Deliver(&c.mem, c)
	require.NoError(t, err)
	require.Equal(t, uint64(0x202|spec.FlagCF), c.context.RFLAGS)
	require.False(t, c.UIF)
	require.False(t, c.Pending())
	c.context.RSP += 8 // the handler pops the vector
	require.NoError(t, c.UIRET(&c.mem, c))
	require.Equal(t, before, c.context)
	require.True(t, c.UIF)
}

func TestFaultedDeliveryIsRetriedWhole(t *testing.T) {
	c := newCPU(t)
	c.UIRR = 1 << 7
	c.context.RSP = stackLow + 128 + 16 // two words above the page boundary, two below
	c.setWord(t, stackLow, 0xAAAA)
	c.setWord(t, stackLow+8, 0xBBBB)
	state, context := c.State, c.context
	for range 2 {
		_, err := c.Deliver(&c.mem, c)
		requireFault(t, err, uintr.VectorPF, uintr.PFWrite|uintr.PFUser)
		require.Equal(t, state, c.State)
		require.Equal(t, context, c.context)
		require.Equal(t, uint64(0xAAAA), c.word(t, stackLow))
		require.Equal(t, uint64(0xBBBB), c.word(t, stackLow+8))
	}
	c.mem.Map(stackLow-0x1000, true)
	delivered, err := c.Deliver(&c.mem, c)
	require.NoError(t, err)
	require.True(t, delivered)
	require.Equal(t, uint64(stackLow-16), c.context.RSP)
	require.Equal(t, []uint64{7, context.RIP, context.RFLAGS, context.RSP}, []uint64{
		c.word(t, stackLow-16), c.word(t, stackLow-8), c.word(t, stackLow), c.word(t, stackLow+8),
	})
}

func TestWideHandlerFaultsIn4LevelPaging(t *testing.T) {
	c := newCPU(t)
	c.UIRR = 1
	c.mode.MaxLinearBits = 57
	require.NoError(t, c.WriteMSR(spec.MSRHandler, 1<<50, 57))
	state, context := c.State, c.context
	_, err := c.Deliver(&c.mem, c)
	requireFault(t, err, uintr.VectorGP, 0)
	require.Equal(t, state, c.State)
	require.Equal(t, context, c.context)

	c.mode.LinearBits = 57
	delivered, err := c.Deliver(&c.mem, c)
	require.NoError(t, err)
	require.True(t, delivered)
	require.Equal(t, uint64(1<<50), c.context.RIP)
}

func TestStackThatLeavesTheAddressSpaceFaults(t *testing.T) {
	for name, rsp := range map[string]uint64{
		"non-canonical":              1 << 47,
		"ends in the upper half":     0xFFFF_8000_0000_0010,
		"starts above the low half":  0x0000_8000_0000_0010,
		"wraps to the top of memory": 16,
	} {
		c := newCPU(t)
		c.UIRR, c.StackAdjust = 1, 0
		c.context.RSP = rsp
		state := c.State
		_, err := c.Deliver(&c.mem, c)
		var f *uintr.Fault
		require.ErrorAs(t, err, &f, name)
		require.Equal(t, state, c.State, name)
	}
}

// Whatever the stack, delivery either enters the handler with a whole frame or changes nothing.
func TestDeliveryIsAllOrNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := newCPU(t)
		c.UIRR = rapid.Uint64Range(1, ^uint64(0)).Draw(rt, "uirr")
		c.StackAdjust = rapid.OneOf(rapid.Uint64Range(0, 512), rapid.Uint64Range(stackLow-64, stackTop+64)).Draw(rt, "adjust")
		c.context.RSP = rapid.OneOf(rapid.Uint64Range(stackLow-64, stackTop+600), rapid.Uint64()).Draw(rt, "rsp")
		c.context.RFLAGS = rapid.Uint64Range(0, 1<<22-1).Draw(rt, "rflags")
		state, before := c.State, c.context

		delivered, err := c.Deliver(&c.mem, c)
		if err != nil {
			require.False(rt, delivered)
			require.Equal(rt, state, c.State)
			require.Equal(rt, before, c.context)
			return
		}
		require.True(rt, delivered)
		vector := c.word(t, c.context.RSP)
		require.Equal(rt, state.UIRR, c.UIRR|1<<vector)
		require.Zero(rt, c.UIRR>>vector, "a higher vector was passed over")
		require.Zero(rt, c.context.RSP%16)
		require.Equal(rt, before, uintr.Context{
			RIP:    c.word(t, c.context.RSP+spec.FrameRIP),
			RFLAGS: c.word(t, c.context.RSP+spec.FrameRFLAGS),
			RSP:    c.word(t, c.context.RSP+spec.FrameRSP),
		})
	})
}
