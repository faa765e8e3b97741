package gdb

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"gvmm/vcpu"
)

// writeTime is how long a debugger may take to read a reply.
const writeTime = 5 * time.Second

// server speaks with one debugger.
type server struct {
	conn   net.Conn
	target Target
	in     <-chan message
	noAck  bool
	last   []byte // the last reply, framed
	failed error  // of a write

	running bool
	thread  int // of g, m and their like: the last stop's, or H's
	only    int // of c and s, by Hc; -1 is all
	stop    Stop

	soft    []uint64 // Z0
	hard    []uint64 // Z1
	watches []vcpu.Watch
	reasons [2]bool // the debugger understands swbreak, hwbreak
}

// errors that end a session.
var (
	errDetach = errors.New("gdb: detached")
	errKill   = errors.New("gdb: killed")
	errExited = errors.New("gdb: the machine has ended")
)

// Serve lets one debugger at target until it detaches, kills the machine or goes
// away, or the machine ends, and closes conn. The machine is stopped when the first
// packet comes: a connection that says nothing does nothing.
func Serve(conn net.Conn, target Target) error {
	in := make(chan message)
	done := make(chan struct{})
	finished := make(chan error, 1)
	go func() {
		defer close(in)
		r := reader{bufio.NewReader(conn)}
		for {
			m, err := r.next()
			if err != nil {
				finished <- err
				return
			}
			select {
			case in <- m:
			case <-done:
				finished <- nil
				return
			}
		}
	}()
	s := &server{conn: conn, target: target, in: in, only: -1}
	err := s.serve()
	close(done)
	_ = conn.Close()
	if lost := <-finished; err == nil && errors.Is(lost, ErrProtocol) {
		err = lost
	}
	return err
}

// serve is the session. It returns nil if the debugger went away.
func (s *server) serve() error {
	first, ok := s.first()
	if !ok {
		return nil
	}
	if err := s.target.Attach(); err != nil {
		return nil
	}
	for m := first; ok && s.failed == nil; m, ok = s.next() {
		switch err := s.take(m); err {
		case nil:
		case errDetach:
			s.target.Detach()
			return nil
		case errKill:
			s.target.Kill()
			return nil
		case errExited:
			return nil
		default:
			s.target.Detach()
			return err
		}
	}
	s.target.Detach()
	return nil
}

// first waits for a debugger to say something, unless the machine ends before. What
// stopped for a debugger that has gone is nobody's business.
func (s *server) first() (message, bool) {
	for {
		select {
		case m, ok := <-s.in:
			return m, ok
		case stop := <-s.target.Stops():
			if stop.Exited {
				return message{}, false
			}
		}
	}
}

// next waits for what the debugger says; a stop that comes first is told.
func (s *server) next() (message, bool) {
	for {
		select {
		case m, ok := <-s.in:
			return m, ok
		case stop := <-s.target.Stops():
			if !s.stopped(stop) {
				return message{}, false
			}
		}
	}
}

// stopped tells the debugger about a stop; false if there is nobody to talk about
// any more.
func (s *server) stopped(stop Stop) bool {
	if stop.Exited && !s.running {
		return false
	}
	s.running = false
	s.stop = stop
	if !stop.Exited {
		s.thread = stop.Thread
	}
	s.reply(s.stopReply())
	return !stop.Exited
}

func (s *server) take(m message) error {
	switch m.kind {
	case ack:
	case nak:
		s.write(s.last)
	case damaged:
		if !s.noAck {
			s.write([]byte{'-'})
		}
	case interrupt:
		if s.running {
			s.target.Interrupt()
		}
	case packet:
		if !s.noAck {
			s.write([]byte{'+'})
		}
		if s.running {
			return nil // all threads stop together: nothing is answered before
		}
		return s.command(m.data)
	}
	return nil
}

func (s *server) reply(data []byte) {
	s.last = frame(data)
	s.write(s.last)
}

func (s *server) replyString(text string) { s.reply([]byte(text)) }

func (s *server) write(p []byte) {
	_ = s.conn.SetWriteDeadline(time.Now().Add(writeTime))
	if _, err := s.conn.Write(p); err != nil && s.failed == nil {
		s.failed = err
	}
}

// Signals as the protocol numbers them.
const (
	signalInt  = 2
	signalTrap = 5
	signalAbrt = 6
)

// stopReply is the answer to ?, and what follows a resumption.
func (s *server) stopReply() []byte {
	stop := s.stop
	switch {
	case stop.Exited && stop.Status < 0:
		return fmt.Appendf(nil, "X%02x", signalAbrt)
	case stop.Exited:
		return fmt.Appendf(nil, "W%02x", uint8(stop.Status))
	}
	signal := signalTrap
	reason := ""
	switch t := stop.Trap; {
	case stop.Failed:
		signal = signalAbrt
	case t == nil:
		signal = signalInt
	case t.Kind == vcpu.TrapBreak:
		switch soft := slices.Contains(s.soft, t.Addr); {
		case soft && s.reasons[0]:
			reason = "swbreak:;"
		case !soft && s.reasons[1]:
			reason = "hwbreak:;"
		}
	case t.Kind == vcpu.TrapWatch:
		name := "awatch"
		switch {
		case !t.Watch.Read:
			name = "watch"
		case !t.Watch.Write:
			name = "rwatch"
		}
		reason = fmt.Sprintf("%s:%x;", name, t.Addr)
	}
	out := fmt.Appendf(nil, "T%02x", signal)
	var r vcpu.Registers
	if s.target.Registers(stop.Thread, &r) == nil {
		for _, n := range [...]int{numberRSP, numberRIP} {
			var b [8]byte
			registers[n].get(&r, b[:])
			out = fmt.Appendf(out, "%02x:%s;", n, hex.EncodeToString(b[:]))
		}
	}
	return fmt.Appendf(out, "thread:%x;%s", stop.Thread+1, reason)
}
