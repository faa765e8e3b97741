package kvm

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

func vcpuStats(t testing.TB, g *guest) *Stats {
	t.Helper()
	needCap(t, g.vm, CapBinaryStatsFD)
	s, err := g.cpu.Stats()
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func TestCountersMoveByName(t *testing.T) {
	g := newGuest(t, code{}.es().storeEAX(0).es().storeEAX(0).out(donePort, 0))
	s := vcpuStats(t, g)
	before, err := s.Snapshot()
	require.NoError(t, err)
	g.expect(ExitMMIO)
	g.expect(ExitMMIO)
	g.expectDone(0)
	after, err := s.Snapshot()
	require.NoError(t, err)
	require.Greater(t, after["exits"], before["exits"])
	require.GreaterOrEqual(t, after["mmio_exits"], before["mmio_exits"]+2)
}

func TestCountersAreReadInTheOrderOfTheirNames(t *testing.T) {
	g := newGuest(t, code{}.es().storeEAX(0))
	s := vcpuStats(t, g)
	g.expect(ExitMMIO)
	names := s.Names()
	values := make([]uint64, len(names)+1)
	n, err := s.Read(values)
	require.NoError(t, err)
	require.Equal(t, len(names), n)
	snapshot, err := s.Snapshot()
	require.NoError(t, err)
	for i, name := range names {
		require.Equal(t, snapshot[name], values[i], name)
		at, ok := s.Index(name)
		require.True(t, ok)
		require.Equal(t, i, at)
		require.Equal(t, name, s.Descs()[i].Name)
	}
	_, ok := s.Index("no such counter")
	require.False(t, ok)

	short := make([]uint64, 2)
	n, err = s.Read(short)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Equal(t, values[:2], short)
}

func TestCountersAreReadWithoutAllocation(t *testing.T) {
	s := vcpuStats(t, newGuest(t, code{}.hlt()))
	values := make([]uint64, len(s.Names()))
	require.Zero(t, testing.AllocsPerRun(50, func() {
		if _, err := s.Read(values); err != nil {
			panic(err)
		}
	}))
}

func TestMachineHasCountersOfItsOwn(t *testing.T) {
	g := newGuest(t, code{}.hlt())
	needCap(t, g.vm, CapBinaryStatsFD)
	s, err := g.vm.Stats()
	require.NoError(t, err)
	defer s.Close()
	require.Contains(t, s.Names(), "remote_tlb_flush")
	require.NotContains(t, s.Names(), "exits")
}

func TestCountersOutliveTheVCPU(t *testing.T) {
	g := newGuest(t, code{}.out(donePort, 0))
	s := vcpuStats(t, g)
	g.expectDone(0)
	require.NoError(t, g.cpu.Close())
	m, err := s.Snapshot()
	require.NoError(t, err)
	require.NotZero(t, m["exits"])
}

// statsFile builds a file of struct kvm_stats_header, descriptors and data.
type statsFile struct {
	nameSize uint32
	descs    []statsFileDesc
	data     []uint64
}

type statsFileDesc struct {
	flags  uint32
	exp    int16
	size   uint16
	offset uint32
	bucket uint32
	name   string
}

func (f statsFile) bytes() []byte {
	le := binary.LittleEndian
	descOffset := uint32(statsHeaderSize)
	dataOffset := descOffset + uint32(len(f.descs))*(statsDescSize+f.nameSize)
	var b []byte
	for _, v := range []uint32{0, f.nameSize, uint32(len(f.descs)), 0, descOffset, dataOffset} {
		b = le.AppendUint32(b, v)
	}
	for _, d := range f.descs {
		b = le.AppendUint32(b, d.flags)
		b = le.AppendUint16(b, uint16(d.exp))
		b = le.AppendUint16(b, d.size)
		b = le.AppendUint32(b, d.offset)
		b = le.AppendUint32(b, d.bucket)
		name := make([]byte, f.nameSize)
		copy(name, d.name)
		b = append(b, name...)
	}
	for _, v := range f.data {
		b = le.AppendUint64(b, v)
	}
	return b
}

func TestDescriptorsSayKindUnitAndScale(t *testing.T) {
	file := statsFile{nameSize: 16, descs: []statsFileDesc{
		{flags: statsTypeCumulative | statsUnitNone, size: 1, name: "exits"},
		{flags: statsTypeCumulative | statsUnitSeconds, exp: -9, size: 1, offset: 8, name: "halt_wait_ns"},
		{flags: statsTypeLogHist | statsUnitSeconds, exp: -9, size: 32, offset: 16, name: "halt_wait_hist"},
		{flags: statsTypePeak | statsUnitBytes | statsBasePow2, exp: 10, size: 1, offset: 272, name: "size"},
	}}
	var s Stats
	require.NoError(t, s.load(bytes.NewReader(file.bytes())))
	require.Equal(t, []StatDesc{
		{Name: "exits", Kind: StatCumulative, Unit: StatNone, Buckets: 1},
		{Name: "halt_wait_ns", Kind: StatCumulative, Unit: StatSeconds, Exponent: -9, Buckets: 1, offset: 8},
		{Name: "halt_wait_hist", Kind: StatLogHist, Unit: StatSeconds, Exponent: -9, Buckets: 32, offset: 16},
		{Name: "size", Kind: StatPeak, Unit: StatBytes, Binary: true, Exponent: 10, Buckets: 1, offset: 272},
	}, s.Descs())
	require.True(t, s.Descs()[2].Histogram())
	require.False(t, s.Descs()[0].Histogram())
}

func TestHistogramIsTheSumOfItsBuckets(t *testing.T) {
	g := newGuest(t, code{}.out(donePort, 0))
	s := vcpuStats(t, g)
	g.expectDone(0)
	var hist *StatDesc
	for i := range s.Descs() {
		if s.Descs()[i].Histogram() {
			hist = &s.Descs()[i]
		}
	}
	if hist == nil {
		t.Skip("this kernel has no histogram")
	}
	buckets, err := s.Histogram(hist.Name)
	require.NoError(t, err)
	require.Len(t, buckets, hist.Buckets)
	require.Greater(t, hist.Buckets, 1)

	// The kernel's file with other numbers in it.
	for i := range hist.Buckets {
		binary.LittleEndian.PutUint64(s.data[hist.offset+8*i:], uint64(i))
	}
	require.Equal(t, uint64(hist.Buckets*(hist.Buckets-1)/2), s.sum(hist))

	none, err := s.Histogram("exits")
	require.NoError(t, err)
	require.Nil(t, none)
}

func TestMalformedStatisticsAreRefused(t *testing.T) {
	good := statsFile{nameSize: 8, descs: []statsFileDesc{{size: 1, name: "exits"}}}
	require.NoError(t, new(Stats).load(bytes.NewReader(good.bytes())))

	for name, file := range map[string]statsFile{
		"no names":        {},
		"long names":      {nameSize: maxStatsName + 1},
		"no values":       {nameSize: 8, descs: []statsFileDesc{{size: 0}}},
		"far away values": {nameSize: 8, descs: []statsFileDesc{{size: 1, offset: 1 << 31}}},
	} {
		require.ErrorIs(t, new(Stats).load(bytes.NewReader(file.bytes())), ErrStats, name)
	}
	require.Error(t, new(Stats).load(bytes.NewReader(good.bytes()[:statsHeaderSize-1])), "short header")
	require.Error(t, new(Stats).load(bytes.NewReader(good.bytes()[:statsHeaderSize+3])), "short descriptors")
}

func FuzzStatisticsFile(f *testing.F) {
	f.Add(statsFile{nameSize: 8, descs: []statsFileDesc{{size: 1, name: "exits"}}, data: []uint64{1}}.bytes())
	f.Add(statsFile{nameSize: 48, descs: []statsFileDesc{{size: 32, flags: statsTypeLogHist, offset: 8, name: "h"}}}.bytes())
	f.Add(make([]byte, statsHeaderSize))
	f.Fuzz(func(t *testing.T, file []byte) {
		var s Stats
		if s.load(bytes.NewReader(file)) != nil {
			return
		}
		for i := range s.descs {
			s.sum(&s.descs[i]) // stays inside the data
		}
	})
}

func BenchmarkStatsRead(b *testing.B) {
	s := vcpuStats(b, newGuest(b, code{}.hlt()))
	values := make([]uint64, len(s.Names()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Read(values); err != nil {
			b.Fatal(err)
		}
	}
}
