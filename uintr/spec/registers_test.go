package spec

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReservedMasks(t *testing.T) {
	require.Equal(t, ^(MiscUITTSizeMask | 0xFF<<MiscUINVShift), MiscReserved)
	require.Equal(t, ^(TTAddressMask | TTEnable), TTReserved)
	require.Equal(t, uint64(0x7FFF_FF00_0000_0000), XSaveMiscReserved)
}

func TestFlagsOfUIRET(t *testing.T) {
	const df, nt, ac, id = 1 << 10, 1 << 14, 1 << 18, 1 << 21
	require.Equal(t, FlagCF|FlagPF|FlagAF|FlagZF|FlagSF|FlagTF|df|FlagOF|nt|FlagRF|ac|id, FlagsUIRET)
	require.Zero(t, FlagsUIRET&FlagIF)
}

func TestXSaveImageOffsets(t *testing.T) {
	x := XSaveImage(make([]byte, XSaveSize))
	x.SetHandler(1)
	x.SetStackAdjust(2)
	x.SetMisc(3)
	x.SetUPIDAddr(4)
	x.SetUIRR(5)
	x.SetUITTAddr(6)
	for i := range 6 {
		require.Equal(t, byte(i+1), x[8*i])
	}
	require.Equal(t, [6]uint64{1, 2, 3, 4, 5, 6},
		[6]uint64{x.Handler(), x.StackAdjust(), x.Misc(), x.UPIDAddr(), x.UIRR(), x.UITTAddr()})
}
