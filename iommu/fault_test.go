package iommu

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/iommu/spec"
	"gvmm/vmm/pci"
)

var event = pci.Message{Address: 0xFEE0_5000, Data: 0x4021}

// armEvent programs and unmasks the fault event.
func (r *rig) armEvent() {
	r.write32(spec.RegFEDATA, event.Data)
	r.write32(spec.RegFEADDR, uint32(event.Address))
	r.write32(spec.RegFECTL, 0)
}

// failAs makes requester rid fault once.
func (r *rig) failAs(rid pci.RequesterID) { _ = r.raise(rid, 0xFFFF) }

// acknowledge clears record i as Linux does: bit 31 of the record's last word.
func (r *rig) acknowledge(i uint64) { r.write32(spec.RegFRCD+16*i+12, 1<<31) }

func TestFaultEventSentOnceUntilRecordsAreCleared(t *testing.T) {
	r := newRemappingRig(t)
	r.armEvent()
	r.failAs(1)
	require.Equal(t, []pci.Message{event}, r.apic.take())
	require.Zero(t, r.read32(spec.RegFECTL), "IP is clear once the message has gone")
	r.failAs(2)
	require.Empty(t, r.apic.take(), "PPF was set already")

	r.acknowledge(0)
	require.Equal(t, spec.FaultPPF, r.read32(spec.RegFSTS), "the second record is pending")
	r.acknowledge(1)
	require.Zero(t, r.read32(spec.RegFSTS))
	r.failAs(1)
	require.Equal(t, []pci.Message{event}, r.apic.take())
	require.Equal(t, spec.FaultPPF|2<<spec.FaultFRIShift, r.read32(spec.RegFSTS), "FRI is where the ring goes on")
}

func TestMaskedFaultEventPendsUntilUnmasked(t *testing.T) {
	r := newRemappingRig(t)
	r.armEvent()
	r.write32(spec.RegFECTL, spec.EventIM)
	r.failAs(1)
	require.Empty(t, r.apic.take())
	require.Equal(t, spec.EventIM|spec.EventIP, r.read32(spec.RegFECTL))
	r.write32(spec.RegFECTL, 0)
	require.Equal(t, []pci.Message{event}, r.apic.take())
	require.Zero(t, r.read32(spec.RegFECTL))
	r.write32(spec.RegFECTL, 0)
	require.Empty(t, r.apic.take())
}

func TestMaskedFaultEventIsForgottenWhenServiced(t *testing.T) {
	r := newRemappingRig(t)
	r.armEvent()
	r.write32(spec.RegFECTL, spec.EventIM)
	r.failAs(1)
	r.acknowledge(0)
	require.Equal(t, spec.EventIM, r.read32(spec.RegFECTL))
	r.write32(spec.RegFECTL, 0)
	require.Empty(t, r.apic.take())
}

func TestFaultEventUnmaskedByWideWriteUsesTheNewData(t *testing.T) {
	r := newRemappingRig(t)
	r.write32(spec.RegFEADDR, uint32(event.Address))
	r.failAs(1)
	r.write64(spec.RegFECTL, uint64(event.Data)<<32)
	require.Equal(t, []pci.Message{event}, r.apic.take())
}

func TestFaultEventCarries32BitDestination(t *testing.T) {
	r := newRemappingRig(t)
	r.armEvent()
	r.write32(spec.RegFEUADDR, 0x1200)
	r.failAs(1)
	require.Equal(t, []pci.Message{{Address: 0x1200<<32 | event.Address, Data: event.Data}}, r.apic.take())
}

func TestFaultEventOutsideTheInterruptRangeGoesNowhere(t *testing.T) {
	r := newRemappingRig(t)
	r.armEvent()
	r.write32(spec.RegFEADDR, 0x3_0000)
	r.failAs(1)
	require.Empty(t, r.apic.take())
	v, err := r.mem.Load32(0x3_0000)
	require.NoError(t, err)
	require.Zero(t, v)
}

func TestSameRequesterCollapsesIntoOneRecord(t *testing.T) {
	r := newRemappingRig(t)
	r.failAs(1)
	r.failAs(1)
	require.False(t, r.record(1).Pending())
	require.Zero(t, r.read32(spec.RegFSTS)&spec.FaultPFO)
	require.Equal(t, []bool{true, false}, []bool{r.Faults()[0].Recorded, r.Faults()[1].Recorded})
	require.Equal(t, uint64(2), r.stats(1).Faults[spec.IndexOutOfRange], "collapsed faults still count")
	r.acknowledge(0)
	r.failAs(1)
	require.True(t, r.record(1).Pending(), "recorded again once acknowledged")
}

func TestFaultRingOverflow(t *testing.T) {
	r := newRemappingRig(t)
	for rid := range pci.RequesterID(8) {
		r.failAs(rid)
	}
	require.Zero(t, r.read32(spec.RegFSTS)&spec.FaultPFO)
	for i := range uint64(8) {
		require.Equal(t, uint16(i), r.record(i).SID())
	}
	r.failAs(100)
	require.Equal(t, spec.FaultPFO|spec.FaultPPF, r.read32(spec.RegFSTS))
	require.Equal(t, uint16(0), r.record(0).SID(), "pending records are not overwritten")

	r.acknowledge(0)
	r.failAs(100)
	require.False(t, r.record(0).Pending(), "nothing is recorded while PFO is set")

	r.write32(spec.RegFSTS, spec.FaultPPF|0xFF00)
	require.NotZero(t, r.read32(spec.RegFSTS)&spec.FaultPFO, "only a 1 to PFO clears it")
	r.write32(spec.RegFSTS, spec.FaultPFO)
	require.Equal(t, spec.FaultPPF, r.read32(spec.RegFSTS))
	r.failAs(100)
	require.Equal(t, uint16(100), r.record(0).SID())
}

func TestOverflowWhileTheNextRecordPends(t *testing.T) {
	r := newRemappingRig(t)
	for rid := range pci.RequesterID(8) {
		r.failAs(rid)
	}
	r.acknowledge(3) // not the next one
	r.failAs(100)
	require.NotZero(t, r.read32(spec.RegFSTS)&spec.FaultPFO)
	require.False(t, r.record(3).Pending())
}

func TestRecordFieldsAreReadOnlyButF(t *testing.T) {
	r := newRemappingRig(t)
	r.failAs(5)
	before := r.record(0)
	r.write64(spec.RegFRCD, 0)
	r.write64(spec.RegFRCD+8, ^uint64(1<<63))
	require.Equal(t, before, r.record(0))
	r.write64(spec.RegFRCD+8, 1<<63)
	require.Equal(t, spec.FaultRecord{Lo: before.Lo, Hi: before.Hi &^ (1 << 63)}, r.record(0))
}

func TestFPDKeepsTheFaultFromTheGuest(t *testing.T) {
	malformed := spec.NewRemapped(0x30, spec.Fixed, 0, spec.Source{})
	malformed.Lo |= 1 << 12
	for name, c := range map[string]struct {
		entry  spec.IRTE
		reason spec.Reason
	}{
		"not present":   {spec.IRTE{}, spec.EntryNotPresent},
		"malformed":     {malformed, spec.EntryReserved},
		"source":        {spec.NewRemapped(0x30, spec.Fixed, 0, spec.OnlyFrom(uint16(ridB))), spec.SourceRefused},
		"PID not RAM":   {spec.NewPosted(1, 1<<40, false, spec.Source{}), spec.DescriptorNotInRAM},
		"PID reserved":  {spec.NewPosted(1, pidBase, false, spec.Source{}), spec.DescriptorReserved},
		"UPID reserved": {spec.NewUserPosted(1, poolA, false, uint16(ridA)), spec.DescriptorReserved},
		"no pool":       {spec.NewUserPosted(1, 0x9_0000, false, uint16(ridA)), spec.PoolDenied},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemappingRig(t)
			r.armEvent()
			require.NoError(t, r.mem.Store64(pidBase+spec.PIDControl, 1<<2))
			require.NoError(t, r.mem.Store64(poolA, 1<<2))
			r.setEntry(0, c.entry.WithFPD())
			require.ErrorIs(t, r.raise(ridA, 0), ErrRefused)
			require.Zero(t, r.read32(spec.RegFSTS))
			require.Empty(t, r.apic.take())
			require.Equal(t, []Fault{{Requester: ridA, Reason: c.reason}}, r.Faults())
		})
	}
}

func TestFaultLogIsBoundedAndOrdered(t *testing.T) {
	r := newRemappingRig(t)
	for i := range uint16(faultLogSize + 10) {
		_ = r.raise(ridA, 256+i)
	}
	faults := r.Faults()
	require.Len(t, faults, faultLogSize)
	for i, f := range faults {
		require.Equal(t, uint16(256+10+i), f.Index)
	}
}

func TestFailedEventDeliveryIsHarmless(t *testing.T) {
	r := newRemappingRig(t)
	r.armEvent()
	r.apic.err = errors.New("no such APIC")
	r.failAs(1)
	require.Len(t, r.apic.take(), 1)
	require.Equal(t, spec.FaultPPF, r.read32(spec.RegFSTS))
}
