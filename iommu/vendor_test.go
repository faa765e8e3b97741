package iommu

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/iommu/spec"
)

const vendor = spec.RegVendor

func TestVendorPageIdentifiesItself(t *testing.T) {
	r := newRig(t)
	p := make([]byte, 4)
	r.ReadMMIO(vendor, p)
	require.Equal(t, "UPMI", string(p))
	require.Equal(t, uint32(2), r.read32(vendor+4))
	require.Zero(t, r.read64(vendor+spec.VendorRegControl), "UPM_EN is 0 at reset")
	r.write64(vendor, ^uint64(0))
	require.Equal(t, uint64(2<<32|spec.VendorMagic), r.read64(vendor))
}

func TestVendorPageAbsentWithoutUserPostedInterrupts(t *testing.T) {
	for name, edit := range map[string]func(*Config){
		"no posted": func(c *Config) { c.Posted = false }, "posted to PIDs only": func(c *Config) { c.UserPosted = false },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemappingRig(t, edit)
			for off := uint64(vendor); off < spec.PageBytes; off += 8 {
				r.write64(off, ^uint64(0))
				require.Zero(t, r.read64(off), "%#x", off)
			}
			r.bindUser(5, poolA, false)
			r.requireFault(r.raise(ridA, 0), ridA, 0, spec.EntryReserved)
		})
	}
}

func TestVendorRegistersKeepDefinedBitsOnly(t *testing.T) {
	r := newRig(t)
	for off := uint64(vendor); off < spec.PageBytes; off += 8 {
		if off != vendor+spec.VendorRegControl {
			r.write64(off, ^uint64(0))
		}
	}
	r.write32(vendor+spec.VendorRegControl, ^(spec.VendorLoad))
	require.Equal(t, uint64(1<<32|1), r.read64(vendor+spec.VendorRegControl))
	require.Equal(t, ^uint64(31), r.read64(vendor+spec.VendorRegBase))
	require.Equal(t, uint64(0xFF_FFFF_FFFF), r.read64(vendor+spec.VendorRegCount))
	for off := uint64(vendor + spec.VendorRegPosted); off < spec.PageBytes; off += 8 {
		require.Zero(t, r.read64(off), "counters are read-only: %#x", off)
	}
}

func TestVendorCountersSumAllRequesters(t *testing.T) {
	r := newRemappingRig(t)
	upid := r.bindUser(5, poolA, false)
	r.setEntry(1, spec.NewPosted(5, pidBase, false, spec.OnlyFrom(uint16(ridB))))
	require.NoError(t, r.raise(ridA, 0))
	require.NoError(t, r.raise(ridA, 0))
	require.NoError(t, r.raise(ridB, 1))
	upid.Drain()
	upid.SetSN(true)
	require.NoError(t, r.raise(ridA, 0))
	require.ErrorIs(t, r.raise(ridA, 1), ErrRefused)
	require.ErrorIs(t, r.raise(ridB, 0), ErrRefused)
	for off, want := range map[uint64]uint64{
		spec.VendorRegPosted: 4, spec.VendorRegNotified: 2, spec.VendorRegCoalesced: 1, spec.VendorRegSuppressed: 1, spec.VendorRegRefused: 2,
	} {
		require.Equal(t, want, r.read64(vendor+off), "counter at %#x", off)
	}
}

func TestPoolTableRefused(t *testing.T) {
	good := spec.Pool{Base: poolA, Count: 4, Domain: 1}
	for name, pools := range map[string][]spec.Pool{
		"empty pool":             {good, {Base: poolB}},
		"misaligned":             {{Base: poolA + 32, Count: 1}},
		"hole":                   {{Base: ramSize, Count: 1}},
		"runs out of RAM":        {{Base: ramSize - 64, Count: 2}},
		"MMIO":                   {{Base: 0xFED9_0000, Count: 1}},
		"wraps":                  {{Base: ^uint64(63), Count: 2}},
		"longest":                {{Base: 0, Count: ^uint32(0)}},
		"covers the table":       {{Base: poolTable, Count: 1}},
		"ends in the table":      {{Base: poolTable - 64, Count: 2}},
		"overlap":                {good, {Base: poolA + 3*64, Count: 1, Domain: 2}},
		"overlap, out of order":  {{Base: poolA + 3*64, Count: 1, Domain: 2}, good},
		"inside another":         {good, {Base: poolA + 64, Count: 1, Domain: 2}},
		"same pool, same domain": {good, good},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemappingRig(t)
			r.bindUser(5, poolA, false)
			r.loadPools(pools...)
			require.Equal(t, spec.VendorEnable|spec.VendorLoadRefused, r.read32(vendor+0x0C))
			require.Empty(t, r.Pools(), "no pool stays in force")
			r.requireFault(r.raise(ridA, 0), ridA, 0, spec.PoolDenied)
		})
	}
}

func TestPoolTableMustBeInRAM(t *testing.T) {
	for name, c := range map[string]struct {
		base  uint64
		count uint32
	}{
		"hole":            {ramSize, 1},
		"runs out of RAM": {ramSize - 32, 2},
		"wraps":           {^uint64(31), 2},
		"too long":        {poolTable, spec.MaxPools + 1},
		"far too long":    {poolTable, ^uint32(0)},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemappingRig(t)
			r.write64(vendor+spec.VendorRegBase, c.base)
			r.write32(vendor+spec.VendorRegCount, c.count)
			r.write32(vendor+spec.VendorRegControl, spec.VendorLoad)
			require.Equal(t, spec.VendorLoadRefused, r.read32(vendor+0x0C))
			require.Empty(t, r.Pools())
		})
	}
}

func TestEmptyPoolTableIsInForce(t *testing.T) {
	r := newRemappingRig(t)
	r.bindUser(5, poolA, false)
	r.loadPools()
	require.Equal(t, spec.VendorEnable|spec.VendorLoaded, r.read32(vendor+0x0C))
	r.requireFault(r.raise(ridA, 0), ridA, 0, spec.PoolDenied)
}

func TestLargestPoolTable(t *testing.T) {
	r := newRemappingRig(t)
	pools := make([]spec.Pool, spec.MaxPools)
	for i := range pools {
		pools[len(pools)-1-i] = spec.Pool{Base: 0x6_0000 + uint64(i)*128, Count: 1, Domain: uint16(1 + i%2), Tag: uint64(i)}
	}
	r.loadPools(pools...)
	got := r.Pools()
	require.Len(t, got, spec.MaxPools)
	for i, p := range got {
		require.Equal(t, uint64(i), p.Tag, "sorted by address")
		ok := r.live.Load().admits(p.Base, p.Domain)
		require.True(t, ok)
		require.False(t, r.live.Load().admits(p.Base, 3-p.Domain))
		require.False(t, r.live.Load().admits(p.Base+64, p.Domain), "between pools")
	}
}

func TestPoolsChangeOnlyByLoad(t *testing.T) {
	r := newRemappingRig(t)
	upid := r.bindUser(5, poolB, false) // the other tenant's
	stolen := make(spec.PoolEntry, spec.PoolBytes)
	stolen.Put(spec.Pool{Base: poolB, Count: 16, Domain: 1})
	require.NoError(t, r.mem.WriteAt(stolen, poolTable+spec.PoolBytes))
	r.write32(vendor+spec.VendorRegControl, spec.VendorEnable)
	r.requireFault(r.raise(ridA, 0), ridA, 0, spec.PoolDenied)
	require.Zero(t, upid.PIR())

	r.write32(vendor+spec.VendorRegControl, spec.VendorEnable|spec.VendorLoad)
	require.NoError(t, r.raise(ridA, 0))
	require.Equal(t, uint64(1<<5), upid.PIR())
}
