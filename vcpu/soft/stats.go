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

	native       atomic.Uint64 // instructions that translated code executed, as of the last look at the clock
	translations atomic.Uint64 // blocks translated
	code         atomic.Uint64 // bytes of translated code
	codeFlushes  atomic.Uint64 // how often it was dropped as a whole
	checked      atomic.Uint64 // blocks compared with the interpreter
}

// Statistics implements vcpu.CPU: what the engine counted.
func (c *CPU) Statistics() (map[string]uint64, error) {
	s := &c.stats
	return map[string]uint64{
		"instructions": s.retired.Load(), "uintr_notified": s.notified.Load(), "uintr_notifications": s.notifications.Load(),
		"uintr_delivered": s.delivered.Load(), "blocks": s.blocks.Load(), "block_flushes": s.flushes.Load(),
		"native": s.native.Load(), "translations": s.translations.Load(), "code_bytes": s.code.Load(), "code_flushes": s.codeFlushes.Load(),
		"checked": s.checked.Load(),
	}, nil
}
