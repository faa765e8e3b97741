package virtio_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/virtio"
	"gvmm/virtio/virtiotest"
)

// Guest memory of these tests: rings first, then tables, then buffers.
const (
	ramBase   = 0x10_0000
	ramSize   = 1 << 20
	ringBase  = ramBase
	tableBase = ramBase + 0x4_0000
	dataBase  = ramBase + 0x8_0000
)

type rig struct {
	*virtiotest.Driver
	queue *virtio.Queue
	chain virtio.Chain
	fired int
}

func newRig(t testing.TB, size uint16, change func(*virtio.QueueConfig)) *rig {
	r := &rig{}
	m := virtiotest.NewMemory(ramBase, ramSize)
	c := virtio.QueueConfig{
		EventIdx: true, Indirect: true, DMA: m,
		Interrupt: func() { r.fired++ },
	}
	if change != nil {
		change(&c)
	}
	c.Size = size
	if c.Packed {
		r.Driver = virtiotest.NewPacked(m, ringBase, size, c.EventIdx)
	} else {
		r.Driver = virtiotest.NewDriver(m, ringBase, size, c.EventIdx)
	}
	c.Desc, c.Avail, c.Used = r.Desc, r.Avail, r.Used
	q, err := virtio.NewQueue(c)
	require.NoError(t, err)
	r.queue = q
	return r
}

// onBoth runs a test on a split and on a packed queue.
func onBoth(t *testing.T, test func(t *testing.T, packed bool)) {
	t.Run("split", func(t *testing.T) { test(t, false) })
	t.Run("packed", func(t *testing.T) { test(t, true) })
}

// format makes a rig's queue a packed one.
func format(packed bool) func(*virtio.QueueConfig) {
	return func(c *virtio.QueueConfig) { c.Packed = packed }
}

func (r *rig) pop(t testing.TB) {
	ok, err := r.queue.Pop(&r.chain)
	require.NoError(t, err)
	require.True(t, ok)
}

func (r *rig) complete(t testing.TB, head uint16, written uint32) (interrupted bool) {
	require.NoError(t, r.queue.Push(head, written))
	interrupted, err := r.queue.Notify()
	require.NoError(t, err)
	return interrupted
}

func buffer(n uint32) virtiotest.Desc { return virtiotest.Desc{Addr: dataBase, Len: n} }

func writable(n uint32) virtiotest.Desc {
	return virtiotest.Desc{Addr: dataBase + 0x1000, Len: n, Flags: virtiotest.Write}
}

func TestPopGivesBuffersInOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, packed bool) {
		r := newRig(t, 8, format(packed))
		copy(r.Memory.Bytes(dataBase, 5), "hello")
		head, _ := r.Add(
			virtiotest.Desc{Addr: dataBase, Len: 2}, virtiotest.Desc{Addr: dataBase + 2, Len: 3}, writable(7))
		r.Publish()
		r.pop(t)
		require.Equal(t, head, r.chain.Head)
		require.Equal(t, [][]byte{[]byte("he"), []byte("llo")}, r.chain.Readable)
		require.Equal(t, uint64(5), r.chain.ReadLen)
		require.Equal(t, uint64(7), r.chain.WriteLen)
		copy(r.chain.Writable[0], "written")
		require.Equal(t, "written", string(r.Memory.Bytes(dataBase+0x1000, 7)))
		ok, err := r.queue.Pop(&r.chain)
		require.NoError(t, err)
		require.False(t, ok, "there is one chain")
	})
}

func TestDirectChainMayEndInIndirectTable(t *testing.T) {
	for _, table := range []uint64{tableBase, tableBase + 8, tableBase + 3, tableBase + 0xFF8} {
		r := newRig(t, 8, func(c *virtio.QueueConfig) { c.DMA.(*virtiotest.Memory).Scattered = true })
		r.PutDesc(table, 0, virtiotest.Desc{Addr: dataBase + 16, Len: 4, Flags: virtiotest.Next, Next: 2})
		r.PutDesc(table, 2, writable(1))
		r.PutDesc(r.Desc, 0, virtiotest.Desc{Addr: dataBase, Len: 16, Flags: virtiotest.Next, Next: 5})
		r.PutDesc(r.Desc, 5, virtiotest.Desc{Addr: table, Len: 48, Flags: virtiotest.Indirect | virtiotest.Write})
		r.Offer(0)
		r.Publish()
		r.pop(t)
		require.Equal(t, uint64(20), r.chain.ReadLen)
		require.Equal(t, uint64(1), r.chain.WriteLen)
	}
}

func TestChainOfExactlyTheQueueSizeIsServed(t *testing.T) {
	onBoth(t, func(t *testing.T, packed bool) {
		r := newRig(t, 4, format(packed))
		_, ok := r.Add(buffer(1), buffer(1), buffer(1), writable(1))
		require.True(t, ok)
		r.Publish()
		r.pop(t)
		require.Len(t, r.chain.Readable, 3)
	})
}

// malformed is what a driver may do wrong, as iommu.md §4.6 numbers it.
var malformed = []struct {
	name string
	want error
	do   func(r *rig)
}{
	{"01_next_loop", virtio.ErrChainTooLong, func(r *rig) {
		r.PutDesc(r.Desc, 0, virtiotest.Desc{Addr: dataBase, Len: 1, Flags: virtiotest.Next, Next: 1})
		r.PutDesc(r.Desc, 1, virtiotest.Desc{Addr: dataBase, Len: 1, Flags: virtiotest.Next, Next: 0})
		r.Offer(0)
	}},
	{"01_loop_in_indirect_table", virtio.ErrChainTooLong, func(r *rig) {
		r.PutDesc(tableBase, 0, virtiotest.Desc{Addr: dataBase, Len: 1, Flags: virtiotest.Next})
		r.Add(virtiotest.Desc{Addr: tableBase, Len: 16, Flags: virtiotest.Indirect})
	}},
	{"01_next_out_of_range", virtio.ErrDescriptorIndex, func(r *rig) {
		r.PutDesc(r.Desc, 0, virtiotest.Desc{Addr: dataBase, Len: 1, Flags: virtiotest.Next, Next: 8})
		r.Offer(0)
	}},
	{"02_indirect_in_indirect", virtio.ErrIndirect, func(r *rig) {
		r.AddIndirect(tableBase, virtiotest.Desc{Addr: tableBase, Len: 16, Flags: virtiotest.Indirect})
	}},
	{"02_indirect_with_next", virtio.ErrIndirect, func(r *rig) {
		r.Add(virtiotest.Desc{Addr: tableBase, Len: 16, Flags: virtiotest.Indirect}, buffer(1))
	}},
	{"02_indirect_table_empty", virtio.ErrIndirect, func(r *rig) {
		r.Add(virtiotest.Desc{Addr: tableBase, Flags: virtiotest.Indirect})
	}},
	{"02_indirect_table_odd", virtio.ErrIndirect, func(r *rig) {
		r.Add(virtiotest.Desc{Addr: tableBase, Len: 24, Flags: virtiotest.Indirect})
	}},
	{"02_indirect_table_too_long", virtio.ErrIndirect, func(r *rig) {
		r.Add(virtiotest.Desc{Addr: tableBase, Len: 65536 * 16, Flags: virtiotest.Indirect})
	}},
	{"02_indirect_next_past_table", virtio.ErrDescriptorIndex, func(r *rig) {
		r.PutDesc(tableBase, 0, virtiotest.Desc{Addr: dataBase, Len: 1, Flags: virtiotest.Next, Next: 1})
		r.Add(virtiotest.Desc{Addr: tableBase, Len: 16, Flags: virtiotest.Indirect})
	}},
	{"02_indirect_table_wraps", virtio.ErrAddress, func(r *rig) {
		r.Add(virtiotest.Desc{Addr: ^uint64(0) - 15, Len: 32, Flags: virtiotest.Indirect})
	}},
	{"03_lengths_past_4_gib", virtio.ErrTooLarge, func(r *rig) {
		r.Add(buffer(0xFFFFFFFF), buffer(0xFFFFFFFF))
	}},
	{"03_lengths_past_the_cap", virtio.ErrTooLarge, func(r *rig) {
		for range 4 {
			r.PutDesc(r.Desc, 0, virtiotest.Desc{Addr: ramBase, Len: ramSize, Flags: virtiotest.Next, Next: 1})
			r.PutDesc(r.Desc, 1, virtiotest.Desc{Addr: ramBase, Len: ramSize, Flags: virtiotest.Next, Next: 2})
			r.PutDesc(r.Desc, 2, virtiotest.Desc{Addr: ramBase, Len: 1})
		}
		r.Offer(0)
	}},
	{"04_avail_index_jumps", virtio.ErrAvailIndex, func(r *rig) {
		r.Add(buffer(1))
		r.SetAvailIndex(9)
	}},
	{"04_avail_index_goes_back", virtio.ErrAvailIndex, func(r *rig) { r.SetAvailIndex(0xFFFF) }},
	{"05_head_out_of_range", virtio.ErrDescriptorIndex, func(r *rig) { r.Offer(8) }},
	{"06_address_wraps", virtio.ErrAddress, func(r *rig) {
		r.Add(virtiotest.Desc{Addr: ^uint64(0) - 1, Len: 4})
	}},
	{"06_buffer_crosses_slot_end", virtio.ErrAddress, func(r *rig) {
		r.Add(virtiotest.Desc{Addr: ramBase + ramSize - 4, Len: 8})
	}},
	{"06_buffer_in_a_hole", virtio.ErrAddress, func(r *rig) { r.Add(virtiotest.Desc{Addr: 0x1000, Len: 8}) }},
	{"06_table_in_a_hole", virtio.ErrAddress, func(r *rig) {
		r.Add(virtiotest.Desc{Addr: 0x1000, Len: 16, Flags: virtiotest.Indirect})
	}},
	{"06_misaligned_table_in_a_hole", virtio.ErrAddress, func(r *rig) {
		r.Add(virtiotest.Desc{Addr: 0x1004, Len: 16, Flags: virtiotest.Indirect})
	}},
	{"07_huge_length", virtio.ErrTooLarge, func(r *rig) { r.Add(buffer(0xFFFFFFFF)) }},
	{"08_zero_length", virtio.ErrZeroLength, func(r *rig) { r.Add(buffer(0), writable(1)) }},
	{"12_buffer_in_a_bar", virtio.ErrAddress, func(r *rig) {
		r.Add(virtiotest.Desc{Addr: 0xFEB0_3000, Len: 4, Flags: virtiotest.Write})
	}},
	{"13_writable_before_readable", virtio.ErrOrder, func(r *rig) { r.Add(writable(1), buffer(1)) }},
}

func TestMalformedChainsFinishTheQueueAndNothingElse(t *testing.T) {
	for _, c := range malformed {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, 8, func(c *virtio.QueueConfig) { c.MaxBytes = 2 * ramSize })
			c.do(r)
			if c.want != virtio.ErrAvailIndex {
				r.Publish()
			}
			ok, err := r.queue.Pop(&r.chain)
			require.False(t, ok)
			require.ErrorIs(t, err, c.want)
			require.LessOrEqual(t, cap(r.chain.Readable)+cap(r.chain.Writable), 2048)
			require.Equal(t, uint64(1), r.queue.Counters.Malformed.Load())
			require.Zero(t, r.UsedIndex())

			_, again := r.queue.Pop(&r.chain)
			require.Equal(t, err, again, "the queue stays finished")
			_, again = r.queue.EnableKicks()
			require.Equal(t, err, again)
		})
	}
}

func TestIndirectRefusedUnlessNegotiated(t *testing.T) {
	onBoth(t, func(t *testing.T, packed bool) {
		r := newRig(t, 8, func(c *virtio.QueueConfig) { c.Packed, c.Indirect = packed, false })
		r.AddIndirect(tableBase, buffer(1))
		r.Publish()
		_, err := r.queue.Pop(&r.chain)
		require.ErrorIs(t, err, virtio.ErrIndirect)
	})
}

// §4.6 #9: the same chain offered over and over, none completed.
func TestResubmissionWithoutCompletionIsBounded(t *testing.T) {
	r := newRig(t, 4, nil)
	r.PutDesc(r.Desc, 0, buffer(1))
	for i := range 5 {
		r.Offer(0)
		r.Publish()
		ok, err := r.queue.Pop(&r.chain)
		if i < 4 {
			require.True(t, ok)
			continue
		}
		require.ErrorIs(t, err, virtio.ErrOverrun)
	}
}

// §4.6 #7: a view shorter than asked for, as a mapping cut short would be.
type shortDMA struct {
	virtio.DMA
	view, segments int
}

func (s shortDMA) View(addr uint64, n int, write bool) ([]byte, error) {
	b, err := s.DMA.View(addr, n, write)
	return b[:len(b)-min(s.view, len(b))], err
}

func (s shortDMA) Segments(dst [][]byte, addr uint64, n uint32, write bool) ([][]byte, error) {
	return s.DMA.Segments(dst, addr, n-uint32(s.segments), write)
}

func TestShortMappingIsNotTrusted(t *testing.T) {
	onBoth(t, func(t *testing.T, packed bool) {
		for _, short := range []shortDMA{{view: 1}, {segments: 1}, {segments: 4}} {
			r := newRig(t, 8, func(c *virtio.QueueConfig) { c.Packed, short.DMA = packed, c.DMA })
			c := r.queue.QueueConfig
			c.DMA = short
			q, err := virtio.NewQueue(c)
			require.NoError(t, err)
			r.Add(buffer(4))
			r.Publish()
			_, err = q.Pop(&r.chain)
			require.ErrorIs(t, err, virtio.ErrAddress)
		}
	})
}

func TestUsedRingOutsideMemoryFinishesTheQueue(t *testing.T) {
	r := newRig(t, 8, nil)
	r.Add(buffer(1))
	r.Publish()
	c := r.queue.QueueConfig
	c.Used = 0xFEB0_3000
	q, err := virtio.NewQueue(c)
	require.NoError(t, err)
	ok, err := q.Pop(&r.chain)
	require.NoError(t, err)
	require.True(t, ok)
	require.ErrorIs(t, q.Push(r.chain.Head, 0), virtio.ErrAddress)
	_, err = q.Pop(&r.chain)
	require.ErrorIs(t, err, virtio.ErrAddress)
}

// §4.6 #14.
func TestLayoutRules(t *testing.T) {
	for _, c := range []struct {
		name              string
		size              uint16
		desc, avail, used uint64
		ok                bool
	}{
		{"usual", 256, 0x1000, 0x2000, 0x3000, true},
		{"smallest", 1, 16, 2, 4, true},
		{"largest", 32768, 0, 0, 0, true},
		{"size 0", 0, 0, 0, 0, false},
		{"size not a power of two", 48, 0, 0, 0, false},
		{"too large", 65535, 0, 0, 0, false},
		{"descriptors misaligned", 8, 8, 0, 0, false},
		{"available misaligned", 8, 0, 1, 0, false},
		{"used misaligned", 8, 0, 0, 2, false},
		{"descriptors wrap", 8, ^uint64(0) - 15, 0, 0, false},
		{"available wraps", 8, 0, ^uint64(0) - 15, 0, false},
		{"used wraps", 8, 0, 0, ^uint64(0) - 15, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := virtio.CheckLayout(c.size, c.desc, c.avail, c.used)
			require.Equal(t, c.ok, err == nil, "%v", err)
			require.Equal(t, !c.ok, errors.Is(err, virtio.ErrQueueConfig))
		})
	}
	_, err := virtio.NewQueue(virtio.QueueConfig{Size: 8})
	require.ErrorIs(t, err, virtio.ErrQueueConfig, "no memory")
	_, err = virtio.NewQueue(virtio.QueueConfig{Size: 8, DMA: &virtiotest.Memory{}, MaxBytes: 1<<32 + 1})
	require.ErrorIs(t, err, virtio.ErrQueueConfig, "2^32 is the most")
}

func TestNothingIsPoppedWhileNotReady(t *testing.T) {
	onBoth(t, func(t *testing.T, packed bool) {
		ready := false
		r := newRig(t, 8, func(c *virtio.QueueConfig) { c.Packed, c.Ready = packed, func() bool { return ready } })
		r.Add(buffer(1))
		r.Publish()
		ok, err := r.queue.Pop(&r.chain)
		require.NoError(t, err)
		require.False(t, ok)
		more, err := r.queue.EnableKicks()
		require.NoError(t, err)
		require.False(t, more, "or the device would spin")
		ready = true
		r.pop(t)
	})
}
