package uintr_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/uintr"
	"gvmm/uintr/spec"
	"gvmm/uintr/uintrtest"
)

// Where the tests' CPU has its memory.
const (
	upidLA    = 0x1_0000 // two descriptors
	uittLA    = 0x2_0000 // four entries, as newCPU sets them
	stackLow  = 0x3_0000 // two pages
	stackTop  = 0x3_2000
	unmapped  = 0x5_0000
	handlerLA = 0x4_0000

	ownNV, otherNV = 0xEC, 0xED
)

// cpu is a CPU at CPL 3 in 64-bit mode, its state armed, UIF set.
type cpu struct {
	uintr.State
	context uintr.Context
	mode    uintr.Mode
	mem     uintrtest.FlatMemory
}

func (c *cpu) Context() uintr.Context       { return c.context }
func (c *cpu) SetContext(ctx uintr.Context) { c.context = ctx }
func (c *cpu) Mode() uintr.Mode             { return c.mode }

func newCPU(t testing.TB) *cpu {
	c := &cpu{
		State: uintr.State{
			UIF: true, Handler: handlerLA, StackAdjust: 128, UINV: ownNV,
			UPIDAddr: upidLA, UITTAddr: uittLA | spec.TTEnable, UITTSize: 3,
		},
		context: uintr.Context{RIP: 0x6_0000, RSP: stackTop - 256, RFLAGS: 0x202},
		mode:    uintr.Mode{CPL: 3, UINTR: true, LongMode: true, Code64: true, LinearBits: 48, MaxLinearBits: 48},
	}
	c.mem.Map(upidLA, false)
	c.mem.Map(uittLA, false)
	c.mem.Map(stackLow, true)
	c.mem.Map(stackLow+0x1000, true)
	c.upid(t, 0).Init(spec.NewControl(ownNV, 0), 0)
	c.upid(t, 1).Init(spec.NewControl(otherNV, 1), 0)
	for i, e := range []spec.UITTEntry{
		spec.NewUITTEntry(5, upidLA+64), spec.NewUITTEntry(9, upidLA),
		spec.NewUITTEntry(63, upidLA+64), spec.NewUITTEntry(0, upidLA+64),
	} {
		c.uitt(t, i).Store(e)
	}
	return c
}

func (c *cpu) upid(t testing.TB, i int) spec.UPID {
	view, err := c.mem.Supervisor(upidLA+64*uint64(i), spec.UPIDBytes, true)
	require.NoError(t, err)
	return view
}

func (c *cpu) uitt(t testing.TB, i int) spec.UITTE {
	view, err := c.mem.Supervisor(uittLA+16*uint64(i), spec.UITTEntrySize, true)
	require.NoError(t, err)
	return view
}

func (c *cpu) word(t testing.TB, la uint64) uint64 {
	view, err := c.mem.Data(la, 8, false)
	require.NoError(t, err)
	return binary.LittleEndian.Uint64(view)
}

func (c *cpu) setWord(t testing.TB, la, v uint64) {
	view, err := c.mem.Data(la, 8, true)
	require.NoError(t, err)
	binary.LittleEndian.PutUint64(view, v)
}

// requireFault checks an exception's vector and error code.
func requireFault(t testing.TB, err error, vector uint8, code uint32) {
	t.Helper()
	var f *uintr.Fault
	require.ErrorAs(t, err, &f)
	require.Equal(t, vector, f.Vector)
	require.Equal(t, code, f.ErrorCode)
}

// broken is a Memory of an engine that fails.
type broken struct {
	view []byte
	err  error
}

var errBroken = errors.New("broken")

func (b broken) Supervisor(uint64, int, bool) ([]byte, error) { return b.view, b.err }
func (b broken) Data(uint64, int, bool) ([]byte, error)       { return b.view, b.err }
