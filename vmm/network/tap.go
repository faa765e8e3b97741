package network

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gvmm/virtio/vnet"
)

// ErrTAP reports a TAP interface that is not to be had.
var ErrTAP = errors.New("network: TAP interface")

// tunPath is the host's door to its TAP interfaces.
const tunPath = "/dev/net/tun"

// tunOffloads are what the host may leave to the guest in frames that it sends.
const tunOffloads = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN

// TAPStats count a TAP interface's frames. In is from the guest to the host.
type TAPStats struct {
	In, Out atomic.Uint64
	Dropped atomic.Uint64 // from the guest: the host had no room, or the interface is down
}

// TAP is an interface of the host's as a [vnet.Link]: what the guest sends, the
// host receives on it. The host's own queue of the interface is what waits while
// the guest has no buffers.
type TAP struct {
	Stats TAPStats

	name     string
	file     *os.File
	fd       int
	offloads vnet.Offloads

	mu      sync.Mutex // the life of the reader
	stop    chan struct{}
	stopped chan struct{}
}

var _ vnet.Link = (*TAP)(nil)

// NewTAP attaches to the host's TAP interface of this name, or makes one, which
// lasts until Close. To give it addresses or a bridge, and to set it up, is the
// host's business.
func NewTAP(name string) (*TAP, error) {
	request, err := unix.NewIfreq(name)
	if err != nil || name == "" {
		return nil, fmt.Errorf("%w: %q is no interface's name: 1 to %d bytes", ErrTAP, name, unix.IFNAMSIZ-1)
	}
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, explain(name, &fs.PathError{Op: "open", Path: tunPath, Err: err})
	}
	t := &TAP{name: name, fd: fd}
	if err := t.attach(request); err != nil {
		_ = unix.Close(fd)
		return nil, explain(name, err)
	}
	// Known to the runtime's poller only now: before, the file is no interface.
	t.file = os.NewFile(uintptr(fd), tunPath)
	return t, nil
}

// attach makes the file the interface's. One that was made with several queues
// takes only those who say that they know.
func (t *TAP) attach(request *unix.Ifreq) error {
	const flags = unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR
	request.SetUint16(flags)
	err := unix.IoctlIfreq(t.fd, unix.TUNSETIFF, request)
	if err == unix.EINVAL {
		request.SetUint16(flags | unix.IFF_MULTI_QUEUE)
		err = unix.IoctlIfreq(t.fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		return os.NewSyscallError("TUNSETIFF", err)
	}
	if err := unix.IoctlSetPointerInt(t.fd, unix.TUNSETVNETHDRSZ, vnet.HeaderSize); err != nil {
		return os.NewSyscallError("TUNSETVNETHDRSZ", err)
	}
	// The host takes any offload; whether it may leave some to us, it says here.
	t.offloads = vnet.Offloads{TxChecksum: true, TxTSO4: true, TxTSO6: true}
	if unix.IoctlSetInt(t.fd, unix.TUNSETOFFLOAD, tunOffloads) == nil {
		t.offloads.RxChecksum, t.offloads.RxTSO4, t.offloads.RxTSO6 = true, true, true
	}
	return nil
}

// explain says what to do about an interface that is not to be had.
func explain(name string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		hint = " (the host has no TUN driver: modprobe tun)"
	case errors.Is(err, fs.ErrPermission):
		hint = fmt.Sprintf(" (as root: ip tuntap add %s mode tap user NAME vnet_hdr)", name)
	case errors.Is(err, unix.EBUSY):
		hint = " (another program has it)"
	case errors.Is(err, unix.EINVAL):
		hint = " (there is an interface of this name that is no TAP, or was made without vnet_hdr)"
	}
	return fmt.Errorf("%w %s: %w%s", ErrTAP, name, err, hint)
}

// Name is the interface's name.
func (t *TAP) Name() string { return t.name }

// Offloads implements vnet.Link.
func (t *TAP) Offloads() vnet.Offloads { return t.offloads }

// Transmit implements vnet.Link.
func (t *TAP) Transmit(h vnet.Header, segments [][]byte) bool {
	var raw [vnet.HeaderSize]byte
	h.Put(raw[:])
	if err := writeFrame(t.fd, &raw, segments); err != nil {
		t.Stats.Dropped.Add(1)
		return false
	}
	t.Stats.In.Add(1)
	return true
}

// Start implements vnet.Link.
func (t *TAP) Start(r vnet.Receiver) {
	t.mu.Lock()
	defer t.mu.Unlock()
	room := make(chan struct{}, 1)
	r.OnRoom(func() {
		select {
		case room <- struct{}{}:
		default:
		}
	})
	_ = t.file.SetReadDeadline(time.Time{})
	t.stop, t.stopped = make(chan struct{}), make(chan struct{})
	go t.read(r, room, t.stop, t.stopped)
}

// Stop implements vnet.Link.
func (t *TAP) Stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stop == nil {
		return
	}
	close(t.stop)
	_ = t.file.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
	<-t.stopped
	t.stop = nil
}

// read hands frames to the receiver until it is stopped or the interface is gone.
func (t *TAP) read(r vnet.Receiver, room, stop <-chan struct{}, stopped chan<- struct{}) {
	defer close(stopped)
	buffer := make([]byte, vnet.HeaderSize+vnet.MaxFrame+1) // a byte more tells a longer one
	frame := make([][]byte, 1)
	for {
		n, err := t.file.Read(buffer)
		switch {
		case err != nil:
			return
		case n < vnet.HeaderSize:
			continue
		}
		h := vnet.ParseHeader(buffer)
		frame[0] = buffer[vnet.HeaderSize:n]
		for !r.Receive(h, frame) {
			select {
			case <-room:
			case <-stop:
				return
			}
		}
		t.Stats.Out.Add(1)
	}
}

// Close implements vnet.Link.
func (t *TAP) Close() error {
	t.Stop()
	return t.file.Close()
}
