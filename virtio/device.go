package virtio

// Feature bits that belong to no device type (§6).
const (
	FeatureIndirect       uint64 = 1 << 28
	FeatureEventIdx       uint64 = 1 << 29
	FeatureVersion1       uint64 = 1 << 32
	FeatureAccessPlatform uint64 = 1 << 33
	FeatureRingPacked     uint64 = 1 << 34
)

// MaxQueueSize is the largest queue (§2.7, §2.8.10.1).
const MaxQueueSize = 32768

// Device is a virtio device before a driver has activated it: what it is, and
// how it comes to life. A transport calls it from one goroutine at a time,
// except for ReadConfig and WriteConfig, which may come from any.
type Device interface {
	// Type is the device id of §5: 2 is a block device.
	Type() uint16
	// Features are the device type's own offered bits.
	Features() uint64
	// CheckFeatures refuses a subset of the offer that does not hang together.
	CheckFeatures(accepted uint64) error
	// Queues is the largest size of each queue, each a power of two.
	Queues() []uint16
	// ReadConfig fills p from device configuration space; bytes that the
	// device does not have read zero.
	ReadConfig(off uint64, p []byte)
	// WriteConfig takes a driver's write to it.
	WriteConfig(off uint64, p []byte)
	// Activate starts serving, with whatever is already in the queues. Running
	// is the sole owner of the queues until its Stop.
	Activate(Activation) (Running, error)
}

// Activation is what a driver and a transport have agreed on.
type Activation struct {
	Features uint64   // accepted, transport bits included
	Queues   []*Queue // one for each of Device.Queues, nil if not enabled
	// Fail reports a queue that serves no more: the device needs a reset.
	Fail func(queue int, err error)
	// ConfigChanged tells the driver that configuration space has changed.
	ConfigChanged func()
}

// Running is an activated device.
type Running interface {
	// Kick says that a driver may have filled a queue. It only wakes: it never
	// blocks, and any queue number at any time, also after Stop, is harmless.
	Kick(queue int)
	// Stop waits for requests under way; when it has returned no queue and no
	// guest memory is touched any more.
	Stop()
}
