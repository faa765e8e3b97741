package iommu

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/iommu/spec"
	uspec "gvmm/uintr/spec"
	"gvmm/vmm/pci"
)

const tick = 10 * time.Millisecond

// inStorm runs test on a fake clock, with a bound of burst notifications and one more each tick.
func inStorm(t *testing.T, burst int, test func(*rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemappingRig(t, func(c *Config) { c.Storm = Storm{Interval: tick, Burst: burst} })
		time.Sleep(time.Second)
		test(r)
	})
}

// pass lets d go by, and whatever falls due in it happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestStormFallsBackToPIROnlyAndFlushes(t *testing.T) {
	inStorm(t, 2, func(r *rig) {
		upid := r.bindUser(5, poolA, false)
		for range 2 {
			require.NoError(r.t, r.raise(ridA, 0))
			require.Len(r.t, r.apic.take(), 1, "within the burst")
			upid.Drain()
		}
		require.NoError(r.t, r.raise(ridA, 0))
		require.Equal(r.t, uint64(1<<5), upid.PIR(), "the request is there at once")
		require.False(r.t, upid.ON())
		require.Empty(r.t, r.apic.take())

		pass(tick - time.Nanosecond)
		require.Empty(r.t, r.apic.take())
		pass(time.Nanosecond)
		require.Equal(r.t, []pci.Message{fixed(uinv, 3)}, r.apic.take())
		require.True(r.t, upid.ON())
		s := r.stats(ridA)
		require.Equal(r.t, []uint64{3, 3, 1}, []uint64{s.Posted, s.Notified, s.Deferred})

		pass(time.Hour)
		require.Empty(r.t, r.apic.take(), "the timer rests when nothing waits")
	})
}

func TestStormBoundsTheRate(t *testing.T) {
	inStorm(t, 3, func(r *rig) {
		upid := r.bindUser(5, poolA, false)
		sent := 0
		for range 1000 {
			require.NoError(r.t, r.raise(ridA, 0))
			if upid.ON() {
				upid.Drain()
			}
			sent += len(r.apic.take())
			pass(tick / 100)
		}
		require.InDelta(r.t, 3+10, sent, 1)
	})
}

func TestCoalescedPostsTakeNoToken(t *testing.T) {
	inStorm(t, 1, func(r *rig) {
		upid := r.bindUser(5, poolA, false)
		require.NoError(r.t, r.raise(ridA, 0))
		for range 100 {
			require.NoError(r.t, r.raise(ridA, 0))
		}
		pass(tick)
		upid.Drain()
		r.apic.take()
		require.NoError(r.t, r.raise(ridA, 0))
		require.Len(r.t, r.apic.take(), 1)
		require.Zero(r.t, r.stats(ridA).Deferred)
	})
}

func TestSuppressedPostsTakeNoToken(t *testing.T) {
	inStorm(t, 1, func(r *rig) {
		upid := r.bindUser(5, poolA, false)
		upid.SetSN(true)
		require.NoError(r.t, r.raise(ridA, 0))
		upid.SetSN(false)
		require.NoError(r.t, r.raise(ridA, 0))
		require.Len(r.t, r.apic.take(), 1)
	})
}

func TestStormOfOneRequesterLeavesOthersAlone(t *testing.T) {
	inStorm(t, 1, func(r *rig) {
		r.bindUser(5, poolA, false)
		r.setEntry(1, spec.NewUserPosted(6, poolB, false, uint16(ridB)))
		r.upid(poolB)
		require.NoError(r.t, r.raise(ridA, 0))
		r.upid(poolA)
		require.NoError(r.t, r.raise(ridA, 0))
		r.apic.take()
		require.NoError(r.t, r.raise(ridB, 1))
		require.Len(r.t, r.apic.take(), 1)
	})
}

func TestStormServesHeldIndicesInTurn(t *testing.T) {
	inStorm(t, 1, func(r *rig) {
		// A busy low index must not keep a high one waiting.
		busy := r.bindUser(0, poolA, false)
		patient := r.upid(poolA + 64)
		r.setEntry(200, spec.NewUserPosted(1, poolA+64, false, uint16(ridA)))
		require.NoError(r.t, r.raise(ridA, 0))
		busy.Drain()
		require.NoError(r.t, r.raise(ridA, 0))
		require.NoError(r.t, r.raise(ridA, 200))
		for range 2 {
			pass(tick)
			if busy.ON() {
				busy.Drain()
				require.NoError(r.t, r.raise(ridA, 0))
			}
		}
		require.True(r.t, patient.ON())
	})
}

func TestNewNotificationsQueueBehindHeldOnes(t *testing.T) {
	inStorm(t, 2, func(r *rig) {
		r.bindUser(5, poolA, false)
		r.Sender(ridA).(*requester).storm.armed.Store(true)
		require.NoError(r.t, r.raise(ridA, 0))
		require.Empty(r.t, r.apic.take(), "although there is a token")
		require.Equal(r.t, uint64(1), r.stats(ridA).Deferred)
	})
}

func TestHeldIndicesAreTakenInTurn(t *testing.T) {
	inStorm(t, 1, func(r *rig) {
		s := r.Sender(ridA).(*requester).storm
		for _, index := range []uint32{3, 5, 70, 0xFFFF} {
			s.hold(index)
		}
		var order []uint32
		for range 5 {
			index, ok := s.next()
			require.True(r.t, ok)
			order = append(order, index)
			s.hold(3)
		}
		require.Equal(r.t, []uint32{3, 5, 70, 0xFFFF, 3}, order)
		_, _ = s.next()
		_, ok := s.next()
		require.False(r.t, ok)
	})
}

func TestHeldNotificationIsJudgedAnew(t *testing.T) {
	for name, c := range map[string]struct {
		change func(r *rig, upid uspec.UPID)
		want   []pci.Message
	}{
		"still due":        {func(*rig, uspec.UPID) {}, []pci.Message{fixed(uinv, 3)}},
		"drained":          {func(_ *rig, u uspec.UPID) { u.Drain() }, nil},
		"scheduled out":    {func(_ *rig, u uspec.UPID) { u.ScheduleOut() }, nil},
		"scheduled in":     {func(_ *rig, u uspec.UPID) { u.ScheduleIn(uinv, 4) }, nil},
		"moved":            {func(_ *rig, u uspec.UPID) { u.SetNDST(7) }, []pci.Message{fixed(uinv, 7)}},
		"entry cleared":    {func(r *rig, _ uspec.UPID) { r.setEntry(0, spec.IRTE{}) }, nil},
		"entry remapped":   {func(r *rig, _ uspec.UPID) { r.setEntry(0, spec.NewRemapped(0x30, 0, 1, spec.Source{})) }, nil},
		"pools withdrawn":  {func(r *rig, _ uspec.UPID) { r.loadPools() }, nil},
		"posting disabled": {func(r *rig, _ uspec.UPID) { r.write32(vendor+spec.VendorRegControl, 0) }, nil},
		"remapping off":    {func(r *rig, _ uspec.UPID) { r.write32(spec.RegGCMD, 0) }, nil},
		"table shrunk": {func(r *rig, _ uspec.UPID) {
			r.write64(spec.RegIRTA, uint64(spec.NewIRTA(0x8_0000, 0, true)))
			r.write32(spec.RegGCMD, spec.GlobalIRE|spec.GlobalSIRTP)
		}, nil},
		"reserved bits": {func(r *rig, u uspec.UPID) { _ = r.mem.Store64(poolA, u.Low()|1<<7) }, nil},
		"unit closed":   {func(r *rig, _ uspec.UPID) { r.Close() }, nil},
		"reset":         {func(r *rig, _ uspec.UPID) { r.Reset() }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			inStorm(t, 1, func(r *rig) {
				upid := r.bindUser(5, poolA, false)
				require.NoError(r.t, r.raise(ridA, 0))
				upid.Drain()
				r.apic.take()
				require.NoError(r.t, r.raise(ridA, 0))
				require.Empty(r.t, r.apic.take())
				c.change(r, upid)
				pass(10 * tick)
				require.Equal(r.t, c.want, r.apic.take())
				require.Empty(r.t, r.Faults(), "the message was judged when it came")
			})
		})
	}
}

func TestUrgentHeldNotificationUsesTheWakeVector(t *testing.T) {
	inStorm(t, 1, func(r *rig) {
		upid := r.bindUser(5, poolA, true)
		require.NoError(r.t, r.raise(ridA, 0))
		upid.Drain()
		r.apic.take()
		require.NoError(r.t, r.raise(ridA, 0))
		upid.ScheduleOut()
		pass(tick)
		require.Equal(r.t, []pci.Message{fixed(wakeV, 3)}, r.apic.take())
	})
}

func TestStormLeavesFaultsToTheFault(t *testing.T) {
	inStorm(t, 1, func(r *rig) {
		upid := r.bindUser(5, poolA, false)
		require.NoError(r.t, r.raise(ridA, 0))
		upid.Drain()
		require.NoError(r.t, r.mem.Store64(poolA, upid.Low()|1<<7))
		require.Equal(r.t, spec.DescriptorReserved, r.refusal(0), "without a token too")
		require.Zero(r.t, upid.PIR())
	})
}

func TestConcurrentStormLosesNoNotification(t *testing.T) {
	r := newRemappingRig(t, func(c *Config) {
		c.Deliver = discard{}
		c.Storm = Storm{Interval: 20 * time.Microsecond, Burst: 2}
	})
	upids := make([]uspec.UPID, 8)
	for i := range upids {
		upids[i] = r.upid(poolA + uint64(i)*64)
		r.setEntry(uint16(i), spec.NewUserPosted(0, poolA+uint64(i)*64, false, uint16(ridA)))
	}
	done := make(chan struct{})
	for i, u := range upids {
		go func() { // device and receiver in one: each request is awaited until it is announced
			defer func() { done <- struct{}{} }()
			for range 50 {
				if r.raise(ridA, uint16(i)) != nil {
					t.Error("refused")
					return
				}
				for deadline := time.Now().Add(5 * time.Second); !u.ON(); time.Sleep(10 * time.Microsecond) {
					if time.Now().After(deadline) {
						t.Error("a notification was lost")
						return
					}
				}
				u.Drain()
			}
		}()
	}
	for range upids {
		<-done
	}
	s := r.stats(ridA)
	require.Equal(t, uint64(8*50), s.Notified)
	require.NotZero(t, s.Deferred)
}
