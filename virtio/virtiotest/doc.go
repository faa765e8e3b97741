// Package virtiotest is the other side of a virtio device, for tests: guest
// memory without a guest, and a driver of a split or packed queue that can also misbehave.
// Ring words are read and written atomically, so that a test may run driver and
// device side by side under the race detector.
package virtiotest
