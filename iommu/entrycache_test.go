package iommu

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/iommu/spec"
	"gvmm/vmm/pci"
)

func TestInterruptEntriesAreCachedWhileTheQueueIsOn(t *testing.T) {
	entry := func(vector uint8) spec.IRTE {
		return spec.NewRemapped(vector, spec.Fixed, 1, spec.OnlyFrom(uint16(ridA)))
	}
	for name, c := range map[string]struct {
		v    spec.IECInvalidation
		gone bool
	}{
		"all":         {spec.IECInvalidation{All: true}, true},
		"index":       {spec.IECInvalidation{Index: 9}, true},
		"other index": {spec.IECInvalidation{Index: 8}, false},
		"range":       {spec.IECInvalidation{Index: 15, IM: 3}, true},
		"other range": {spec.IECInvalidation{Index: 16, IM: 4}, false},
		"large range": {spec.IECInvalidation{Index: 0xFFFF, IM: 15}, true}, // more than looked for one by one
	} {
		t.Run(name, func(t *testing.T) {
			r := newTranslatingRig(t)
			r.setEntry(9, entry(0x30))
			require.NoError(t, r.raise(ridA, 9))
			r.setEntry(9, entry(0x31))
			require.NoError(t, r.raise(ridA, 9))
			require.Equal(t, []pci.Message{fixed(0x30, 1), fixed(0x30, 1)}, r.apic.take(), "cached")
			r.invalidate(spec.NewIECDescriptor(c.v))
			require.NoError(t, r.raise(ridA, 9))
			want := uint8(0x30)
			if c.gone {
				want = 0x31
			}
			require.Equal(t, []pci.Message{fixed(want, 1)}, r.apic.take())
		})
	}
}

func TestInterruptEntriesAreNotCachedWithoutTheQueue(t *testing.T) {
	r := newTranslatingRig(t)
	r.disableQueue()
	for _, vector := range []uint8{0x30, 0x31} {
		r.setEntry(9, spec.NewRemapped(vector, spec.Fixed, 1, spec.OnlyFrom(uint16(ridA))))
		require.NoError(t, r.raise(ridA, 9))
		require.Equal(t, []pci.Message{fixed(vector, 1)}, r.apic.take(), "there is no way to invalidate")
	}
}

func TestEntriesThatAreNotGoodAreNotCached(t *testing.T) {
	r := newTranslatingRig(t)
	require.Equal(t, spec.EntryNotPresent, r.refusal(9))
	r.setEntry(9, spec.IRTE{Lo: 1 | 1<<12})
	require.Equal(t, spec.EntryReserved, r.refusal(9))
	r.setEntry(9, spec.NewRemapped(0x30, spec.Fixed, 1, spec.OnlyFrom(uint16(ridB))))
	require.Equal(t, spec.SourceRefused, r.refusal(9))
	require.NoError(t, r.raise(ridB, 9))
	require.Equal(t, spec.SourceRefused, r.refusal(9), "a cached entry is asked for its source too")
	r.invalidate(spec.NewIECDescriptor(spec.IECInvalidation{Index: 9}))
	r.setEntry(9, spec.NewRemapped(0x30, spec.Fixed, 1, spec.OnlyFrom(uint16(ridA))))
	require.NoError(t, r.raise(ridA, 9))
}

func TestSIRTPEmptiesTheEntryCache(t *testing.T) {
	r := newTranslatingRig(t)
	r.setEntry(9, spec.NewRemapped(0x30, spec.Fixed, 1, spec.OnlyFrom(uint16(ridA))))
	require.NoError(t, r.raise(ridA, 9))
	r.write64(spec.RegIRTA, uint64(spec.NewIRTA(0x8_0000, irtSize, true)))
	require.NoError(t, r.raise(ridA, 9))
	r.command(spec.GlobalSIRTP)
	require.Equal(t, spec.EntryNotPresent, r.refusal(9))
}

func TestCachedUserPostedEntryNeedsUserPosting(t *testing.T) {
	r := newTranslatingRig(t)
	r.loadPools(spec.Pool{Base: poolA, Count: 16, Domain: domA})
	r.upid(poolA)
	r.setEntry(0, spec.NewUserPosted(5, poolA, false, uint16(ridA)))
	require.NoError(t, r.raise(ridA, 0))
	r.write32(spec.RegVendor+spec.VendorRegControl, 0)
	require.Equal(t, spec.EntryReserved, r.refusal(0))
	r.loadPools(spec.Pool{Base: poolB, Count: 16, Domain: domA})
	require.Equal(t, spec.PoolDenied, r.refusal(0), "the pool that it is in has been taken back")
}

func TestContextEntryNamesTheTenantOfAPost(t *testing.T) {
	r := newTranslatingRig(t)
	r.loadPools(spec.Pool{Base: poolA, Count: 16, Domain: domA}, spec.Pool{Base: poolB, Count: 16, Domain: domB})
	r.upid(poolA)
	r.setEntry(0, spec.NewUserPosted(5, poolA, false, uint16(ridA)))
	require.NoError(t, r.raise(ridA, 0))

	table, _ := r.tableOf(ridA)
	r.attach(ridA, spec.NewContextEntry(spec.Translated, table, 4, domB))
	require.NoError(t, r.raise(ridA, 0), "the old context entry is cached")
	r.invalidate(spec.NewContextDescriptor(spec.ContextInvalidation{Granularity: spec.PerDevice, DID: domA, SID: uint16(ridA)}))
	require.Equal(t, spec.PoolDenied, r.refusal(0))

	r.attach(ridA, spec.ContextEntry{})
	r.invalidate(spec.NewContextDescriptor(spec.ContextInvalidation{Granularity: spec.Global}))
	require.Equal(t, spec.PoolDenied, r.refusal(0), "a function without a context entry belongs to nobody")
}
