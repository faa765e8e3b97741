package iommu

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gvmm/iommu/spec"
	"gvmm/vmm/memory"
	"gvmm/vmm/pci"
)

func TestDMAIsUntranslatedUntilTE(t *testing.T) {
	r := newDMARig(t)
	r.fill(buffers, 0x11)
	require.Equal(t, byte(0x11), r.sees(r.view(ridA), buffers))
	r.write32(spec.RegGCMD, spec.GlobalTE)
	require.Zero(t, r.read32(spec.RegGSTS), "TE without a root table is refused")
	require.Equal(t, byte(0x11), r.sees(r.view(ridA), buffers))
}

func TestPagesOfEverySizeAndDepth(t *testing.T) {
	for width, depths := range map[int][]int{39: {3}, 48: {3, 4}, 57: {3, 4, 5}} {
		for _, levels := range depths {
			for level := 1; level <= 3; level++ {
				t.Run(fmt.Sprintf("%d bits, %d levels, page level %d", width, levels, level), func(t *testing.T) {
					r := newTranslatingRig(t, func(c *Config) {
						c.Width = width
						require.NoError(t, c.Memory.AddRAM(1<<30, 16<<20))
					})
					r.attach(ridA, spec.NewContextEntry(spec.Translated, r.table(), levels, domA))
					r.invalidate(spec.NewContextDescriptor(spec.ContextInvalidation{Granularity: spec.Global}))
					// The last page that the domain has.
					size := spec.LevelBytes(level)
					iova := spec.LevelBytes(levels+1) - size
					to := map[int]uint64{1: buffers, 2: buffers, 3: 1 << 30}[level]
					r.mapPage(ridA, iova, to, level, readWrite)
					off := (size - 4096) & 0x3F_F000
					r.fill(to+off, byte(level))
					v := r.view(ridA)
					for range 2 { // missed, then hit
						require.Equal(t, byte(level), r.sees(v, iova+off+5))
					}
					require.Equal(t, uint64(1), r.stats(ridA).Misses)
					_, err := v.Segments(nil, iova, 16, true)
					require.NoError(t, err)
				})
			}
		}
	}
}

func TestDMAFaultReasons(t *testing.T) {
	const iova = 0x1234_5000
	page := func(rights spec.SLEntry) func(*dmaRig) {
		return func(r *dmaRig) { r.mapPage(ridA, iova, buffers, 1, rights) }
	}
	set := func(level int, bits uint64) func(*dmaRig) {
		return func(r *dmaRig) {
			r.mapPage(ridA, iova, buffers, 1, readWrite)
			at := r.entryAt(ridA, iova, level)
			v, _ := r.mem.Load64(at)
			r.store64(at, v|bits)
		}
	}
	large := func(level int, bits uint64) func(*dmaRig) {
		return func(r *dmaRig) { r.store64(r.entryAt(ridA, iova, level), 0x83|bits) }
	}
	context := func(e spec.ContextEntry) func(*dmaRig) { return func(r *dmaRig) { r.attach(ridA, e) } }
	ok := spec.NewContextEntry(spec.Translated, slTables, 4, domA)
	root := func(lo, hi uint64) func(*dmaRig) {
		return func(r *dmaRig) {
			r.store64(rootTable+uint64(ridA.Bus())*16, lo)
			r.store64(rootTable+uint64(ridA.Bus())*16+8, hi)
		}
	}
	for name, c := range map[string]struct {
		setup  func(*dmaRig)
		iova   uint64
		write  bool
		reason spec.Reason
	}{
		"root not present":            {root(0, 0), iova, false, spec.RootNotPresent},
		"root reserved":               {root(ctxTables|1|1<<1, 0), iova, false, spec.RootReserved},
		"root upper half":             {root(ctxTables|1, 1), iova, false, spec.RootReserved},
		"context table beyond RAM":    {root(dmaRAM|1, 0), iova, false, spec.ContextUnreadable},
		"context table in registers":  {root(0xFED9_0000|1, 0), iova, false, spec.ContextUnreadable},
		"context not present":         {context(spec.ContextEntry{}), iova, false, spec.ContextNotPresent},
		"context reserved, low":       {context(spec.ContextEntry{Lo: ok.Lo | 1<<4, Hi: ok.Hi}), iova, false, spec.ContextReserved},
		"context reserved, high":      {context(spec.ContextEntry{Lo: ok.Lo, Hi: ok.Hi | 1<<24}), iova, false, spec.ContextReserved},
		"context reserved, bit 71":    {context(spec.ContextEntry{Lo: ok.Lo, Hi: ok.Hi | 1<<7}), iova, false, spec.ContextReserved},
		"five levels in 48 bits":      {context(spec.NewContextEntry(spec.Translated, slTables, 5, domA)), iova, false, spec.ContextInvalid},
		"two levels":                  {context(spec.NewContextEntry(spec.Translated, slTables, 2, domA)), iova, false, spec.ContextInvalid},
		"device TLB, which is not":    {context(spec.NewContextEntry(1, slTables, 4, domA)), iova, false, spec.ContextInvalid},
		"reserved translation type":   {context(spec.NewContextEntry(3, slTables, 4, domA)), iova, false, spec.ContextInvalid},
		"first table beyond RAM":      {context(spec.NewContextEntry(0, dmaRAM, 4, domA)), iova, false, spec.ContextInvalid},
		"address beyond 48 bits":      {page(readWrite), 1 << 48, false, spec.AddressBeyond},
		"address at the very end":     {page(readWrite), ^uint64(0), true, spec.AddressBeyond},
		"address beyond three levels": {context(spec.NewContextEntry(0, slTables, 3, domA)), 1 << 39, false, spec.AddressBeyond},
		"pass-through beyond 48 bits": {context(spec.NewContextEntry(spec.PassThrough, 0, 4, domA)), 1 << 48, false, spec.AddressBeyond},
		"not mapped, read":            {func(*dmaRig) {}, iova, false, spec.ReadDenied},
		"not mapped, write":           {func(*dmaRig) {}, iova, true, spec.WriteDenied},
		"read of write-only":          {page(spec.SLWrite), iova, false, spec.ReadDenied},
		"write of read-only":          {page(spec.SLRead), iova, true, spec.WriteDenied},
		"table above denies writes": {func(r *dmaRig) {
			r.mapPage(ridA, iova, buffers, 1, readWrite)
			at := r.entryAt(ridA, iova, 3)
			v, _ := r.mem.Load64(at)
			r.store64(at, v&^uint64(spec.SLWrite))
		}, iova, true, spec.WriteDenied},
		"next table beyond RAM":   {func(r *dmaRig) { r.store64(r.entryAt(ridA, iova, 3), dmaRAM|3) }, iova, false, spec.SLUnreadable},
		"next table in registers": {func(r *dmaRig) { r.store64(r.entryAt(ridA, iova, 2), 0xFED9_0003) }, iova, true, spec.SLUnreadable},
		"SNP without SC":          {set(1, 1<<11), iova, false, spec.SLReserved},
		"SNP in a table":          {set(2, 1<<11), iova, false, spec.SLReserved},
		"page bit at level 4":     {set(4, 1<<7), iova, false, spec.SLReserved},
		"2 MiB page misplaced":    {large(2, 1<<12), iova, false, spec.SLReserved},
		"1 GiB page misplaced":    {large(3, 1<<29), iova, true, spec.SLReserved},
		"to the interrupt range":  {func(r *dmaRig) { r.mapPage(ridA, iova, 0xFEE0_0000, 1, readWrite) }, iova, true, spec.InterruptOutput},
		"read of interrupt range": {func(r *dmaRig) { r.mapPage(ridA, 0xFEE0_0000, buffers, 1, readWrite) }, 0xFEE0_0000, false, spec.ReadDenied},
		"interrupt range, no dword": {func(r *dmaRig) {
			r.mapPage(ridA, 0xFEEF_F000, buffers, 1, readWrite)
		}, 0xFEEF_FFFF, true, spec.WriteDenied},
		"interrupt-remapping table": {func(r *dmaRig) { r.mapPage(ridA, iova, irtBase, 1, readWrite) }, iova, true, spec.ProtectedMemory},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTranslatingRig(t)
			c.setup(r)
			r.requireBlocked(ridA, c.iova, c.write, c.reason)
			require.Equal(t, map[spec.Reason]uint64{c.reason: 1}, r.stats(ridA).Faults)
		})
	}
}

func TestRootTableThatCannotBeRead(t *testing.T) {
	r := newTranslatingRig(t)
	for _, root := range []uint64{dmaRAM, 0xFED9_0000, ^uint64(0xFFF)} {
		r.write64(spec.RegRTADDR, root)
		r.command(spec.GlobalSRTP)
		r.requireBlocked(ridA, 0x1000, false, spec.RootUnreadable)
	}
}

func TestIgnoredBitsOfSecondLevelEntries(t *testing.T) {
	r := newTranslatingRig(t)
	r.fill(buffers, 0x77)
	r.mapPage(ridA, 0x5000, buffers, 1, readWrite)
	for level, bits := range map[int]uint64{1: 0xFFF0_0000_0000_07FC, 2: 0xFFF0_0000_0000_077C, 4: 0xFFF0_0000_0000_077C} {
		at := r.entryAt(ridA, 0x5000, level)
		v, err := r.mem.Load64(at)
		require.NoError(t, err)
		r.store64(at, v|bits)
	}
	require.Equal(t, byte(0x77), r.sees(r.view(ridA), 0x5000))
}

func TestFPDHidesFaultsFromTheGuestAlone(t *testing.T) {
	for name, e := range map[string]spec.ContextEntry{
		"present":     spec.NewContextEntry(spec.Translated, slTables, 4, domA).WithFPD(),
		"not present": spec.ContextEntry{}.WithFPD(),
		"invalid":     spec.NewContextEntry(3, slTables, 4, domA).WithFPD(),
	} {
		t.Run(name, func(t *testing.T) {
			r := newTranslatingRig(t)
			r.attach(ridA, e)
			_, err := r.view(ridA).View(0x5000, 4, true)
			require.ErrorIs(t, err, ErrBlocked)
			require.Zero(t, r.read32(spec.RegFSTS))
			require.Len(t, r.Faults(), 1)
			require.False(t, r.Faults()[0].Recorded)
		})
	}
}

func TestDMAFaultRaisesTheFaultEvent(t *testing.T) {
	r := newTranslatingRig(t)
	r.armEvent()
	_, err := r.view(ridA).View(0x5000, 4, true)
	require.ErrorIs(t, err, ErrBlocked)
	require.Equal(t, []pci.Message{event}, r.apic.take())
}

func TestPassThrough(t *testing.T) {
	r := newTranslatingRig(t)
	r.attach(ridA, spec.NewContextEntry(spec.PassThrough, 0, 4, domA))
	r.fill(buffers, 0x33)
	require.Equal(t, byte(0x33), r.sees(r.view(ridA), buffers))
	segments, err := r.view(ridA).Segments(nil, buffers, 1<<20, true)
	require.NoError(t, err)
	require.Len(t, segments, 1)
	_, err = r.view(ridA).Segments(nil, dmaRAM, 1, true)
	require.ErrorIs(t, err, memory.ErrUnmapped, "no fault: there is nothing there")
	require.Equal(t, uint64(1), r.stats(ridA).Aborted)
	require.Empty(t, r.Faults())
	r.requireBlocked(ridA, 0xFEE0_0000, true, spec.WriteDenied)
}

func TestTranslationToWhatIsNoMemoryIsAborted(t *testing.T) {
	r := newTranslatingRig(t)
	r.mapPage(ridA, 0x5000, 0xFED9_0000, 1, readWrite)
	for _, do := range []func() error{
		func() error { _, err := r.view(ridA).View(0x5018, 4, true); return err },
		func() error { _, err := r.view(ridA).Segments(nil, 0x5018, 4, true); return err },
	} {
		require.ErrorIs(t, do(), memory.ErrUnmapped)
	}
	require.Equal(t, uint64(2), r.stats(ridA).Aborted)
}

func TestSegmentsMergeWhatIsContiguous(t *testing.T) {
	r := newTranslatingRig(t)
	// Four pages in a row, one elsewhere, two in a row before the first: three runs.
	for i, to := range []uint64{16, 17, 18, 19, 40, 14, 15} {
		r.mapPage(ridA, 0x10_0000+uint64(i)*4096, buffers+to*4096, 1, readWrite)
	}
	r.fill(buffers+40*4096, 0x40)
	segments, err := r.view(ridA).Segments(nil, 0x10_0100, 7*4096-0x100, false)
	require.NoError(t, err)
	var sizes []int
	for _, s := range segments {
		sizes = append(sizes, len(s))
	}
	require.Equal(t, []int{4*4096 - 0x100, 4096, 2 * 4096}, sizes)
	require.Equal(t, byte(0x40), segments[1][0])

	kept := [][]byte{{1}}
	got, err := r.view(ridA).Segments(kept, 0x10_0000, 8*4096, false)
	require.ErrorIs(t, err, ErrBlocked)
	require.Equal(t, kept, got, "what came is what goes back")
	got, err = r.view(ridA).Segments(kept, 0x10_0000, 0, false)
	require.NoError(t, err)
	require.Equal(t, kept, got)
}

func TestViewOverTwoPages(t *testing.T) {
	r := newTranslatingRig(t)
	r.mapPage(ridA, 0x1000, buffers, 1, readWrite)
	r.mapPage(ridA, 0x2000, buffers+4096, 1, readWrite)
	r.mapPage(ridA, 0x3000, buffers, 1, readWrite)
	b, err := r.view(ridA).View(0x1FF8, 16, true)
	require.NoError(t, err)
	require.Len(t, b, 16)
	_, err = r.view(ridA).View(0x2FF8, 16, true)
	require.ErrorIs(t, err, ErrScattered)
	_, err = r.view(ridA).View(0x3FF8, 16, true)
	require.ErrorIs(t, err, ErrBlocked)
}

func TestDomainsAreApart(t *testing.T) {
	r := newTranslatingRig(t)
	r.fill(buffers, 0xA)
	r.fill(buffers+4096, 0xB)
	r.mapPage(ridA, 0x5000, buffers, 1, readWrite)
	r.mapPage(ridB, 0x5000, buffers+4096, 1, readWrite)
	for range 3 {
		require.Equal(t, byte(0xA), r.sees(r.view(ridA), 0x5000))
		require.Equal(t, byte(0xB), r.sees(r.view(ridB), 0x5000))
	}
	r.unmapPage(ridA, 0x5000, 1)
	r.invalidate(invalidateDomain(domB))
	require.Equal(t, byte(0xA), r.sees(r.view(ridA), 0x5000), "another domain's invalidation is not ours")
	r.invalidate(invalidateDomain(domA))
	r.requireBlocked(ridA, 0x5000, false, spec.ReadDenied)
	require.Equal(t, byte(0xB), r.sees(r.view(ridB), 0x5000))
}

func TestInvalidationTakesTranslationsBack(t *testing.T) {
	for name, c := range map[string]struct {
		level int
		d     spec.Descriptor
		gone  bool
	}{
		"global":             {1, spec.NewIOTLBDescriptor(spec.IOTLBInvalidation{Granularity: spec.Global}), true},
		"domain":             {1, invalidateDomain(domA), true},
		"page":               {1, invalidatePage(domA, 0x4020_0000, 0), true},
		"page of others":     {1, invalidatePage(domB, 0x4020_0000, 0), false},
		"other page":         {1, invalidatePage(domA, 0x4020_1000, 0), false},
		"range around":       {1, invalidatePage(domA, 0x4020_F000, 5), true},
		"large range around": {1, invalidatePage(domA, 0x4030_0000, 9+1), true},
		"2 MiB page":         {2, invalidatePage(domA, 0x4020_0000, 9), true},
		"2 MiB page by 4K":   {2, invalidatePage(domA, 0x402F_F000, 0), true},
		"1 GiB page":         {3, invalidatePage(domA, 0x4000_0000, 18), true},
		"1 GiB page by 4K":   {3, invalidatePage(domA, 0x7FFF_F000, 0), true},
		"other 2 MiB page":   {2, invalidatePage(domA, 0x4040_0000, 0), false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTranslatingRig(t, func(cfg *Config) { require.NoError(t, cfg.Memory.AddRAM(1<<30, 16<<20)) })
			to := uint64(1 << 30)
			r.fill(to+0x20_0000, 0x66)
			r.fill(to, 0x66)
			r.mapPage(ridA, 0x4020_0000, to, c.level, readWrite)
			if c.level == 3 {
				r.mapPage(ridA, 0x4000_0000, to, 3, readWrite)
			}
			require.Equal(t, byte(0x66), r.sees(r.view(ridA), 0x4020_0000))
			r.store64(r.entryAt(ridA, 0x4020_0000, c.level), 0)
			require.Equal(t, byte(0x66), r.sees(r.view(ridA), 0x4020_0000), "cached")
			r.invalidate(c.d)
			if c.gone {
				r.requireBlocked(ridA, 0x4020_0000, false, spec.ReadDenied)
				return
			}
			require.Equal(t, byte(0x66), r.sees(r.view(ridA), 0x4020_0000), "still cached")
		})
	}
}

func TestContextInvalidationTakesContextsBack(t *testing.T) {
	context := func(v spec.ContextInvalidation) spec.Descriptor { return spec.NewContextDescriptor(v) }
	for name, c := range map[string]struct {
		d    spec.Descriptor
		gone bool
	}{
		"global":        {context(spec.ContextInvalidation{Granularity: spec.Global}), true},
		"domain":        {context(spec.ContextInvalidation{Granularity: spec.PerDomain, DID: domA}), true},
		"other domain":  {context(spec.ContextInvalidation{Granularity: spec.PerDomain, DID: domB}), false},
		"device":        {context(spec.ContextInvalidation{Granularity: spec.PerDevice, DID: domA, SID: uint16(ridA)}), true},
		"wrong domain":  {context(spec.ContextInvalidation{Granularity: spec.PerDevice, DID: domB, SID: uint16(ridA)}), false},
		"wrong FM":      {context(spec.ContextInvalidation{Granularity: spec.PerDevice, DID: domA, SID: uint16(ridA) | 1, FM: 1}), false},
		"function mask": {context(spec.ContextInvalidation{Granularity: spec.PerDevice, DID: domA, SID: uint16(ridA) | 7, FM: 3}), true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTranslatingRig(t)
			r.fill(buffers, 0x55)
			r.mapPage(ridA, 0x5000, buffers, 1, readWrite)
			require.Equal(t, byte(0x55), r.sees(r.view(ridA), 0x5000))
			r.attach(ridA, spec.ContextEntry{})
			r.invalidate(c.d)
			if c.gone {
				r.requireBlocked(ridA, 0x5000, false, spec.ContextNotPresent)
				return
			}
			require.Equal(t, byte(0x55), r.sees(r.view(ridA), 0x5000))
		})
	}
}

func TestMappingNeedsNoInvalidationToAppear(t *testing.T) {
	r := newTranslatingRig(t)
	r.requireBlocked(ridA, 0x5000, true, spec.WriteDenied)
	r.mapPage(ridA, 0x5000, buffers, 1, spec.SLRead)
	require.Zero(t, r.sees(r.view(ridA), 0x5000))
	r.requireBlocked(ridA, 0x5000, true, spec.WriteDenied)
	r.mapPage(ridA, 0x5000, buffers, 1, readWrite)
	_, err := r.view(ridA).View(0x5000, 4, true)
	require.NoError(t, err, "a right that was added is found")
}

func TestRootTableIsLatchedAndCachesFlushedBySRTP(t *testing.T) {
	r := newTranslatingRig(t)
	r.fill(buffers, 1)
	r.mapPage(ridA, 0x5000, buffers, 1, readWrite)
	require.Equal(t, byte(1), r.sees(r.view(ridA), 0x5000))
	r.write64(spec.RegRTADDR, r.table())
	r.unmapPage(ridA, 0x5000, 1)
	require.Equal(t, byte(1), r.sees(r.view(ridA), 0x5000))
	r.command(spec.GlobalSRTP)
	r.requireBlocked(ridA, 0x5000, false, spec.RootNotPresent)
	r.write64(spec.RegRTADDR, rootTable)
	r.command(spec.GlobalSRTP)
	r.requireBlocked(ridA, 0x5000, false, spec.ReadDenied)
}

func TestTEOffFlushesAndPassesAddressesOn(t *testing.T) {
	r := newTranslatingRig(t)
	r.fill(buffers, 1)
	r.mapPage(ridA, 0x5000, buffers, 1, readWrite)
	require.Equal(t, byte(1), r.sees(r.view(ridA), 0x5000))
	r.write32(spec.RegGCMD, r.read32(spec.RegGSTS)&^(spec.GlobalTE|spec.GlobalSRTP|spec.GlobalSIRTP))
	require.Zero(t, r.read32(spec.RegGSTS)&spec.GlobalTE)
	require.NotZero(t, r.read32(spec.RegGSTS)&spec.GlobalSRTP)
	require.Equal(t, byte(1), r.sees(r.view(ridA), buffers))
	r.unmapPage(ridA, 0x5000, 1)
	r.command(spec.GlobalTE)
	r.requireBlocked(ridA, 0x5000, false, spec.ReadDenied)
}

// TestTranslationAgreesWithTheTables maps and unmaps at random, with the invalidations that Linux would send, and compares with a map.
func TestTranslationAgreesWithTheTables(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newTranslatingRig(t)
		type key struct {
			rid  pci.RequesterID
			page uint64
		}
		mapped := map[key]uint64{}
		rids := []pci.RequesterID{ridA, ridB}
		dids := map[pci.RequesterID]uint16{ridA: domA, ridB: domB}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			k := key{rapid.SampledFrom(rids).Draw(rt, "rid"), rapid.Uint64Range(0, 40).Draw(rt, "page") * 0x3001}
			iova := k.page << 12
			switch rapid.IntRange(0, 2).Draw(rt, "what") {
			case 0:
				to := buffers + rapid.Uint64Range(0, 255).Draw(rt, "to")*4096
				_, was := mapped[k]
				r.mapPage(k.rid, iova, to, 1, readWrite)
				if was {
					r.invalidate(invalidatePage(dids[k.rid], iova, uint8(rapid.IntRange(0, 10).Draw(rt, "AM"))))
				}
				mapped[k] = to
			case 1:
				r.unmapPage(k.rid, iova, 1)
				delete(mapped, k)
				r.invalidate(invalidatePage(dids[k.rid], iova, 0))
			}
			b, err := r.view(k.rid).View(iova, 8, false)
			to, ok := mapped[k]
			require.Equal(rt, ok, err == nil, "%v", err)
			if ok {
				want, _ := r.mem.View(to, 8)
				require.Same(rt, &want[0], &b[0])
			} else {
				require.True(rt, errors.Is(err, ErrBlocked))
			}
		}
	})
}
