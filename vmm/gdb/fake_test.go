package gdb

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu"
)

// fake is a machine of two threads whose RIP counts: a step adds one, and a thread
// that goes on stops at the next breakpoint.
type fake struct {
	mu       sync.Mutex
	threads  [2]vcpu.Registers
	memory   []byte // linear, from fakeBase
	breaks   []uint64
	watches  []vcpu.Watch
	resumed  [][]Action
	stops    chan Stop
	attached int
	detached int
	killed   bool
	gone     error // of Attach
	endless  bool  // nobody stops but by Interrupt
	refuse   error // of SetPoints and SetRegisters
}

const fakeBase = 0x1000

func newFake() *fake {
	return &fake{stops: make(chan Stop, 2), memory: make([]byte, 0x4000)}
}

func (f *fake) Attach() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.attached++
	return f.gone
}
func (f *fake) Threads() int               { return len(f.threads) }
func (f *fake) Describe(thread int) string { return [...]string{"first", "second"}[thread] }
func (f *fake) Registers(i int, r *vcpu.Registers) error {
	*r = f.threads[i]
	return nil
}
func (f *fake) SetRegisters(i int, r *vcpu.Registers) error {
	if f.refuse != nil {
		return f.refuse
	}
	f.threads[i] = *r
	return nil
}
func (f *fake) at(la uint64, n int) []byte {
	if off := la - fakeBase; off < uint64(len(f.memory)) {
		return f.memory[off:min(len(f.memory), int(off)+n)]
	}
	return nil
}
func (f *fake) ReadMemory(_ int, la uint64, p []byte) int  { return copy(p, f.at(la, len(p))) }
func (f *fake) WriteMemory(_ int, la uint64, p []byte) int { return copy(f.at(la, len(p)), p) }
func (f *fake) SetPoints(b []uint64, w []vcpu.Watch) error {
	if f.refuse != nil {
		return f.refuse
	}
	f.breaks, f.watches = b, w
	return nil
}
func (f *fake) Resume(how []Action) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.resumed = append(f.resumed, slices.Clone(how))
	if f.endless {
		return nil
	}
	for i, a := range how {
		r := &f.threads[i]
		switch a {
		case Step:
			r.RIP++
			f.stops <- Stop{Thread: i, Trap: &vcpu.Trap{Kind: vcpu.TrapStep, Addr: r.RIP}}
			return nil
		case Continue:
			for _, b := range f.breaks {
				if b > r.RIP {
					r.RIP = b
					f.stops <- Stop{Thread: i, Trap: &vcpu.Trap{Kind: vcpu.TrapBreak, Addr: b}}
					return nil
				}
			}
			for _, w := range f.watches {
				f.stops <- Stop{Thread: i, Trap: &vcpu.Trap{Kind: vcpu.TrapWatch, Addr: w.Addr, Watch: w}}
				return nil
			}
		}
	}
	f.stops <- Stop{Exited: true, Status: 7}
	return nil
}
func (f *fake) Interrupt()         { f.stops <- Stop{Thread: 1} }
func (f *fake) Stops() <-chan Stop { return f.stops }
func (f *fake) Detach() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.detached++
}
func (f *fake) Kill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.killed = true
}
func (f *fake) Monitor(thread int, line string) string {
	if line == "quiet" {
		return ""
	}
	return string(rune('1'+thread)) + " " + line + "\n"
}

var _ Target = (*fake)(nil)

// client is a debugger that speaks by script.
type client struct {
	t    testing.TB
	conn net.Conn
	in   reader
	ack  bool
	done chan error // Serve's
}

// dial starts a session with target.
func dial(t testing.TB, target Target) *client {
	t.Helper()
	ours, theirs := net.Pipe()
	c := &client{t: t, conn: ours, in: reader{bufio.NewReader(ours)}, ack: true, done: make(chan error, 1)}
	go func() { c.done <- Serve(theirs, target) }()
	t.Cleanup(func() { _ = ours.Close() })
	require.NoError(t, ours.SetDeadline(time.Now().Add(20*time.Second)))
	return c
}

func (c *client) raw(s string) {
	c.t.Helper()
	_, err := c.conn.Write([]byte(s))
	require.NoError(c.t, err)
}

// next is the next message but acknowledgements.
func (c *client) next() string {
	c.t.Helper()
	for {
		m, err := c.in.next()
		require.NoError(c.t, err)
		switch m.kind {
		case packet:
			if c.ack {
				_, _ = c.conn.Write([]byte{'+'}) // the session may be over
			}
			return string(m.data)
		case nak:
			return "-"
		}
	}
}

// say sends a packet and returns the answer.
func (c *client) say(s string) string {
	c.t.Helper()
	c.raw(string(frame([]byte(s))))
	return c.next()
}

// resume has an endless target run.
func (c *client) resume(f *fake) {
	c.t.Helper()
	c.raw(string(frame([]byte("c"))))
	m, err := c.in.next()
	require.NoError(c.t, err)
	require.Equal(c.t, ack, m.kind)
	require.Eventually(c.t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.resumed) > 0
	}, 20*time.Second, time.Millisecond)
}

// ended waits until the session is over.
func (c *client) ended() error {
	c.t.Helper()
	select {
	case err := <-c.done:
		return err
	case <-time.After(20 * time.Second):
		require.Fail(c.t, "the session does not end")
		return nil
	}
}

// script is questions and their answers.
func (c *client) script(pairs ...string) {
	c.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		require.Equal(c.t, pairs[i+1], c.say(pairs[i]), "%s", pairs[i])
	}
}

var errNo = errors.New("no")

// hostile is a connection that holds what it was given, and swallows answers.
type hostile struct {
	net.Conn
	in *bytes.Reader
}

func (h *hostile) Read(p []byte) (int, error)         { return h.in.Read(p) }
func (h *hostile) Write(p []byte) (int, error)        { return len(p), nil }
func (h *hostile) Close() error                       { return nil }
func (h *hostile) SetWriteDeadline(_ time.Time) error { return nil }
