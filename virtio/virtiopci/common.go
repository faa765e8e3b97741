package virtiopci

import (
	"encoding/binary"
)

// common is the part of the common configuration that a reset clears whole.
type common struct {
	deviceSelect, driverSelect uint32
	driverFeatures             uint64
	refused                    bool // the driver accepted a feature past bit 63
	queueSelect                uint16
}

// Offsets in struct virtio_pci_common_cfg (§4.1.4.3).
const (
	regDeviceFeatureSelect = 0
	regDeviceFeature       = 4
	regDriverFeatureSelect = 8
	regDriverFeature       = 12
	regConfigVector        = 16
	regNumQueues           = 18
	regStatus              = 20
	regGeneration          = 21
	regQueueSelect         = 22
	regQueueSize           = 24
	regQueueVector         = 26
	regQueueEnable         = 28
	regQueueNotifyOff      = 30
	regQueueDesc           = 32 // 64 bits each: desc, driver, device
	regQueueDevice         = 48
)

type commonRegion struct{ t *Transport }

// ReadMMIO implements pci.Region. Registers may be read in any width.
func (r commonRegion) ReadMMIO(off uint64, p []byte) {
	clear(p)
	if off >= commonSize {
		return
	}
	r.t.mu.Lock()
	defer r.t.mu.Unlock()
	image := r.t.commonImage()
	copy(p, image[off:])
}

// commonImage is the structure as it reads now. Registers of features that are
// not offered read zero, queue_reset among them.
func (t *Transport) commonImage() (b [commonSize]byte) {
	le := binary.LittleEndian
	le.PutUint32(b[regDeviceFeatureSelect:], t.common.deviceSelect)
	le.PutUint32(b[regDeviceFeature:], featureWord(t.offered, t.common.deviceSelect))
	le.PutUint32(b[regDriverFeatureSelect:], t.common.driverSelect)
	le.PutUint32(b[regDriverFeature:], featureWord(t.common.driverFeatures, t.common.driverSelect))
	le.PutUint16(b[regConfigVector:], uint16(t.configVector.Load()))
	le.PutUint16(b[regNumQueues:], uint16(len(t.queues)))
	b[regStatus] = uint8(t.status.Load())
	b[regGeneration] = uint8(t.generation.Load())
	le.PutUint16(b[regQueueSelect:], t.common.queueSelect)
	q := t.selected()
	if q == nil {
		le.PutUint16(b[regQueueVector:], noVector)
		return b
	}
	le.PutUint16(b[regQueueSize:], q.size)
	le.PutUint16(b[regQueueVector:], uint16(q.vector.Load()))
	if q.enabled {
		b[regQueueEnable] = 1
	}
	le.PutUint16(b[regQueueNotifyOff:], t.common.queueSelect)
	for i, addr := range q.ring {
		le.PutUint64(b[regQueueDesc+8*i:], addr)
	}
	return b
}

func featureWord(features uint64, sel uint32) uint32 {
	if sel > 1 {
		return 0
	}
	return uint32(features >> (32 * sel))
}

// selected is the queue that queue_select names, nil if there is none.
func (t *Transport) selected() *queue {
	if int(t.common.queueSelect) >= len(t.queues) {
		return nil
	}
	return &t.queues[t.common.queueSelect]
}

// WriteMMIO implements pci.Region. A register is written in its own width,
// 64-bit ones also by halves (§4.1.3.1); anything else is ignored.
func (r commonRegion) WriteMMIO(off uint64, p []byte) {
	t := r.t
	t.mu.Lock()
	defer t.mu.Unlock()
	switch len(p) {
	case 1:
		if off == regStatus {
			t.writeStatus(p[0])
		}
	case 2:
		t.write16(off, binary.LittleEndian.Uint16(p))
	case 4:
		t.write32(off, binary.LittleEndian.Uint32(p))
	case 8:
		if off%8 == 0 {
			t.writeRing(off, binary.LittleEndian.Uint32(p))
			t.writeRing(off+4, binary.LittleEndian.Uint32(p[4:]))
		}
	}
}

func (t *Transport) write16(off uint64, v uint16) {
	q := t.selected()
	switch {
	case off == regConfigVector:
		t.configVector.Store(t.vector(v))
	case off == regQueueSelect:
		t.common.queueSelect = v
	case q == nil:
	case off == regQueueVector:
		q.vector.Store(t.vector(v))
	case off == regQueueSize:
		if !q.enabled && v <= q.max && t.checkLayout(v, [3]uint64{}) == nil {
			q.size = v
		}
	case off == regQueueEnable:
		// Only ever on, and only before the device is live (§4.1.4.3.2). What
		// cannot be a queue stays off, which the driver may read back.
		live := t.status.Load()&statusDriverOK != 0
		if v == 1 && !live && t.checkLayout(q.size, q.ring) == nil {
			q.enabled = true
		}
	}
}

// vector is what a vector register holds after v was written: no vector, if
// there is none such.
func (t *Transport) vector(v uint16) uint32 {
	if int(v) >= t.msix.Vectors() {
		return noVector
	}
	return uint32(v)
}

func (t *Transport) write32(off uint64, v uint32) {
	switch off {
	case regDeviceFeatureSelect:
		t.common.deviceSelect = v
	case regDriverFeatureSelect:
		t.common.driverSelect = v
	case regDriverFeature:
		t.writeFeatures(v)
	default:
		t.writeRing(off, v)
	}
}

// writeFeatures takes 32 accepted bits, until FEATURES_OK freezes them.
func (t *Transport) writeFeatures(v uint32) {
	switch sel := t.common.driverSelect; {
	case t.status.Load()&statusFeaturesOK != 0:
	case sel > 1:
		t.common.refused = t.common.refused || v != 0
	default:
		shift := 32 * sel
		t.common.driverFeatures = t.common.driverFeatures&^(0xFFFFFFFF<<shift) | uint64(v)<<shift
	}
}

// writeRing takes half of a ring address, until queue_enable freezes it.
func (t *Transport) writeRing(off uint64, v uint32) {
	q := t.selected()
	if q == nil || q.enabled || off < regQueueDesc || off >= regQueueDevice+8 || off%4 != 0 {
		return
	}
	addr, shift := &q.ring[(off-regQueueDesc)/8], off%8*8
	*addr = *addr&^(0xFFFFFFFF<<shift) | uint64(v)<<shift
}
