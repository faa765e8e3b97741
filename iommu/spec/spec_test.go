package spec

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestLinuxTimerEntry(t *testing.T) {
	// `iommu.md §1.9`: the entry, the request and the message of Linux's timer interrupt.
	e := IRTE{Lo: 0x100_0030_000D, Hi: 0x4FF00}
	require.True(t, e.Present())
	require.False(t, e.Posted())
	require.False(t, e.Malformed())
	require.Equal(t, uint8(0x30), e.Vector())
	require.Equal(t, OnlyFrom(0xFF00), e.Source())
	require.Equal(t, NewRemapped(0x30, Fixed, 1<<8, OnlyFrom(0xFF00)).WithLogical().WithRedirection(), e)

	q := Request{Address: 0xFEE0_0030, Data: 2}
	require.True(t, q.Interrupt())
	require.True(t, q.Remappable())
	index, ok := q.Index()
	require.True(t, ok)
	require.Equal(t, uint32(1), index)

	address, data := Message{Vector: 0x30, Destination: DestinationID(e.Destination(), false), Logical: true, Redirection: true}.Encode()
	require.Equal(t, uint64(0xFEE0_100C), address)
	require.Equal(t, uint32(0x4030), data)
}

func TestPostedEntryLayout(t *testing.T) {
	e := NewPosted(0x41, 0x1234_5678_9ABC_DEC0, true, OnlyFrom(0xABCD))
	require.Equal(t, uint64(0x9ABC_DEC0_0041_C001), e.Lo)
	require.Equal(t, uint64(0x1234_5678_0004_ABCD), e.Hi)
	u := NewUserPosted(5, 0x1234_5678_9ABC_DEC0, false, 0xABCD)
	require.Equal(t, uint64(0x9ABC_DEC0_0005_A001), u.Lo)
	require.Equal(t, e.Hi, u.Hi)
}

func TestEntryRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := Source{
			SID: rapid.Uint16().Draw(t, "sid"),
			SQ:  rapid.Uint8Range(0, 3).Draw(t, "sq"),
			SVT: SVT(rapid.Uint8Range(0, 3).Draw(t, "svt")),
		}
		vector := rapid.Uint8().Draw(t, "vector")
		flag := func(name string) bool { return rapid.Bool().Draw(t, name) }

		mode := DeliveryMode(rapid.Uint8Range(0, 7).Draw(t, "mode"))
		dst := rapid.Uint32().Draw(t, "dst")
		r := NewRemapped(vector, mode, dst, src)
		logical, redirection, level, fpd := flag("logical"), flag("redirection"), flag("level"), flag("fpd")
		if logical {
			r = r.WithLogical()
		}
		if redirection {
			r = r.WithRedirection()
		}
		if level {
			r = r.WithLevel()
		}
		if fpd {
			r = r.WithFPD()
		}
		require.True(t, r.Present())
		require.False(t, r.Posted() || r.UserPosted())
		require.Equal(t, []any{vector, mode, dst, src, logical, redirection, level, fpd},
			[]any{r.Vector(), r.Delivery(), r.Destination(), r.Source(), r.Logical(), r.Redirection(), r.Level(), r.FPD()})
		require.Equal(t, mode.Reserved(), r.Malformed())

		pda, urgent := rapid.Uint64().Draw(t, "pda")&^63, flag("urgent")
		p := NewPosted(vector, pda, urgent, src)
		require.True(t, p.Present() && p.Posted())
		require.False(t, p.UserPosted() || p.Malformed())
		require.Equal(t, []any{vector, pda, urgent, src}, []any{p.Vector(), p.PDA(), p.Urgent(), p.Source()})

		u := NewUserPosted(vector, pda, urgent, src.SID)
		require.True(t, u.Present() && u.UserPosted())
		require.Equal(t, vector >= UserVectors, u.Malformed())
		require.Equal(t, []any{vector, pda, urgent, OnlyFrom(src.SID)}, []any{u.Vector(), u.PDA(), u.Urgent(), u.Source()})
	})
}

func TestReservedBitsByFormat(t *testing.T) {
	for name, c := range map[string]struct {
		entry  IRTE
		lo, hi uint64 // the reserved bits
	}{
		"remapped":    {NewRemapped(0x30, Fixed, 0, OnlyFrom(1)), 0x7000 | 0xFF00_0000, ^uint64(0xF_FFFF)},
		"posted":      {NewPosted(0x30, 0, false, OnlyFrom(1)), 0xFC | 0x1000 | 0x3F_FF00_0000, 0xFFF0_0000},
		"user-posted": {NewUserPosted(0x30, 0, false, 1), 0xFC | 0x1000 | 0x3F_FF00_0000, 0xFFF0_0000},
	} {
		t.Run(name, func(t *testing.T) {
			require.False(t, c.entry.Malformed())
			for bit := range 64 {
				b := uint64(1) << bit
				if c.lo&b != 0 {
					require.True(t, IRTE{c.entry.Lo | b, c.entry.Hi}.Malformed(), "low bit %d", bit)
				}
				if c.hi&b != 0 {
					require.True(t, IRTE{c.entry.Lo, c.entry.Hi | b}.Malformed(), "high bit %d", bit)
				}
			}
		})
	}
}

func TestUserPostedEntryDemandsExactSource(t *testing.T) {
	for name, src := range map[string]Source{
		"none":         {SID: 8, SVT: SVTNone},
		"bus":          {SID: 8, SVT: SVTBus},
		"reserved":     {SID: 8, SVT: 3},
		"masked by SQ": {SID: 8, SVT: SVTSID, SQ: 1},
	} {
		e := NewPosted(1, 64, false, src)
		e.Lo |= irteUPM
		require.True(t, e.Malformed(), name)
	}
}

func TestSourceAdmits(t *testing.T) {
	for name, c := range map[string]struct {
		src  Source
		sid  uint16
		want bool
	}{
		"no check":             {Source{SID: 1}, 0xFFFF, true},
		"exact":                {OnlyFrom(0x0108), 0x0108, true},
		"other function":       {OnlyFrom(0x0108), 0x0109, false},
		"SQ 1 ignores bit 2":   {Source{0x0108, 1, SVTSID}, 0x010C, true},
		"SQ 1 compares bit 1":  {Source{0x0108, 1, SVTSID}, 0x010A, false},
		"SQ 2 ignores bit 1":   {Source{0x0108, 2, SVTSID}, 0x010E, true},
		"SQ 2 compares bit 0":  {Source{0x0108, 2, SVTSID}, 0x0109, false},
		"SQ 3 ignores 2:0":     {Source{0x0108, 3, SVTSID}, 0x010F, true},
		"SQ 3 compares device": {Source{0x0108, 3, SVTSID}, 0x0110, false},
		"first bus":            {Source{0x0205, 0, SVTBus}, 0x0200, true},
		"last bus":             {Source{0x0205, 0, SVTBus}, 0x05FF, true},
		"bus below":            {Source{0x0205, 0, SVTBus}, 0x01FF, false},
		"bus above":            {Source{0x0205, 0, SVTBus}, 0x0600, false},
		"reserved type":        {Source{0x0108, 0, 3}, 0x0108, false},
	} {
		require.Equal(t, c.want, c.src.Admits(c.sid), name)
	}
}

func TestRequestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		handle, sub := rapid.Uint16().Draw(t, "handle"), rapid.Uint16().Draw(t, "subhandle")
		shv := rapid.Bool().Draw(t, "shv")
		q := NewRequest(handle, shv, sub)
		require.True(t, q.Interrupt() && q.Remappable())
		want := uint32(handle)
		if shv {
			want += uint32(sub)
		} else {
			q.Data = rapid.Uint32().Draw(t, "data") // means nothing
		}
		q.Address |= rapid.Uint64Range(0, 3).Draw(t, "ignored")
		index, ok := q.Index()
		require.True(t, ok)
		require.Equal(t, want, index)
	})
}

func TestRequestReservedData(t *testing.T) {
	q := NewRequest(1, true, 2)
	for bit := 16; bit < 32; bit++ {
		_, ok := Request{q.Address, q.Data | 1<<bit}.Index()
		require.False(t, ok, "bit %d", bit)
	}
}

func TestOnlyTheInterruptRangeIsARequest(t *testing.T) {
	for address, want := range map[uint64]bool{
		0xFEE0_0000: true, 0xFEEF_FFFC: true, 0xFEDF_FFFC: false, 0xFEF0_0000: false, 0x1_FEE0_0000: false, 0: false,
	} {
		require.Equal(t, want, Request{Address: address}.Interrupt(), "%#x", address)
	}
}

func TestMessageCarries32BitDestination(t *testing.T) {
	address, data := Message{Vector: 0x99, Delivery: NMI, Destination: 0x1234_5678, Level: true}.Encode()
	require.Equal(t, uint64(0x1234_5600_FEE7_8000), address)
	require.Equal(t, uint32(0xC499), data)
	require.Equal(t, uint32(0x12), DestinationID(0xAB_CD12_34, false))
	require.Equal(t, uint32(0xAB_CD12_34), DestinationID(0xAB_CD12_34, true))
}

func TestFaultRecordLayout(t *testing.T) {
	r := NewInterruptFault(0xFF08, 0x1234, SourceRefused)
	require.Equal(t, FaultRecord{Lo: 0x1234 << 48, Hi: 1<<63 | 0x26<<32 | 0xFF08}, r)
	require.True(t, r.Pending())
	require.Equal(t, []any{uint16(0xFF08), uint16(0x1234), SourceRefused}, []any{r.SID(), r.Index(), r.Reason()})

	require.Equal(t, r, r.Clear(1<<62|0xFF), "only F is writable")
	cleared := r.Clear(1 << 63)
	require.False(t, cleared.Pending())
	require.Equal(t, SourceRefused, cleared.Reason(), "the rest stays readable")
}

func TestReasonsAreNamed(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Reasons {
		require.NotContains(t, r.String(), "fault reason", "%#x", uint8(r))
		require.False(t, seen[r.String()])
		seen[r.String()] = true
	}
	require.Equal(t, "fault reason 0x30", Reason(0x30).String())
}

func TestTableAddress(t *testing.T) {
	r := NewIRTA(0x120_0FFF, 15, true)
	require.Equal(t, IRTA(0x120_080F), r)
	require.Equal(t, []any{uint64(0x120_0000), uint32(65536), true}, []any{r.Base(), r.Entries(), r.EIME()})
	require.Equal(t, uint32(2), NewIRTA(0, 0, false).Entries())
	require.Equal(t, IRTA(0x120_000F), IRTA(0x120_0FFF).Defined(false))
	require.Equal(t, IRTA(0x120_080F), IRTA(0x120_0FFF).Defined(true))
}

func TestPIDRequest(t *testing.T) {
	for vector, want := range map[uint8][2]uint64{0: {0, 1}, 63: {0, 1 << 63}, 64: {8, 1}, 255: {24, 1 << 63}} {
		off, bit := PIDRequest(vector)
		require.Equal(t, want, [2]uint64{off, bit}, "vector %d", vector)
	}
}

func TestPoolEntryRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Pool{
			Base:   rapid.Uint64().Draw(t, "base") &^ 63,
			Count:  rapid.Uint32Range(1, 1<<32-1).Draw(t, "count"),
			Domain: rapid.Uint16().Draw(t, "domain"),
			Tag:    rapid.Uint64().Draw(t, "tag"),
		}
		e := PoolEntry(rapid.SliceOfN(rapid.Byte(), PoolBytes, PoolBytes).Draw(t, "before"))
		e.Put(p)
		got, ok := e.Get()
		require.True(t, ok)
		require.Equal(t, p, got)
	})
}

func TestPoolEntryRefusesReservedEmptyAndMisaligned(t *testing.T) {
	for name, spoil := range map[string]func(PoolEntry){
		"bytes 14-15": func(e PoolEntry) { e[14] = 1 },
		"bytes 24-31": func(e PoolEntry) { e[31] = 1 },
		"empty":       func(e PoolEntry) { binary.LittleEndian.PutUint32(e[8:], 0) },
		"misaligned":  func(e PoolEntry) { e[0] = 32 },
	} {
		e := make(PoolEntry, PoolBytes)
		e.Put(Pool{Base: 4096, Count: 1})
		spoil(e)
		_, ok := e.Get()
		require.False(t, ok, name)
	}
}
