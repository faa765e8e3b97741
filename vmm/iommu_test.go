package vmm

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/iommu"
	"gvmm/iommu/spec"
	"gvmm/vcpu"
	"gvmm/virtio"
	"gvmm/vmm/memory"
	"gvmm/vmm/pci"
)

func TestGuestBehindTheIOMMU(t *testing.T) {
	image := guestImage(t, "guest")
	disk, sum := newDisk(t, 1<<20+1536)
	for _, e := range engines {
		for _, posted := range []bool{true, false} {
			t.Run(fmt.Sprintf("%v posted=%v", e, posted), func(t *testing.T) {
				m, serial, status := runGuest(t, e.on(t, Config{
					Image: image, UINTR: true, Posted: posted, Command: "depth=32", IOMMU: true, Edu: true,
					Disks: []Disk{{Path: disk, ReadOnly: true}}, Queues: 2,
				}))
				require.Zero(t, status, serial)
				require.Contains(t, serial, "sha256 "+sum)
				r := m.Report()
				require.Empty(t, r.Faults)
				require.Empty(t, r.GuestErrors)
			})
		}
	}
}

func TestFaultsSayWhatWasRefused(t *testing.T) {
	require.Equal(t, "index 7", Fault{Index: 7}.What())
	require.Equal(t, "DMA write at 0x5000", Fault{Address: "0x5000", Write: true}.What())
	require.Equal(t, "DMA read at 0x5000", Fault{Address: "0x5000"}.What())
}

// queueRig is a virtqueue of four entries whose rings and buffers are IOVAs, scattered over RAM.
type queueRig struct {
	t     *testing.T
	mem   *memory.Memory
	unit  *iommu.Unit
	queue *virtio.Queue
	tail  uint64
	avail uint16
}

const (
	queueRID  = pci.RequesterID(0x20)
	tableBase = 0x1_0000 // root, context, three levels
	invQueue  = 0x2_0000
	waitWord  = 0x2_8000
	// IOVAs: page n is at physical page 0x100+7n.
	ringDesc, ringAvail, ringUsed, data = 0x1000, 0x2000, 0x3000, 0x4000
)

func physicalOf(iova uint64) uint64 { return (0x100+iova>>12*7)<<12 | iova&0xFFF }

func newQueueRig(t *testing.T) *queueRig {
	r := &queueRig{t: t, mem: memory.New()}
	require.NoError(t, r.mem.AddRAM(0, 4<<20))
	r.unit = iommu.New(iommu.Config{Memory: r.mem, Deliver: discardMSI{}, DMA: true})
	r.store64(tableBase, spec.NewRootEntry(tableBase+0x1000).Lo)
	ce := spec.NewContextEntry(spec.Translated, tableBase+0x2000, 3, 1)
	r.store64(tableBase+0x1000+uint64(queueRID)*16, ce.Lo)
	r.store64(tableBase+0x1000+uint64(queueRID)*16+8, ce.Hi)
	r.store64(tableBase+0x2000, uint64(spec.NewSLTable(tableBase+0x3000)))
	r.store64(tableBase+0x3000, uint64(spec.NewSLTable(tableBase+0x4000)))
	for page := uint64(1); page < 8; page++ {
		r.mapPage(page<<12, true)
	}
	r.register(spec.RegRTADDR, tableBase)
	r.register(spec.RegIQA, invQueue)
	r.register(spec.RegGCMD, uint64(spec.GlobalSRTP|spec.GlobalQIE))
	r.register(spec.RegGCMD, uint64(spec.GlobalTE|spec.GlobalQIE))
	require.True(t, r.invalidated(0), "nobody uses the old tables")
	var err error
	r.queue, err = virtio.NewQueue(virtio.QueueConfig{
		Size: 4, Desc: ringDesc, Avail: ringAvail, Used: ringUsed, DMA: translated{r.unit.View(queueRID, r.mem.DMA())},
	})
	require.NoError(t, err)
	t.Cleanup(func() { r.queue.Close(); r.unit.Close(); _ = r.mem.Close() })
	return r
}

type discardMSI struct{}

func (discardMSI) SendMSI(pci.Message) error { return nil }

func (r *queueRig) store64(at, v uint64) { require.NoError(r.t, r.mem.Store64(at, v)) }

func (r *queueRig) mapPage(iova uint64, present bool) {
	e := spec.SLEntry(0)
	if present {
		e = spec.NewSLPage(physicalOf(iova), 1, spec.SLRead|spec.SLWrite)
	}
	r.store64(tableBase+0x4000+iova>>12*8, uint64(e))
}

func (r *queueRig) register(off, v uint64) {
	r.unit.WriteMMIO(off, binary.LittleEndian.AppendUint64(nil, v))
}

// invalidated takes back a page, and returns whether the wait is over at once.
func (r *queueRig) invalidated(iova uint64) bool {
	for _, d := range []spec.Descriptor{
		spec.NewIOTLBDescriptor(spec.IOTLBInvalidation{Granularity: spec.PerPage, DID: 1, Address: iova}),
		spec.NewWaitDescriptor(spec.Wait{Write: true, Address: waitWord, Data: uint32(r.tail) + 17}),
	} {
		r.store64(invQueue+r.tail, d.Lo)
		r.store64(invQueue+r.tail+8, d.Hi)
		r.tail += 16
	}
	r.register(spec.RegIQT, r.tail)
	return r.waited()
}

func (r *queueRig) waited() bool {
	v, err := r.mem.Load32(waitWord)
	require.NoError(r.t, err)
	return v == uint32(r.tail)-16+1
}

// offer puts a chain of one writable buffer into the ring.
func (r *queueRig) offer(head uint16, addr uint64, n uint32) {
	r.store64(physicalOf(ringDesc)+uint64(head)*16, addr)
	r.store64(physicalOf(ringDesc)+uint64(head)*16+8, uint64(n)|2<<32)
	b, err := r.mem.View(physicalOf(ringAvail), 16)
	require.NoError(r.t, err)
	memory.Store16(b[4+2*(r.avail%4):], head)
	r.avail++
	memory.Store16(b[2:], r.avail)
}

func TestVirtqueueBehindTheIOMMU(t *testing.T) {
	r := newQueueRig(t)
	var c virtio.Chain
	r.offer(2, data+0x800, 0x1000) // over two pages that are apart
	ok, err := r.queue.Pop(&c)
	require.NoError(t, err)
	require.True(t, ok)
	require.Len(t, c.Writable, 2)
	for i, iova := range []uint64{data + 0x800, data + 0x1000} {
		want, err := r.mem.View(physicalOf(iova), 1)
		require.NoError(t, err)
		require.Same(t, &want[0], &c.Writable[i][0])
	}
	require.NoError(t, r.queue.Push(2, 5))
	used, err := r.mem.View(physicalOf(ringUsed), 16)
	require.NoError(t, err)
	require.Equal(t, uint16(1), memory.Load16(used[2:]))
	require.Equal(t, uint32(2), memory.Load32(used[4:]))
	require.Equal(t, uint32(5), memory.Load32(used[8:]))
}

func TestBufferInUseHoldsItsInvalidation(t *testing.T) {
	r := newQueueRig(t)
	var c virtio.Chain
	r.offer(0, data, 64)
	ok, err := r.queue.Pop(&c)
	require.NoError(t, err)
	require.True(t, ok)
	require.True(t, r.invalidated(data+0x1000), "not in use")
	r.mapPage(data, false)
	require.False(t, r.invalidated(data))
	require.NoError(t, r.queue.Push(0, 0))
	for deadline := time.Now().Add(10 * time.Second); !r.waited() && time.Now().Before(deadline); {
		time.Sleep(10 * time.Microsecond)
	}
	require.True(t, r.waited())

	r.offer(0, data, 64)
	_, err = r.queue.Pop(&c)
	require.ErrorIs(t, err, virtio.ErrAddress)
	require.ErrorIs(t, err, iommu.ErrBlocked)
	require.Equal(t, []iommu.Fault{{Requester: queueRID, Address: data, Write: true, Reason: spec.WriteDenied, Recorded: true}}, r.unit.Faults())
}

func TestIOAPICGoesThroughTheUnit(t *testing.T) {
	image := guestImage(t, "guest")
	disk, _ := newDisk(t, 512)
	m := newMachine(t, Config{Image: image, UINTR: true, IOMMU: true, Accel: vcpu.AccelSoft, Disks: []Disk{{Path: disk, ReadOnly: true}}})
	chip := m.engine.(*softEngine).chip
	write := func(register, v uint32) {
		chip.IOAPIC().WriteMMIO(0, binary.LittleEndian.AppendUint32(nil, register))
		chip.IOAPIC().WriteMMIO(0x10, binary.LittleEndian.AppendUint32(nil, v))
	}
	pin := uint32(0x10 + 2*eduIRQ)
	raise := func() {
		chip.SetIRQ(eduIRQ, true)
		chip.SetIRQ(eduIRQ, false)
	}
	stats := func() iommu.RequesterStats {
		for _, s := range m.iommu.Stats() {
			if s.Requester == ioapicRID {
				return s
			}
		}
		return iommu.RequesterStats{}
	}
	write(pin, 0x30)
	raise()
	require.Equal(t, uint64(1), stats().Passed, "remapping is off")

	const irt = 0x200_0000
	entry := spec.NewRemapped(0x41, spec.Fixed, 0, spec.OnlyFrom(uint16(ioapicRID)))
	require.NoError(t, m.memory.Store64(irt+5*16, entry.Lo))
	require.NoError(t, m.memory.Store64(irt+5*16+8, entry.Hi))
	m.iommu.WriteMMIO(spec.RegIRTA, binary.LittleEndian.AppendUint64(nil, irt|7))
	m.iommu.WriteMMIO(spec.RegGCMD, binary.LittleEndian.AppendUint32(nil, spec.GlobalSIRTP))
	m.iommu.WriteMMIO(spec.RegGCMD, binary.LittleEndian.AppendUint32(nil, spec.GlobalIRE))
	raise()
	require.Equal(t, uint64(1), stats().Faults[spec.CompatBlocked], "its old format is blocked")
	write(pin+1, 5<<17|1<<16) // remappable, index 5
	write(pin, eduIRQ)
	raise()
	require.Equal(t, uint64(1), stats().Remapped)
}

func TestEduDeviceInterruptsByThePin(t *testing.T) {
	image := guestImage(t, "guest")
	disk, _ := newDisk(t, 512)
	m := newMachine(t, Config{Image: image, UINTR: true, IOMMU: true, Edu: true, Accel: vcpu.AccelSoft, Disks: []Disk{{Path: disk, ReadOnly: true}}})
	rid := pci.NewRequesterID(0, eduSlot, 0)
	m.bus.WriteConfig(rid, 4, []byte{6, 0})
	r, off := m.space.at(eduBAR, 4)
	require.NotNil(t, r)
	id := make([]byte, 4)
	r.ReadMMIO(off, id)
	require.Equal(t, []byte{0xED, 0, 0, 1}, id)
	r.WriteMMIO(0x60, []byte{1, 0, 0, 0})
	require.NotZero(t, m.bus.Function(rid).Config().Status()&8)
}
