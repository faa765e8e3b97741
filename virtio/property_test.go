package virtio_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gvmm/virtio"
	"gvmm/virtio/virtiotest"
)

// model is what a well-behaved driver expects of its queue.
type model struct {
	*rig
	sent    map[uint16][]byte // content of what is available or in flight
	order   []uint16          // available, not yet popped
	held    []uint16          // popped, not yet completed
	done    []uint16          // completed, in order
	period  int               // at which places in the ring repeat: of the used index, or of a packed ring's two rounds
	slots   map[uint16]int
	event   int
	used    int // place as completed
	told    int // place at the last Notify
	seen    int // place as reaped
	pattern byte
	busy    [9]bool        // memory in use
	at      map[uint16]int // which of it, by head
}

// place finds memory that no chain under way uses.
func (m *model) place() int {
	for i, busy := range m.busy {
		if !busy {
			return i
		}
	}
	panic("more chains than the ring holds")
}

func (m *model) add(t *rapid.T) {
	lens := rapid.SliceOfN(rapid.IntRange(1, 300), 1, 6).Draw(t, "lens")
	writes := rapid.IntRange(0, len(lens)).Draw(t, "writable")
	var bufs []virtiotest.Desc
	place := m.place()
	at := dataBase + uint64(place)*0x1000
	m.pattern++
	content := []byte{}
	for i, n := range lens {
		d := virtiotest.Desc{Addr: at, Len: uint32(n)}
		if i >= len(lens)-writes {
			d.Flags = virtiotest.Write
		} else {
			fill := bytes.Repeat([]byte{m.pattern + byte(i)}, n)
			copy(m.Memory.Bytes(at, n), fill)
			content = append(content, fill...)
		}
		at += uint64(n)
		bufs = append(bufs, d)
	}
	var head uint16
	var ok bool
	if rapid.Bool().Draw(t, "indirect") {
		head, ok = m.AddIndirect(tableBase+0x100*uint64(place), bufs...)
	} else {
		head, ok = m.Add(bufs...)
	}
	if !ok {
		return
	}
	m.sent[head], m.at[head], m.slots[head] = content, place, m.Slots(head)
	m.busy[place] = true
	m.order = append(m.order, head)
}

func (m *model) popAll(t *rapid.T) {
	for n := rapid.IntRange(0, 4).Draw(t, "pops"); n > 0; n-- {
		ok, err := m.queue.Pop(&m.chain)
		require.NoError(t, err)
		require.Equal(t, len(m.order) > 0, ok)
		if !ok {
			return
		}
		require.Equal(t, m.order[0], m.chain.Head)
		require.Equal(t, string(m.sent[m.chain.Head]), string(bytes.Join(m.chain.Readable, nil)))
		requireWhole(t, &m.chain)
		m.held, m.order = append(m.held, m.order[0]), m.order[1:]
	}
}

func (m *model) completeSome(t *rapid.T) {
	for n := rapid.IntRange(0, len(m.held)).Draw(t, "completions"); n > 0; n-- {
		i := rapid.IntRange(0, len(m.held)-1).Draw(t, "which")
		require.NoError(t, m.queue.Push(m.held[i], uint32(m.held[i])+7))
		m.done = append(m.done, m.held[i])
		m.used = (m.used + m.slots[m.held[i]]) % m.period
		m.held = append(m.held[:i:i], m.held[i+1:]...)
	}
	// Was the event index among those completed since the last time?
	want := false
	for i := m.told; i != m.used; i = (i + 1) % m.period {
		want = want || i == m.event || !m.EventIdx
	}
	got, err := m.queue.Notify()
	require.NoError(t, err)
	require.Equal(t, want, got)
	m.told = m.used
}

func (m *model) reap(t *rapid.T) {
	for {
		head, written, ok := m.Poll()
		require.Equal(t, len(m.done) > 0, ok)
		if !ok {
			break
		}
		require.Equal(t, m.done[0], head)
		require.Equal(t, uint32(head)+7, written)
		m.done = m.done[1:]
		m.busy[m.at[head]] = false
		m.seen = (m.seen + m.slots[head]) % m.period
		delete(m.sent, head)
	}
	ahead := rapid.IntRange(0, 3).Draw(t, "ahead")
	m.event = (m.seen + ahead) % m.period
	m.SetUsedEvent(m.Seen() + uint16(ahead))
}

func TestQueueAgainstModelDriver(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		size, period, packed := 8, 1<<16, rapid.Bool().Draw(rt, "packed")
		if packed {
			size = rapid.IntRange(1, 8).Draw(rt, "size")
			period = 2 * size
		}
		r := newRig(t, uint16(size), func(c *virtio.QueueConfig) {
			c.Packed = packed
			c.EventIdx = rapid.Bool().Draw(rt, "eventIdx")
			c.DMA.(*virtiotest.Memory).Scattered = rapid.Bool().Draw(rt, "scattered")
		})
		// A driver's structures are zero at first: place 0 of a split ring, no event of a packed one.
		m := &model{rig: r, period: period, event: -1, sent: map[uint16][]byte{}, at: map[uint16]int{}, slots: map[uint16]int{}}
		m.reap(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"add":      m.add,
			"publish":  func(*rapid.T) { m.Publish() },
			"pop":      func(t *rapid.T) { m.Publish(); m.popAll(t) },
			"complete": m.completeSome,
			"reap":     m.reap,
		})
	})
}

// graph builds a descriptor graph out of bytes: four bytes choose one
// descriptor of the table or of an indirect one, then a split queue's heads
// follow.
func graph(r *rig, in []byte) {
	addrs := []uint64{dataBase, dataBase + 4090, tableBase, ramBase + ramSize - 8, 0, ^uint64(0) - 3, ringBase, tableBase + 5}
	lens := []uint32{0, 1, 16, 32, 512, 4096, 1 << 20, 0xFFFFFFFF}
	for i := 0; i+4 <= len(in) && i < 4*24; i += 4 {
		d := virtiotest.Desc{
			Addr: addrs[in[i]&7], Len: lens[in[i+1]&7],
			Flags: uint16(in[i+2] & 7), Next: uint16(in[i+3] & 15),
		}
		switch n := uint16(i / 4); {
		case r.Packed && n < 8:
			d.Flags |= uint16(in[i+2]&0x80) | uint16(in[i+2]&0x40)<<9 // AVAIL, USED
			r.PutPacked(n, d)
		case n < 8:
			r.PutDesc(r.Desc, n, d)
		default:
			r.PutDesc(tableBase, n-8, d)
		}
	}
	if r.Packed {
		return
	}
	for _, b := range in {
		r.Offer(uint16(b & 15))
	}
}

func FuzzQueue(f *testing.F) {
	f.Add([]byte{0, 2, 1, 1, 0, 4, 2, 0}, uint16(1), true, false)
	f.Add([]byte{2, 3, 4, 0}, uint16(1), false, false)
	f.Add(bytes.Repeat([]byte{0, 1, 1, 0}, 16), uint16(8), true, false)
	f.Add([]byte{6, 5, 2, 0, 6, 5, 2, 0}, uint16(3), true, false)
	f.Add([]byte{0, 2, 0x81, 1, 0, 4, 0x82, 3, 0, 1, 0x80, 4}, uint16(0xFFFF), true, true)
	f.Add(bytes.Repeat([]byte{0, 1, 0x81, 0}, 8), uint16(0x8003), true, true)
	f.Add([]byte{2, 3, 0x84, 0, 2, 3, 0x84, 0, 6, 5, 0x82, 2}, uint16(0), false, true)
	f.Fuzz(func(t *testing.T, in []byte, idx uint16, eventIdx, packed bool) {
		r := newRig(t, 8, func(c *virtio.QueueConfig) { c.Packed, c.EventIdx, c.MaxBytes = packed, eventIdx, 1<<21 })
		graph(r, in)
		if packed {
			r.Memory.Store32(r.Avail, 2<<16|uint32(idx))
		} else {
			r.SetAvailIndex(idx)
		}
		for range 16 {
			ok, err := r.queue.Pop(&r.chain)
			if err != nil || !ok {
				break
			}
			requireWhole(t, &r.chain)
			for _, s := range r.chain.Writable { // the device may write all of it, rings included
				binary.Encode(s[:min(len(s), 4)], binary.LittleEndian, uint32(0x5A5A5A5A))
			}
			_ = r.queue.Push(r.chain.Head, 1)
			_, _ = r.queue.Notify()
		}
		_, _ = r.queue.EnableKicks()
	})
}
