package vmm

import (
	"sync/atomic"

	"gvmm/vmm/serial"
)

// input feeds COM1 from Config.Input.
type input struct {
	port atomic.Pointer[serial.Port] // of the board as it is now
	room chan struct{}               // nil: nobody waits
}

// wake tells that the port may take more. It never blocks.
func (in *input) wake() {
	select {
	case in.room <- struct{}{}:
	default:
	}
}

// start reads the machine's input until the function that it returns is called; a Read under way then is not waited for.
func (in *input) start(m *Machine) (stop func()) {
	if m.config.Input == nil {
		return func() {}
	}
	done := make(chan struct{})
	in.room = make(chan struct{}, 1)
	go in.pump(m, done)
	return func() { close(done) }
}

// pump reads nothing before the guest does: a guest that never reads its serial port leaves standard input alone.
func (in *input) pump(m *Machine, done <-chan struct{}) {
	var buffer [256]byte
	for in.await(done) {
		n, err := m.config.Input.Read(buffer[:])
		for b := buffer[:n]; len(b) > 0 && in.await(done); {
			taken := in.port.Load().Receive(b)
			if b = b[taken:]; taken == 0 && !in.pause(done) {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// await waits until the guest reads its port; false when the machine has ended.
func (in *input) await(done <-chan struct{}) bool {
	for !in.port.Load().Listening() {
		if !in.pause(done) {
			return false
		}
	}
	return true
}

// pause waits for wake; false when the machine has ended.
func (in *input) pause(done <-chan struct{}) bool {
	select {
	case <-in.room:
		return true
	case <-done:
		return false
	}
}
