package virtio_test

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/virtio"
	"gvmm/virtio/virtiotest"
)

const (
	next     = virtiotest.Next
	write    = virtiotest.Write
	indirect = virtiotest.Indirect
	avail    = virtiotest.Avail
	used     = virtiotest.Used
)

// packedDesc is a descriptor of dataBase for PutPacked.
func packedDesc(flags, id uint16) virtiotest.Desc {
	return virtiotest.Desc{Addr: dataBase, Len: 1, Flags: flags, Next: id}
}

// malformedPacked is what a driver may do wrong in a packed ring of 4.
var malformedPacked = []struct {
	name string
	want error
	do   func(r *rig)
}{
	{"chain without end", virtio.ErrChainTooLong, func(r *rig) {
		for i := range uint16(4) {
			r.PutPacked(i, packedDesc(avail|next, i))
		}
	}},
	{"id out of range", virtio.ErrBufferID, func(r *rig) { r.PutPacked(0, packedDesc(avail, 4)) }},
	{"id out of range at the end of a chain", virtio.ErrBufferID, func(r *rig) {
		r.PutPacked(0, packedDesc(avail|next, 0))
		r.PutPacked(1, packedDesc(avail, 0xFFFF))
	}},
	{"indirect with a next", virtio.ErrIndirect, func(r *rig) {
		r.PutPacked(0, virtiotest.Desc{Addr: tableBase, Len: 16, Flags: avail | indirect | next})
	}},
	{"indirect in a chain", virtio.ErrIndirect, func(r *rig) {
		r.PutPacked(0, packedDesc(avail|next, 0))
		r.PutPacked(1, virtiotest.Desc{Addr: tableBase, Len: 16, Flags: avail | indirect})
	}},
	{"indirect table empty", virtio.ErrIndirect, func(r *rig) {
		r.PutPacked(0, virtiotest.Desc{Addr: tableBase, Flags: avail | indirect})
	}},
	{"indirect table odd", virtio.ErrIndirect, func(r *rig) {
		r.PutPacked(0, virtiotest.Desc{Addr: tableBase, Len: 40, Flags: avail | indirect})
	}},
	{"indirect table too long", virtio.ErrChainTooLong, func(r *rig) {
		r.PutPacked(0, virtiotest.Desc{Addr: tableBase, Len: 1025 * 16, Flags: avail | indirect})
	}},
	{"indirect table wraps", virtio.ErrAddress, func(r *rig) {
		r.PutPacked(0, virtiotest.Desc{Addr: ^uint64(0) - 15, Len: 32, Flags: avail | indirect})
	}},
	{"indirect table in a hole", virtio.ErrAddress, func(r *rig) {
		r.PutPacked(0, virtiotest.Desc{Addr: 0x1000, Len: 16, Flags: avail | indirect})
	}},
	{"indirect table with a hole", virtio.ErrZeroLength, func(r *rig) {
		r.AddIndirect(tableBase, buffer(1), buffer(0))
		r.Publish()
	}},
	{"lengths past the cap", virtio.ErrTooLarge, func(r *rig) {
		for i := range uint16(3) {
			r.PutPacked(i, virtiotest.Desc{Addr: ramBase, Len: ramSize, Flags: avail | next})
		}
	}},
	{"huge length", virtio.ErrTooLarge, func(r *rig) {
		r.PutPacked(0, virtiotest.Desc{Addr: dataBase, Len: 0xFFFFFFFF, Flags: avail})
	}},
	{"zero length", virtio.ErrZeroLength, func(r *rig) {
		r.PutPacked(0, virtiotest.Desc{Addr: dataBase, Flags: avail})
	}},
	{"address wraps", virtio.ErrAddress, func(r *rig) {
		r.PutPacked(0, virtiotest.Desc{Addr: ^uint64(0) - 1, Len: 4, Flags: avail})
	}},
	{"buffer in a hole", virtio.ErrAddress, func(r *rig) {
		r.PutPacked(0, virtiotest.Desc{Addr: 0x1000, Len: 4, Flags: avail | write})
	}},
	{"writable before readable", virtio.ErrOrder, func(r *rig) {
		r.PutPacked(0, packedDesc(avail|next|write, 0))
		r.PutPacked(1, packedDesc(avail, 0))
	}},
}

func TestMalformedPackedChainsFinishTheQueueAndNothingElse(t *testing.T) {
	for _, c := range malformedPacked {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, 4, func(c *virtio.QueueConfig) { c.Packed, c.MaxBytes = true, 2*ramSize })
			c.do(r)
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

// Which flags make a descriptor available depends on the round (§2.8.1).
func TestOnlyAvailableDescriptorsArePopped(t *testing.T) {
	r := newRig(t, 2, format(true))
	for round := range 6 {
		for slot := range uint16(2) {
			wrap := round%2 == 0
			for _, flags := range []uint16{0, avail, used, avail | used} {
				if isAvail := flags == avail; (flags == avail || flags == used) && isAvail == wrap {
					continue
				}
				r.PutPacked(slot, packedDesc(flags, slot))
				ok, err := r.queue.Pop(&r.chain)
				require.NoError(t, err)
				require.False(t, ok, "round %d, flags %#x", round, flags)
			}
			flags := uint16(used)
			if wrap {
				flags = avail
			}
			r.PutPacked(slot, packedDesc(flags, slot))
			r.pop(t)
			r.complete(t, slot, 0)
		}
	}
}

// A chain goes over the end of the ring, its second part with the other value
// of the wrap counter.
func TestChainsWrapInARingOfAnySize(t *testing.T) {
	for _, size := range []uint16{1, 3, 5, 7} {
		r := newRig(t, size, format(true))
		n := max(int(size)-1, 1)
		for i := range 100 {
			var chain []virtiotest.Desc
			for range n {
				chain = append(chain, writable(8))
			}
			head, ok := r.Add(chain...)
			require.True(t, ok)
			require.True(t, r.Publish() || i > 0)
			r.pop(t)
			require.Equal(t, uint64(8*n), r.chain.WriteLen)
			r.complete(t, r.chain.Head, uint32(i))
			got, written, ok := r.Poll()
			require.True(t, ok)
			require.Equal(t, head, got)
			require.Equal(t, uint32(i), written)
		}
	}
}

func TestLargestPackedQueue(t *testing.T) {
	m := virtiotest.NewMemory(ramBase, virtiotest.RingBytes(virtio.MaxQueueSize)+1<<20)
	d := virtiotest.NewPacked(m, ramBase, virtio.MaxQueueSize, true)
	q, err := virtio.NewQueue(virtio.QueueConfig{
		Packed: true, Size: d.Size, Desc: d.Desc, Avail: d.Avail, Used: d.Used, EventIdx: true, DMA: m,
	})
	require.NoError(t, err)
	var c virtio.Chain
	const pieces = 3 // so that chains meet the end in every way
	for i := range 3 * virtio.MaxQueueSize {
		d.SetUsedEvent(d.Seen())
		one := virtiotest.Desc{Addr: ramBase, Len: 1}
		_, ok := d.Add(one, one, one)
		require.True(t, ok)
		d.Publish()
		ok, err := q.Pop(&c)
		require.NoError(t, err)
		require.True(t, ok)
		require.Len(t, c.Readable, pieces)
		require.NoError(t, q.Push(c.Head, 0))
		wanted, err := q.Notify()
		require.NoError(t, err)
		require.True(t, wanted, "completion %d", i)
		_, _, ok = d.Poll()
		require.True(t, ok)
	}
}

func TestBufferIDInFlightIsRefused(t *testing.T) {
	for _, client := range []bool{false, true} {
		r, m := newRevocable(t, true)
		if !client {
			r = newRig(t, 4, format(true))
		}
		r.PutPacked(0, packedDesc(avail, 1))
		r.PutPacked(1, packedDesc(avail, 1))
		r.pop(t)
		_, err := r.queue.Pop(&r.chain)
		require.ErrorIs(t, err, virtio.ErrInFlight)
		require.NoError(t, r.queue.Push(1, 0))
		require.Empty(t, m.requests)
		require.Zero(t, m.sections)
	}
}

// A device that gives back what it has not is told.
func TestPushOfWhatIsNotInFlight(t *testing.T) {
	for _, id := range []uint16{0, 3, 4, 0xFFFF} {
		r := newRig(t, 4, format(true))
		require.ErrorIs(t, r.queue.Push(id, 0), virtio.ErrNotInFlight)
		require.ErrorIs(t, r.queue.Err(), virtio.ErrNotInFlight)
	}
}

// A driver that overwrites descriptors which it has not got back.
func TestMoreDescriptorsInFlightThanTheRingHas(t *testing.T) {
	r := newRig(t, 4, format(true))
	r.PutPacked(0, packedDesc(avail|next, 0))
	r.PutPacked(1, packedDesc(avail|next, 0))
	r.PutPacked(2, packedDesc(avail, 0))
	r.pop(t)
	r.PutPacked(3, packedDesc(avail|next, 0))
	r.PutPacked(0, packedDesc(used, 1))
	_, err := r.queue.Pop(&r.chain)
	require.ErrorIs(t, err, virtio.ErrOverrun)
}

// Of an indirect descriptor's flags only WRITE counts (§2.8.8), and its id not
// at all.
func TestPackedIndirectTableIsReadInOrder(t *testing.T) {
	for _, table := range []uint64{tableBase, tableBase + 8, tableBase + 3, tableBase + 0xFF8} {
		r := newRig(t, 8, func(c *virtio.QueueConfig) {
			c.Packed = true
			c.DMA.(*virtiotest.Memory).Scattered = true
		})
		copy(r.Memory.Bytes(dataBase, 4), "abcd")
		head, _ := r.AddIndirect(table,
			virtiotest.Desc{Addr: dataBase + 2, Len: 2, Flags: indirect | avail},
			virtiotest.Desc{Addr: dataBase, Len: 2, Flags: next},
			virtiotest.Desc{Addr: dataBase + 0x1000, Len: 9, Flags: write | used})
		r.Publish()
		r.pop(t)
		require.Equal(t, head, r.chain.Head)
		require.Equal(t, [][]byte{[]byte("cd"), []byte("ab")}, r.chain.Readable)
		require.Equal(t, uint64(9), r.chain.WriteLen)
	}
}

// The used descriptor's flags and length (§2.8.7); buffers that are not given
// back keep their place.
func TestUsedDescriptor(t *testing.T) {
	r := newRig(t, 3, format(true))
	a, _ := r.Add(buffer(1))
	b, _ := r.Add(buffer(1), writable(8))
	r.Publish()
	r.pop(t)
	r.pop(t)
	r.complete(t, b, 5)
	r.complete(t, a, 0)
	desc := func(slot uint64) uint64 { return r.Memory.Load64(r.Desc + 16*slot + 8) }
	require.Equal(t, uint64(5)|uint64(b)<<32|(avail|used|write)<<48, desc(0))
	require.Equal(t, uint64(a)<<32|(avail|used)<<48, desc(2), "the chain's two were skipped")
}

// Interrupts with the event index, across wraps and however completions are
// batched; a place past the ring is somewhere in it.
func TestInterruptWhenADescriptorIsUsed(t *testing.T) {
	r := newRig(t, 5, format(true))
	place := 0
	for i := range 200 {
		n := 1 + i%3
		at := (place + i%7) % 10 // up to one round ahead
		off := uint32(at % 5)
		if at < 5 {
			off |= 0x8000
		}
		r.Memory.Store32(r.Avail, 2<<16|off)
		chain := []virtiotest.Desc{buffer(1), buffer(1), buffer(1)}[:n]
		_, ok := r.Add(chain...)
		require.True(t, ok)
		r.Publish()
		r.pop(t)
		require.Equal(t, i%7 < n, r.complete(t, r.chain.Head, 0), "completion %d", i)
		r.Poll()
		place = (place + n) % 10
	}
	r.Memory.Store32(r.Avail, 2<<16|0x7FFF)
	r.Add(buffer(1))
	r.Publish()
	r.pop(t)
	r.complete(t, r.chain.Head, 0)
}

// Without the event index a driver can ask for all interrupts or none; what is
// reserved is not none (§2.8.14).
func TestReservedEventFlagsAskForInterrupts(t *testing.T) {
	for flags, want := range map[uint32]bool{0: true, 1: false, 2: true, 3: true, 0xFFFC: true, 0xFFFD: false} {
		r := newRig(t, 8, func(c *virtio.QueueConfig) { c.Packed, c.EventIdx = true, false })
		r.Memory.Store32(r.Avail, flags<<16|0x8005)
		r.Add(buffer(1))
		r.Publish()
		r.pop(t)
		require.Equal(t, want, r.complete(t, r.chain.Head, 0), "flags %#x", flags)
	}
}

func TestPackedAreasOutsideMemoryFinishTheQueue(t *testing.T) {
	const hole = 0xFEB0_3000
	r := newRig(t, 4, format(true))
	for name, change := range map[string]func(*virtio.QueueConfig){
		"ring":   func(c *virtio.QueueConfig) { c.Desc = hole },
		"driver": func(c *virtio.QueueConfig) { c.Avail = hole },
		"device": func(c *virtio.QueueConfig) { c.Used = hole },
	} {
		t.Run(name, func(t *testing.T) {
			r.PutPacked(0, packedDesc(avail, 0))
			c := r.queue.QueueConfig
			change(&c)
			q, err := virtio.NewQueue(c)
			require.NoError(t, err)
			_, err = q.Pop(&r.chain)
			if err == nil {
				err = q.Push(0, 0)
			}
			if err == nil {
				_, err = q.Notify()
			}
			if err == nil {
				_, err = q.EnableKicks()
			}
			require.ErrorIs(t, err, virtio.ErrAddress)
			require.ErrorIs(t, q.Err(), virtio.ErrAddress)
		})
	}
}

func TestPackedLayoutRules(t *testing.T) {
	for _, c := range []struct {
		name                 string
		size                 uint16
		desc, driver, device uint64
		ok                   bool
	}{
		{"usual", 256, 0x1000, 0x2000, 0x2004, true},
		{"size not a power of two", 255, 0x1000, 0x2000, 0x2004, true},
		{"smallest", 1, 16, 4, 8, true},
		{"largest", 32768, 0, 0, 0, true},
		{"size 0", 0, 0, 0, 0, false},
		{"too large", 32769, 0, 0, 0, false},
		{"ring misaligned", 8, 8, 0, 0, false},
		{"driver area misaligned", 8, 0, 2, 0, false},
		{"device area misaligned", 8, 0, 0, 1, false},
		{"ring wraps", 8, ^uint64(0) - 15, 0, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := virtio.CheckPackedLayout(c.size, c.desc, c.driver, c.device)
			require.Equal(t, c.ok, err == nil, "%v", err)
			if !c.ok {
				require.ErrorIs(t, err, virtio.ErrQueueConfig)
			}
		})
	}
	_, err := virtio.NewQueue(virtio.QueueConfig{Packed: true, DMA: &virtiotest.Memory{}})
	require.ErrorIs(t, err, virtio.ErrQueueConfig)
}

// What is popped is whole, whatever the driver does to the ring meanwhile.
func TestPackedDescriptorsChangingUnderTheDevice(t *testing.T) {
	r := newRig(t, 4, format(true))
	stop := make(chan struct{})
	var flipper sync.WaitGroup
	flipper.Go(func() {
		rng := rand.New(rand.NewPCG(1, 2))
		good := []virtiotest.Desc{
			{Addr: dataBase, Len: 64, Flags: avail | next, Next: 1},
			{Addr: dataBase, Len: 64, Flags: avail | write},
			{Addr: tableBase, Len: 32, Flags: avail | indirect},
			{Addr: ramBase + ramSize - 64, Len: 64, Flags: used},
			{Addr: ramBase + ramSize - 64, Len: 4096, Flags: avail | write},
			{Addr: ^uint64(0) - 63, Len: 64, Flags: avail | next, Next: 7},
		}
		for {
			select {
			case <-stop:
				return
			default:
				r.PutPacked(uint16(rng.IntN(3)), good[rng.IntN(len(good))])
				r.PutDesc(tableBase, uint16(rng.IntN(2)), good[rng.IntN(len(good))])
				runtime.Gosched()
			}
		}
	})
	served := 0
	for i := 0; i < 20_000 || served == 0; i++ {
		q, err := virtio.NewQueue(r.queue.QueueConfig)
		require.NoError(t, err)
		if ok, err := q.Pop(&r.chain); ok {
			require.NoError(t, err)
			served++
			requireWhole(t, &r.chain)
		}
	}
	close(stop)
	flipper.Wait()
}

// packedRound is one chain of two descriptors through a ring of 8, written by
// hand; places repeat after eight rounds.
func packedRound(t testing.TB, r *rig, n int) {
	slot := uint16(n*2) % 8
	flags := uint16(used)
	if n%8 < 4 {
		flags = avail
	}
	r.PutPacked(slot+1, virtiotest.Desc{Addr: dataBase + 0x1000, Len: 4096, Flags: flags | write, Next: 3})
	r.PutPacked(slot, virtiotest.Desc{Addr: dataBase, Len: 16, Flags: flags | next})
	ok, err := r.queue.Pop(&r.chain)
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	if err := r.queue.Push(3, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := r.queue.Notify(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.queue.EnableKicks(); err != nil {
		t.Fatal(err)
	}
}

func TestPackedQueueDoesNotAllocate(t *testing.T) {
	r := newRig(t, 8, format(true))
	n := 0
	require.Zero(t, testing.AllocsPerRun(1000, func() { packedRound(t, r, n); n++ }))
}

func BenchmarkRoundTripPacked(b *testing.B) {
	r := newRig(b, 8, format(true))
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		packedRound(b, r, n)
	}
}
