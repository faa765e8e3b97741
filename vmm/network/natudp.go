package network

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// flowIdle is how long a UDP flow lives on with no datagram (RFC 4787 §4.3
// asks for two minutes at least).
const flowIdle = 2 * time.Minute

// translateUDP begins a flow: one for each pair of a guest's address and port
// and one outside. False has the guest told that the port is unreachable.
func (u *User) translateUDP(r *udp.ForwarderRequest) bool {
	outside, guest := endpointAddresses(r.ID())
	if to := outside.Addr(); to.IsMulticast() || to == u.config.broadcast() || to == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return true
	}
	dst, ok := u.outward(outside.Addr())
	if !ok || outside.Port() == 0 {
		u.stats.Refused.Add(1)
		return false
	}
	if !u.takeFlow() {
		return true
	}
	host, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(dst, outside.Port())))
	if err != nil {
		u.stats.Refused.Add(1)
		u.giveFlow()
		return false
	}
	q := new(waiter.Queue)
	ep, terr := r.CreateEndpoint(q)
	if terr != nil {
		host.Close()
		u.giveFlow()
		return true
	}
	conn := gonet.NewUDPConn(q, ep)
	flow := func() {
		defer u.giveFlow()
		if err := u.relayUDP(conn, host, flowIdle); errors.Is(err, syscall.ECONNREFUSED) {
			u.stats.Refused.Add(1)
			var quote [header.UDPMinimumSize]byte
			header.UDP(quote[:]).Encode(&header.UDPFields{
				SrcPort: guest.Port(), DstPort: outside.Port(), Length: header.UDPMinimumSize,
			})
			u.unreachable(portUnreachable, outside.Addr(), guest.Addr(), udp.ProtocolNumber, quote)
		}
	}
	if !u.spawn(flow) {
		conn.Close()
		host.Close()
		u.giveFlow()
	}
	return true
}

func (u *User) takeFlow() bool {
	if !u.flows.take() {
		u.stats.Limited.Add(1)
		return false
	}
	u.stats.Flows.Add(1)
	u.stats.FlowsOpen.Add(1)
	return true
}

func (u *User) giveFlow() {
	u.stats.FlowsOpen.Add(-1)
	u.flows.give()
}

// relayUDP copies datagrams both ways until neither had one for idle, or
// either is closed or fails, and closes both.
func (u *User) relayUDP(a, b net.Conn, idle time.Duration) error {
	end := func() {
		a.Close()
		b.Close()
	}
	defer context.AfterFunc(u.ctx, end)()
	var last atomic.Int64
	last.Store(time.Now().UnixNano())
	var errs [2]error
	var other sync.WaitGroup
	other.Go(func() {
		errs[1] = copyDatagrams(b, a, &last, idle)
		end()
	})
	errs[0] = copyDatagrams(a, b, &last, idle)
	end()
	other.Wait()
	return errors.Join(errs[:]...)
}

// copyDatagrams copies until src fails, or until last, the moment of the latest
// datagram either way, is idle ago. What dst does not take is lost, as datagrams
// are; a kernel that has heard that nobody is there tells it only once, and may
// tell it here.
func copyDatagrams(dst io.Writer, src net.Conn, last *atomic.Int64, idle time.Duration) error {
	buf := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(buf)
	for {
		deadline := time.Unix(0, last.Load()).Add(idle)
		src.SetReadDeadline(deadline)
		n, err := src.Read(buf[:])
		var timeout net.Error
		switch {
		case err == nil:
			last.Store(time.Now().UnixNano())
			if _, err := dst.Write(buf[:n]); errors.Is(err, syscall.ECONNREFUSED) {
				return err
			}
		case errors.As(err, &timeout) && timeout.Timeout():
			if time.Since(time.Unix(0, last.Load())) >= idle {
				return err
			}
		default:
			return err
		}
	}
}
