package vmm

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vmm/memory"
)

const latencyRAM = 1 << 20

func latencyMemory(t testing.TB) *memory.Memory {
	t.Helper()
	m := memory.New()
	require.NoError(t, m.AddRAM(0, latencyRAM))
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// logBytes is a struct gvmm_latency_log.
func logBytes(requester, queue uint32, entries, stamps, handled, interrupts uint64) []byte {
	b := binary.LittleEndian.AppendUint32(nil, requester)
	b = binary.LittleEndian.AppendUint32(b, queue)
	for _, v := range []uint64{entries, stamps, handled, interrupts} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}

func TestLatencyIsMeasuredOverWhatBothSidesStillHave(t *testing.T) {
	mem := latencyMemory(t)
	require.NoError(t, mem.WriteAt(logBytes(8, 0, 4, 0x2000, 6, 3), 0x1000))
	host := &stamps{next: 7, tsc: make([]uint64, stampEntries)}
	const offset, khz = 1000, 1_000_000 // a tick is a nanosecond
	for i := range uint64(7) {
		host.tsc[i] = 100 * i
		if i < 6 {
			require.NoError(t, mem.Store64(0x2000+i%4*8, offset+100*i+10+i))
		}
	}
	l, err := readLatencyLog(mem, 0x1000)
	require.NoError(t, err)
	h, early, err := l.join(mem, host, offset, khz)
	require.NoError(t, err)
	require.Zero(t, early)
	require.EqualValues(t, 4, h.TotalCount(), "the ring holds the last 4 of 6")
	require.EqualValues(t, 12, h.Min())
	require.EqualValues(t, 15, h.Max())

	require.NoError(t, mem.Store64(0x2000+5%4*8, offset+1)) // before the device's stamp
	h, early, err = l.join(mem, host, offset, khz)
	require.NoError(t, err)
	require.EqualValues(t, 1, early)
	require.EqualValues(t, 3, h.TotalCount())
}

func TestLatencyLogsThatCannotBeAreRefused(t *testing.T) {
	mem := latencyMemory(t)
	for name, b := range map[string][]byte{
		"no entries":      logBytes(8, 0, 0, 0x2000, 0, 0),
		"three entries":   logBytes(8, 0, 3, 0x2000, 0, 0),
		"2^25 entries":    logBytes(8, 0, 1<<25, 0x2000, 0, 0),
		"2^61 entries":    logBytes(8, 0, 1<<61, 0x2000, 0, 0),
		"beyond RAM":      logBytes(8, 0, 16, latencyRAM-127, 0, 0),
		"stamps wrapping": logBytes(8, 0, 16, ^uint64(7), 0, 0),
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, mem.WriteAt(b, 0x1000))
			_, err := readLatencyLog(mem, 0x1000)
			require.ErrorIs(t, err, errLatencyLog)
		})
	}
	for _, addr := range []uint64{latencyRAM - latencyLogBytes + 1, latencyRAM, ^uint64(0)} {
		_, err := readLatencyLog(mem, addr)
		require.ErrorIs(t, err, errLatencyLog)
	}
}

func FuzzLatencyLog(f *testing.F) {
	f.Add(logBytes(8, 0, 4, 0x2000, 6, 3), uint64(0x1000), uint64(7), uint64(0), uint32(2_000_000))
	f.Add(logBytes(8, 0, 1<<12, 0x2000, ^uint64(0), 0), uint64(0), ^uint64(0), ^uint64(0), uint32(1))
	f.Add(logBytes(8, 0, 16, latencyRAM-128, 1<<63, 0), uint64(latencyRAM-48), uint64(1<<20), uint64(1), uint32(3))
	mem := latencyMemory(f)
	tsc := make([]uint64, stampEntries)
	f.Fuzz(func(t *testing.T, log []byte, addr, completed, offset uint64, khz uint32) {
		if mem.WriteAt(log[:min(len(log), latencyLogBytes)], addr) != nil {
			addr = 0x1000
			_ = mem.WriteAt(log[:min(len(log), latencyLogBytes)], addr)
		}
		l, err := readLatencyLog(mem, addr)
		if err != nil {
			require.ErrorIs(t, err, errLatencyLog)
			return
		}
		h, early, err := l.join(mem, &stamps{next: completed, tsc: tsc}, offset, max(1, khz))
		require.NoError(t, err)
		require.LessOrEqual(t, uint64(h.TotalCount())+early, min(l.entries, stampEntries, completed))
	})
}
