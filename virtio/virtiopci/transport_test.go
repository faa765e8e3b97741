package virtiopci_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/virtio/virtiopci"
	"gvmm/virtio/virtiotest"
	"gvmm/vmm/pci"
)

func TestIdentity(t *testing.T) {
	r := newRig(t, nil)
	c := r.tr.Function().Config()
	require.Equal(t, uint16(0x1AF4), c.VendorID())
	require.Equal(t, uint16(0x1044), c.DeviceID())
	require.GreaterOrEqual(t, c[8], byte(1))
	require.GreaterOrEqual(t, binary.LittleEndian.Uint16(c[0x2E:]), uint16(0x40))
}

// Where each structure is; the notification page holds doorbells only.
func TestCapabilitiesPointIntoTheBAR(t *testing.T) {
	r := newRig(t, nil)
	c := r.tr.Function().Config()
	for kind, want := range map[byte][2]uint32{1: {0, 64}, 2: {0x3000, 8}, 3: {0x1000, 1}, 4: {0x2000, 0x1000}} {
		at := r.capability(pci.CapVendor, kind)
		require.Equal(t, byte(0), c[at+4])
		require.Equal(t, want[0], binary.LittleEndian.Uint32(c[at+8:]), "offset of %d", kind)
		require.Equal(t, want[1], binary.LittleEndian.Uint32(c[at+12:]), "length of %d", kind)
	}
	notify := r.capability(pci.CapVendor, 2)
	require.Equal(t, byte(20), c[notify+2])
	require.Equal(t, uint32(4), binary.LittleEndian.Uint32(c[notify+16:]))
	require.Zero(t, virtiopci.NotifyOffset%4096)
	for off := uint64(0x3000); off < 0x4000; off += 8 {
		require.Zero(t, r.read(off, 8))
	}
}

func TestFeatureNegotiation(t *testing.T) {
	for _, c := range []struct {
		name     string
		platform virtiopci.Platform
		accept   uint64
		ok       bool
	}{
		{"version 1", 0, version1, true},
		{"all", 0, version1 | eventIdx | indirect | echoFeature | 1<<4, true},
		{"nothing", 0, 0, false},
		{"no version 1", 0, eventIdx, false},
		{"not offered", 0, version1 | 1<<5, false},
		{"platform not offered", 0, version1 | platform, false},
		{"platform offered and taken", virtiopci.PlatformOffered, version1 | platform, true},
		{"platform offered and left", virtiopci.PlatformOffered, version1, true},
		{"platform required and taken", virtiopci.PlatformRequired, version1 | platform, true},
		{"platform required and left", virtiopci.PlatformRequired, version1, false},
		{"dependency of the device", 0, version1 | 1<<4, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, func(o *virtiopci.Options) { o.Platform = c.platform })
			require.Equal(t, c.ok, r.negotiate(c.accept)&featOK != 0)
		})
	}
}

func TestFeatureWords(t *testing.T) {
	r := newRig(t, nil)
	want := map[uint64]uint64{0: 1<<28 | 1<<29 | 1<<3 | 1<<4, 1: 1 | 1<<2, 2: 0, 0xFFFFFFFF: 0}
	for sel, v := range want {
		r.write(0, 4, sel)
		require.Equal(t, v, r.read(4, 4))
	}
	r.status(ack | drv)
	r.features(version1)
	r.write(8, 4, 2)
	r.write(12, 4, 1)
	require.Zero(t, r.read(12, 4))
	require.Zero(t, r.status(ack|drv|featOK)&featOK, "a feature past bit 63 is not offered")
}

func TestFeaturesAreFrozenOnceAccepted(t *testing.T) {
	r := newRig(t, nil)
	r.negotiate(version1)
	r.features(version1 | echoFeature)
	r.write(8, 4, 0)
	require.Zero(t, r.read(12, 4))
}

// iommu.md §4.6 #14: status out of order.
func TestStatusComesInOrder(t *testing.T) {
	r := newRig(t, nil)
	require.Equal(t, uint64(0), r.status(drvOK))
	require.Equal(t, uint64(0), r.status(featOK), "not before ACKNOWLEDGE and DRIVER")
	require.Equal(t, uint64(ack|drv), r.status(ack|drv|drvOK))
	require.Equal(t, uint64(ack|drv), r.status(ack), "bits do not go")
	require.Equal(t, uint64(ack|drv), r.status(needsReset), "and this one is not the driver's")
	require.Nil(t, r.dev.live)
	r.features(version1)
	require.Equal(t, uint64(ack|drv|failedBit), r.status(failedBit))
	require.Equal(t, uint64(ack|drv|featOK|failedBit), r.status(ack|drv|featOK|drvOK), "a driver that gave up is not served")
	require.Equal(t, uint64(0), r.status(0))
}

func TestQueueRegisters(t *testing.T) {
	r := newRig(t, nil)
	require.Equal(t, uint64(2), r.read(18, 2))
	r.negotiate(version1)
	r.write(22, 2, 1)
	require.Equal(t, uint64(16), r.read(24, 2))
	require.Equal(t, uint64(1), r.read(30, 2))
	for _, bad := range []uint64{0, 3, 32, 0xFFFF} {
		r.write(24, 2, bad)
		require.Equal(t, uint64(16), r.read(24, 2), "size %d", bad)
	}
	r.write(24, 2, 4)
	require.Equal(t, uint64(4), r.read(24, 2))
	r.write(32, 8, 0x1008)
	r.write(28, 2, 1)
	require.Zero(t, r.read(28, 2), "misaligned")
	r.write(32, 4, 0x2000)
	r.write(36, 4, 1)
	require.Equal(t, uint64(0x1_0000_2000), r.read(32, 8))
	r.write(28, 2, 2)
	require.Zero(t, r.read(28, 2))
	r.write(28, 2, 1)
	require.Equal(t, uint64(1), r.read(28, 2))

	r.write(28, 2, 0)
	r.write(24, 2, 8)
	r.write(32, 8, 0x5000)
	require.Equal(t, uint64(1), r.read(28, 2), "only a reset switches it off")
	require.Equal(t, uint64(4), r.read(24, 2), "frozen")
	require.Equal(t, uint64(0x1_0000_2000), r.read(32, 8), "frozen")
	r.write(58, 2, 1)
	require.Zero(t, r.read(58, 2), "queue_reset is not offered")
	require.Equal(t, uint64(1), r.read(28, 2))

	r.status(0)
	r.write(22, 2, 1)
	require.Equal(t, []uint64{16, 0, 0, 0xFFFF}, []uint64{r.read(24, 2), r.read(28, 2), r.read(32, 8), r.read(26, 2)})
}

func TestQueueThatIsNotThere(t *testing.T) {
	r := newRig(t, nil)
	for _, n := range []uint64{2, 3, 0xFFFF} {
		r.write(22, 2, n)
		require.Zero(t, r.read(24, 2))
		for off := uint64(24); off < 56; off += 2 {
			r.write(off, 2, 1)
		}
		r.write(32, 8, 0x1000)
		require.Zero(t, r.read(32, 8))
		require.Zero(t, r.read(28, 2))
	}
}

// iommu.md §4.6 #11.
func TestVectorOutOfRangeReadsBackAsNone(t *testing.T) {
	r := newRig(t, nil)
	require.Equal(t, 3, r.tr.MSIX().Vectors())
	for _, reg := range []uint64{16, 26} {
		require.Equal(t, uint64(0xFFFF), r.read(reg, 2))
		r.write(reg, 2, 2)
		require.Equal(t, uint64(2), r.read(reg, 2))
		r.write(reg, 2, 3)
		require.Equal(t, uint64(0xFFFF), r.read(reg, 2))
	}
}

func TestOddAccessesChangeNothing(t *testing.T) {
	r := newRig(t, nil)
	before := make([]byte, 64)
	for i := range before {
		before[i] = byte(r.read(uint64(i), 1))
	}
	for off := range uint64(64) {
		for _, n := range []int{1, 2, 4, 8} {
			if off%uint64(n) != 0 {
				r.write(off, n, ^uint64(0))
			}
		}
		if off != 20 {
			r.write(off, 1, 0xFF)
		}
	}
	for i := range before {
		require.Equal(t, before[i], byte(r.read(uint64(i), 1)), "register %d", i)
	}
	require.Zero(t, r.read(64, 8))
	r.write(64, 8, ^uint64(0))
}

func TestCompletionRaisesItsQueuesVector(t *testing.T) {
	r := newRig(t, nil)
	a, b := r.live()
	b.Add(virtiotest.Desc{Addr: ramBase + 0x8_0000, Len: 1})
	require.True(t, b.Publish())
	r.write(virtiopci.NotifyOffset+4, 2, 1)
	require.Equal(t, []pci.Message{{Address: 0xFEE0_0000, Data: 0x42}}, r.take())
	require.Equal(t, uint64(1), r.tr.DoorbellWrites(1))
	a.Add(virtiotest.Desc{Addr: ramBase + 0x8_0000, Len: 1})
	require.True(t, a.Publish())
	r.tr.Kick(0) // as an ioeventfd's owner does
	require.Equal(t, []pci.Message{{Address: 0xFEE0_0000, Data: 0x41}}, r.take())
	require.Zero(t, r.tr.DoorbellWrites(0))
	require.Equal(t, uint64(1), r.tr.Counters(0).Completions.Load())
	require.Zero(t, r.read(isr, 1), "MSI-X is on")
	require.Nil(t, r.tr.Counters(2))
	require.Zero(t, r.tr.DoorbellWrites(-1))
}

func TestWithoutMSIXTheISRTells(t *testing.T) {
	r := newRig(t, nil)
	r.negotiate(version1)
	a := r.queue(0, 8, 0xFFFF)
	r.status(ack | drv | featOK | drvOK)
	a.Add(virtiotest.Desc{Addr: ramBase + 0x8_0000, Len: 1})
	a.Publish()
	r.tr.Kick(0)
	require.Empty(t, r.take())
	require.Equal(t, uint64(1), r.read(isr, 4))
	require.Zero(t, r.read(isr, 1), "reading clears")
	r.write(isr, 1, 1)
	r.dev.live.ConfigChanged()
	require.Equal(t, uint64(2), r.read(isr, 1))
}

func TestStampCarriesQueueAndIndex(t *testing.T) {
	type stamp struct {
		queue int
		index uint16
	}
	var stamps []stamp
	r := newRig(t, func(o *virtiopci.Options) {
		o.Stamp = func(q int, i uint16) { stamps = append(stamps, stamp{q, i}) }
	})
	_, b := r.live()
	for range 2 {
		b.Add(virtiotest.Desc{Addr: ramBase + 0x8_0000, Len: 1})
		b.Publish()
		r.tr.Kick(1)
	}
	require.Equal(t, []stamp{{1, 0}, {1, 1}}, stamps)
}

func TestBrokenQueueNeedsResetAndTheOtherLives(t *testing.T) {
	var reported error
	r := newRig(t, func(o *virtiopci.Options) { o.Failed = func(_ int, err error) { reported = err } })
	a, b := r.live()
	generation := r.read(21, 1)
	a.Offer(100)
	a.Publish()
	r.tr.Kick(0)
	require.Error(t, reported)
	require.True(t, r.tr.NeedsReset())
	require.Equal(t, uint64(ack|drv|featOK|drvOK|needsReset), r.read(20, 1))
	require.Equal(t, []pci.Message{{Address: 0xFEE0_0000, Data: 0x40}}, r.take(), "the configuration vector")
	require.NotEqual(t, generation, r.read(21, 1))
	b.Add(virtiotest.Desc{Addr: ramBase + 0x8_0000, Len: 1})
	b.Publish()
	r.tr.Kick(1)
	_, _, ok := b.Poll()
	require.True(t, ok)
	require.Zero(t, r.status(0))
	require.False(t, r.tr.NeedsReset())
	r.live()
}

func TestDeviceThatCannotStartNeedsReset(t *testing.T) {
	r := newRig(t, nil)
	r.dev.refuse = errors.New("no")
	r.negotiate(version1)
	require.Equal(t, uint64(ack|drv|featOK|drvOK|needsReset), r.status(ack|drv|featOK|drvOK))
	r.tr.Kick(0)
	require.Empty(t, r.dev.kicks)
}

// iommu.md §4.6 #10, #14.
func TestResetStopsTheDeviceFirst(t *testing.T) {
	r := newRig(t, nil)
	r.live()
	r.dev.stopping = func() {
		require.Equal(t, uint32(0), uint32(r.dev.stops))
		r.tr.Kick(0) // a doorbell in the middle of it
		r.dev.live.Fail(0, errors.New("late"))
	}
	kicks := r.dev.kicks[0]
	require.Zero(t, r.status(0), "the late failure is forgotten too")
	require.Equal(t, 1, r.dev.stops)
	r.tr.Kick(0)
	r.write(virtiopci.NotifyOffset, 2, 0)
	require.Equal(t, kicks, r.dev.kicks[0])
	r.status(0)
	require.Equal(t, 1, r.dev.stops)
}

func TestQueueIsNotEnabledOnceLive(t *testing.T) {
	r := newRig(t, nil)
	r.negotiate(version1)
	r.queue(0, 8, 0xFFFF)
	r.status(ack | drv | featOK | drvOK)
	r.write(22, 2, 1)
	r.write(28, 2, 1)
	require.Zero(t, r.read(28, 2))
	require.NotNil(t, r.dev.live.Queues[0])
	require.Nil(t, r.dev.live.Queues[1])
	r.tr.Kick(1)
}

func TestStrayDoorbellsAreHarmless(t *testing.T) {
	r := newRig(t, nil)
	r.write(virtiopci.NotifyOffset, 2, 0) // not live
	r.live()
	before := len(r.dev.kicks)
	for _, off := range []uint64{1, 2, 6, 8, 12, 0xFFC} {
		r.write(virtiopci.NotifyOffset+off, 2, 0)
	}
	for _, n := range []int{-1, 2, 1 << 30} {
		r.tr.Kick(n)
	}
	require.Len(t, r.dev.kicks, before)
}

type doorbells map[int]uint64

func (d doorbells) DoorbellMapped(q int, gpa uint64)   { d[q] = gpa }
func (d doorbells) DoorbellUnmapped(q int, gpa uint64) { delete(d, q) }

func TestDoorbellsFollowTheBAR(t *testing.T) {
	d := doorbells{}
	r := newRig(t, func(o *virtiopci.Options) { o.Doorbells = d })
	require.Equal(t, doorbells{0: barBase + 0x3000, 1: barBase + 0x3004}, d)
	r.bus.WriteConfig(where, 0x10, []byte{0, 0, 0, 0xF0})
	require.Equal(t, doorbells{0: 0xF000_3000, 1: 0xF000_3004}, d)
	r.command(0)
	require.Empty(t, d)
}

func TestNoBusMasteringNoRequest(t *testing.T) {
	r := newRig(t, nil)
	a, _ := r.live()
	r.command(pci.CommandMemory)
	a.Add(virtiotest.Desc{Addr: ramBase + 0x8_0000, Len: 1})
	a.Publish()
	r.tr.Kick(0)
	require.Zero(t, a.UsedIndex())
	r.command(pci.CommandMemory | pci.CommandBusMaster)
	require.Equal(t, uint16(1), a.UsedIndex())
	require.Len(t, r.take(), 1)
}

func TestDeviceConfiguration(t *testing.T) {
	r := newRig(t, nil)
	r.write(device+4, 4, 0x01020304)
	require.Equal(t, uint64(0x01020304)<<32, r.read(device, 8))
	generation := r.read(21, 1)
	r.live()
	r.dev.live.ConfigChanged()
	require.Equal(t, generation+1, r.read(21, 1))
	require.Equal(t, []pci.Message{{Address: 0xFEE0_0000, Data: 0x40}}, r.take())
}

func TestConfigWindowReachesTheBARAndNothingElse(t *testing.T) {
	r := newRig(t, nil)
	r.command(0) // the window needs no decoding
	at := r.capability(pci.CapVendor, 5)
	put := func(off, v uint32) {
		r.bus.WriteConfig(where, at+int(off), binary.LittleEndian.AppendUint32(nil, v))
	}
	get := func(n int) uint64 {
		p := make([]byte, 8)
		r.bus.ReadConfig(where, at+16, p[:n])
		return binary.LittleEndian.Uint64(p)
	}
	put(8, 18)
	put(12, 2)
	require.Equal(t, uint64(2), get(2), "num_queues")
	put(8, 16)
	put(16, 1) // the access is 4 wide, the window 2
	require.Equal(t, uint64(0xFFFF), get(2))
	r.bus.WriteConfig(where, at+16, []byte{1, 0})
	require.Equal(t, uint64(1), get(2))
	for _, c := range []struct{ bar, off, length uint32 }{
		{1, 16, 2}, {0, 17, 2}, {0, 16, 0}, {0, 16, 3}, {0, virtiopci.BARSize, 2}, {0, 0xFFFFFFFE, 2},
	} {
		put(4, c.bar)
		put(8, c.off)
		put(12, c.length)
		require.Zero(t, get(2), "%+v", c)
		r.bus.WriteConfig(where, at+16, []byte{2, 0})
	}
	put(4, 0xFFFFFF00)
	put(8, 16)
	put(12, 2)
	require.Equal(t, uint64(1), get(2), "nothing was written meanwhile; only the BAR's byte is writable")
}

func TestCloseIsForGood(t *testing.T) {
	r := newRig(t, nil)
	r.live()
	r.tr.Close()
	r.tr.Reset()
	require.Zero(t, r.status(ack))
	require.Equal(t, 1, r.dev.stops)
}

func TestTransportIsRefusedWhatItCannotCarry(t *testing.T) {
	o := virtiopci.Options{DMA: virtiotest.NewMemory(0, 4096), MSI: &sender{}}
	for _, sizes := range [][]uint16{nil, {3}, {0}, make([]uint16, 1025)} {
		_, err := virtiopci.New(&echo{sizes: sizes}, o)
		require.ErrorIs(t, err, virtiopci.ErrDevice)
	}
	e := &echo{sizes: []uint16{8}}
	_, err := virtiopci.New(e, virtiopci.Options{})
	require.ErrorIs(t, err, virtiopci.ErrDevice)
	o.Vectors = 1
	_, err = virtiopci.New(e, o)
	require.ErrorIs(t, err, virtiopci.ErrDevice)
	o.Vectors = pci.MaxVectors + 1
	_, err = virtiopci.New(e, o)
	require.ErrorIs(t, err, pci.ErrVectors)
}

func FuzzRegisters(f *testing.F) {
	f.Add([]byte{0, 20, 0x0B, 0, 28, 1, 0, 20, 0x0F})
	f.Add([]byte{1, 0, 0x10, 0x13, 4, 0xFF, 3, 0, 1, 0, 22, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := newRig(t, nil)
		r.live()
		page := []uint64{common, isr, device, virtiopci.NotifyOffset, table, pba}
		for i := 0; i+3 <= len(in) && i < 300; i += 3 {
			n := 1 << (in[i] >> 3 & 3)
			v := uint64(in[i+2]) * 0x0101_0101_0101_0101
			if which := int(in[i] & 7); which < len(page) && r.region != nil {
				r.write(page[which]+uint64(in[i+1]), n, v)
				r.read(page[which]+uint64(in[i+1]), n)
			} else {
				r.bus.WriteConfig(where, int(in[i+1]), binary.LittleEndian.AppendUint64(nil, v)[:n])
			}
			r.tr.Kick(int(in[i+2]) - 8)
		}
		if r.region == nil {
			return
		}
		if got := r.status(0); got != 0 {
			t.Fatalf("status %#x after a reset", got)
		}
	})
}
