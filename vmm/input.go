package vmm

import (
	"io"
	"sync/atomic"
)

// input feeds a port of the guest's from the host.
type input struct {
	port atomic.Pointer[inputPort] // of the board as it is now
	room chan struct{}             // nil: nobody waits
}

// inputPort is COM1 or a console.
type inputPort interface {
	// Receive returns how much of b there was room for.
	Receive(b []byte) int
	// Listening tells whether the guest reads the port.
	Listening() bool
}

// connect is for each board's port, before it runs.
func (in *input) connect(p inputPort) { in.port.Store(&p) }

func (in *input) receive(b []byte) int { return (*in.port.Load()).Receive(b) }

// wake tells that the port may take more. It never blocks.
func (in *input) wake() {
	select {
	case in.room <- struct{}{}:
	default:
	}
}

// start reads from until the function that it returns is called; a Read under way then is not waited for.
func (in *input) start(from io.Reader) (stop func()) {
	if from == nil {
		return func() {}
	}
	done := make(chan struct{})
	in.room = make(chan struct{}, 1)
	go in.pump(from, done)
	return func() { close(done) }
}

// pump reads nothing before the guest does: a guest that never reads its port leaves standard input alone.
func (in *input) pump(from io.Reader, done <-chan struct{}) {
	var buffer [256]byte
	for in.await(done) {
		n, err := from.Read(buffer[:])
		for b := buffer[:n]; len(b) > 0 && in.await(done); {
			taken := in.receive(b)
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
	for !(*in.port.Load()).Listening() {
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
