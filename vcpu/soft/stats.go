package soft

import "sync/atomic"

// counters are what a processor counts beside its exits.
type counters struct {
	notified      atomic.Uint64 // SENDUIPIs that sent an interrupt
	notifications atomic.Uint64 // vectors identified as notification
	delivered     atomic.Uint64 // user interrupts
	retired       atomic.Uint64 // instructions, as of the last look at the clock
	blocks        atomic.Uint64 // decoded
	flushes       atomic.Uint64 // of the block cache

	native       int64         // instructions that translated code executed
	translations atomic.Uint64 // blocks translated
	code         atomic.Uint64 // bytes of translated code
	codeFlushes  atomic.Uint64 // how often it was dropped
}

// Statistics implements vcpu.CPU: what the engine counted.
func (c *CPU) Statistics() (map[string]uint64, error) {
	s := &c.stats
	return map[string]uint64{
		"instructions": s.retired.Load(), "uintr_notified": s.notified.Load(), "uintr_notifications": s.notifications.Load(),
		"uintr_delivered": s.delivered.Load(), "blocks": s.blocks.Load(), "block_flushes": s.flushes.Load(),
	}, nil
}
