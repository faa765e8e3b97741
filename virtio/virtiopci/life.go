package virtiopci

import "gvmm/virtio"

// Device status bits (§2.1).
const (
	statusAcknowledge = 1
	statusDriver      = 2
	statusDriverOK    = 4
	statusFeaturesOK  = 8
	statusNeedsReset  = 64
	statusFailed      = 128
)

// writeStatus takes the driver's status. Bits only ever come, in order, until
// 0 resets. t.mu is held.
func (t *Transport) writeStatus(v uint8) {
	if v == 0 {
		t.reset()
		return
	}
	if t.closed {
		return
	}
	wanted := uint32(v) &^ t.status.Load()
	first := wanted & (statusAcknowledge | statusDriver | statusFailed)
	have := t.status.Or(first) | first
	if wanted&statusFeaturesOK != 0 && have&statusDriver != 0 && have&statusAcknowledge != 0 && t.featuresOK() {
		have |= statusFeaturesOK
		t.status.Or(statusFeaturesOK)
	}
	if wanted&statusDriverOK != 0 && have&statusFeaturesOK != 0 && have&statusFailed == 0 {
		t.status.Or(statusDriverOK)
		t.activate()
	}
}

// featuresOK judges what the driver accepted (§2.2, §3.1.1).
func (t *Transport) featuresOK() bool {
	f := t.common.driverFeatures
	switch {
	case t.common.refused, f&^t.offered != 0, f&virtio.FeatureVersion1 == 0:
		return false
	case t.options.Platform == PlatformRequired && f&virtio.FeatureAccessPlatform == 0:
		return false
	}
	return t.device.CheckFeatures(f) == nil
}

// activate builds the enabled queues and starts the device. t.mu is held.
func (t *Transport) activate() {
	a := virtio.Activation{
		Features:      t.common.driverFeatures,
		Queues:        make([]*virtio.Queue, len(t.queues)),
		Fail:          t.fail,
		ConfigChanged: t.configChanged,
	}
	for i := range t.queues {
		if !t.queues[i].enabled {
			continue
		}
		q, err := virtio.NewQueue(t.queueConfig(i))
		if err != nil {
			t.fail(i, err)
			return
		}
		a.Queues[i] = q
		t.open = append(t.open, q)
	}
	running, err := t.device.Activate(a)
	if err != nil {
		t.fail(-1, err)
		return
	}
	t.running.Store(&active{running})
	// A doorbell may have rung before there was anything to kick.
	for i := range t.queues {
		running.Kick(i)
	}
}

// packed tells which format the driver's queues have. It is settled with
// FEATURES_OK; t.mu is held.
func (t *Transport) packed() bool {
	return t.common.driverFeatures&t.offered&virtio.FeatureRingPacked != 0
}

// checkLayout tells whether a queue of the driver's format can stand there.
func (t *Transport) checkLayout(size uint16, ring [3]uint64) error {
	if t.packed() {
		return virtio.CheckPackedLayout(size, ring[0], ring[1], ring[2])
	}
	return virtio.CheckLayout(size, ring[0], ring[1], ring[2])
}

func (t *Transport) queueConfig(i int) virtio.QueueConfig {
	q, features := &t.queues[i], t.common.driverFeatures
	c := virtio.QueueConfig{
		Packed: t.packed(), Size: q.size, Desc: q.ring[0], Avail: q.ring[1], Used: q.ring[2],
		EventIdx:  features&virtio.FeatureEventIdx != 0,
		Indirect:  features&virtio.FeatureIndirect != 0,
		DMA:       t.options.DMA,
		MaxBytes:  t.options.MaxBytes,
		Counters:  &q.counters,
		Interrupt: func() { t.interrupt(&q.vector, isrQueue) },
		Ready:     t.function.BusMaster,
	}
	if stamp := t.options.Stamp; stamp != nil {
		c.OnUsed = func(index uint16) { stamp(i, index) }
	}
	return c
}

// fail marks the device as in need of a reset and tells the driver (§2.1.2).
// It takes no lock: a reset may be waiting for the caller.
func (t *Transport) fail(queue int, err error) {
	t.status.Or(statusNeedsReset)
	if t.options.Failed != nil {
		t.options.Failed(queue, err)
	}
	t.configChanged()
}

// reset stops the device, waits for it, and clears what the driver set. t.mu
// is held, so the driver reads status 0 only when all of it is done.
func (t *Transport) reset() {
	if r := t.running.Swap(nil); r != nil {
		r.Stop()
	}
	for _, q := range t.open {
		q.Close()
	}
	t.open = nil
	t.clear()
}

// clear is the state after a reset.
func (t *Transport) clear() {
	t.common = common{}
	t.status.Store(0)
	t.isr.Store(0)
	t.configVector.Store(noVector)
	for i := range t.queues {
		q := &t.queues[i]
		q.size, q.enabled, q.ring = q.max, false, [3]uint64{}
		q.vector.Store(noVector)
	}
}
