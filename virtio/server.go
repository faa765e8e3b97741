package virtio

import (
	"errors"
	"sync"
	"sync/atomic"
)

// ErrStopped is what Serve returns when it gave a request up because the device
// stops.
var ErrStopped = errors.New("virtio: device stops")

// ServerConfig says what a Server serves, and how.
type ServerConfig struct {
	Queue *Queue
	// Serve does one request and returns how many bytes it put into the chain's writable part. It is called by one
	// goroutine at a time. After an error the chain is not given back.
	Serve func(c *Chain) (written uint32, err error)
	// Wanted, if set, says whether there is anything to serve requests with: while there is not, they wait in the queue.
	// Kick the server when it becomes true.
	Wanted func() bool
	// Inline serves inside Kick, on its caller's goroutine: what the device does then repeats with the processor that
	// kicks it.
	Inline bool
	// Fail is told the first error, after which nothing is served.
	Fail func(error)
}

// Server serves one queue in order, one request at a time: all that a device
// needs whose requests are short.
type Server struct {
	config   ServerConfig
	chain    Chain
	wake     chan struct{} // holds a token if there may be something to do
	stopping atomic.Bool
	done     sync.WaitGroup

	mu     sync.Mutex // held while requests are served
	failed bool
}

// NewServer starts a server with whatever is in the queue already, at the first
// Kick if it is inline.
func NewServer(c ServerConfig) *Server {
	s := &Server{config: c, wake: make(chan struct{}, 1)}
	if !c.Inline {
		s.done.Go(s.run)
	}
	return s
}

// Kick says that there may be something to do. Unless the server is inline it
// only wakes.
func (s *Server) Kick() {
	if s.config.Inline {
		s.serve()
		return
	}
	select {
	case s.wake <- struct{}{}:
	default: // it has yet to look
	}
}

// Stop waits for the request under way.
func (s *Server) Stop() {
	s.stopping.Store(true)
	s.Kick()
	s.done.Wait()
	s.mu.Lock() // a request inside a Kick
	defer s.mu.Unlock()
}

// Finish serves what is in the queue of a stopped server, once around it at
// most.
func (s *Server) Finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range s.config.Queue.Size {
		if s.failed || s.config.Wanted != nil && !s.config.Wanted() {
			return
		}
		if ok, err := s.one(); !ok || err != nil {
			return
		}
	}
}

func (s *Server) run() {
	for !s.stopping.Load() {
		s.serve()
		<-s.wake
	}
}

func (s *Server) serve() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed || s.stopping.Load() {
		return
	}
	if err := s.drain(); err != nil && !errors.Is(err, ErrStopped) {
		s.failed = true
		s.config.Fail(err)
	}
}

// drain serves what there is. It returns when the queue is empty and the driver
// knows to kick, when nothing is wanted, or when the server stops.
func (s *Server) drain() error {
	if err := s.config.Queue.DisableKicks(); err != nil {
		return err
	}
	for !s.stopping.Load() && (s.config.Wanted == nil || s.config.Wanted()) {
		ok, err := s.one()
		if !ok && err == nil {
			ok, err = s.config.Queue.EnableKicks()
		}
		if !ok || err != nil {
			return err
		}
	}
	return nil
}

// one serves one request; false means that there is none.
func (s *Server) one() (bool, error) {
	q := s.config.Queue
	ok, err := q.Pop(&s.chain)
	if !ok || err != nil {
		return false, err
	}
	written, err := s.config.Serve(&s.chain)
	if err != nil {
		return false, err
	}
	if err := q.Push(s.chain.Head, written); err != nil {
		return false, err
	}
	_, err = q.Notify()
	return true, err
}
