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

func (in *input) pump(m *Machine, done <-chan struct{}) {
	var buffer [256]byte
	for {
		n, err := m.config.Input.Read(buffer[:])
		for b := buffer[:n]; len(b) > 0; {
			if p := in.port.Load(); p.Listening() {
				b = b[p.Receive(b):]
			}
			if len(b) == 0 {
				break
			}
			select {
			case <-in.room:
			case <-done:
				return
			}
		}
		if err != nil {
			return
		}
	}
}
