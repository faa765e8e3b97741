package network

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"gvmm/virtio/vnet"
)

// deliver gives a frame to the port's guest: at once, or, while it has no
// buffers or others wait already, by way of the backlog. It does not block.
func (p *Port) deliver(h vnet.Header, segments [][]byte) {
	p.way.RLock()
	defer p.way.RUnlock()
	if p.to == nil {
		p.Stats.Unreachable.Add(1)
		return
	}
	if p.backlog.empty() && p.to.Receive(h, segments) {
		p.Stats.Out.Add(1)
		return
	}
	if !p.backlog.push(h, segments) {
		p.Stats.Dropped.Add(1)
		return
	}
	// Room may have come between the refusal and here.
	p.wakeUp()
}

func (p *Port) wakeUp() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Start implements vnet.Link.
func (p *Port) Start(r vnet.Receiver) {
	r.OnRoom(p.wakeUp)
	p.way.Lock()
	defer p.way.Unlock()
	p.to, p.drained = r, make(chan struct{})
	go p.drain(p.drained)
}

// Stop implements vnet.Link.
func (p *Port) Stop() {
	p.way.Lock()
	drained := p.drained
	p.to, p.drained = nil, nil
	p.way.Unlock()
	if drained != nil {
		p.wakeUp()
		<-drained
	}
	p.backlog.clear()
}

// drain hands the backlog on as room comes, until the port is stopped.
func (p *Port) drain(done chan struct{}) {
	defer close(done)
	for range p.wake {
		if !p.handOn(done) {
			return
		}
	}
}

// handOn is false when the port is no longer what done was started for.
func (p *Port) handOn(done chan struct{}) bool {
	p.way.RLock()
	defer p.way.RUnlock()
	if p.drained != done {
		return false
	}
	for p.backlog.next(p.to.Receive) {
		p.Stats.Out.Add(1)
		p.Stats.Backlogged.Add(1)
	}
	return true
}

// backlogBytes bounds what waits for a guest: 700 full frames, or 16 of the
// largest.
const backlogBytes = 1 << 20

// record is what stands in front of each frame in a backlog: its header and length.
const record = vnet.HeaderSize + 4

// backlog is a queue of frames in a ring of bytes, which is made when it is
// first needed.
type backlog struct {
	waiting    atomic.Int64 // frames
	mu         sync.Mutex
	ring       []byte
	head, tail uint64 // bytes taken out and put in, ever
	parts      [2][]byte
}

func (b *backlog) empty() bool { return b.waiting.Load() == 0 }

// push adds a frame, if there is room.
func (b *backlog) push(h vnet.Header, segments [][]byte) bool {
	n := 0
	for _, s := range segments {
		n += len(s)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if uint64(record+n) > backlogBytes-(b.tail-b.head) {
		return false
	}
	if b.ring == nil {
		b.ring = make([]byte, backlogBytes)
	}
	var front [record]byte
	h.Put(front[:])
	binary.LittleEndian.PutUint32(front[vnet.HeaderSize:], uint32(n))
	b.write(front[:])
	for _, s := range segments {
		b.write(s)
	}
	b.waiting.Add(1)
	return true
}

func (b *backlog) write(p []byte) {
	for len(p) > 0 {
		n := copy(b.ring[b.tail%backlogBytes:], p)
		p, b.tail = p[n:], b.tail+uint64(n)
	}
}

// next gives the first frame to receive, and takes it out if that took it.
func (b *backlog) next(receive func(vnet.Header, [][]byte) bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.head == b.tail {
		return false
	}
	var front [record]byte
	for i := range front {
		front[i] = b.ring[(b.head+uint64(i))%backlogBytes]
	}
	n := uint64(binary.LittleEndian.Uint32(front[vnet.HeaderSize:]))
	at := (b.head + record) % backlogBytes
	first := min(n, backlogBytes-at)
	b.parts[0], b.parts[1] = b.ring[at:at+first], b.ring[:n-first]
	if !receive(vnet.ParseHeader(front[:]), b.parts[:]) {
		return false
	}
	b.head += record + n
	b.waiting.Add(-1)
	return true
}

func (b *backlog) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.head = b.tail
	b.waiting.Store(0)
}
