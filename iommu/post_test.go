package iommu

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/iommu/spec"
	uspec "gvmm/uintr/spec"
	"gvmm/vmm/pci"
)

// bindUser makes table entry 0 post user vector v to the UPID at pda for ridA.
func (r *rig) bindUser(v uint8, pda uint64, urgent bool) uspec.UPID {
	r.t.Helper()
	r.setEntry(0, spec.NewUserPosted(v, pda, urgent, uint16(ridA)))
	return r.upid(pda)
}

func TestUserPostSetsPIRThenNotifiesOnce(t *testing.T) {
	r := newRemappingRig(t)
	upid := r.bindUser(5, poolA+64, false)
	require.NoError(t, r.raise(ridA, 0))
	require.Equal(t, uint64(1<<5), upid.PIR())
	require.True(t, upid.ON())
	require.Equal(t, []pci.Message{fixed(uinv, 3)}, r.apic.take())

	require.NoError(t, r.raise(ridA, 0))
	require.Empty(t, r.apic.take(), "a notification is outstanding")

	require.Equal(t, uint64(1<<5), upid.Drain())
	require.NoError(t, r.raise(ridA, 0))
	require.Equal(t, []pci.Message{fixed(uinv, 3)}, r.apic.take())

	want := RequesterStats{Requester: ridA, Domain: 1, Posted: 3, UserPosted: 3, Notified: 2, Coalesced: 1, Faults: map[spec.Reason]uint64{}}
	require.Equal(t, want, r.stats(ridA))
}

func TestUserPostToSuppressedReceiverIsSilent(t *testing.T) {
	r := newRemappingRig(t)
	upid := r.bindUser(5, poolA, false)
	upid.SetSN(true)
	require.NoError(t, r.raise(ridA, 0))
	require.Equal(t, uint64(1<<5), upid.PIR())
	require.False(t, upid.ON(), "ON is left alone")
	require.Empty(t, r.apic.take())
	require.Equal(t, uint64(1), r.stats(ridA).Suppressed)
}

func TestUrgentUserPost(t *testing.T) {
	for name, c := range map[string]struct {
		sn, on bool
		wake   uint32
		want   []pci.Message
	}{
		"running":                    {false, false, wakeV, []pci.Message{fixed(uinv, 3)}},
		"not running":                {true, false, wakeV, []pci.Message{fixed(wakeV, 3)}},
		"not running, one under way": {true, true, wakeV, nil},
		"no wake vector":             {true, false, 0, nil},
		"wake vector no APIC takes":  {true, false, 15, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemappingRig(t)
			r.write32(spec.RegVendor+0x1C, c.wake)
			upid := r.bindUser(5, poolA, true)
			upid.SetSN(c.sn)
			if c.on {
				require.NoError(t, r.mem.Store64(poolA, upid.Low()|1))
			}
			require.NoError(t, r.raise(ridA, 0))
			require.Equal(t, uint64(1<<5), upid.PIR())
			require.Equal(t, c.want, r.apic.take())
			require.Equal(t, c.on || c.want != nil, upid.ON(), "ON stands for a notification")

			require.NoError(t, r.raise(ridA, 0))
			require.Empty(t, r.apic.take(), "at most one outstanding")
		})
	}
}

func TestNotificationDestinationFollowsTheMode(t *testing.T) {
	for name, c := range map[string]struct {
		eime bool
		want uint32
	}{
		"x2APIC": {true, 0x12_3456},
		"xAPIC":  {false, 0x34},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemappingRig(t)
			r.write64(spec.RegIRTA, uint64(spec.NewIRTA(irtBase, irtSize, c.eime)))
			r.write32(spec.RegGCMD, spec.GlobalIRE|spec.GlobalSIRTP)
			r.bindUser(0, poolA, false).SetNDST(0x12_3456)
			require.NoError(t, r.raise(ridA, 0))
			require.Equal(t, []pci.Message{fixed(uinv, c.want)}, r.apic.take())
		})
	}
}

func TestUserVectorsAbove63Fault(t *testing.T) {
	r := newRemappingRig(t)
	r.bindUser(63, poolA, false)
	require.NoError(t, r.raise(ridA, 0))
	r.apic.take()
	for _, v := range []uint8{64, 128, 255} {
		r.setEntry(0, spec.NewUserPosted(v, poolA, false, uint16(ridA)))
		require.Equal(t, spec.EntryReserved, r.refusal(0))
	}
	pir, err := r.mem.Load64(poolA + 8)
	require.NoError(t, err)
	require.Equal(t, uint64(1)<<63, pir)
}

func TestUserPostedEntryFaultsWhileDisabled(t *testing.T) {
	r := newRemappingRig(t)
	r.bindUser(5, poolA, false)
	r.write32(spec.RegVendor+spec.VendorRegControl, 0)
	r.requireFault(r.raise(ridA, 0), ridA, 0, spec.EntryReserved)
}

func TestUserPostedEntryNeedsExactSource(t *testing.T) {
	for name, src := range map[string]spec.Source{
		"none": {}, "bus": {SID: 0x0101, SVT: spec.SVTBus}, "masked": {SID: uint16(ridA), SVT: spec.SVTSID, SQ: 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemappingRig(t)
			e := spec.NewPosted(5, poolA, false, src)
			e.Lo |= 1 << 13
			r.setEntry(0, e)
			r.requireFault(r.raise(ridA, 0), ridA, 0, spec.EntryReserved)
		})
	}
}

func TestReservedUPIDBitsFaultBeforePIRIsTouched(t *testing.T) {
	for _, bit := range []int{2, 7, 15, 24, 31} {
		r := newRemappingRig(t)
		upid := r.bindUser(5, poolA, false)
		require.NoError(t, r.mem.Store64(poolA, upid.Low()|1<<bit))
		r.requireFault(r.raise(ridA, 0), ridA, 0, spec.DescriptorReserved)
		require.Zero(t, upid.PIR())
	}
}

func TestPostToPID(t *testing.T) {
	for name, c := range map[string]struct {
		control uspec.Control
		urgent  bool
		notify  bool
		after   uspec.Control // ON and SN
	}{
		"running":                {0, false, true, uspec.UPIDON},
		"outstanding":            {uspec.UPIDON, false, false, uspec.UPIDON},
		"suppressed":             {uspec.UPIDSN, false, false, uspec.UPIDSN},
		"urgent, suppressed":     {uspec.UPIDSN, true, true, uspec.UPIDSN | uspec.UPIDON},
		"urgent, outstanding":    {uspec.UPIDON, true, false, uspec.UPIDON},
		"urgent, not in the way": {0, true, true, uspec.UPIDON},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemappingRig(t)
			r.write32(spec.RegVendor+spec.VendorRegControl, 0) // nothing of the vendor page takes part
			base := uspec.NewControl(0xF2, 9)
			require.NoError(t, r.mem.Store64(pidBase+spec.PIDControl, uint64(base|c.control)))
			r.setEntry(0, spec.NewPosted(0x83, pidBase, c.urgent, spec.OnlyFrom(uint16(ridA))))
			require.NoError(t, r.raise(ridA, 0))

			pir, err := r.mem.Load64(pidBase + 16)
			require.NoError(t, err)
			require.Equal(t, uint64(1)<<3, pir, "vector 0x83 is bit 3 of word 2")
			control, err := r.mem.Load64(pidBase + spec.PIDControl)
			require.NoError(t, err)
			require.Equal(t, uint64(base|c.after), control)
			var want []pci.Message
			if c.notify {
				want = []pci.Message{fixed(0xF2, 9)}
			}
			require.Equal(t, want, r.apic.take())
			s := r.stats(ridA)
			require.Equal(t, uint64(1), s.Posted)
			require.Zero(t, s.UserPosted)
			require.Equal(t, uint64(1), s.Notified+s.Coalesced+s.Suppressed)
		})
	}
}

func TestPIDFaults(t *testing.T) {
	for name, c := range map[string]struct {
		pda    uint64
		reason spec.Reason
	}{
		"hole":            {1 << 40, spec.DescriptorNotInRAM},
		"end of space":    {^uint64(63), spec.DescriptorNotInRAM},
		"interrupt range": {0xFEE0_0000, spec.DescriptorNotInRAM},
		"reserved bits":   {pidBase, spec.DescriptorReserved},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemappingRig(t)
			require.NoError(t, r.mem.Store64(pidBase+spec.PIDControl, 1<<15))
			r.setEntry(0, spec.NewPosted(0x83, c.pda, false, spec.OnlyFrom(uint16(ridA))))
			r.requireFault(r.raise(ridA, 0), ridA, 0, c.reason)
			pir, err := r.mem.Load64(pidBase + 16)
			require.NoError(t, err)
			require.Zero(t, pir)
		})
	}
}

func TestPostAllocatesNothing(t *testing.T) {
	r := newRemappingRig(t, func(c *Config) { c.Deliver = discard{} })
	upid := r.bindUser(5, poolA, false)
	r.setEntry(1, spec.NewPosted(5, pidBase, false, spec.Source{}))
	r.setEntry(2, spec.NewRemapped(5, spec.Fixed, 1, spec.Source{}))
	s := r.Sender(ridA)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		for i := range uint16(3) {
			q := spec.NewRequest(i, false, 0)
			_ = s.SendMSI(pci.Message{Address: q.Address, Data: q.Data})
		}
		upid.Drain()
	}))
}

// discard is local APICs that forget.
type discard struct{}

func (discard) SendMSI(pci.Message) error { return nil }
