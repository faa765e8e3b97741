package vnet

import (
	"encoding/binary"

	"gvmm/virtio"
)

// reservation is the driver's buffers for one or more frames: popped, filled
// and pushed together, or put back as if nothing had happened.
type reservation struct {
	queue     *virtio.Queue
	mergeable bool
	chains    []virtio.Chain // reused; the first popped are in use
	popped    int
	spans     []span // of each frame
	used      []virtio.Used
}

// span is the chains of one frame. Chains before it that are in no other span
// are too short for a header and go back empty.
type span struct{ first, count, bytes int }

// fit is how a search for buffers ended.
type fit int

const (
	fits    fit = iota
	noRoom      // the driver's buffers are too few at present
	tooLong     // the next buffer is too short, and frames are not spread
)

func (r *reservation) begin() { r.popped, r.spans = 0, r.spans[:0] }

// reserve finds buffers for n bytes, the device's header included, behind those
// found before; it pops nothing unless they fit.
func (r *reservation) reserve(n int) (fit, error) {
	start := r.popped
	s := span{first: start, bytes: n}
	for have := uint64(0); have < uint64(n); {
		c, ok, err := r.pop()
		if err != nil {
			return noRoom, err
		}
		if !ok {
			r.unpop(start)
			return noRoom, nil
		}
		if s.count == 0 && c.WriteLen < deviceHeader {
			s.first++
			continue
		}
		if !r.mergeable && c.WriteLen < uint64(n) {
			r.unpop(start)
			return tooLong, nil
		}
		have += c.WriteLen
		s.count++
	}
	r.spans = append(r.spans, s)
	return fits, nil
}

func (r *reservation) pop() (*virtio.Chain, bool, error) {
	if r.popped == len(r.chains) {
		r.chains = append(r.chains, virtio.Chain{})
	}
	c := &r.chains[r.popped]
	ok, err := r.queue.Pop(c)
	if ok {
		r.popped++
	}
	return c, ok, err
}

// unpop puts chains back, down to the first n.
func (r *reservation) unpop(n int) {
	for ; r.popped > n; r.popped-- {
		r.queue.Unpop(&r.chains[r.popped-1])
	}
}

// giveUp puts all back.
func (r *reservation) giveUp() {
	r.unpop(0)
	r.spans = r.spans[:0]
}

// fill writes header and frame into span i.
func (r *reservation) fill(i int, h Header, frame [][]byte) {
	s := r.spans[i]
	var raw [deviceHeader]byte
	h.Put(raw[:])
	binary.LittleEndian.PutUint16(raw[HeaderSize:], uint16(s.count))
	at := s.first
	into, _ := put(r.chains[at].Writable, raw[:])
	for _, p := range frame {
		for into, p = put(into, p); len(p) > 0; into, p = put(into, p) {
			at++
			into = r.chains[at].Writable
		}
	}
}

// commit gives all chains back to the driver at once (§5.1.6.4.1), and returns
// how many frames they hold and how many chains could hold none.
func (r *reservation) commit() (frames, malformed int, err error) {
	r.used = r.used[:0]
	for _, s := range r.spans {
		for len(r.used) < s.first {
			r.used = append(r.used, virtio.Used{Head: r.chains[len(r.used)].Head})
			malformed++
		}
		for left := s.bytes; len(r.used) < s.first+s.count; {
			c := &r.chains[len(r.used)]
			n := int(min(c.WriteLen, uint64(left)))
			r.used = append(r.used, virtio.Used{Head: c.Head, Written: uint32(n)})
			left -= n
		}
	}
	return len(r.spans), malformed, r.queue.PushAll(r.used)
}
