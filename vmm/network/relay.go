package network

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// A guest that went away without a word is noticed by probes: idle for
// keepaliveIdle, then every keepaliveInterval.
const (
	keepaliveIdle     = 2 * time.Minute
	keepaliveInterval = 15 * time.Second
)

// lingerTimeout is how long the guest may take to acknowledge the rest of a
// connection that both sides have closed.
const lingerTimeout = 15 * time.Second

// buffers are what relays copy through: 64 KiB, an offload's frame.
var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// guestConn is a connection's guest side.
type guestConn struct {
	*gonet.TCPConn
	ep *tcp.Endpoint
}

func newGuestConn(q *waiter.Queue, ep tcpip.Endpoint) *guestConn {
	idle, interval := tcpip.KeepaliveIdleOption(keepaliveIdle), tcpip.KeepaliveIntervalOption(keepaliveInterval)
	ep.SetSockOpt(&idle) // neither can fail on a TCP endpoint
	ep.SetSockOpt(&interval)
	ep.SocketOptions().SetKeepAlive(true)
	return &guestConn{TCPConn: gonet.NewTCPConn(q, ep), ep: ep.(*tcp.Endpoint)}
}

// linger closes the connection and waits until the guest has acknowledged it,
// or not within limit: till then it holds memory, and its place among the
// connections.
func (g *guestConn) linger(limit time.Duration) {
	g.ep.Close()
	late := time.AfterFunc(limit, g.ep.Abort)
	defer late.Stop()
	g.ep.Wait()
}

// relay copies both ways until both have ended. An end of one way is passed on
// as such (a half-close), an error ends both, with a reset to both sides.
func (u *User) relay(host *net.TCPConn, guest *guestConn) {
	u.stats.Connections.Add(1)
	fail := func() {
		abort(host)
		guest.ep.Abort()
	}
	defer context.AfterFunc(u.ctx, fail)()
	var outward sync.WaitGroup
	outward.Go(func() {
		if pump(host, guest) != nil || host.CloseWrite() != nil {
			fail()
		}
	})
	if pump(guest, host) != nil || guest.CloseWrite() != nil {
		fail()
	}
	outward.Wait()
	host.Close()
	guest.linger(u.linger)
}

// pump copies from src to dst until src ends.
func pump(dst io.Writer, src io.Reader) error {
	b := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(b)
	for {
		n, err := src.Read(b[:])
		if n > 0 {
			if _, err := dst.Write(b[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// abort closes c with a reset.
func abort(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}
