package iommu

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/iommu/spec"
	uspec "gvmm/uintr/spec"
	"gvmm/vmm/pci"
)

// Tenant A owns ridA, domain 1 and poolA; tenant B ridB, domain 2 and poolB. Each test is something that A, or A's corrupted entry, tries on B.

func TestAttackOtherTenantsIndex(t *testing.T) {
	for name, e := range map[string]spec.IRTE{
		"remapped":    spec.NewRemapped(0x30, spec.Fixed, 1, spec.OnlyFrom(uint16(ridB))),
		"posted":      spec.NewPosted(0x30, pidBase, true, spec.OnlyFrom(uint16(ridB))),
		"user-posted": spec.NewUserPosted(5, poolB, true, uint16(ridB)),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemappingRig(t)
			upid := r.upid(poolB)
			r.setEntry(8, e)
			r.requireFault(r.raise(ridA, 8), ridA, 8, spec.SourceRefused)
			require.Zero(t, upid.PIR())
			require.NoError(t, r.raise(ridB, 8), "its owner still can")
		})
	}
}

func TestAttackOtherTenantsUPID(t *testing.T) {
	r := newRemappingRig(t)
	upid := r.bindUser(5, poolB, true)
	r.requireFault(r.raise(ridA, 0), ridA, 0, spec.PoolDenied)
	require.Zero(t, upid.PIR())
	require.False(t, upid.ON())
}

func TestAttackMemoryOutsidePools(t *testing.T) {
	for name, pda := range map[string]uint64{
		"before the pool":    poolA - 64,
		"after the pool":     poolA + 16*64,
		"remapping table":    irtBase,
		"pool table":         poolTable,
		"device registers":   0xFED9_0000,
		"interrupt range":    0xFEE0_0000,
		"beyond RAM":         ramSize,
		"end of the address": ^uint64(63),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemappingRig(t)
			before := make([]byte, ramSize)
			r.setEntry(0, spec.NewUserPosted(5, pda, true, uint16(ridA)))
			require.NoError(t, r.mem.ReadAt(before, 0))
			r.requireFault(r.raise(ridA, 0), ridA, 0, spec.PoolDenied)
			after, err := r.mem.View(0, ramSize)
			require.NoError(t, err)
			require.Equal(t, before, after)
		})
	}
}

func TestAttackRemappingTableInsideAPool(t *testing.T) {
	r := newRemappingRig(t)
	r.loadPools(spec.Pool{Base: irtBase - 64, Count: 256, Domain: 1})
	r.setEntry(0, spec.NewUserPosted(5, irtBase+64, false, uint16(ridA)))
	r.requireFault(r.raise(ridA, 0), ridA, 0, spec.PoolDenied)

	r.upid(irtBase - 64)
	r.setEntry(0, spec.NewUserPosted(5, irtBase-64, false, uint16(ridA)))
	require.NoError(t, r.raise(ridA, 0), "the rest of the pool is usable")
	r.upid(irtBase + 256*16)
	r.setEntry(0, spec.NewUserPosted(5, irtBase+256*16, false, uint16(ridA)))
	require.NoError(t, r.raise(ridA, 0))
}

func TestAttackMisalignedDescriptor(t *testing.T) {
	// PDA[5:0] has no place in an entry: the bits below PDA[31:6] are reserved.
	for bit := 32; bit < 38; bit++ {
		for name, e := range map[string]spec.IRTE{
			"UPID": spec.NewUserPosted(5, poolA, false, uint16(ridA)),
			"PID":  spec.NewPosted(5, pidBase, false, spec.OnlyFrom(uint16(ridA))),
		} {
			r := newRemappingRig(t)
			e.Lo |= 1 << bit
			r.setEntry(0, e)
			require.Equal(t, spec.EntryReserved, r.refusal(0), "%s bit %d", name, bit)
		}
	}
}

func TestAttackCompatibilityFormatInjection(t *testing.T) {
	r := newRemappingRig(t)
	r.write32(spec.RegGCMD, spec.GlobalIRE|spec.GlobalCFI)
	r.requireFault(r.Sender(ridA).SendMSI(fixed(0x02, 0)), ridA, 0, spec.CompatBlocked)
}

// TestEntryFlippedWhileReadIsNeverMixed has a guest exchange one entry between two valid ones. A mixture of their halves would name one of two
// descriptors that are just as postable, and that nobody ever wrote into the table.
func TestEntryFlippedWhileReadIsNeverMixed(t *testing.T) {
	const high = 1 << 32
	r := newRemappingRig(t, func(c *Config) {
		c.Deliver = discard{}
		require.NoError(t, c.Memory.AddRAM(high, ramSize))
	})
	r.loadPools(spec.Pool{Base: poolA, Count: 16, Domain: 1}, spec.Pool{Base: high + poolA, Count: 16, Domain: 1})
	a := spec.NewUserPosted(1, poolA, false, uint16(ridA))
	b := spec.NewUserPosted(2, high+poolA+64, false, uint16(ridA))
	r.setEntry(0, a)
	mixed := []uspec.UPID{r.upid(poolA + 64), r.upid(high + poolA)}
	whole := []uspec.UPID{r.upid(poolA), r.upid(high + poolA + 64)}

	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for from, to := a, b; ; from, to = to, from {
			select {
			case <-stop:
				return
			default:
				_, _, _, _ = r.mem.CompareAndSwap128(irtBase, from.Lo, from.Hi, to.Lo, to.Hi)
			}
		}
	}()
	deadline := time.Now().Add(5 * time.Second)
	seen := func() bool { return whole[0].PIR() != 0 && whole[1].PIR() != 0 }
	for n := 0; n < 100_000 || !seen() && time.Now().Before(deadline); n++ {
		if err := r.raise(ridA, 0); err != nil {
			t.Errorf("%v: %v", err, r.Faults())
			break
		}
	}
	close(stop)
	<-stopped
	for _, u := range mixed {
		require.Zero(t, u.PIR())
	}
	require.Equal(t, []uint64{1 << 1, 1 << 2}, []uint64{whole[0].PIR(), whole[1].PIR()}, "both entries were seen")
}

// TestConcurrentPostsLoseNothing posts from many goroutines of two requesters to one receiver each, which drains as notified.
func TestConcurrentPostsLoseNothing(t *testing.T) {
	r := newRemappingRig(t, func(c *Config) { c.Deliver = discard{} })
	type tenant struct {
		rid  pci.RequesterID
		upid uspec.UPID
	}
	tenants := []tenant{{ridA, r.upid(poolA)}, {ridB, r.upid(poolB)}}
	for i := range uint16(8) {
		r.setEntry(i, spec.NewUserPosted(uint8(i), poolA, false, uint16(ridA)))
		r.setEntry(8+i, spec.NewUserPosted(uint8(i), poolB, false, uint16(ridB)))
	}
	const posts = 2000
	done := make(chan error)
	for n, tn := range tenants {
		for i := range uint16(8) {
			go func() {
				var err error
				for range posts {
					if e := r.raise(tn.rid, uint16(n)*8+i); e != nil {
						err = e
					}
				}
				done <- err
			}()
		}
	}
	for range 16 {
		require.NoError(t, <-done)
	}
	for _, tn := range tenants {
		require.Equal(t, uint64(0xFF), tn.upid.Drain())
		s := r.stats(tn.rid)
		require.Equal(t, uint64(8*posts), s.Posted)
		require.Equal(t, s.Posted, s.Notified+s.Coalesced+s.Suppressed)
		require.Equal(t, uint64(1), s.Notified, "nobody drained meanwhile")
	}
}

func TestControlWordThatNeverHoldsStillCostsOnlyItself(t *testing.T) {
	r := newRemappingRig(t, func(c *Config) { c.Deliver = discard{} })
	r.setEntry(0, spec.NewPosted(1, pidBase, false, spec.OnlyFrom(uint16(ridA))))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for v := uint64(0); ; v++ {
			select {
			case <-stop:
				return
			default:
				_ = r.mem.Store64(pidBase+spec.PIDControl, uint64(uspec.NewControl(0xF2, uint32(v))))
			}
		}
	}()
	for range 20_000 {
		if err := r.raise(ridA, 0); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	<-stopped
	s := r.stats(ridA)
	require.Equal(t, uint64(20_000), s.Notified+s.Coalesced+s.Suppressed)
}
