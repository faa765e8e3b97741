package vmm

import (
	"io"
	"sync"

	"gvmm/virtio/console"
)

// Console is what a machine's virtio console is connected to in the host. It is one machine's.
type Console struct {
	In  io.Reader // what the guest is to read, read while a driver has the console; nil is nothing
	Out io.Writer // what the guest writes; nil discards
	// MultiPort offers the driver a port with a name, Name, and control messages. Linux without a fix of 2025
	// takes columns for rows in these.
	MultiPort bool
	Name      string

	mu            sync.Mutex
	columns, rows uint16
	device        *console.Device // of the board as it is now; nil: none
}

// Resize tells the guest the window's size in characters. It may be called at any time.
func (c *Console) Resize(columns, rows int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.columns, c.rows = clamp16(columns), clamp16(rows)
	if c.device != nil {
		c.device.Resize(c.columns, c.rows)
	}
}

func clamp16(n int) uint16 { return uint16(max(0, min(n, 0xFFFF))) }

// Silent is a console of the same kind and size that is connected to nothing, for another run of the same guest. Of nil
// it is nil.
func (c *Console) Silent() *Console {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return &Console{MultiPort: c.MultiPort, Name: c.Name, columns: c.columns, rows: c.rows}
}

// addConsole puts a virtio console on the bus, if the machine is to have one.
func (m *Machine) addConsole() error {
	c := m.config.Console
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	d, err := console.New(console.Options{
		Out: c.Out, Columns: c.columns, Rows: c.rows, MultiPort: c.MultiPort, Name: c.Name,
		Inline: m.config.ICount > 0, Room: m.consoleInput.wake,
	})
	if err != nil {
		return err
	}
	c.device = d
	m.consoleInput.connect(d)
	_, err = m.addVirtio("console", d, nil)
	return err
}
