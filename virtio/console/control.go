package console

import (
	"encoding/binary"
	"sync"

	"gvmm/virtio"
)

// Events of control messages (§5.3.6.2).
const (
	eventDeviceReady = 0
	eventPortAdd     = 1
	eventPortReady   = 3
	eventConsolePort = 4
	eventResize      = 5
	eventPortOpen    = 6
	eventPortName    = 7
)

// controlBytes is the size of struct virtio_console_control: port, event, value.
const controlBytes = 8

// control is the conversation about the port. What the device has yet to say is
// a set, said in the order of announcements: a driver that does not listen
// makes nothing grow.
type control struct {
	device *Device
	size   bool // the driver takes sizes

	mu      sync.Mutex
	pending uint // bits of announcements
	ready   bool // the driver has the port
}

// announcements are what the device has to say, in order.
var announcements = [...]uint16{eventPortAdd, eventConsolePort, eventResize, eventPortName, eventPortOpen}

// Places in announcements.
const (
	sayAdd = 1 << iota
	sayConsole
	saySize
	sayName
	sayOpen
)

// waiting tells whether there is something to say.
func (c *control) waiting() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pending != 0
}

// command takes a message of the driver's, and tells whether there is something
// to say to it. What is short, or about another port, says nothing.
func (c *control) command(segments [][]byte) bool {
	var m [controlBytes]byte
	n := 0
	for _, s := range segments {
		n += copy(m[n:], s)
	}
	le := binary.LittleEndian
	event, value := le.Uint16(m[4:]), le.Uint16(m[6:])
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case n < controlBytes || value != 1:
	case event == eventDeviceReady:
		c.pending, c.ready = sayAdd, false
	case event == eventPortReady && le.Uint32(m[:]) == 0:
		c.ready = true
		c.pending |= sayConsole | sayOpen
		if c.size {
			c.pending |= saySize
		}
		if c.device.options.Name != "" {
			c.pending |= sayName
		}
	}
	return c.pending != 0
}

// resized has the size said, if there is a port to say it of.
func (c *control) resized() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ready {
		c.pending |= saySize
	}
	return c.ready
}

// send says one thing in the driver's buffer; as much of it as fits.
func (c *control) send(chain *virtio.Chain) (written uint32, err error) {
	m := c.next()
	for _, s := range chain.Writable {
		n := copy(s, m)
		m, written = m[n:], written+uint32(n)
	}
	return written, nil
}

// next is the message to send, which then is sent.
func (c *control) next() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, event := range announcements {
		if c.pending>>i&1 == 0 {
			continue
		}
		c.pending &^= 1 << i
		le := binary.LittleEndian
		m := le.AppendUint32(make([]byte, 0, controlBytes+maxName), 0)
		m = le.AppendUint16(m, event)
		m = le.AppendUint16(m, 1)
		switch event {
		case eventResize:
			columns, rows := c.device.size()
			m = le.AppendUint16(le.AppendUint16(m, columns), rows)
		case eventPortName:
			m = append(m, c.device.options.Name...)
		}
		return m
	}
	return nil
}
