package virtiopci_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/virtio/virtiopci"
	"gvmm/virtio/virtiotest"
)

func TestPackedQueuesAreOfferedUnlessToldOtherwise(t *testing.T) {
	for _, splitOnly := range []bool{false, true} {
		r := newRig(t, func(o *virtiopci.Options) { o.SplitOnly = splitOnly })
		r.write(0, 4, 1)
		require.Equal(t, !splitOnly, r.read(4, 4)&(packed>>32) != 0)
		require.Equal(t, !splitOnly, r.negotiate(version1|packed)&featOK != 0)
	}
}

// Sizes and alignments are those of the format that was negotiated.
func TestPackedQueueRegisters(t *testing.T) {
	for _, format := range []uint64{0, packed} {
		r := newRig(t, nil)
		r.negotiate(version1 | format)
		r.write(22, 2, 1)
		r.write(24, 2, 15)
		require.Equal(t, format != 0, r.read(24, 2) == 15)
		r.write(24, 2, 17)
		require.NotEqual(t, uint64(17), r.read(24, 2), "more than there are")
		r.write(32, 8, 0x2000)
		r.write(40, 8, 0x3002)
		r.write(48, 8, 0x3004)
		r.write(28, 2, 1)
		require.Equal(t, format == 0, r.read(28, 2) == 1, "an available ring may be aligned to 2")
	}
}

// A device does not know which format its queues have, and a reset brings the
// other one.
func TestFormatChangesWithAReset(t *testing.T) {
	var stamps []uint16
	r := newRig(t, func(o *virtiopci.Options) { o.Stamp = func(_ int, i uint16) { stamps = append(stamps, i) } })
	for _, c := range []struct {
		format uint64
		driver newDriver
		size   uint16
	}{{packed, virtiotest.NewPacked, 5}, {0, virtiotest.NewDriver, 8}, {packed, virtiotest.NewPacked, 8}} {
		stamps = nil
		require.NotZero(t, r.negotiate(version1|eventIdx|indirect|c.format)&featOK)
		d := r.queueOf(c.driver, 0, c.size, 1)
		require.NotZero(t, r.status(ack|drv|featOK|drvOK)&drvOK)
		require.Equal(t, c.format != 0, r.dev.live.Queues[0].Packed)
		for range 40 {
			one := virtiotest.Desc{Addr: ramBase + 0x8_0000, Len: 1}
			head, ok := d.Add(one, one)
			require.True(t, ok)
			d.Publish()
			r.write(virtiopci.NotifyOffset, 2, 0)
			got, _, ok := d.Poll()
			require.True(t, ok)
			require.Equal(t, head, got)
		}
		for i, s := range stamps {
			require.Equal(t, uint16(i), s, "completions are counted, not descriptors")
		}
		require.Len(t, stamps, 40)
	}
}
