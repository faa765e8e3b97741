package kvm

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// newPage makes a run page that no kernel is behind.
func newPage(t testing.TB) *Run { return newRun(mapMemory(t, 3*pageSize)) }

func TestPortDataStaysInsideThePage(t *testing.T) {
	r := newPage(t)
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Uint8().Draw(t, "size")
		count := rapid.Uint32().Draw(t, "count")
		offset := rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 4*pageSize)).Draw(t, "offset")
		*union[rawIO](r) = rawIO{size: size, count: count, dataOffset: offset}
		n := uint64(size) * uint64(count)
		x := r.IO()
		if offset <= uint64(len(r.mem)) && n <= uint64(len(r.mem))-offset {
			require.Len(t, x.Data, int(n))
			require.Equal(t, len(x.Data), cap(x.Data))
		} else {
			require.Nil(t, x.Data)
		}
	})
}

func TestPortDataEndsWithThePage(t *testing.T) {
	r := newPage(t)
	end := uint64(len(r.mem))
	for _, c := range []struct {
		offset uint64
		count  uint32
		ok     bool
	}{
		{end - 4, 1, true},
		{end - 3, 1, false},
		{end - 8, 2, true},
		{end, 1, false},
		{end + 1, 0, false},
		{^uint64(0) - 3, 1, false},
		{0, ^uint32(0), false},
	} {
		*union[rawIO](r) = rawIO{size: 4, count: c.count, dataOffset: c.offset}
		require.Equal(t, c.ok, r.IO().Data != nil, "%+v", c)
	}
}

func TestLengthsInThePageAreBounded(t *testing.T) {
	r := newPage(t)
	*union[rawMMIO](r) = rawMMIO{physAddr: 0x1000, len: 200, isWrite: 1}
	require.Len(t, r.MMIO().Data, 8)

	*union[rawSystemEvent](r) = rawSystemEvent{kind: SystemEventReset, ndata: 99, data: [16]uint64{15: 7}}
	require.Equal(t, SystemEventReset, r.SystemEvent().Type)
	require.Len(t, r.SystemEvent().Data, 16)
	require.Equal(t, uint64(7), r.SystemEvent().Data[15])

	*union[rawEmulationFailure](r) = rawEmulationFailure{
		suberror: InternalErrorEmulation, ndata: 99, flags: emulationFlagInstructionBytes, insnSize: 200,
	}
	require.Len(t, r.InternalError().Data, 16)
	require.Len(t, r.InternalError().Insn, 15)
}

func TestInstructionBytesNeedTheirFlag(t *testing.T) {
	r := newPage(t)
	whole := rawEmulationFailure{
		suberror: InternalErrorEmulation, ndata: 3, flags: emulationFlagInstructionBytes,
		insnSize: 4, insnBytes: [15]byte{0xf3, 0x0f, 0xc7, 0xf0, 0x90},
	}
	*union[rawEmulationFailure](r) = whole
	require.Equal(t, []byte{0xf3, 0x0f, 0xc7, 0xf0}, r.InternalError().Insn)

	for name, change := range map[string]func(*rawEmulationFailure){
		"another cause": func(f *rawEmulationFailure) { f.suberror = InternalErrorDeliveryEv },
		"no flag":       func(f *rawEmulationFailure) { f.flags = 0 },
		"flags only":    func(f *rawEmulationFailure) { f.ndata = 1 },
	} {
		f := whole
		change(&f)
		*union[rawEmulationFailure](r) = f
		require.Nil(t, r.InternalError().Insn, name)
	}
}

func TestExitsAreDecoded(t *testing.T) {
	r := newPage(t)
	*union[rawFailEntry](r) = rawFailEntry{reason: 0x80000021, cpu: 3}
	require.Equal(t, FailEntry{Reason: 0x80000021, CPU: 3}, r.FailEntry())
	*union[rawDebug](r) = rawDebug{exception: 1, pc: 0x1234, dr6: 0x4000, dr7: 0x400}
	require.Equal(t, Debug{Exception: 1, PC: 0x1234, DR6: 0x4000, DR7: 0x400}, r.Debug())
	*union[rawUnknown](r) = rawUnknown{reason: 48}
	require.Equal(t, uint64(48), r.UnknownExit())
	*union[rawEOI](r) = rawEOI{vector: 0xfe}
	require.Equal(t, uint8(0xfe), r.IOAPICEOI())
}

func TestRequestsOfThePageAreIndependent(t *testing.T) {
	r := newPage(t)
	r.SetImmediateExit(true)
	r.SetRequestInterruptWindow(true)
	require.Equal(t, []byte{1, 1, 0, 0}, r.mem[:4])
	r.SetImmediateExit(false)
	require.Equal(t, []byte{1, 0, 0, 0}, r.mem[:4])
	r.SetRequestInterruptWindow(false)
	require.Equal(t, []byte{0, 0, 0, 0}, r.mem[:4])
}

func TestTaskPriorityGoesThroughThePage(t *testing.T) {
	g := newGuest(t, code{}.out(0x10, 0).out(donePort, 0))
	g.expectOut(0x10, 0)
	require.Zero(t, g.run.Flags())
	g.run.SetCR8(5)
	g.expectDone(0)
	require.Equal(t, uint64(5), g.run.CR8())
	var s SRegs
	require.NoError(t, g.cpu.GetSRegs(&s))
	require.Equal(t, uint64(5), s.CR8)
}

func TestAPICBaseIsShownAtAnExit(t *testing.T) {
	g := newGuest(t, code{}.out(donePort, 0), withSplitIRQChip(t))
	g.expectDone(0)
	require.Equal(t, uint64(lapicBase), g.run.APICBase()&^0xfff)
}
