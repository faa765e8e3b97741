package vnet

import "gvmm/virtio"

// deviceHeader is the bytes in front of each frame in a queue: struct
// virtio_net_hdr, of which num_buffers is always a part (§5.1.6).
const deviceHeader = HeaderSize + 2

// notifyAfter bounds how many completions wait for one interrupt.
const notifyAfter = 32

// txQueue takes frames from a driver to the link.
type txQueue struct {
	machine *machine
	pair    int
	queue   *virtio.Queue
	stats   *Stats
	chain   virtio.Chain
}

// drain sends what the queue holds. It returns when the queue is empty and the
// driver knows to kick, or when the device stops.
func (t *txQueue) drain() error {
	if err := t.queue.DisableKicks(); err != nil {
		return err
	}
	for waiting := 0; !t.machine.stopping.Load(); {
		ok, err := t.queue.Pop(&t.chain)
		if err != nil {
			return err
		}
		if ok {
			t.send()
			if err := t.queue.Push(t.chain.Head, 0); err != nil {
				return err
			}
			waiting++
		}
		if waiting == notifyAfter || !ok && waiting > 0 {
			if _, err := t.queue.Notify(); err != nil {
				return err
			}
			waiting = 0
		}
		if !ok {
			if more, err := t.queue.EnableKicks(); !more || err != nil {
				return err
			}
		}
	}
	return nil
}

// send judges the popped chain's frame and gives it to the link.
func (t *txQueue) send() {
	var raw [deviceHeader]byte
	had, frame := take(raw[:], t.chain.Readable)
	n := int(t.chain.ReadLen) - deviceHeader // a chain's bytes are bounded by its queue
	if had < deviceHeader || n < EthernetSize || n > MaxFrame {
		t.stats.Malformed.Add(1)
		return
	}
	h, ok := judge(ParseHeader(raw[:]), n, t.machine.features)
	if !ok {
		t.stats.Malformed.Add(1)
		return
	}
	t.machine.steering.learn(t.pair, frame)
	if !t.machine.device.link.Transmit(h, frame) {
		t.stats.NoRoom.Add(1)
		return
	}
	t.stats.Frames.Add(1)
	t.stats.Bytes.Add(uint64(n))
}

// judge is the header of a frame of n bytes as the link gets it: only fields
// that mean something, and only what the driver has negotiated.
func judge(h Header, n int, features uint64) (Header, bool) {
	h.Flags &= HdrNeedsCsum // what else there is, only a device says
	if h.Check(n) != nil || !allowed(h, features) {
		return Header{}, false
	}
	if h.Flags == 0 {
		return Header{}, true
	}
	if h.GSOType == GSONone {
		h.GSOSize = 0
	}
	h.HdrLen = uint16(min(int(h.HdrLen), n))
	return h, true
}

// allowed tells whether a driver with these features may transmit h (§5.1.6.2.1).
func allowed(h Header, features uint64) bool {
	need := needs(h, featureCsum, featureHostTSO4, featureHostTSO6, featureHostECN)
	return features&need == need
}
