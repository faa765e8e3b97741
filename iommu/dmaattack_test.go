package iommu

import (
	"bytes"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/iommu/spec"
	"gvmm/vmm/pci"
)

// As in attack_test.go: tenant A owns ridA and domain 1, B ridB and domain 2. Here A's device does DMA.

func TestAttackOtherTenantsMemory(t *testing.T) {
	r := newTranslatingRig(t)
	r.fill(buffers, 0xB)
	r.mapPage(ridB, 0x5000, buffers, 1, readWrite)
	require.Equal(t, byte(0xB), r.sees(r.view(ridB), 0x5000))
	r.requireBlocked(ridA, 0x5000, false, spec.ReadDenied)  // B's address
	r.requireBlocked(ridA, buffers, true, spec.WriteDenied) // where it is
	require.EqualValues(t, domA, r.stats(ridA).Domain)
	r.attach(ridA, spec.ContextEntry{})
	r.invalidate(spec.NewContextDescriptor(spec.ContextInvalidation{Granularity: spec.Global}))
	r.requireBlocked(ridA, 0x5000, false, spec.ContextNotPresent)
	require.EqualValues(t, domA, r.stats(ridA).Domain, "its tenant was that")
	require.Equal(t, byte(0xB), r.sees(r.view(ridB), 0x5000))
}

func TestAttackRequesterWithoutAnEntry(t *testing.T) {
	r := newTranslatingRig(t)
	r.requireBlocked(ridA|1, 0x5000, true, spec.ContextNotPresent) // another function of the same device
	r.requireBlocked(0x7F00, 0x5000, true, spec.RootNotPresent)
}

// TestAttackInterruptStructures maps, by mistake or malice, what decides on interrupts into a device's domain.
func TestAttackInterruptStructures(t *testing.T) {
	for name, c := range map[string]struct {
		page uint64
		off  uint64
		n    uint32
	}{
		"interrupt-remapping table":    {irtBase, 0x20, 16},
		"a UPID of another tenant":     {poolB, 0, 8},
		"a UPID of its own":            {poolA, 0x3C0, 64},
		"up to the first UPID":         {poolA - 4096, 0xFF0, 17},
		"from the last UPID on":        {poolB, 0x3FF, 4},
		"everything in one large page": {0, poolA - 64, 128},
	} {
		for _, write := range []bool{true, false} {
			for _, kind := range []spec.TranslationType{spec.Translated, spec.PassThrough} {
				t.Run(name, func(t *testing.T) {
					r := newTranslatingRig(t)
					r.loadPools(spec.Pool{Base: poolA, Count: 16, Domain: domA}, spec.Pool{Base: poolB, Count: 16, Domain: domB})
					iova := c.page
					if kind == spec.PassThrough {
						r.attach(ridA, spec.NewContextEntry(kind, 0, 4, domA))
					} else {
						level := 1
						if c.page == 0 {
							level = 2
						}
						r.mapPage(ridA, iova, c.page, level, readWrite)
						if level == 1 {
							r.mapPage(ridA, iova+4096, c.page+4096, level, readWrite)
						}
					}
					_, err := r.view(ridA).Segments(nil, iova+c.off, c.n, write)
					require.ErrorIs(t, err, ErrBlocked)
					_, err = r.view(ridA).View(iova+c.off, int(c.n), write)
					require.ErrorIs(t, err, ErrBlocked)
					require.Equal(t, uint64(2), r.stats(ridA).Faults[spec.ProtectedMemory])
					// What is beside them in the same page is not out of reach.
					if c.page == poolA || c.page == poolB {
						_, err = r.view(ridA).View(iova+0x400, 64, write)
						require.NoError(t, err)
					}
				})
			}
		}
	}
}

func TestAttackStructuresProtectedAfterTheyWereCached(t *testing.T) {
	r := newTranslatingRig(t)
	r.mapPage(ridA, 0x5000, poolA, 1, readWrite)
	require.Zero(t, r.sees(r.view(ridA), 0x5000), "memory like any other")
	r.loadPools(spec.Pool{Base: poolA, Count: 16, Domain: domA})
	r.requireBlocked(ridA, 0x5000, true, spec.ProtectedMemory)
	r.write32(spec.RegVendor+spec.VendorRegControl, 0)
	require.NotPanics(t, func() { r.sees(r.view(ridA), 0x5000) })
}

func TestAttackTablesThatPointToThemselves(t *testing.T) {
	for level := 1; level <= 4; level++ {
		r := newTranslatingRig(t)
		table, _ := r.tableOf(ridA)
		at := table
		for n := 4; n >= level; n-- {
			at = r.entryAt(ridA, 0, n)
		}
		r.store64(at, at&^0xFFF|3)
		// Whatever it means, it ends: each level takes nine bits of the address.
		_, err := r.view(ridA).Segments(nil, 0, 64<<10, true)
		if err != nil {
			require.ErrorIs(t, err, ErrBlocked)
		}
	}
}

func TestAttackTablesInTheInterruptTable(t *testing.T) {
	r := newTranslatingRig(t)
	before := make([]byte, 4096)
	require.NoError(t, r.mem.ReadAt(before, irtBase))
	w := spec.NewWaitDescriptor(spec.Wait{Write: true, Address: irtBase + 8, Data: 0xFFFF_FFFF})
	r.submit(w) // the kernel's own foot; what counts is that nothing else breaks
	require.Equal(t, r.tail, r.read64(spec.RegIQH))
	require.Equal(t, spec.EntryNotPresent, r.refusal(0))
}

func TestAttackLargePageOverTheInterruptRange(t *testing.T) {
	r := newTranslatingRig(t)
	r.mapPage(ridA, 0xFEC0_0000, buffers, 2, readWrite)
	v := r.view(ridA)
	_, err := v.View(0xFEDF_F000, 4096, true)
	require.NoError(t, err)
	_, err = v.View(0xFEF0_0000, 4096, true)
	require.ErrorIs(t, err, ErrBlocked, "another large page")
	r.mapPage(ridA, 0xFEE0_0000, buffers, 2, readWrite)
	_, err = v.View(0xFEF0_0000, 4096, true)
	require.NoError(t, err)
	for _, c := range []struct {
		at uint64
		n  int
	}{{0xFEE0_0000, 4}, {0xFEEF_FFFF, 1}, {0xFEDF_FFFF, 2}, {0xFEEF_FFFF, 2}} {
		_, err = v.View(c.at, c.n, true)
		require.ErrorIs(t, err, ErrBlocked, "%#x", c.at)
	}
}

func TestAttackFaultStormOfOneTenantLeavesTheOtherItsRecords(t *testing.T) {
	r := newTranslatingRig(t)
	for i := range uint64(1000) {
		_, err := r.view(ridA).View(i<<12, 1, true)
		require.ErrorIs(t, err, ErrBlocked)
	}
	_, err := r.view(ridB).View(0x5000, 1, true)
	require.ErrorIs(t, err, ErrBlocked)
	require.Equal(t, uint16(ridB), r.record(1).SID(), "A's faults collapse into one record")
	require.Zero(t, r.read32(spec.RegFSTS)&spec.FaultPFO)
}

// TestAttackInvalidationStorm has one processor invalidate without end while B's device does DMA and raises interrupts, all of which go right.
func TestAttackInvalidationStorm(t *testing.T) {
	r := newTranslatingRig(t, func(c *Config) { c.Deliver = discard{} })
	r.loadPools(spec.Pool{Base: poolB, Count: 16, Domain: domB})
	upid := r.upid(poolB)
	r.mapPage(ridB, 0x5000, buffers, 1, readWrite)
	r.setEntry(1, spec.NewUserPosted(3, poolB, false, uint16(ridB)))
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !stop.Load() {
			var list []spec.Descriptor
			for i := range uint64(80) {
				list = append(list, invalidateDomain(domA), invalidatePage(domA, i<<12, 5),
					spec.NewIECDescriptor(spec.IECInvalidation{All: true}))
			}
			w, _ := r.wait()
			r.submit(append(list, w)...)
			for r.read64(spec.RegIQH) != r.tail {
			}
		}
	})
	c := r.view(ridB).Client(8)
	defer c.Close()
	for n := range 3000 {
		request, ok := c.Begin()
		require.True(t, ok)
		segments, err := c.Segments(nil, 0x5000, 64, true)
		require.NoError(t, err)
		atomicStore(segments[0], uint64(n))
		c.End(request)
		require.NoError(t, r.raise(ridB, 1))
		require.Equal(t, uint64(1<<3), upid.Drain())
	}
	stop.Store(true)
	wg.Wait()
	require.Empty(t, r.Faults())
}

// TestAttackTEToggledUnderDMA has DMA go on while translation is switched; each access is by the one way or by the other.
func TestAttackTEToggledUnderDMA(t *testing.T) {
	r := newTranslatingRig(t)
	r.mapPage(ridA, buffers, buffers+4096, 1, readWrite)
	r.fill(buffers, 1)
	r.fill(buffers+4096, 2)
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !stop.Load() {
			r.write32(spec.RegGCMD, spec.GlobalQIE)
			r.write32(spec.RegGCMD, spec.GlobalQIE|spec.GlobalTE)
		}
	})
	v := r.view(ridA)
	for range 20_000 {
		b, err := v.View(buffers, 1, false)
		require.NoError(t, err)
		require.Contains(t, []byte{1, 2}, b[0])
	}
	stop.Store(true)
	wg.Wait()
}

// FuzzTables lets a guest write anything into root, context and second-level tables. A DMA request ends, reaches nothing but RAM that is not out of
// reach, and has exactly one outcome.
func FuzzTables(f *testing.F) {
	ok := spec.NewContextEntry(spec.Translated, slTables, 3, domA)
	f.Add(uint64(ctxTables|1), ok.Lo, ok.Hi, uint64(slTables+0x1003), uint64(slTables+0x2003), uint64(buffers|3), uint64(0), uint32(4096), true)
	f.Add(uint64(ctxTables|1), ok.Lo, ok.Hi, uint64(slTables+3), uint64(slTables+3), uint64(slTables+3), uint64(5), uint32(9000), false)
	f.Add(uint64(ctxTables|1), ok.Lo, ok.Hi, uint64(0x83), uint64(0), uint64(0), uint64(irtBase), uint32(1), true)
	f.Add(uint64(0xFED9_0001), ok.Lo, ok.Hi, uint64(0), uint64(0), uint64(0), uint64(0), uint32(1), true)
	f.Add(uint64(ctxTables|1), uint64(9), uint64(2), uint64(0), uint64(0), uint64(0), uint64(0xFEE0_0000), uint32(4), true)
	f.Fuzz(func(t *testing.T, root, lo, hi, e3, e2, e1, iova uint64, n uint32, write bool) {
		r := newTranslatingRig(t)
		r.store64(rootTable+uint64(ridA.Bus())*16, root)
		at := ctxTables + uint64(ridA.Bus())*4096 + uint64(ridA&0xFF)*16
		r.store64(at, lo)
		r.store64(at+8, hi)
		for level, e := range map[uint64]uint64{0: e3, 1: e2, 2: e1} {
			for _, index := range []uint64{0, spec.SLIndex(iova, 3-int(level))} {
				r.store64(slTables+level*0x1000+index*8, e)
			}
		}
		n %= 1 << 20
		ram, err := r.mem.View(0, dmaRAM)
		require.NoError(t, err)
		segments, err := r.view(ridA).Segments(nil, iova, n, write)
		s := r.stats(ridA)
		faults := uint64(0)
		for _, c := range s.Faults {
			faults += c
		}
		if err != nil {
			require.Empty(t, segments)
			require.Equal(t, uint64(1), faults+s.Aborted)
			return
		}
		require.Zero(t, faults+s.Aborted)
		total := 0
		for _, p := range segments {
			total += len(p)
			first, ok := pointerOffset(ram, p)
			require.True(t, ok)
			require.False(t, first < irtBase+256*16 && first+uint64(len(p)) > irtBase, "interrupt-remapping table")
		}
		require.Equal(t, int(n), total)
		// The cache gives the same.
		again, err := r.view(ridA).Segments(nil, iova, n, write)
		require.NoError(t, err)
		require.Len(t, again, len(segments))
		for i := range again {
			require.True(t, &again[i][0] == &segments[i][0] && len(again[i]) == len(segments[i]))
		}
	})
}

// FuzzQueue puts arbitrary descriptors into the queue. It ends, at the tail or stopped on a descriptor, writes nothing but status words, and goes on
// once the descriptor is mended.
func FuzzQueue(f *testing.F) {
	add := func(list ...spec.Descriptor) {
		var b []byte
		for _, d := range list {
			for _, v := range []uint64{d.Lo, d.Hi} {
				for i := range 8 {
					b = append(b, byte(v>>(8*i)))
				}
			}
		}
		f.Add(b, false)
	}
	wait := spec.NewWaitDescriptor(spec.Wait{Write: true, Interrupt: true, Address: statusAt, Data: 1})
	add(spec.NewIECDescriptor(spec.IECInvalidation{All: true}), wait)
	add(invalidatePage(1, 0x5000, 3), invalidateDomain(2), wait, wait)
	add(spec.NewContextDescriptor(spec.ContextInvalidation{Granularity: spec.PerDevice, FM: 3}), spec.Descriptor{Lo: 9}, wait)
	f.Fuzz(func(t *testing.T, bytesOf []byte, held bool) {
		r := newTranslatingRig(t)
		c := r.client(1)
		if held {
			r.begin(c, 0x5000)
		}
		var list []spec.Descriptor
		allowed := map[uint64]bool{}
		for ; len(bytesOf) >= 16 && len(list) < 200; bytesOf = bytesOf[16:] {
			var d spec.Descriptor
			for i := range 8 {
				d.Lo |= uint64(bytesOf[i]) << (8 * i)
				d.Hi |= uint64(bytesOf[8+i]) << (8 * i)
			}
			if w, ok := d.Wait(); ok && d.Type() == spec.DescriptorWait && w.Write {
				if w.Address%dmaRAM < 0x20_0000 {
					continue // into the rig's own tables
				}
				allowed[w.Address] = true
			}
			list = append(list, d)
		}
		before := bytes.Clone(mustView(t, r, buffers, 1<<16))
		r.submit(list...)
		c.Close()
		for n := 0; n <= len(list); n++ {
			r.eventually(func() bool {
				return r.read64(spec.RegIQH) == r.tail || r.read32(spec.RegFSTS)&spec.FaultIQE != 0
			}, "the queue neither ends nor stops")
			if r.read32(spec.RegFSTS)&spec.FaultIQE == 0 {
				break
			}
			require.NotZero(t, r.read64(spec.RegIQERCD))
			at := queueBase + r.read64(spec.RegIQH)
			good := spec.NewIECDescriptor(spec.IECInvalidation{All: true})
			r.store64(at, good.Lo)
			r.store64(at+8, good.Hi)
			r.write32(spec.RegFSTS, spec.FaultIQE)
		}
		require.Equal(t, r.tail, r.read64(spec.RegIQH))
		after := mustView(t, r, buffers, 1<<16)
		for addr := range allowed {
			if off := addr - buffers; off < 1<<16 {
				copy(before[off:off+4], after[off:])
			}
		}
		require.True(t, bytes.Equal(before, after))
	})
}

func mustView(t *testing.T, r *dmaRig, at, n uint64) []byte {
	b, err := r.mem.View(at, n)
	require.NoError(t, err)
	return b
}

// FuzzTranslationRegisters writes registers and does DMA and interrupts in between.
func FuzzTranslationRegisters(f *testing.F) {
	f.Add([]byte{0, 0x18, 0, 0, 0, 0, 0xC4, 0, 0, 0, 0, 2, 0x88, 0, 0x40, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{1, 0xF8, 0, 0, 0, 0, 0, 0, 0, 0, 0xA0, 3, 0, 0x50, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		r := newTranslatingRig(t)
		c := r.client(4)
		constant := []uint64{r.read64(spec.RegVER), r.read64(spec.RegCAP), r.read64(spec.RegECAP)}
		for steps := 0; len(ops) >= 11 && steps < 200; ops, steps = ops[11:], steps+1 {
			off, v := uint64(ops[1])|uint64(ops[2])<<8, uint64(0)
			for i := range 8 {
				v |= uint64(ops[3+i]) << (8 * i)
			}
			switch ops[0] % 6 {
			case 0:
				r.write32(off&0xFFC, uint32(v))
			case 1:
				r.write64(off&0xFF8, v)
			case 2: // something for the queue to find
				r.store64(queueBase+off&0xFF8, v)
				r.write32(spec.RegIQT, uint32(v>>32))
			case 3:
				if request, ok := c.Begin(); ok {
					_, _ = c.Segments(nil, v, uint32(off), off&1 != 0)
					if off&2 != 0 {
						c.End(request)
					}
				}
			case 4:
				_, _ = c.View(v, int(off), off&1 != 0)
			case 5:
				_ = r.Sender(pci.RequesterID(off % 12)).SendMSI(pci.Message{Address: v & 0xFFFF_FFFF, Data: uint32(off)})
			}
			r.checkInvariants(t, constant)
			status := r.read32(spec.RegGSTS)
			require.False(t, status&spec.GlobalTE != 0 && status&spec.GlobalSRTP == 0)
			require.Zero(t, r.read64(spec.RegIQH)&^spec.IQTDefined)
		}
	})
}
