package network

import (
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"gvmm/virtio/vnet"
)

// Bounds of what waits for the guest's buffers. A frame that comes when they
// are reached is dropped, as by any router.
const (
	queueFrames = 1024
	queueBytes  = 8 << 20
)

// gsoMaxSize is the largest IP packet that is handed over unsegmented.
const gsoMaxSize = 65535

// wire is the stack's link: frames from the guest go into the stack on their
// sender's goroutine, frames to the guest through one queue and one goroutine,
// since the stack writes with its locks held.
type wire struct {
	user *User
	mtu  uint32
	mac  tcpip.LinkAddress

	attached   sync.RWMutex
	dispatcher stack.NetworkDispatcher

	mu      sync.Mutex // guards the queue
	queue   []*stack.PacketBuffer
	bytes   int
	started bool

	wake chan struct{} // frames came, or room did

	closed atomic.Bool // nothing goes in any more

	receiving sync.Mutex // held while the receiver is called
	receiver  vnet.Receiver
	refused   *stack.PacketBuffer // the frame that the receiver had no buffers for
	segments  [][]byte
}

var (
	_ stack.LinkEndpoint = (*wire)(nil)
	_ stack.GSOEndpoint  = (*wire)(nil)
)

func newWire(u *User) *wire {
	return &wire{
		user: u, mtu: uint32(u.config.MTU), mac: tcpip.LinkAddress(u.config.MAC),
		wake: make(chan struct{}, 1),
	}
}

// transmit takes a frame of the guest's. Its bytes are copied once, and the
// copy is judged.
func (w *wire) transmit(h vnet.Header, segments [][]byte) bool {
	size := 0
	for _, s := range segments {
		size += len(s)
	}
	longest := int(w.mtu) + vnet.EthernetSize
	if h.GSOType != vnet.GSONone {
		longest = vnet.MaxFrame
	}
	stats := &w.user.stats
	if size < vnet.EthernetSize || size > longest {
		stats.TxDrops.Add(1)
		return true
	}
	var eth [vnet.EthernetSize]byte
	view := buffer.NewViewSize(size - vnet.EthernetSize)
	gather(eth[:], view.AsSlice(), segments)

	kind, ok := w.user.admit(eth[:], view.AsSlice())
	w.attached.RLock()
	d := w.dispatcher
	w.attached.RUnlock()
	if !ok || d == nil || w.closed.Load() {
		view.Release()
		stats.TxDrops.Add(1)
		return true
	}
	stats.TxFrames.Add(1)
	stats.TxBytes.Add(uint64(size))
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(view)})
	defer pkt.DecRef()
	pkt.PktType = kind
	d.DeliverNetworkPacket(header.Ethernet(eth[:]).Type(), pkt)
	return true
}

// gather copies segments to head, then to body. Together they are as long.
func gather(head, body []byte, segments [][]byte) {
	for _, s := range segments {
		n := copy(head, s)
		head = head[n:]
		body = body[copy(body, s[n:]):]
	}
}

// WritePackets implements stack.LinkWriter. What the queue has no room for is
// dropped without an error: the guest's protocols notice.
func (w *wire) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	list := pkts.AsSlice()
	w.mu.Lock()
	for _, pkt := range list {
		if !w.started || len(w.queue) >= queueFrames || w.bytes+pkt.Size() > queueBytes {
			w.user.stats.RxDrops.Add(1)
			continue
		}
		w.queue = append(w.queue, pkt.Clone())
		w.bytes += pkt.Size()
	}
	w.mu.Unlock()
	w.signal()
	return len(list), nil
}

func (w *wire) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run hands the queue's frames to the receiver, until the network is closed.
func (w *wire) run() {
	var batch []*stack.PacketBuffer
	for {
		select {
		case <-w.user.ctx.Done():
			return
		case <-w.wake:
		}
		for w.flushRefused() {
			if batch = w.takeAll(batch[:0]); len(batch) == 0 {
				break
			}
			w.deliver(batch)
		}
	}
}

// takeAll moves the queue's frames to into, whose storage becomes the queue's.
func (w *wire) takeAll(into []*stack.PacketBuffer) []*stack.PacketBuffer {
	w.mu.Lock()
	defer w.mu.Unlock()
	into, w.queue = w.queue, into
	w.bytes = 0
	return into
}

// flushRefused tries the frame again that there were no buffers for. False:
// there are none still.
func (w *wire) flushRefused() bool {
	w.receiving.Lock()
	defer w.receiving.Unlock()
	pkt := w.refused
	if pkt == nil {
		return true
	}
	if w.receiver != nil && !w.receive(pkt) {
		return false
	}
	w.refused = nil
	pkt.DecRef()
	return true
}

// deliver hands frames over. From the first that there are no buffers for on,
// they go back to the queue's head.
func (w *wire) deliver(batch []*stack.PacketBuffer) {
	w.receiving.Lock()
	defer w.receiving.Unlock()
	for i, pkt := range batch {
		if w.receiver == nil {
			w.user.stats.RxDrops.Add(1)
		} else if !w.receive(pkt) {
			w.refused = pkt
			w.putBack(batch[i+1:])
			return
		}
		pkt.DecRef()
	}
}

// putBack puts frames in front of those that came meanwhile, within the bounds.
func (w *wire) putBack(frames []*stack.PacketBuffer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	newer := w.queue
	w.queue = make([]*stack.PacketBuffer, 0, len(frames)+len(newer))
	w.bytes = 0
	for _, list := range [][]*stack.PacketBuffer{frames, newer} {
		for _, pkt := range list {
			if !w.started || len(w.queue) >= queueFrames || w.bytes+pkt.Size() > queueBytes {
				w.user.stats.RxDrops.Add(1)
				pkt.DecRef()
				continue
			}
			w.queue = append(w.queue, pkt)
			w.bytes += pkt.Size()
		}
	}
}

// receive hands one frame to the receiver, which is there.
func (w *wire) receive(pkt *stack.PacketBuffer) bool {
	views, skip := pkt.AsViewList()
	w.segments = w.segments[:0]
	for v := views.Front(); v != nil; v = v.Next() {
		b := v.AsSlice()
		n := min(skip, len(b))
		skip -= n
		if n < len(b) {
			w.segments = append(w.segments, b[n:])
		}
	}
	ok := w.receiver.Receive(offloads(pkt), w.segments)
	clear(w.segments)
	if ok {
		w.user.stats.RxFrames.Add(1)
		w.user.stats.RxBytes.Add(uint64(pkt.Size()))
	}
	return ok
}

// offloads is what pkt leaves to the guest.
func offloads(pkt *stack.PacketBuffer) vnet.Header {
	var h vnet.Header
	gso := &pkt.GSOOptions
	if gso.Type == stack.GSONone {
		return h
	}
	if gso.NeedsCsum {
		h.Flags = vnet.HdrNeedsCsum
		h.CsumStart = vnet.EthernetSize + gso.L3HdrLen
		h.CsumOffset = gso.CsumOffset
	}
	if pkt.Data().Size() <= int(gso.MSS) {
		return h
	}
	h.HdrLen = uint16(pkt.HeaderSize())
	h.GSOSize = gso.MSS
	h.GSOType = vnet.GSOTCPv4
	if gso.Type == stack.GSOTCPv6 {
		h.GSOType = vnet.GSOTCPv6
	}
	return h
}

func (w *wire) start(r vnet.Receiver) {
	w.receiving.Lock()
	w.receiver = r
	w.receiving.Unlock()
	r.OnRoom(w.signal)
	w.mu.Lock()
	w.started = true
	w.mu.Unlock()
}

// stop returns when the receiver is not called any more, and drops what waits.
func (w *wire) stop() {
	w.mu.Lock()
	w.started = false
	waiting := w.queue
	w.queue, w.bytes = nil, 0
	w.mu.Unlock()
	for _, pkt := range waiting {
		pkt.DecRef()
	}
	w.user.stats.RxDrops.Add(uint64(len(waiting)))
	w.receiving.Lock()
	defer w.receiving.Unlock()
	w.receiver = nil
	if w.refused != nil {
		w.refused.DecRef()
		w.refused = nil
		w.user.stats.RxDrops.Add(1)
	}
}

// Attach implements stack.NetworkLinkEndpoint.
func (w *wire) Attach(d stack.NetworkDispatcher) {
	w.attached.Lock()
	defer w.attached.Unlock()
	w.dispatcher = d
}

// IsAttached implements stack.NetworkLinkEndpoint.
func (w *wire) IsAttached() bool {
	w.attached.RLock()
	defer w.attached.RUnlock()
	return w.dispatcher != nil
}

// Capabilities implements stack.NetworkLinkEndpoint. Checksums are not looked
// at: a guest that leaves them to the link sends none.
func (w *wire) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload | stack.CapabilityResolutionRequired
}

// AddHeader implements stack.NetworkLinkEndpoint.
func (w *wire) AddHeader(pkt *stack.PacketBuffer) {
	header.Ethernet(pkt.LinkHeader().Push(header.EthernetMinimumSize)).Encode(&header.EthernetFields{
		SrcAddr: pkt.EgressRoute.LocalLinkAddress,
		DstAddr: pkt.EgressRoute.RemoteLinkAddress,
		Type:    pkt.NetworkProtocolNumber,
	})
}

// ParseHeader implements stack.NetworkLinkEndpoint. Frames come in without one.
func (w *wire) ParseHeader(*stack.PacketBuffer) bool { return true }

// The rest of stack.NetworkLinkEndpoint and stack.GSOEndpoint.

func (w *wire) MTU() uint32                             { return w.mtu }
func (w *wire) SetMTU(uint32)                           {}
func (w *wire) MaxHeaderLength() uint16                 { return header.EthernetMinimumSize }
func (w *wire) LinkAddress() tcpip.LinkAddress          { return w.mac }
func (w *wire) SetLinkAddress(tcpip.LinkAddress)        {}
func (w *wire) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }
func (w *wire) GSOMaxSize() uint32                      { return gsoMaxSize }
func (w *wire) SupportedGSO() stack.SupportedGSO        { return stack.HostGSOSupported }
func (w *wire) Wait()                                   {}
func (w *wire) Close()                                  {}
func (w *wire) SetOnCloseAction(func())                 {}
