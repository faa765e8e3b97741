package blk

import (
	"time"

	"golang.org/x/time/rate"
)

// Limits bound how fast a device serves, all queues together, by token
// buckets. A rate of 0 is no limit.
type Limits struct {
	BytesPerSecond, OpsPerSecond uint64
	BurstBytes                   uint64 // [what BytesPerSecond allows in a second], at least 64 KiB
	BurstOps                     uint64 // [what OpsPerSecond allows in a second]
}

// minBurstBytes keeps the steps in which a large request is charged few.
const minBurstBytes = 64 << 10

// limiter holds a device's buckets; nil without limits.
type limiter struct {
	bytes, ops *rate.Limiter // nil: no limit
}

func newLimiter(l Limits) *limiter {
	if l.BytesPerSecond == 0 && l.OpsPerSecond == 0 {
		return nil
	}
	return &limiter{
		bytes: bucket(l.BytesPerSecond, max(l.BurstBytes, minBurstBytes), l.BurstBytes == 0),
		ops:   bucket(l.OpsPerSecond, l.BurstOps, l.BurstOps == 0),
	}
}

// bucket fills with perSecond tokens and holds burst, or what comes in a
// second if that is more and byDefault.
func bucket(perSecond, burst uint64, byDefault bool) *rate.Limiter {
	if perSecond == 0 {
		return nil
	}
	if byDefault {
		burst = max(burst, perSecond)
	}
	return rate.NewLimiter(rate.Limit(perSecond), int(min(burst, 1<<62)))
}

// charge takes a request's tokens, and returns how long it has to wait for
// them. One that takes more than a bucket holds leaves it in debt.
func (l *limiter) charge(r *request) time.Duration {
	now, wait := time.Now(), time.Duration(0)
	if l.ops != nil {
		wait = l.ops.ReserveN(now, 1).DelayFrom(now)
	}
	if l.bytes == nil || r.kind != typeIn && r.kind != typeOut {
		return wait
	}
	for left := r.size; left > 0; {
		part := min(left, uint64(l.bytes.Burst()))
		wait = max(wait, l.bytes.ReserveN(now, int(part)).DelayFrom(now))
		left -= part
	}
	return wait
}

// throttle waits until the limits allow r, and holds up this queue only. It
// returns false if the device stops meanwhile.
func (e *engine) throttle(r *request) bool {
	wait := e.device.limiter.charge(r)
	if wait <= 0 {
		return true
	}
	e.stats.Delayed.Add(1)
	e.commit()
	if e.timer == nil {
		e.timer = time.NewTimer(wait)
	} else {
		e.timer.Reset(wait)
	}
	select {
	case <-e.timer.C:
		return true
	case <-e.machine.stopped:
		e.timer.Stop()
		return false
	}
}
