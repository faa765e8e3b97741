package spec

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestDescriptorsDecodeToWhatWasEncoded(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := Granularity(rapid.IntRange(1, 3).Draw(rt, "granularity"))
		did, sid := rapid.Uint16().Draw(rt, "DID"), rapid.Uint16().Draw(rt, "SID")
		context := ContextInvalidation{Granularity: g, DID: did, SID: sid, FM: uint8(rapid.IntRange(0, 3).Draw(rt, "FM"))}
		d := NewContextDescriptor(context)
		c, ok := d.Context()
		require.True(rt, ok)
		require.Equal(rt, DescriptorContext, d.Type())
		require.Equal(rt, context, c)

		iotlb := IOTLBInvalidation{Granularity: g, DID: did, Address: rapid.Uint64().Draw(rt, "address") &^ 0xFFF, AM: uint8(rapid.IntRange(0, MaxAddressMask).Draw(rt, "AM"))}
		d = NewIOTLBDescriptor(iotlb)
		i, ok := d.IOTLB()
		require.True(rt, ok)
		require.Equal(rt, DescriptorIOTLB, d.Type())
		require.Equal(rt, iotlb, i)
		first, last := i.Range()
		require.True(rt, first <= iotlb.Address && iotlb.Address <= last && last-first+1 == 4096<<iotlb.AM && first%(last-first+1) == 0)

		iec := IECInvalidation{Index: rapid.Uint16().Draw(rt, "index"), IM: uint8(rapid.IntRange(0, MaxIndexMask).Draw(rt, "IM"))}
		d = NewIECDescriptor(iec)
		e, ok := d.IEC()
		require.True(rt, ok)
		require.Equal(rt, DescriptorIEC, d.Type())
		require.Equal(rt, iec, e)

		wait := Wait{Interrupt: rapid.Bool().Draw(rt, "IF"), Write: rapid.Bool().Draw(rt, "SW"), Address: rapid.Uint64().Draw(rt, "status") &^ 3, Data: rapid.Uint32().Draw(rt, "data")}
		d = NewWaitDescriptor(wait)
		w, ok := d.Wait()
		require.True(rt, ok)
		require.Equal(rt, DescriptorWait, d.Type())
		require.Equal(rt, wait, w)
	})
}

func TestRegisterCommandsMeanWhatDescriptorsDo(t *testing.T) {
	c := ContextCommand(CommandICC | 3<<61 | 2<<32 | 0x0108<<16 | 0x1234)
	require.Equal(t, ContextInvalidation{Granularity: PerDevice, DID: 0x1234, SID: 0x0108, FM: 2}, c.Invalidation())
	require.Equal(t, ContextCommand(3<<61|3<<59|2<<32|0x0108_1234), c.Done(PerDevice))
	i := IOTLBCommand(CommandIVT | 3<<60 | 3<<48 | 0x1234<<32 | 0xFFFF)
	require.Equal(t, IOTLBInvalidation{Granularity: PerPage, DID: 0x1234, Address: 0x7000, AM: 9}, i.Invalidation(0x7049))
	require.Equal(t, IOTLBCommand(3<<60|1<<57|3<<48|0x1234<<32), i.Done(Global))
}

func TestContextInvalidationCovers(t *testing.T) {
	for _, c := range []struct {
		v    ContextInvalidation
		want bool
	}{
		{ContextInvalidation{Granularity: Global}, true},
		{ContextInvalidation{Granularity: PerDomain, DID: 5}, true},
		{ContextInvalidation{Granularity: PerDomain, DID: 6}, false},
		{ContextInvalidation{Granularity: PerDevice, DID: 5, SID: 0x0109}, true},
		{ContextInvalidation{Granularity: PerDevice, DID: 6, SID: 0x0109}, false},
		{ContextInvalidation{Granularity: PerDevice, DID: 5, SID: 0x010D}, false},
		{ContextInvalidation{Granularity: PerDevice, DID: 5, SID: 0x010D, FM: 1}, true},
		{ContextInvalidation{Granularity: PerDevice, DID: 5, SID: 0x010F, FM: 2}, true},
		{ContextInvalidation{Granularity: PerDevice, DID: 5, SID: 0x010E, FM: 3}, true},
		{ContextInvalidation{Granularity: PerDevice, DID: 5, SID: 0x0111, FM: 3}, false},
	} {
		require.Equal(t, c.want, c.v.Covers(5, 0x0109), "%+v", c.v)
	}
}

func TestEntriesOfTranslationTables(t *testing.T) {
	root := NewRootEntry(0x1234_5FFF)
	require.Equal(t, RootEntry{Lo: 0x1234_5001}, root)
	require.True(t, root.Present() && !root.Malformed())
	require.Equal(t, uint64(0x1234_5000), root.Table())

	// As Linux writes them: domain 1, 48 bits; and pass-through.
	ce := NewContextEntry(Translated, 0x1_0000_0000, 4, 1)
	require.Equal(t, ContextEntry{Lo: 0x1_0000_0001, Hi: 0x102}, ce)
	require.False(t, ce.Malformed())
	require.Equal(t, []any{Translated, 4, uint16(1), false}, []any{ce.Type(), ce.Levels(), ce.DID(), ce.FPD()})
	pt := NewContextEntry(PassThrough, 0, 4, 0xFFFF).WithFPD()
	require.Equal(t, ContextEntry{Lo: 0xB, Hi: 0xFF_FF02}, pt)
	require.True(t, pt.FPD() && !pt.Malformed())

	require.Equal(t, SLEntry(0x5003), NewSLTable(0x5000))
	for level, want := range map[int]SLEntry{1: 0x4000_0001, 2: 0x4000_0081, 3: 0x4000_0081} {
		e := NewSLPage(0x4000_0000, level, SLRead)
		require.Equal(t, want, e)
		require.True(t, e.Leaf(level) && !e.Malformed(level))
	}
	require.False(t, NewSLTable(0x5000).Leaf(2))
	require.True(t, SLEntry(0x5081).Malformed(2), "a page that is not aligned to its size")
	require.False(t, SLEntry(0x5083).Malformed(1), "bit 7 of the last level is ignored")
	require.True(t, SLEntry(0x5083).Malformed(4))
	require.Equal(t, uint64(0xF_FFFF_FFFF_F000), (^SLEntry(0)).Address())
}

func TestWidthsAndLevels(t *testing.T) {
	for width, levels := range map[int]int{39: 3, 48: 4, 57: 5} {
		require.Equal(t, levels, MaxLevels(width))
		require.True(t, LevelsOffered(3, width) && LevelsOffered(levels, width))
		require.False(t, LevelsOffered(2, width) || LevelsOffered(levels+1, width))
	}
	require.Equal(t, []uint64{1 << 12, 1 << 21, 1 << 30}, []uint64{LevelBytes(1), LevelBytes(2), LevelBytes(3)})
	require.Equal(t, uint64(0x1FF), SLIndex(0xFFFF_FFFF_F000, 4))
}

func TestInterruptRange(t *testing.T) {
	for _, c := range []struct {
		addr, n uint64
		want    bool
	}{
		{0xFEE0_0000, 1, true}, {0xFEEF_FFFF, 1, true}, {0xFEDF_FFFF, 1, false}, {0xFEDF_FFFF, 2, true}, {0xFEF0_0000, 1, false},
		{0, 1 << 32, true}, {0, 0xFEE0_0000, false}, {0x1_FEE0_0000, 4, false},
	} {
		require.Equal(t, c.want, InterruptRange(c.addr, c.n), "%#x+%#x", c.addr, c.n)
	}
}

func TestDMAFaultRecord(t *testing.T) {
	r := NewDMAFault(0x0108, 0x1234_5678_9ABC, true, ReadDenied)
	require.Equal(t, FaultRecord{Lo: 0x1234_5678_9000, Hi: 0xC000_0006_0000_0108}, r)
	require.True(t, r.Read() && r.Pending())
	require.Equal(t, uint64(0x1234_5678_9000), r.Page())
	require.False(t, NewDMAFault(1, 0, false, WriteDenied).Read())
	for _, reason := range Reasons {
		require.Equal(t, reason < 0x20 || reason == 0x2F, reason.DMA(), "%v", reason)
	}
}

func TestQueueAddress(t *testing.T) {
	a := IQA(^uint64(0)).Defined()
	require.Equal(t, IQA(0xFFFF_FFFF_FFFF_F807), a)
	require.Equal(t, []any{uint64(0x8_0000), true}, []any{a.Bytes(), a.Wide()})
	require.Equal(t, uint64(4096), IQA(0x11B_7000).Bytes())
}
