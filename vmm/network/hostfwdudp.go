package network

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

func (u *User) listenUDP(f *Forward) error {
	l, err := net.ListenUDP("udp"+version(f.Host.Addr()), net.UDPAddrFromAddrPort(f.Host))
	if err != nil {
		return err
	}
	f.Host = l.LocalAddr().(*net.UDPAddr).AddrPort()
	p := &udpForward{user: u, listener: l, guest: f.Guest, peers: map[netip.AddrPort]*udpPeer{}}
	context.AfterFunc(u.ctx, func() { l.Close() })
	u.spawn(p.run)
	return nil
}

// udpForward leads a host's port to the guest: a flow for each peer that sends to it.
type udpForward struct {
	user     *User
	listener *net.UDPConn
	guest    netip.AddrPort

	mu    sync.Mutex
	peers map[netip.AddrPort]*udpPeer
}

// udpPeer is a flow: a port of the router's that stands for the peer.
type udpPeer struct {
	forward *udpForward
	addr    netip.AddrPort
	guest   *gonet.UDPConn
	last    atomic.Int64 // the moment of the latest datagram, either way
}

// run takes what peers send, until the network is closed.
func (f *udpForward) run() {
	buf := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(buf)
	for {
		n, from, err := f.listener.ReadFromUDPAddrPort(buf[:])
		if err != nil {
			select {
			case <-f.user.ctx.Done():
				return
			case <-time.After(acceptPause):
			}
			continue
		}
		if p := f.peer(from); p != nil {
			p.last.Store(time.Now().UnixNano())
			p.guest.SetWriteDeadline(time.Now().Add(acceptPause))
			p.guest.Write(buf[:n]) // what is refused is lost
		}
	}
}

// peer finds or begins a peer's flow. Nil: there are too many.
func (f *udpForward) peer(from netip.AddrPort) *udpPeer {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.peers[from]; p != nil {
		return p
	}
	u := f.user
	if !u.takeFlow() {
		return nil
	}
	src := u.source(f.guest.Addr())
	conn, err := gonet.DialUDP(u.stack, &src, &tcpip.FullAddress{
		NIC: wireNIC, Addr: toAddress(f.guest.Addr()), Port: f.guest.Port(),
	}, protocolOf(f.guest.Addr()))
	if err != nil {
		u.giveFlow()
		return nil
	}
	p := &udpPeer{forward: f, addr: from, guest: conn}
	p.last.Store(time.Now().UnixNano())
	if !u.spawn(p.run) {
		conn.Close()
		u.giveFlow()
		return nil
	}
	f.peers[from] = p
	return p
}

// run takes what the guest answers, until the flow is idle or the network closed.
func (p *udpPeer) run() {
	f := p.forward
	defer f.user.giveFlow()
	copyDatagrams(toPeer{p}, p.guest, &p.last, flowIdle)
	f.mu.Lock()
	delete(f.peers, p.addr)
	f.mu.Unlock()
	p.guest.Close()
}

// toPeer writes to a peer of the host's.
type toPeer struct{ *udpPeer }

func (t toPeer) Write(b []byte) (int, error) {
	return t.forward.listener.WriteToUDPAddrPort(b, t.addr)
}
