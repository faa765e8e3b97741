package virtiotest

import "encoding/binary"

// Descriptor flags.
const (
	Next     = 1
	Write    = 2
	Indirect = 4
)

// Desc is a descriptor as it stands in a table.
type Desc struct {
	Addr  uint64
	Len   uint32
	Flags uint16
	Next  uint16
}

// Driver is the driver's side of a queue, split or packed. What goes only with
// one of them says so.
type Driver struct {
	Memory            *Memory
	Size              uint16
	Packed            bool
	Desc, Avail, Used uint64 // the descriptor, driver and device areas
	EventIdx          bool

	packed packedRing

	free   []uint16
	chains map[uint16][]uint16 // the descriptors of what is in flight, by head
	avail  uint16              // next entry to fill
	shown  uint16              // avail.idx as published
	used   uint16              // next entry to look at
}

// RingBytes is how much memory a driver needs for a queue.
func RingBytes(size uint16) int { return int(size)*16 + 4096 + int(size)*8 + 4096 }

// NewDriver makes a driver of a split queue whose rings stand at base, which is page aligned.
func NewDriver(m *Memory, base uint64, size uint16, eventIdx bool) *Driver {
	d := &Driver{
		Memory: m, Size: size, EventIdx: eventIdx,
		Desc:   base,
		Avail:  base + uint64(size)*16,
		Used:   base + (uint64(size)*18+6+3)&^3,
		chains: map[uint16][]uint16{},
	}
	for i := range size {
		d.free = append(d.free, size-1-i)
	}
	return d
}

// PutDesc writes descriptor i of the table at table, in the layout of split
// queues.
func (d *Driver) PutDesc(table uint64, i uint16, v Desc) {
	d.put(table+16*uint64(i), v.Addr, v.tail())
}

func (d *Driver) put(at, lo, hi uint64) {
	if at%8 != 0 { // an indirect table may stand anywhere
		b := d.Memory.Bytes(at, 16)
		binary.LittleEndian.PutUint64(b, lo)
		binary.LittleEndian.PutUint64(b[8:], hi)
		return
	}
	d.Memory.Store64(at, lo)
	d.Memory.Store64(at+8, hi)
}

func (v Desc) tail() uint64 {
	return uint64(v.Len) | uint64(v.Flags)<<32 | uint64(v.Next)<<48
}

// Add puts a chain of buffers into the queue's table and offers its head. ok
// is false if the table is too full. Next flags are filled in. Of a packed
// queue head is the buffer id.
func (d *Driver) Add(buffers ...Desc) (head uint16, ok bool) {
	if d.Packed {
		return d.packed.add(d, buffers)
	}
	if len(buffers) == 0 || len(buffers) > len(d.free) {
		return 0, false
	}
	taken := make([]uint16, len(buffers))
	for i := range taken {
		taken[i] = d.free[len(d.free)-1-i]
	}
	d.free = d.free[:len(d.free)-len(taken)]
	for i, b := range buffers {
		if i+1 < len(buffers) {
			b.Flags, b.Next = b.Flags|Next, taken[i+1]
		}
		d.PutDesc(d.Desc, taken[i], b)
	}
	d.chains[taken[0]] = taken
	d.Offer(taken[0])
	return taken[0], true
}

// AddIndirect writes buffers to a table at table and offers one descriptor
// that refers to it.
func (d *Driver) AddIndirect(table uint64, buffers ...Desc) (head uint16, ok bool) {
	for i, b := range buffers {
		if d.Packed {
			d.put(table+16*uint64(i), b.Addr, b.packedTail(0, b.Flags))
			continue
		}
		if i+1 < len(buffers) {
			b.Flags, b.Next = b.Flags|Next, uint16(i+1)
		}
		d.PutDesc(table, uint16(i), b)
	}
	return d.Add(Desc{Addr: table, Len: uint32(16 * len(buffers)), Flags: Indirect})
}

// Offer puts any head into a split queue's available ring, not yet published.
func (d *Driver) Offer(head uint16) {
	d.Memory.Store16(d.Avail+4+2*uint64(d.avail&(d.Size-1)), head)
	d.avail++
}

// Publish makes what was offered available and tells whether the device wants
// a kick for it.
func (d *Driver) Publish() (kick bool) {
	if d.Packed {
		return d.packed.publish(d)
	}
	old := d.shown
	d.shown = d.avail
	d.SetAvailIndex(d.avail)
	if d.EventIdx {
		event := d.Memory.Load16(d.Used + 4 + 8*uint64(d.Size))
		return d.shown-event-1 < d.shown-old
	}
	return d.Memory.Load16(d.Used)&1 == 0
}

// SetAvailIndex publishes any index of a split queue.
func (d *Driver) SetAvailIndex(v uint16) { d.Memory.Store16(d.Avail+2, v) }

// SetAvailFlags says whether the driver wants interrupts: 1 asks for none. With
// the event index a split queue's device does not look at it.
func (d *Driver) SetAvailFlags(v uint16) {
	if d.Packed {
		d.packed.setEvent(d, uint32(v)<<16)
		return
	}
	d.Memory.Store16(d.Avail, v)
}

// SetUsedEvent asks for an interrupt when the used index passes v. In a packed
// queue it passes as many as there are descriptors in each completed chain,
// counted from the last that Poll has seen.
func (d *Driver) SetUsedEvent(v uint16) {
	if d.Packed {
		d.packed.setEvent(d, eventDesc<<16|d.packed.word(d, d.packed.used+uint32(v-d.used)))
		return
	}
	d.Memory.Store16(d.Avail+4+2*uint64(d.Size), v)
}

// UsedIndex is used.idx as the device published it; of a packed queue it is
// how many completions stand in the ring, mod 2^16.
func (d *Driver) UsedIndex() uint16 {
	if d.Packed {
		return d.used + d.packed.unseen(d)
	}
	return d.Memory.Load16(d.Used + 2)
}

// Seen is how far Poll has come.
func (d *Driver) Seen() uint16 { return d.used }

// Slots is how many entries of the ring the chain of head takes, so how far
// its completion moves what SetUsedEvent is compared with.
func (d *Driver) Slots(head uint16) int {
	if d.Packed {
		return int(d.packed.lengths[head])
	}
	return 1
}

// Poll takes the next completion, if there is one.
func (d *Driver) Poll() (head uint16, written uint32, ok bool) {
	if d.Packed {
		return d.packed.poll(d)
	}
	if d.UsedIndex() == d.used {
		return 0, 0, false
	}
	b := d.Memory.Bytes(d.Used+4+8*uint64(d.used&(d.Size-1)), 8)
	head, written = uint16(binary.LittleEndian.Uint32(b)), binary.LittleEndian.Uint32(b[4:])
	d.used++
	d.free = append(d.free, d.chains[head]...)
	delete(d.chains, head)
	return head, written, true
}
