package uintr_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gvmm/uintr"
	"gvmm/uintr/spec"
)

func armed() uintr.State {
	return uintr.State{
		UIRR: 1 << 33, UIF: true, Handler: 0x1000, StackAdjust: 128, UINV: 0xEC,
		UPIDAddr: 0x2040, UITTAddr: 0x3001, UITTSize: 255,
	}
}

func TestXSAVESImage(t *testing.T) {
	s := armed()
	var x [spec.XSaveSize]byte
	s.Image(&x)
	for i, want := range []uint64{0x1000, 128, 1<<63 | 0xEC_0000_00FF, 0x2040, 1 << 33, 0x3001} {
		require.Equal(t, want, binary.LittleEndian.Uint64(x[8*i:]), "bytes %d", 8*i)
	}
	require.Equal(t, armed(), s)
}

func TestXSAVESTwiceStoresUINVOnce(t *testing.T) {
	s := armed()
	var first, second [spec.XSaveSize]byte
	s.Image(&first)
	s.Saved()
	s.Image(&second)
	s.Saved()
	require.Equal(t, uint64(0xEC), spec.XSaveImage(first[:]).Misc()>>32&0xFF)
	require.Equal(t, uint64(0), spec.XSaveImage(second[:]).Misc()>>32&0xFF)
	want := armed()
	want.UINV = 0
	require.Equal(t, want, s)
}

func TestXRSTORSRestoresWhatXSAVESStored(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		canonical := func(name string) uint64 { return uint64(rapid.Int64().Draw(t, name) >> 16) }
		s := uintr.State{
			UIRR: rapid.Uint64().Draw(t, "uirr"), UIF: rapid.Bool().Draw(t, "uif"), Handler: canonical("handler"),
			StackAdjust: canonical("adjust"), UINV: rapid.Byte().Draw(t, "uinv"), UPIDAddr: canonical("pd") &^ 63,
			UITTAddr: canonical("tt") &^ 14, UITTSize: rapid.Uint32().Draw(t, "size"),
		}
		var x [spec.XSaveSize]byte
		s.Image(&x)
		var restored uintr.State
		require.NoError(t, restored.XRSTORS(&x, 48))
		require.Equal(t, s, restored)
	})
}

func TestXRSTORSWithUINVSetIsRefused(t *testing.T) {
	s := uintr.State{UINV: 1, UIRR: 7}
	var x [spec.XSaveSize]byte
	requireFault(t, s.XRSTORS(&x, 48), uintr.VectorGP, 0)
	require.Equal(t, uintr.State{UINV: 1, UIRR: 7}, s)
}

func TestXRSTORSJudgesTheImage(t *testing.T) {
	const bad = uint64(1) << 47
	for _, row := range []struct {
		name string
		off  int
		or   uint64
		ok   bool
	}{
		{"handler non-canonical", spec.XSaveHandler, bad, false},
		{"stack adjust non-canonical", spec.XSaveStackAdjust, bad, false},
		{"MISC bit 40", spec.XSaveMisc, 1 << 40, false},
		{"MISC bit 62", spec.XSaveMisc, 1 << 62, false},
		{"MISC bit 63 is UIF", spec.XSaveMisc, 1 << 63, true},
		{"PD non-canonical", spec.XSaveUPIDAddr, bad, false},
		{"PD bit 0", spec.XSaveUPIDAddr, 1, false},
		{"PD bit 5", spec.XSaveUPIDAddr, 1 << 5, false},
		{"TT non-canonical", spec.XSaveUITTAddr, bad, false},
		{"TT bit 1", spec.XSaveUITTAddr, 1 << 1, false},
		{"TT bit 3", spec.XSaveUITTAddr, 1 << 3, false},
		{"UIRR all ones", spec.XSaveUIRR, ^uint64(0), true},
	} {
		t.Run(row.name, func(t *testing.T) {
			image := armed()
			var x [spec.XSaveSize]byte
			image.Image(&x)
			word := x[row.off : row.off+8]
			binary.LittleEndian.PutUint64(word, binary.LittleEndian.Uint64(word)|row.or)
			before := uintr.State{UIRR: 1, UIF: true, UITTSize: 9}
			s := before
			err := s.XRSTORS(&x, 48)
			if row.ok {
				require.NoError(t, err)
				return
			}
			requireFault(t, err, uintr.VectorGP, 0)
			require.Equal(t, before, s)
		})
	}
}

func TestXRSTORSReevaluatesRecognition(t *testing.T) {
	image := armed()
	var x [spec.XSaveSize]byte
	image.Image(&x)
	var s uintr.State
	require.NoError(t, s.XRSTORS(&x, 48))
	require.True(t, s.Pending())

	s.Saved()
	image.UIRR = 0
	image.Image(&x)
	require.NoError(t, s.XRSTORS(&x, 48))
	require.False(t, s.Pending())
}

func TestXRSTORSToInitEvenWithUINV(t *testing.T) {
	s := armed()
	s.XRSTORSInit()
	require.Equal(t, uintr.State{}, s)
}

func TestInUse(t *testing.T) {
	require.False(t, (&uintr.State{}).InUse())
	for _, s := range []uintr.State{
		{UIRR: 1}, {UIF: true}, {Handler: 1}, {StackAdjust: 1}, {UINV: 1}, {UPIDAddr: 64}, {UITTAddr: 1}, {UITTSize: 1},
	} {
		require.True(t, s.InUse(), "%+v", s)
	}
}

func FuzzXRSTORS(f *testing.F) {
	image := armed()
	var x [spec.XSaveSize]byte
	image.Image(&x)
	f.Add(x[:], false)
	f.Add(make([]byte, spec.XSaveSize), true)
	f.Fuzz(func(t *testing.T, p []byte, wide bool) {
		var x, back [spec.XSaveSize]byte
		copy(x[:], p)
		bits := uint8(48)
		if wide {
			bits = 57
		}
		var s uintr.State
		if s.XRSTORS(&x, bits) != nil {
			require.False(t, s.InUse())
			return
		}
		s.Image(&back)
		require.Equal(t, x, back)
	})
}
