package uintr_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/uintr"
	"gvmm/uintr/spec"
)

func TestWRMSRJudgesValues(t *testing.T) {
	const (
		low48  = uint64(0x0000_7FFF_FFFF_FFC0)
		high48 = uint64(0xFFFF_8000_0000_0000)
		bad48  = uint64(0x0000_8000_0000_0000)
		bad57  = uint64(0x0100_0000_0000_0000)
	)
	for _, row := range []struct {
		name  string
		msr   uint32
		value uint64
		bits  uint8
		ok    bool
	}{
		{"RR takes anything", spec.MSRRR, ^uint64(0), 48, true},
		{"HANDLER low half", spec.MSRHandler, low48 | 1, 48, true},
		{"HANDLER high half", spec.MSRHandler, high48, 48, true},
		{"HANDLER non-canonical", spec.MSRHandler, bad48, 48, false},
		{"HANDLER canonical on a wider CPU", spec.MSRHandler, bad48, 57, true},
		{"HANDLER non-canonical on a wider CPU", spec.MSRHandler, bad57, 57, false},
		{"STACKADJUST 128", spec.MSRStackAdjust, 128, 48, true},
		{"STACKADJUST has no reserved bits", spec.MSRStackAdjust, 0xF, 48, true},
		{"STACKADJUST non-canonical", spec.MSRStackAdjust, bad48 | 1, 48, false},
		{"MISC all fields", spec.MSRMisc, 0x0000_00FF_FFFF_FFFF, 48, true},
		{"MISC lowest reserved bit", spec.MSRMisc, 1 << 40, 48, false},
		{"MISC bit of UIF", spec.MSRMisc, 1 << 63, 48, false},
		{"PD aligned", spec.MSRPD, low48, 48, true},
		{"PD bit 0", spec.MSRPD, 1, 48, false},
		{"PD bit 5", spec.MSRPD, 1 << 5, 48, false},
		{"PD bit 6", spec.MSRPD, 1 << 6, 48, true},
		{"PD non-canonical", spec.MSRPD, bad48, 48, false},
		{"TT enabled", spec.MSRTT, 0x1001, 48, true},
		{"TT bit 1", spec.MSRTT, 1 << 1, 48, false},
		{"TT bit 3", spec.MSRTT, 1 << 3, 48, false},
		{"TT bit 4", spec.MSRTT, 1 << 4, 48, true},
		{"TT non-canonical", spec.MSRTT, bad48, 48, false},
		{"below the range", spec.MSRRR - 1, 0, 48, false},
		{"above the range", spec.MSRTT + 1, 0, 48, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := uintr.State{UIRR: 1, UIF: true, Handler: 2, StackAdjust: 3, UINV: 4, UPIDAddr: 64, UITTAddr: 17, UITTSize: 5}
			s := before
			err := s.WriteMSR(row.msr, row.value, row.bits)
			if !row.ok {
				requireFault(t, err, uintr.VectorGP, 0)
				require.Equal(t, before, s)
				return
			}
			require.NoError(t, err)
			got, err := s.ReadMSR(row.msr)
			require.NoError(t, err)
			require.Equal(t, row.value, got)
		})
	}
}

func TestRDMSRShowsTheState(t *testing.T) {
	s := uintr.State{UIRR: 1 << 40, UIF: true, Handler: 2, StackAdjust: 3, UINV: 0xEC, UPIDAddr: 0x40, UITTAddr: 0x11, UITTSize: 255}
	for msr, want := range map[uint32]uint64{
		spec.MSRRR: 1 << 40, spec.MSRHandler: 2, spec.MSRStackAdjust: 3,
		spec.MSRMisc: 0xEC_0000_00FF, spec.MSRPD: 0x40, spec.MSRTT: 0x11,
	} {
		require.True(t, uintr.IsMSR(msr))
		got, err := s.ReadMSR(msr)
		require.NoError(t, err)
		require.Equal(t, want, got, "%#x", msr)
	}
	for _, msr := range []uint32{0, spec.MSRRR - 1, spec.MSRTT + 1, spec.MSRXSS} {
		require.False(t, uintr.IsMSR(msr))
		_, err := s.ReadMSR(msr)
		requireFault(t, err, uintr.VectorGP, 0)
	}
}

func TestWRMSRChangesItsFieldsOnly(t *testing.T) {
	for msr := uint32(spec.MSRRR); msr <= spec.MSRTT; msr++ {
		s := uintr.State{UIF: true}
		require.NoError(t, s.WriteMSR(msr, 0x40, 48))
		for other := uint32(spec.MSRRR); other <= spec.MSRTT; other++ {
			got, err := s.ReadMSR(other)
			require.NoError(t, err)
			require.Equal(t, other == msr, got == 0x40, "%#x after %#x", other, msr)
		}
		require.True(t, s.UIF)
	}
}

func TestWRMSROfRRReevaluatesRecognition(t *testing.T) {
	c := newCPU(t)
	require.False(t, c.Pending())
	require.NoError(t, c.WriteMSR(spec.MSRRR, 1<<9, 48))
	require.True(t, c.Pending())
	require.True(t, c.Deliverable(c))
	require.NoError(t, c.WriteMSR(spec.MSRRR, 0, 48))
	require.False(t, c.Pending())
	require.False(t, c.Deliverable(c))
}

func TestXSSTakesBit14Only(t *testing.T) {
	require.NoError(t, uintr.CheckXSS(0))
	require.NoError(t, uintr.CheckXSS(1<<14))
	for bit := range 64 {
		if bit != 14 {
			requireFault(t, uintr.CheckXSS(1<<14|1<<bit), uintr.VectorGP, 0)
		}
	}
}

func FuzzWRMSR(f *testing.F) {
	f.Add(uint32(spec.MSRMisc), uint64(0xEC_0000_00FF), true)
	f.Add(uint32(spec.MSRPD), uint64(0xFFFF_8000_0000_0040), false)
	f.Add(uint32(spec.MSRTT), uint64(0x0100_0000_0000_0001), true)
	f.Add(uint32(0), uint64(0), false)
	f.Fuzz(func(t *testing.T, msr uint32, value uint64, wide bool) {
		bits := uint8(48)
		if wide {
			bits = 57
		}
		var s uintr.State
		err := s.WriteMSR(msr, value, bits)
		if err != nil {
			require.Equal(t, uintr.State{}, s)
			return
		}
		got, err := s.ReadMSR(msr)
		require.NoError(t, err)
		require.Equal(t, value, got)
		top := int64(value) >> (bits - 1)
		require.True(t, msr == spec.MSRRR || top == 0 || top == -1)
	})
}
