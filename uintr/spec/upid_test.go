package spec

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func newUPID(c Control, pir uint64) UPID {
	u := UPID(newBytes(UPIDSize))
	u.Init(c, pir)
	return u
}

func TestUPIDLayout(t *testing.T) {
	u := UPID(newBytes(UPIDSize))
	copy(u, []byte{0x03, 0x00, 0xEC, 0x00, 0x78, 0x56, 0x34, 0x12, 0x01, 0, 0, 0, 0, 0, 0, 0x80})
	require.True(t, u.ON())
	require.True(t, u.SN())
	require.Equal(t, uint8(0xEC), u.NV())
	require.Equal(t, uint32(0x1234_5678), u.NDST())
	require.Equal(t, uint64(1<<63|1), u.PIR())
	require.Equal(t, uint64(0x1234_5678_00EC_0003), u.Low())
	require.Zero(t, u.Control().Reserved())
}

func TestUPIDFieldsAreDisjointAndComplete(t *testing.T) {
	fields := []Control{UPIDON, UPIDSN, UPIDReserved, upidNVMask, upidIDMask}
	all := Control(0)
	for _, f := range fields {
		require.Zero(t, all&f)
		all |= f
	}
	require.Equal(t, ^Control(0), all)
	require.Equal(t, Control(0x0000_0000_FF00_FFFC), UPIDReserved)
}

func TestControlSettersTouchOneField(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Control(rapid.Uint64().Draw(t, "control"))
		nv, ndst, sn := rapid.Byte().Draw(t, "nv"), rapid.Uint32().Draw(t, "ndst"), rapid.Bool().Draw(t, "sn")

		require.Equal(t, nv, c.WithNV(nv).NV())
		require.Equal(t, c&^upidNVMask, c.WithNV(nv)&^upidNVMask)
		require.Equal(t, ndst, c.WithNDST(ndst).NDST())
		require.Equal(t, c&^upidIDMask, c.WithNDST(ndst)&^upidIDMask)
		require.Equal(t, sn, c.WithSN(sn).SN())
		require.Equal(t, c&^UPIDSN, c.WithSN(sn)&^UPIDSN)

		u := newUPID(c, 7)
		u.SetNV(nv)
		u.SetNDST(ndst)
		u.SetSN(sn)
		require.Equal(t, c.WithNV(nv).WithNDST(ndst).WithSN(sn), u.Control())
		require.Equal(t, uint64(7), u.PIR())
	})
}

func TestXAPICDestinationIsInBits15To8(t *testing.T) {
	require.Equal(t, Control(0x0000_AB00_00EC_0000), NewControl(0xEC, XAPICDestination(0xAB)))
}

func TestPost(t *testing.T) {
	base := NewControl(0xEC, 0xDEAD_BEEF)
	for _, row := range []struct {
		name   string
		before Control
		pir    uint64
		notify bool
		after  Control
	}{
		{"notifies and sets ON", base, 0, true, base | UPIDON},
		{"notifies though the vector was posted", base, 1 << 5, true, base | UPIDON},
		{"ON set: silent", base | UPIDON, 1, false, base | UPIDON},
		{"SN set: silent, ON untouched", base | UPIDSN, 1, false, base | UPIDSN},
		{"ON and SN set: silent", base | UPIDON | UPIDSN, 1, false, base | UPIDON | UPIDSN},
	} {
		t.Run(row.name, func(t *testing.T) {
			u := newUPID(row.before, row.pir)
			notify, nv, ndst, err := u.Post(5)
			require.NoError(t, err)
			require.Equal(t, row.notify, notify)
			if notify {
				require.Equal(t, uint8(0xEC), nv)
				require.Equal(t, uint32(0xDEAD_BEEF), ndst)
			}
			require.Equal(t, row.after, u.Control())
			require.Equal(t, row.pir|1<<5, u.PIR())
		})
	}
}

func TestPostRefusesEachReservedBit(t *testing.T) {
	for bit := range 64 {
		c := Control(1) << bit
		if c&UPIDReserved == 0 {
			continue
		}
		u := newUPID(c, 2)
		notify, _, _, err := u.Post(0)
		require.ErrorIs(t, err, ErrReserved)
		require.False(t, notify)
		require.Equal(t, c, u.Control())
		require.Equal(t, uint64(2), u.PIR())
	}
}

func TestPostRefusesVectorsAbove63(t *testing.T) {
	u := newUPID(0, 0)
	for _, vector := range []uint8{64, 128, 255} {
		_, _, _, err := u.Post(vector)
		require.ErrorIs(t, err, ErrVector)
		require.Zero(t, u.PIR())
		require.Zero(t, u.Low())
	}
}

func TestDrainTakesRequestsAndClearsOnlyON(t *testing.T) {
	u := newUPID(^Control(0), 0xF0F0)
	require.Equal(t, uint64(0xF0F0), u.Drain())
	require.Zero(t, u.PIR())
	require.Equal(t, ^UPIDON, u.Control())
	require.Zero(t, u.Drain())
}

func TestScheduleIn(t *testing.T) {
	out := NewControl(0xEB, 1) | UPIDSN
	in := NewControl(0xEC, 2)
	for _, row := range []struct {
		name    string
		before  Control
		pir     uint64
		pending bool
		after   Control
	}{
		{"nothing posted", out, 0, false, in},
		{"posted silently: sets ON", out, 1, true, in | UPIDON},
		{"notified at the old destination", out | UPIDON, 1, true, in | UPIDON},
		{"ON left over by a notification that met nobody", out | UPIDON, 0, true, in | UPIDON},
		{"keeps reserved bits", out | 1<<7, 0, false, in | 1<<7},
	} {
		t.Run(row.name, func(t *testing.T) {
			u := newUPID(row.before, row.pir)
			require.Equal(t, row.pending, u.ScheduleIn(0xEC, 2))
			require.Equal(t, row.after, u.Control())
			require.Equal(t, row.pir, u.PIR())
		})
	}
}

func TestScheduleOutMakesPostsSilent(t *testing.T) {
	u := newUPID(NewControl(0xEC, 2), 0)
	u.ScheduleOut()
	notify, _, _, err := u.Post(1)
	require.NoError(t, err)
	require.False(t, notify)
	require.True(t, u.Pending())
	require.True(t, u.ScheduleIn(0xEC, 3))
}

func TestPending(t *testing.T) {
	for _, row := range []struct {
		c    Control
		pir  uint64
		want bool
	}{
		{0, 0, false}, {UPIDON, 0, true}, {UPIDSN, 0, false}, {UPIDSN, 1, true},
		{0, 1, false}, // a post between PIR and ON: it will notify
	} {
		require.Equal(t, row.want, newUPID(row.c, row.pir).Pending())
	}
}

// A UPID under any sequence of operations behaves as one that does each of them in one step (`uintr.md §1.7-1.8`).
func TestUPIDMatchesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, pir := Control(rapid.Uint64().Draw(t, "control")), rapid.Uint64().Draw(t, "pir")
		u := newUPID(c, pir)
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				require.Equal(t, c, u.Control())
				require.Equal(t, pir, u.PIR())
			},
			"post": func(t *rapid.T) {
				v := rapid.Uint8Range(0, 70).Draw(t, "vector")
				notify, nv, ndst, err := u.Post(v)
				ok := v < 64 && c&UPIDReserved == 0
				require.Equal(t, ok, err == nil)
				require.Equal(t, ok && c&(UPIDON|UPIDSN) == 0, notify)
				if ok {
					pir |= 1 << v
				}
				if notify {
					require.Equal(t, [2]uint32{uint32(c.NV()), c.NDST()}, [2]uint32{uint32(nv), ndst})
					c |= UPIDON
				}
			},
			"drain": func(t *rapid.T) {
				require.Equal(t, pir, u.Drain())
				c, pir = c&^UPIDON, 0
			},
			"reserved": func(t *rapid.T) {
				c = c &^ UPIDReserved
				u.Init(c, pir)
			},
			"schedule": func(t *rapid.T) {
				ndst := rapid.Uint32().Draw(t, "ndst")
				u.ScheduleOut()
				require.Equal(t, pir != 0 || c.ON(), u.ScheduleIn(0xEC, ndst))
				if pir != 0 {
					c |= UPIDON
				}
				c = c.WithSN(false).WithNV(0xEC).WithNDST(ndst)
			},
		})
	})
}

func TestMisalignedAndShortDescriptorsPanic(t *testing.T) {
	b := newBytes(UPIDSize)
	require.Panics(t, func() { UPID(b[1:]).Low() })
	require.Panics(t, func() { UPID(b[:12:12]).PIR() })
	require.Panics(t, func() { UPID(nil).Drain() })
}

func TestAtomicsAllocateNothing(t *testing.T) {
	u := newUPID(NewControl(0xEC, 1), 0)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		u.Post(3)
		u.ScheduleOut()
		u.ScheduleIn(0xEC, 2)
		u.Drain()
	}))
}

func FuzzPost(f *testing.F) {
	f.Add(uint64(0), uint64(0), uint8(0))
	f.Add(uint64(1), uint64(1), uint8(63))
	f.Add(uint64(0x80), uint64(0), uint8(5))
	f.Add(^uint64(0), ^uint64(0), uint8(64))
	f.Fuzz(func(t *testing.T, low, pir uint64, vector uint8) {
		u := newUPID(Control(low), pir)
		notify, _, _, err := u.Post(vector)
		switch {
		case err != nil:
			require.False(t, notify)
			require.Equal(t, low, u.Low())
			require.Equal(t, pir, u.PIR())
		default:
			require.Zero(t, low&uint64(UPIDReserved))
			require.Equal(t, pir|1<<vector, u.PIR())
			require.Equal(t, low&3 == 0, notify)
			require.Equal(t, notify, low != u.Low())
		}
	})
}

func BenchmarkPostDrain(b *testing.B) {
	b.ReportAllocs()
	u := newUPID(NewControl(0xEC, 1), 0)
	for b.Loop() {
		u.Post(3)
		u.Drain()
	}
}

func BenchmarkPostCoalesced(b *testing.B) {
	b.ReportAllocs()
	u := newUPID(NewControl(0xEC, 1)|UPIDON, 0)
	for b.Loop() {
		u.Post(3)
	}
}

func TestUITTEntryLayout(t *testing.T) {
	e := UITTE(newBytes(UITTEntrySize))
	e.Store(NewUITTEntry(0x2A, 0xFFFF_8000_1234_5640))
	require.Equal(t, uint64(0x2A01), binary.LittleEndian.Uint64(e))
	require.Equal(t, uint64(0xFFFF_8000_1234_5640), binary.LittleEndian.Uint64(e[8:]))
	v := e.Load()
	require.True(t, v.WellFormed())
	require.Equal(t, uint8(0x2A), v.Vector())
	require.Equal(t, uint64(0xFFFF_8000_1234_5640), v.UPIDAddr())
}

func TestUITTEntryWellFormed(t *testing.T) {
	good := NewUITTEntry(63, 0x1000)
	require.True(t, good.WellFormed())
	for bit := range 64 {
		low := UITTEntry{good.Low ^ 1<<bit, good.High}
		vectorBit := bit >= 8 && bit < 14
		require.Equal(t, vectorBit, low.WellFormed(), "low bit %d", bit)
		high := UITTEntry{good.Low, good.High ^ 1<<bit}
		require.Equal(t, bit >= 6, high.WellFormed(), "high bit %d", bit)
	}
}

func FuzzUITTEntry(f *testing.F) {
	f.Add(uint64(0x101), uint64(0x40))
	f.Add(uint64(0x4001), uint64(0))
	f.Fuzz(func(t *testing.T, low, high uint64) {
		e := UITTEntry{low, high}
		require.Equal(t, low|0x3F00 == 0x3F01 && high<<58 == 0, e.WellFormed())
	})
}
