package iommu

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/iommu/spec"
	"gvmm/vmm/pci"
)

func TestPostedEntryToAPoolPostsToTheUser(t *testing.T) {
	r := newRemappingRig(t)
	upid := r.upid(poolA + 128)
	r.setEntry(0, spec.NewPosted(5, poolA+128, false, spec.OnlyFrom(uint16(ridA))))
	require.NoError(t, r.raise(ridA, 0))
	require.Equal(t, uint64(1<<5), upid.PIR())
	require.True(t, upid.ON())
	require.Equal(t, []pci.Message{fixed(uinv, 3)}, r.apic.take())
	require.EqualValues(t, 1, r.stats(ridA).UserPosted)
}

func TestPostedEntryToAPoolIsJudgedAsUserPosted(t *testing.T) {
	for name, c := range map[string]struct {
		e    spec.IRTE
		from pci.RequesterID
		want spec.Reason
	}{
		"vector":         {spec.NewPosted(64, poolA, false, spec.OnlyFrom(uint16(ridA))), ridA, spec.EntryReserved},
		"any source":     {spec.NewPosted(5, poolA, false, spec.Source{}), ridA, spec.EntryReserved},
		"another source": {spec.NewPosted(5, poolA, false, spec.OnlyFrom(uint16(ridA))), ridB, spec.SourceRefused},
		"another tenant": {spec.NewPosted(5, poolB, false, spec.OnlyFrom(uint16(ridA))), ridA, spec.PoolDenied},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemappingRig(t)
			a, b := r.upid(poolA), r.upid(poolB)
			before := []uint64{a.Low(), a.PIR(), b.Low(), b.PIR()}
			r.setEntry(0, c.e)
			r.requireFault(r.raise(c.from, 0), c.from, 0, c.want)
			require.Equal(t, before, []uint64{a.Low(), a.PIR(), b.Low(), b.PIR()})
		})
	}
}

// A receiver's pool goes before its memory does: what is cached of an entry posts nowhere then, as a UPID's or as a PID's.
func TestPostedEntryPostsNowhereOnceItsPoolIsGone(t *testing.T) {
	r := newTranslatingRig(t)
	r.loadPools(spec.Pool{Base: poolA, Count: 16, Domain: domA})
	upid := r.upid(poolA)
	r.setEntry(0, spec.NewPosted(5, poolA, false, spec.OnlyFrom(uint16(ridA))))
	require.NoError(t, r.raise(ridA, 0))
	upid.Drain()
	r.apic.take()
	r.loadPools(spec.Pool{Base: poolB, Count: 16, Domain: domA})
	before := upid.Low()
	require.ErrorIs(t, r.raise(ridA, 0), ErrRefused)
	require.Equal(t, []uint64{before, 0}, []uint64{upid.Low(), upid.PIR()})
	require.Empty(t, r.apic.take())
}

func TestPostedEntryOutsideEveryPoolPostsToAPID(t *testing.T) {
	r := newRemappingRig(t)
	r.setEntry(0, spec.NewPosted(5, pidBase, false, spec.OnlyFrom(uint16(ridA))))
	require.NoError(t, r.raise(ridA, 0))
	pir, err := r.mem.Load64(pidBase)
	require.NoError(t, err)
	require.Equal(t, uint64(1<<5), pir)
	require.Zero(t, r.stats(ridA).UserPosted)
}
