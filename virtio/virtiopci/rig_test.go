package virtiopci_test

import (
	"encoding/binary"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gvmm/virtio"
	"gvmm/virtio/virtiopci"
	"gvmm/virtio/virtiotest"
	"gvmm/vmm/pci"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ramBase = 0x10_0000
	barBase = 0xE000_0000

	ack, drv, drvOK, featOK, needsReset, failedBit = 1, 2, 4, 8, 64, 128

	// Where the driver finds the structures, as their capabilities say.
	common, isr, device, table, pba = 0, 0x1000, 0x2000, 0x10000, 0x18000
)

var where = pci.NewRequesterID(0, 2, 0)

// echo is a device that completes every request at once and has no thread.
type echo struct {
	mu       sync.Mutex
	sizes    []uint16
	live     *virtio.Activation
	kicks    map[int]int
	config   [8]byte
	stops    int
	refuse   error
	stopping func()
}

const echoFeature = 1 << 3

func (e *echo) Type() uint16     { return 4 }
func (e *echo) Features() uint64 { return echoFeature | 1<<4 }
func (e *echo) CheckFeatures(f uint64) error {
	if f&(1<<4) != 0 && f&echoFeature == 0 {
		return errors.New("4 needs 3")
	}
	return nil
}
func (e *echo) Queues() []uint16                { return e.sizes }
func (e *echo) ReadConfig(off uint64, p []byte) { clear(p); copy(p, e.config[min(off, 8):]) }
func (e *echo) WriteConfig(off uint64, p []byte) {
	copy(e.config[min(off, 8):], p)
}

func (e *echo) Activate(a virtio.Activation) (virtio.Running, error) {
	e.live = &a
	return e, e.refuse
}

func (e *echo) Kick(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kicks[n]++
	q := e.live.Queues[n]
	if q == nil {
		return
	}
	var c virtio.Chain
	for {
		found, err := q.Pop(&c)
		if err != nil {
			e.live.Fail(n, err)
			return
		}
		if !found {
			if more, _ := q.EnableKicks(); !more {
				return
			}
			continue
		}
		_ = q.Push(c.Head, 0)
		_, _ = q.Notify()
	}
}

func (e *echo) Stop() {
	if e.stopping != nil {
		e.stopping()
	}
	e.stops++
}

type sender struct {
	mu   sync.Mutex
	sent []pci.Message
}

func (s *sender) SendMSI(m pci.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, m)
	return nil
}

func (s *sender) take() []pci.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := s.sent
	s.sent = nil
	return sent
}

// space decodes one BAR.
type space struct {
	base   uint64
	region pci.Region
}

func (s *space) Map(base, size uint64, r pci.Region) error {
	s.base, s.region = base, r
	return nil
}

func (s *space) Unmap(uint64) { s.base, s.region = 0, nil }

// rig is a transport on a bus, with its BAR decoded and bus mastering on.
type rig struct {
	t   testing.TB
	dev *echo
	tr  *virtiopci.Transport
	bus *pci.Bus
	mem *virtiotest.Memory
	*space
	*sender
}

func newRig(t testing.TB, change func(*virtiopci.Options)) *rig {
	e := &echo{sizes: []uint16{8, 16}, kicks: map[int]int{}}
	r := newRigFor(t, e, change)
	r.dev = e
	return r
}

func newRigFor(t testing.TB, d virtio.Device, change func(*virtiopci.Options)) *rig {
	r := &rig{t: t, mem: virtiotest.NewMemory(ramBase, 1<<20), space: &space{}, sender: &sender{}}
	o := virtiopci.Options{DMA: r.mem, MSI: r.sender}
	if change != nil {
		change(&o)
	}
	var err error
	r.tr, err = virtiopci.New(d, o)
	require.NoError(t, err)
	t.Cleanup(r.tr.Close)
	r.bus = pci.NewBus(r.space)
	require.NoError(t, r.bus.Add(where, r.tr.Function()))
	require.NoError(t, r.tr.Function().SetBAR(0, barBase))
	r.command(pci.CommandMemory | pci.CommandBusMaster)
	return r
}

func (r *rig) command(v uint16) {
	r.bus.WriteConfig(where, 4, binary.LittleEndian.AppendUint16(nil, v))
}

func (r *rig) read(off uint64, n int) uint64 {
	p := make([]byte, 8)
	r.region.ReadMMIO(off, p[:n])
	return binary.LittleEndian.Uint64(p)
}

func (r *rig) write(off uint64, n int, v uint64) {
	r.region.WriteMMIO(off, binary.LittleEndian.AppendUint64(nil, v)[:n])
}

func (r *rig) status(v uint64) uint64 {
	r.write(20, 1, v)
	return r.read(20, 1)
}

func (r *rig) features(f uint64) {
	for sel := range uint64(2) {
		r.write(8, 4, sel)
		r.write(12, 4, f>>(32*sel)&0xFFFFFFFF)
	}
}

// negotiate comes to FEATURES_OK.
func (r *rig) negotiate(f uint64) uint64 {
	r.status(0)
	r.status(ack)
	r.status(ack | drv)
	r.features(f)
	return r.status(ack | drv | featOK)
}

// queue sets queue n up and returns its driver.
func (r *rig) queue(n int, size uint16, vector uint64) *virtiotest.Driver {
	return r.queueOf(virtiotest.NewDriver, n, size, vector)
}

type newDriver = func(m *virtiotest.Memory, base uint64, size uint16, eventIdx bool) *virtiotest.Driver

func (r *rig) queueOf(make newDriver, n int, size uint16, vector uint64) *virtiotest.Driver {
	base := ramBase + uint64(n)*0x2_0000
	clear(r.mem.Bytes(base, virtiotest.RingBytes(size)))
	d := make(r.mem, base, size, true)
	r.write(22, 2, uint64(n))
	r.write(24, 2, uint64(size))
	r.write(26, 2, vector)
	r.write(32, 8, d.Desc)
	r.write(40, 4, d.Avail&0xFFFFFFFF)
	r.write(44, 4, d.Avail>>32)
	r.write(48, 8, d.Used)
	r.write(28, 2, 1)
	require.Equal(r.t, uint64(1), r.read(28, 2))
	return d
}

func (r *rig) msix(n int, data uint64) {
	r.write(table+16*uint64(n), 8, 0xFEE0_0000)
	r.write(table+16*uint64(n)+8, 8, data)
	at := r.capability(pci.CapMSIX, 0)
	r.bus.WriteConfig(where, at+3, []byte{0x80})
}

// live is a device with both queues, vector 0 for changes of configuration,
// 1 and 2 for the queues.
func (r *rig) live() (a, b *virtiotest.Driver) {
	require.Equal(r.t, uint64(ack|drv|featOK), r.negotiate(version1|eventIdx|indirect))
	r.write(16, 2, 0)
	a, b = r.queue(0, 8, 1), r.queue(1, 16, 2)
	for n := range 3 {
		r.msix(n, uint64(0x40+n))
	}
	require.Equal(r.t, uint64(ack|drv|featOK|drvOK), r.status(ack|drv|featOK|drvOK))
	return a, b
}

const (
	version1 = virtio.FeatureVersion1
	eventIdx = virtio.FeatureEventIdx
	indirect = virtio.FeatureIndirect
	platform = virtio.FeatureAccessPlatform
	packed   = virtio.FeatureRingPacked
)

// capability finds one by id and, for a vendor's, by virtio's type.
func (r *rig) capability(id, kind byte) int {
	c := r.tr.Function().Config()
	for at := int(c.Capabilities()); at != 0; at = int(c[at+1]) {
		if c[at] == id && (id != pci.CapVendor || c[at+3] == kind) {
			return at
		}
	}
	require.Fail(r.t, "no such capability")
	return 0
}

func eventually(t testing.TB, what string, ok func() bool) {
	for range 5000 {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	require.Fail(t, what)
}
