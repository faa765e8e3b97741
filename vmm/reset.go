package vmm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrPanic is a guest whose kernel panicked, by its own account.
var ErrPanic = errors.New("vmm: the guest's kernel panicked")

// ErrReset is a guest that reset its machine, where the configuration has that end it.
var ErrReset = errors.New("vmm: the guest reset the machine")

// Linux leaves the mode of a restart in the BIOS's data area. With "reboot=panic_warm" on its command line a warm one
// follows a panic and nothing else.
const (
	warmFlag  = 0x472
	warmMagic = 0x1234
	panicWarm = "reboot=panic_warm"
)

// reset is the guest's wish, on a processor's goroutine. The machine begins anew when all processors have left it.
func (m *Machine) reset() {
	err := m.resetEnds()
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.ended || m.again:
		return
	case err != nil:
		m.ended, m.failed = true, err
	default:
		m.again = true
	}
	m.stopCPUsLocked()
}

// resetEnds is why a reset ends the machine, nil if it does not.
func (m *Machine) resetEnds() error {
	var mode [2]byte
	if slices.Contains(strings.Fields(m.config.Command), panicWarm) && m.memory != nil &&
		m.memory.ReadAt(mode[:], warmFlag) == nil && binary.LittleEndian.Uint16(mode[:]) == warmMagic {
		return ErrPanic
	}
	if m.config.NoReset {
		return ErrReset
	}
	if m.debugger != nil {
		return fmt.Errorf("%w, which a debugger does not follow", ErrReset)
	}
	return nil
}

// restarts tells whether the processors stopped for a reset and nothing else.
func (m *Machine) restarts() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.again && !m.ended
}

// restart builds the machine anew, on the same disks. No processor runs.
func (m *Machine) restart() error {
	for _, d := range m.devices {
		d.transport.Close() // no write after the question
	}
	m.wrote = m.wrote || m.diskWritten()
	m.mu.Lock()
	m.again, m.running = false, nil
	m.resets++
	m.mu.Unlock()
	if err := m.board.close(); err != nil {
		return err
	}
	m.mu.Lock()
	m.board = board{}
	m.mu.Unlock()
	m.config.Probe = m.probe
	defer m.input.wake()
	defer m.consoleInput.wake()
	return m.build()
}
