package hw

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gvmm/uintr"
)

func TestABlockKeepsTheState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := func(name string) uint64 { return rapid.Uint64().Draw(t, name) }
		s := uintr.State{
			UIRR: word("UIRR"), UIF: rapid.Bool().Draw(t, "UIF"), Handler: word("handler"), StackAdjust: word("adjust"),
			UINV: rapid.Uint8().Draw(t, "UINV"), UITTSize: rapid.Uint32().Draw(t, "size"), UPIDAddr: word("PD"), UITTAddr: word("TT"),
		}
		b := make(Block, BlockSize)
		b.SetState(s)
		require.Equal(t, s, b.State())

		// uintr.md §1.8 step 2, which the microcode does without a branch.
		rsp := word("RSP")
		want := rsp - s.StackAdjust
		if s.StackAdjust&1 != 0 {
			want = s.StackAdjust
		}
		le := binary.LittleEndian
		got := rsp&le.Uint64(b[offAdjustAnd:]) - le.Uint64(b[offAdjustSub:])
		require.Equal(t, want&^15, got&^15)
	})
}

func TestABlockThatIsNoPageOfRAMIsRefused(t *testing.T) {
	mem := probeRAMOnly{size: 1 << 20}
	_, err := blockAt(mem, 0x1000)
	require.NoError(t, err)
	for _, addr := range []uint64{0x1001, 0x1800, 1 << 20, ^uint64(BlockSize - 1)} {
		_, err := blockAt(mem, addr)
		require.ErrorIs(t, err, ErrBlock, "%#x", addr)
	}
}

// probeRAMOnly is a memory of zeros.
type probeRAMOnly struct{ size uint64 }

func (m probeRAMOnly) View(addr, n uint64) ([]byte, error) {
	if addr >= m.size || n > m.size-addr {
		return nil, ErrBlock
	}
	return make([]byte, n), nil
}
