package iommu

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/iommu/spec"
	"gvmm/vmm/memory"
	"gvmm/vmm/pci"
)

// Where the test guest keeps the tables of DMA remapping. RAM is [0, dmaRAM).
const (
	dmaRAM     = 64 << 20
	queueBase  = 0x6_0000 // 256 descriptors
	statusAt   = 0x7_0000 // of waits
	rootTable  = 0x10_0000
	ctxTables  = 0x11_0000 // one page for each bus
	slTables   = 0x40_0000 // second-level tables grow from here
	buffers    = 0x100_0000
	domA, domB = 1, 2
)

// dmaRig is a unit with DMA remapping, and the guest that programs it.
type dmaRig struct {
	*rig
	tail   uint64
	tables uint64 // the next free page for a table
	words  uint32 // status data of the last wait
}

// newDMARig returns a unit in its reset state with everything that it can have.
func newDMARig(t testing.TB, edit ...func(*Config)) *dmaRig {
	t.Helper()
	r := &dmaRig{tables: slTables}
	r.rig = newRig(t, append([]func(*Config){func(c *Config) {
		c.DMA = true
		c.Memory = memory.New()
		require.NoError(t, c.Memory.AddRAM(0, dmaRAM))
	}}, edit...)...)
	r.mem = r.cfg.Memory
	t.Cleanup(func() { r.Close(); _ = r.mem.Close() })
	return r
}

// newTranslatingRig is newDMARig with the queue, DMA translation and interrupt remapping on, and both tenants' functions in their domains.
func newTranslatingRig(t testing.TB, edit ...func(*Config)) *dmaRig {
	t.Helper()
	r := newDMARig(t, edit...)
	r.enableQueue(0)
	r.attach(ridA, spec.NewContextEntry(spec.Translated, r.table(), 4, domA))
	r.attach(ridB, spec.NewContextEntry(spec.Translated, r.table(), 4, domB))
	r.write64(spec.RegRTADDR, rootTable)
	r.write64(spec.RegIRTA, uint64(spec.NewIRTA(irtBase, irtSize, true)))
	r.command(spec.GlobalSRTP)
	r.command(spec.GlobalSIRTP)
	r.command(spec.GlobalTE)
	r.command(spec.GlobalIRE)
	r.invalidate() // waits for whoever still used the old tables
	r.disableQueue()
	r.enableQueue(0)
	r.counts = queueCounts{}
	return r
}

// command sets one bit of GCMD as Linux does, and checks that GSTS follows at once.
func (r *dmaRig) command(bit uint32) {
	r.t.Helper()
	r.write32(spec.RegGCMD, r.read32(spec.RegGSTS)&^(spec.GlobalSRTP|spec.GlobalSIRTP)|bit)
	require.NotZero(r.t, r.read32(spec.RegGSTS)&bit)
}

func (r *dmaRig) disableQueue() {
	r.t.Helper()
	r.write32(spec.RegGCMD, r.read32(spec.RegGSTS)&^(spec.GlobalSRTP|spec.GlobalSIRTP|spec.GlobalQIE))
	require.Zero(r.t, r.read32(spec.RegGSTS)&spec.GlobalQIE)
}

func (r *dmaRig) enableQueue(size uint64) {
	r.t.Helper()
	r.tail = 0
	r.write32(spec.RegIQT, 0)
	r.write64(spec.RegIQA, queueBase|size)
	r.command(spec.GlobalQIE)
}

// table returns a page for a table, all zero.
func (r *dmaRig) table() uint64 {
	r.t.Helper()
	at := r.tables
	r.tables += 4096
	require.NoError(r.t, r.mem.WriteAt(make([]byte, 4096), at))
	return at
}

func (r *dmaRig) store64(at, v uint64) {
	r.t.Helper()
	require.NoError(r.t, r.mem.Store64(at, v))
}

// attach writes the context entry of a function.
func (r *dmaRig) attach(rid pci.RequesterID, e spec.ContextEntry) {
	r.t.Helper()
	table := ctxTables + uint64(rid.Bus())*4096
	root := spec.NewRootEntry(table)
	r.store64(rootTable+uint64(rid.Bus())*16, root.Lo)
	at := table + uint64(rid&0xFF)*16
	r.store64(at+8, e.Hi)
	r.store64(at, e.Lo)
}

// tableOf is the root of a function's second-level tables.
func (r *dmaRig) tableOf(rid pci.RequesterID) (table uint64, levels int) {
	at := ctxTables + uint64(rid.Bus())*4096 + uint64(rid&0xFF)*16
	lo, hi, err := r.mem.Load128(at)
	require.NoError(r.t, err)
	e := spec.ContextEntry{Lo: lo, Hi: hi}
	return e.Table(), e.Levels()
}

// entryAt is where the entry of an address at a level is; tables down to it are made.
func (r *dmaRig) entryAt(rid pci.RequesterID, iova uint64, level int) uint64 {
	r.t.Helper()
	table, n := r.tableOf(rid)
	for ; n > level; n-- {
		at := table + spec.SLIndex(iova, n)*8
		v, err := r.mem.Load64(at)
		require.NoError(r.t, err)
		if v == 0 {
			v = uint64(spec.NewSLTable(r.table()))
			r.store64(at, v)
		}
		table = spec.SLEntry(v).Address()
	}
	return table + spec.SLIndex(iova, level)*8
}

const readWrite = spec.SLRead | spec.SLWrite

// mapPage maps a page of a level for a function's domain.
func (r *dmaRig) mapPage(rid pci.RequesterID, iova, to uint64, level int, rights spec.SLEntry) {
	r.t.Helper()
	r.store64(r.entryAt(rid, iova, level), uint64(spec.NewSLPage(to, level, rights)))
}

func (r *dmaRig) unmapPage(rid pci.RequesterID, iova uint64, level int) {
	r.t.Helper()
	r.store64(r.entryAt(rid, iova, level), 0)
}

// submit puts descriptors into the queue and moves the tail behind them.
func (r *dmaRig) submit(list ...spec.Descriptor) {
	r.t.Helper()
	size := spec.IQA(r.read64(spec.RegIQA)).Bytes()
	for _, d := range list {
		r.store64(queueBase+r.tail, d.Lo)
		r.store64(queueBase+r.tail+8, d.Hi)
		r.tail = (r.tail + 16) % size
	}
	r.write32(spec.RegIQT, uint32(r.tail))
}

// wait is a wait descriptor that writes a new status word, and the look at that word.
func (r *dmaRig) wait() (d spec.Descriptor, done func() bool) {
	r.words++
	want := r.words
	return spec.NewWaitDescriptor(spec.Wait{Write: true, Address: statusAt, Data: want}), func() bool {
		v, err := r.mem.Load32(statusAt)
		require.NoError(r.t, err)
		return v == want
	}
}

// invalidate submits descriptors and a wait, which must be over at once.
func (r *dmaRig) invalidate(list ...spec.Descriptor) {
	r.t.Helper()
	w, done := r.wait()
	r.submit(append(list, w)...)
	require.True(r.t, done())
	require.Equal(r.t, r.tail, r.read64(spec.RegIQH))
}

func invalidatePage(did uint16, iova uint64, am uint8) spec.Descriptor {
	return spec.NewIOTLBDescriptor(spec.IOTLBInvalidation{Granularity: spec.PerPage, DID: did, Address: iova, AM: am})
}

func invalidateDomain(did uint16) spec.Descriptor {
	return spec.NewIOTLBDescriptor(spec.IOTLBInvalidation{Granularity: spec.PerDomain, DID: did})
}

// view is a requester's view of memory.
func (r *dmaRig) view(rid pci.RequesterID) *DMAView { return r.View(rid, r.mem.DMA()) }

// fill puts a byte into a page of RAM.
func (r *dmaRig) fill(at uint64, b byte) {
	r.t.Helper()
	p := make([]byte, 4096)
	for i := range p {
		p[i] = b
	}
	require.NoError(r.t, r.mem.WriteAt(p, at))
}

// sees reads one byte as a device does.
func (r *dmaRig) sees(v DMA, iova uint64) byte {
	r.t.Helper()
	b, err := v.View(iova, 1, false)
	require.NoError(r.t, err)
	return b[0]
}

// requireBlocked checks that a DMA request is refused, recorded and counted.
func (r *dmaRig) requireBlocked(rid pci.RequesterID, iova uint64, write bool, reason spec.Reason) {
	r.t.Helper()
	before := len(r.Faults())
	_, err := r.view(rid).Segments(nil, iova, 1, write)
	require.ErrorIs(r.t, err, ErrBlocked)
	faults := r.Faults()
	require.Len(r.t, faults, before+1)
	require.Equal(r.t, Fault{Requester: rid, Address: iova, Write: write, Reason: reason, Recorded: true}, faults[before])
	rec := r.record(uint64(before % faultRecords))
	require.Equal(r.t, spec.NewDMAFault(uint16(rid), iova, !write, reason), rec)
	r.write32(spec.RegFRCD+16*uint64(before%faultRecords)+12, 1<<31)
}

// eventually waits for what a goroutine of the unit does.
func (r *dmaRig) eventually(cond func() bool, what string) {
	r.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); runtime.Gosched() {
		if time.Now().After(deadline) {
			require.Fail(r.t, "never", what)
		}
	}
}
