package vmm

import (
	"bytes"
	"context"
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

// translate has firmware translate the DMA of the first disk: every page of RAM where it is, but for those that except names. The tables take the
// last MiB of RAM.
func (m *Machine) translate(t testing.TB, except func(page uint64) bool) {
	t.Helper()
	store := func(at, v uint64) { require.NoError(t, m.memory.Store64(at, v)) }
	at := m.config.Memory - MiB
	root, contexts, top, leaves := at, at+0x1000, at+0x2000, at+0x4000
	rid := uint64(m.devices[0].requester)
	ce := spec.NewContextEntry(spec.Translated, top, 3, 0)
	store(root, spec.NewRootEntry(contexts).Lo)
	store(contexts+rid*16, ce.Lo)
	store(contexts+rid*16+8, ce.Hi)
	store(top, uint64(spec.NewSLTable(at+0x3000)))
	for page := uint64(0); page < m.config.Memory; page += 4096 {
		if page%(2*MiB) == 0 {
			store(at+0x3000+page/(2*MiB)*8, uint64(spec.NewSLTable(leaves+page/512)))
		}
		if !except(page) {
			store(leaves+page/512, uint64(spec.NewSLPage(page, 1, spec.SLRead|spec.SLWrite)))
		}
	}
	for _, w := range []struct{ off, v uint64 }{
		{spec.RegRTADDR, root}, {spec.RegIQA, at + 0xF_0000}, {spec.RegGCMD, uint64(spec.GlobalSRTP)},
		{spec.RegGCMD, uint64(spec.GlobalTE)}, {spec.RegGCMD, uint64(spec.GlobalTE | spec.GlobalQIE)},
	} {
		m.iommu.WriteMMIO(w.off, binary.LittleEndian.AppendUint64(nil, w.v))
	}
}

func TestGuestWhoseDMAIsTranslated(t *testing.T) {
	image := guestImage(t, "guest")
	disk, sum := newDisk(t, 1<<20)
	for _, e := range engines {
		t.Run(e.String(), func(t *testing.T) {
			var out bytes.Buffer
			m := newMachine(t, e.on(t, Config{
				Image: image, UINTR: true, Posted: true, Command: "depth=32", IOMMU: true, Serial: &out, Memory: 128 * MiB,
				Disks: []Disk{{Path: disk, ReadOnly: true}}, Queues: 2,
			}))
			m.translate(t, func(uint64) bool { return false })
			require.Zero(t, run(t, m), out.String())
			require.Contains(t, out.String(), "sha256 "+sum)
			r := m.Report()
			require.Empty(t, r.Faults)
			require.NotZero(t, r.UserInterrupts)
			s := m.iommu.Stats()
			require.Equal(t, m.devices[0].requester, s[0].Requester)
			require.NotZero(t, s[0].Misses)
			require.NotZero(t, s[0].UserPosted)
		})
	}
}

// TestTheIOMMUCostsNoExits runs the main job in virtual time, where runs repeat: by the unit or not, a completion costs as many exits.
func TestTheIOMMUCostsNoExits(t *testing.T) {
	image := guestImage(t, "guest")
	disk, sum := newDisk(t, 256<<10)
	var exits []float64
	for _, behind := range []string{"not at all", "untranslated", "translated"} {
		var out bytes.Buffer
		m := newMachine(t, Config{
			Image: image, UINTR: true, Posted: true, Command: "depth=32", IOMMU: behind != "not at all", Accel: vcpu.AccelSoft, ICount: 10,
			Serial: &out, Memory: 128 * MiB, Disks: []Disk{{Path: disk, ReadOnly: true}},
		})
		if behind == "translated" {
			m.translate(t, func(uint64) bool { return false })
		}
		require.Zero(t, run(t, m), out.String())
		require.Contains(t, out.String(), "sha256 "+sum)
		r := m.Report()
		require.EqualValues(t, 64, r.Completions)
		require.NotZero(t, r.UserInterrupts)
		require.EqualValues(t, 64, m.requester(m.devices[0].requester).UserPosted, "each is posted to the program")
		exits = append(exits, r.ExitsPerCompletion)
	}
	t.Logf("exits per completion without the unit's translation, with it off, with it on: %v", exits)
	require.LessOrEqual(t, exits[1], exits[0])
	require.LessOrEqual(t, exits[2], exits[0])
}

func TestGuestWhoseDiskMayReachNothing(t *testing.T) {
	image := guestImage(t, "guest")
	disk, _ := newDisk(t, 4096)
	for _, e := range engines {
		t.Run(e.String(), func(t *testing.T) {
			var out bytes.Buffer
			m := newMachine(t, e.on(t, Config{
				Image: image, UINTR: true, Posted: true, IOMMU: true, Serial: &out, Memory: 128 * MiB, Disks: []Disk{{Path: disk, ReadOnly: true}},
			}))
			m.translate(t, func(uint64) bool { return true })
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			defer cancel()
			go func() { // the guest waits for a disk that cannot answer
				for ctx.Err() == nil && len(m.iommu.Faults()) == 0 {
					time.Sleep(time.Millisecond)
				}
				cancel()
			}()
			_, _ = m.Run(ctx)
			r := m.Report()
			require.NotEmpty(t, r.Faults)
			require.Equal(t, m.devices[0].requester.String(), r.Faults[0].Requester)
			require.Equal(t, spec.ReadDenied.String(), r.Faults[0].Reason)
			require.NotEmpty(t, r.Faults[0].Address)
			require.Equal(t, "disk0", r.Refused[0].Device)
			require.Equal(t, r.Faults[0].Requester, r.Refused[0].Requester)
			require.Equal(t, spec.ReadDenied.String(), r.Refused[0].Reason)
			require.EqualValues(t, len(r.Faults), r.Refused[0].Count)
			require.NotEmpty(t, r.GuestErrors)
		})
	}
}

// BenchmarkDiskBehindTheIOMMU is a request of 4 KiB at depth 32, in a guest whose disk reaches memory directly, through the unit without translation,
// and translated by static mappings.
func BenchmarkDiskBehindTheIOMMU(b *testing.B) {
	image := guestImage(b, "guest")
	disk, _ := newDisk(b, 1<<20)
	for _, e := range engines {
		for _, mode := range []string{"direct", "untranslated", "translated"} {
			b.Run(e.String()+" "+mode, func(b *testing.B) {
				m := newMachine(b, e.on(b, Config{
					Image: image, UINTR: true, Posted: true, IOMMU: mode != "direct", Memory: 128 * MiB, Disks: []Disk{{Path: disk, ReadOnly: true}},
					Command: fmt.Sprintf("hash=0 depth=32 requests=%d", max(b.N, 1000)),
				}))
				if mode == "translated" {
					m.translate(b, func(uint64) bool { return false })
				}
				require.Zero(b, run(b, m))
				r := m.Report()
				b.ReportMetric(r.Seconds*1e9/float64(r.Completions), "ns/request")
				b.ReportMetric(0, "ns/op")
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
	t     testing.TB
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

func newQueueRig(t testing.TB) *queueRig {
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

// BenchmarkQueue is what a request of 4 KiB costs its queue: header, data and status taken from the ring, a completion put into the other one.
func BenchmarkQueue(b *testing.B) {
	for _, mode := range []string{"direct", "translated"} {
		b.Run(mode, func(b *testing.B) {
			r := newQueueRig(b)
			q := r.queue
			at := func(iova uint64) uint64 { return iova }
			if mode == "direct" {
				at = physicalOf
				var err error
				q, err = virtio.NewQueue(virtio.QueueConfig{
					Size: 4, Desc: at(ringDesc), Avail: at(ringAvail), Used: at(ringUsed), DMA: r.mem.DMA(),
				})
				require.NoError(b, err)
			}
			for i, d := range []struct{ addr, rest uint64 }{
				{at(data), 16 | 1<<32 | 1<<48}, {at(data + 0x1000), 4096 | 3<<32 | 2<<48}, {at(data + 0x2000), 1 | 2<<32},
			} {
				r.store64(physicalOf(ringDesc)+uint64(i)*16, d.addr)
				r.store64(physicalOf(ringDesc)+uint64(i)*16+8, d.rest)
			}
			ring, err := r.mem.View(physicalOf(ringAvail), 16)
			require.NoError(b, err)
			var c virtio.Chain
			b.ReportAllocs()
			for n := uint16(1); b.Loop(); n++ {
				memory.Store16(ring[2:], n)
				ok, err := q.Pop(&c)
				if !ok || err != nil || q.Push(c.Head, 4097) != nil {
					b.Fatal(ok, err)
				}
				if _, err := q.Notify(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
