package console

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"gvmm/virtio"
)

// ErrOptions reports options that contradict each other.
var ErrOptions = errors.New("console: options")

// Feature bits (§5.3.3).
const (
	featureSize      uint64 = 1 << 0
	featureMultiPort uint64 = 1 << 1
	featureEmergency uint64 = 1 << 2
)

// Offsets in struct virtio_console_config (§5.3.4).
const (
	cfgColumns   = 0
	cfgRows      = 2
	cfgMaxPorts  = 4
	cfgEmergency = 8
	cfgSize      = 12
)

// Queues (§5.3.2). The control queues are there with MULTIPORT only.
const (
	queueReceive = iota
	queueTransmit
	queueControlReceive
	queueControlTransmit
)

// Options shape a device.
type Options struct {
	Out           io.Writer // what the guest writes; nil discards. A write that fails is lost
	Columns, Rows uint16    // of the window; 0 is unknown
	// Room, if set, is called when Receive may take more again than it last did, and when a driver comes to life. It
	// must neither block nor call back.
	Room func()
	// MultiPort offers the control queues, by which the driver learns that its port is a console, and its name.
	MultiPort bool
	Name      string // of the port, up to maxName bytes
	// Inline writes and reads inside Kick, on its caller's goroutine.
	Inline    bool
	QueueSize uint16 // of each queue, a power of two [64]
}

// maxName bounds a port's name.
const maxName = 64

// Device is a virtio console. Receive, Resize and Listening may be called from
// any goroutine, at any time.
type Device struct {
	options Options

	outMu sync.Mutex // one writer at a time

	mu            sync.Mutex
	columns, rows uint16
	input         input
	live          *running // nil: no driver
}

var _ virtio.Device = (*Device)(nil)

// New makes a device.
func New(o Options) (*Device, error) {
	if o.QueueSize == 0 {
		o.QueueSize = 64
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	switch {
	case virtio.CheckLayout(o.QueueSize, 0, 0, 0) != nil:
		return nil, fmt.Errorf("%w: queue size %d", ErrOptions, o.QueueSize)
	case len(o.Name) > maxName:
		return nil, fmt.Errorf("%w: a name of %d bytes; %d is the longest", ErrOptions, len(o.Name), maxName)
	}
	return &Device{options: o, columns: o.Columns, rows: o.Rows}, nil
}

// Type implements virtio.Device.
func (d *Device) Type() uint16 { return 3 }

// Features implements virtio.Device.
func (d *Device) Features() uint64 {
	f := featureSize | featureEmergency
	if d.options.MultiPort {
		f |= featureMultiPort
	}
	return f
}

// CheckFeatures implements virtio.Device: any subset will do.
func (d *Device) CheckFeatures(uint64) error { return nil }

// Queues implements virtio.Device.
func (d *Device) Queues() []uint16 {
	n := d.options.QueueSize
	if d.options.MultiPort {
		return []uint16{n, n, n, n}
	}
	return []uint16{n, n}
}

// ReadConfig implements virtio.Device.
func (d *Device) ReadConfig(off uint64, p []byte) {
	clear(p)
	if off >= cfgSize {
		return
	}
	var b [cfgSize]byte
	d.mu.Lock()
	binary.LittleEndian.PutUint16(b[cfgColumns:], d.columns)
	binary.LittleEndian.PutUint16(b[cfgRows:], d.rows)
	d.mu.Unlock()
	if d.options.MultiPort {
		binary.LittleEndian.PutUint32(b[cfgMaxPorts:], 1)
	}
	copy(p, b[off:])
}

// WriteConfig implements virtio.Device: a character for a driver that has no
// queues yet, or none any more (§5.3.4).
func (d *Device) WriteConfig(off uint64, p []byte) {
	if off == cfgEmergency && len(p) > 0 {
		d.write(p[:1])
	}
}

func (d *Device) write(p []byte) {
	d.outMu.Lock()
	defer d.outMu.Unlock()
	_, _ = d.options.Out.Write(p)
}

// Activate implements virtio.Device.
func (d *Device) Activate(a virtio.Activation) (virtio.Running, error) {
	if len(a.Queues) != len(d.Queues()) {
		return nil, fmt.Errorf("%w: activated with %d queues", ErrOptions, len(a.Queues))
	}
	r := newRunning(d, a)
	d.mu.Lock()
	d.live = r
	sized := d.columns != 0 || d.rows != 0
	d.mu.Unlock()
	if sized && r.control == nil {
		r.resized() // Linux looks at the size only when it is told of a change
	}
	d.room()
	return r, nil
}

// Listening tells whether there is a driver that Receive's bytes can go to.
func (d *Device) Listening() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.live != nil
}

// Receive gives the guest input and returns how much of it there is room for
// now.
func (d *Device) Receive(b []byte) int {
	d.mu.Lock()
	n := d.input.put(b)
	live := d.live
	d.mu.Unlock()
	if n > 0 && live != nil {
		live.Kick(queueReceive)
	}
	return n
}

// take fills the driver's buffers with input.
func (d *Device) take(segments [][]byte) (n int) {
	d.mu.Lock()
	for _, s := range segments {
		n += d.input.take(s)
	}
	room := d.input.hasRoom()
	d.mu.Unlock()
	if room {
		d.room()
	}
	return n
}

func (d *Device) room() {
	if d.options.Room != nil {
		d.options.Room()
	}
}

// waiting tells whether there is input.
func (d *Device) waiting() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.input.held > 0
}

// Resize tells the driver a new window size, in characters.
func (d *Device) Resize(columns, rows uint16) {
	d.mu.Lock()
	changed := columns != d.columns || rows != d.rows
	d.columns, d.rows = columns, rows
	live := d.live
	d.mu.Unlock()
	if changed && live != nil {
		live.resized()
	}
}

// size is the window's.
func (d *Device) size() (columns, rows uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.columns, d.rows
}
