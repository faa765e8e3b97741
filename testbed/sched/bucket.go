package sched

import "time"

// An interruptBucket is a tenant's: a token for each direct scheduling, kept as the
// time at which it will be full again (the generic cell rate algorithm).
type interruptBucket struct {
	every Time // ns a token; 0: no token ever
	depth Time // every × burst
	full  Time
}

func (b *interruptBucket) has(now Time) bool {
	return b.every > 0 && max(b.full, now)+b.every-now <= b.depth
}

func (b *interruptBucket) take(now Time) { b.full = max(b.full, now) + b.every }

// A timeBucket is a CPU's: ns of urgent time, refilled by its share.
// In any window of t ns, no more than burst + share·t is run from it.
type timeBucket struct {
	level, burst int64 // in 2^-16 ns
	share        int64 // in 2^-16
	at           Time
}

const bucketShift = 16

func newTimeBucket(share float64, burst time.Duration) timeBucket {
	b := int64(burst) << bucketShift
	return timeBucket{level: b, burst: b, share: int64(share * (1 << bucketShift))}
}

func (b *timeBucket) fill(now Time) {
	const enough = Time(time.Hour) // fills any bucket with a share, and does not overflow
	b.level = min(b.burst, b.level+int64(min(now-b.at, enough))*b.share)
	b.at = now
}

func (b *timeBucket) has(now Time, d time.Duration) bool {
	b.fill(now)
	return b.level >= int64(d)<<bucketShift
}

// take takes d, which may be below 0: what was not used, given back.
func (b *timeBucket) take(now Time, d time.Duration) {
	b.fill(now)
	b.level = min(b.burst, b.level-int64(d)<<bucketShift)
}
