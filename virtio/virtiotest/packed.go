package virtiotest

// Descriptor flags of packed queues, and what an event suppression structure
// asks for.
const (
	Avail = 1 << 7
	Used  = 1 << 15

	eventDisable = 1
	eventDesc    = 2
	eventWrap    = 0x8000
)

// packedRing is a driver's state of a packed queue. Places count modulo twice
// the queue's size; the first round has the wrap counter at 1.
type packedRing struct {
	next, shown uint32 // where the next chain goes; what the device was told of
	used        uint32 // where the next completion will stand
	room        uint32 // descriptors
	ids         []uint16
	lengths     []uint16 // descriptors of what is in flight, by buffer id
	pending     []held
}

// held is the second half of a chain's first descriptor, which makes the chain
// available.
type held struct{ addr, hi uint64 }

// NewPacked makes a driver of a packed queue whose areas stand at base, which
// is page aligned.
func NewPacked(m *Memory, base uint64, size uint16, eventIdx bool) *Driver {
	d := &Driver{
		Memory: m, Size: size, Packed: true, EventIdx: eventIdx,
		Desc: base, Avail: base + uint64(size)*16, Used: base + uint64(size)*16 + 4,
		packed: packedRing{room: uint32(size), lengths: make([]uint16, size)},
	}
	for i := range size {
		d.packed.ids = append(d.packed.ids, size-1-i)
	}
	return d
}

func (v Desc) packedTail(id, flags uint16) uint64 {
	return uint64(v.Len) | uint64(id)<<32 | uint64(flags)<<48
}

// PutPacked writes slot i of a packed queue's ring, flags and all; Next is the
// buffer id.
func (d *Driver) PutPacked(i uint16, v Desc) {
	d.put(d.Desc+16*uint64(i), v.Addr, v.packedTail(v.Next, v.Flags))
}

// place is a slot and its wrap counter.
func (p *packedRing) place(d *Driver, at uint32) (slot uint32, wrap bool) {
	at %= 2 * uint32(d.Size)
	return at % uint32(d.Size), at < uint32(d.Size)
}

// word is a place as event suppression structures have it.
func (p *packedRing) word(d *Driver, at uint32) uint32 {
	slot, wrap := p.place(d, at)
	if wrap {
		slot |= eventWrap
	}
	return slot
}

func (p *packedRing) setEvent(d *Driver, word uint32) { d.Memory.Store32(d.Avail, word) }

func (p *packedRing) add(d *Driver, buffers []Desc) (id uint16, ok bool) {
	n := uint32(len(buffers))
	if n == 0 || n > p.room {
		return 0, false
	}
	id = p.ids[len(p.ids)-1]
	p.ids = p.ids[:len(p.ids)-1]
	p.room -= n
	p.lengths[id] = uint16(n)
	for i, b := range buffers {
		slot, wrap := p.place(d, p.next+uint32(i))
		flags := b.Flags | Used
		if wrap {
			flags = b.Flags | Avail
		}
		if i+1 < len(buffers) {
			flags |= Next
		}
		at, hi := d.Desc+16*uint64(slot), b.packedTail(id, flags)
		d.Memory.Store64(at, b.Addr)
		if i == 0 {
			p.pending = append(p.pending, held{at + 8, hi})
		} else {
			d.Memory.Store64(at+8, hi)
		}
	}
	p.next = (p.next + n) % (2 * uint32(d.Size))
	return id, true
}

func (p *packedRing) publish(d *Driver) (kick bool) {
	for _, h := range p.pending {
		d.Memory.Store64(h.addr, h.hi)
	}
	p.pending = p.pending[:0]
	round := 2 * uint32(d.Size)
	old := p.shown
	p.shown = p.next
	word := d.Memory.Load32(d.Used)
	if word>>16 != eventDesc {
		return word>>16 != eventDisable
	}
	event := word & (eventWrap - 1)
	if word&eventWrap == 0 {
		event += uint32(d.Size)
	}
	return (event+round-old)%round < (p.shown+round-old)%round
}

// completed reads the used descriptor at a place, if it is one.
func (p *packedRing) completed(d *Driver, at uint32) (id uint16, written uint32, ok bool) {
	slot, wrap := p.place(d, at)
	hi := d.Memory.Load64(d.Desc + 16*uint64(slot) + 8)
	avail, used := hi>>48&Avail != 0, hi>>48&Used != 0
	return uint16(hi >> 32), uint32(hi), avail == wrap && used == wrap
}

// unseen counts the completions that Poll has not taken.
func (p *packedRing) unseen(d *Driver) (n uint16) {
	for at := p.used; n < d.Size; n++ {
		id, _, ok := p.completed(d, at)
		if !ok || id >= d.Size || p.lengths[id] == 0 {
			break
		}
		at += uint32(p.lengths[id])
	}
	return n
}

func (p *packedRing) poll(d *Driver) (id uint16, written uint32, ok bool) {
	id, written, ok = p.completed(d, p.used)
	if !ok {
		return 0, 0, false
	}
	n := uint32(p.lengths[id])
	p.lengths[id] = 0
	p.ids = append(p.ids, id)
	p.room += n
	p.used = (p.used + n) % (2 * uint32(d.Size))
	d.used++
	return id, written, true
}
