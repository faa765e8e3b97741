package vmm

import (
	"sync"
	"time"

	"gvmm/vcpu"
	"gvmm/vcpu/soft"
)

// hostClock is guest time that is the host's TSC.
type hostClock struct{ hz uint64 }

var _ soft.Clock = hostClock{}

// TSC implements soft.Clock.
func (hostClock) TSC() uint64 { return vcpu.ReadTSC() }

// Hz implements soft.Clock.
func (c hostClock) Hz() uint64 { return c.hz }

// tscHz measures the host's TSC against its monotonic clock, once a process, to
// some parts in a million.
var tscHz = sync.OnceValue(func() uint64 {
	const window = 20 * time.Millisecond
	sample := func() (time.Time, uint64) {
		// The closest of some pairs: the goroutine may be pushed aside between the two.
		var at time.Time
		var tsc, gap uint64 = 0, ^uint64(0)
		for range 16 {
			before := vcpu.ReadTSC()
			now := time.Now()
			if after := vcpu.ReadTSC(); after-before < gap {
				at, tsc, gap = now, before+(after-before)/2, after-before
			}
		}
		return at, tsc
	}
	t0, c0 := sample()
	time.Sleep(window)
	t1, c1 := sample()
	return uint64(float64(c1-c0) / t1.Sub(t0).Seconds())
})
