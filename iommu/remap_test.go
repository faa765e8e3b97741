package iommu

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/iommu/spec"
	"gvmm/vmm/pci"
)

func TestMessagesPassWhileRemappingIsOff(t *testing.T) {
	r := newRig(t)
	for _, m := range []pci.Message{fixed(0x30, 1), {Address: 0xFEE0_0030, Data: 2}} {
		require.NoError(t, r.Sender(ridA).SendMSI(m))
		require.Equal(t, []pci.Message{m}, r.apic.take())
	}
	require.Equal(t, uint64(2), r.stats(ridA).Passed)
}

func TestWritesOutsideTheInterruptRangeAreStray(t *testing.T) {
	for name, r := range map[string]*rig{"off": newRig(t), "on": newRemappingRig(t)} {
		for _, address := range []uint64{0, 0xFED0_0000, 0xFEF0_0000, 0x1_FEE0_0010} {
			require.ErrorIs(t, r.Sender(ridA).SendMSI(pci.Message{Address: address}), ErrRefused, name)
		}
		require.Empty(t, r.apic.take())
		require.Equal(t, uint64(4), r.stats(ridA).Stray)
		require.Empty(t, r.Faults())
	}
}

func TestRemappedEntryDecidesTheMessage(t *testing.T) {
	src := spec.OnlyFrom(uint16(ridA))
	software := spec.NewRemapped(0x36, spec.Fixed, 1, src)
	software.Lo |= 0xF00
	for name, c := range map[string]struct {
		entry    spec.IRTE
		eime     bool
		address  uint64
		data     uint32
		ignoring uint32 // request data, which means nothing without SHV
	}{
		"fixed x2APIC":    {spec.NewRemapped(0x30, spec.Fixed, 0x1_2345, src), true, 0x1_2300_FEE4_5000, 0x4030, 0},
		"request data":    {spec.NewRemapped(0x30, spec.Fixed, 1, src), true, 0xFEE0_1000, 0x4030, 0xFFFF_FFFF},
		"fixed xAPIC":     {spec.NewRemapped(0x31, spec.Fixed, 0x0700, src), false, 0xFEE0_7000, 0x4031, 0},
		"logical lowest":  {spec.NewRemapped(0x32, spec.LowestPriority, 3, src).WithLogical().WithRedirection(), true, 0xFEE0_300C, 0x4132, 0},
		"level":           {spec.NewRemapped(0x33, spec.Fixed, 1, src).WithLevel(), true, 0xFEE0_1000, 0xC033, 0},
		"NMI":             {spec.NewRemapped(0, spec.NMI, 1, src), true, 0xFEE0_1000, 0x4400, 0},
		"no source check": {spec.NewRemapped(0x34, spec.Fixed, 1, spec.Source{}), true, 0xFEE0_1000, 0x4034, 0},
		"own bus":         {spec.NewRemapped(0x35, spec.Fixed, 1, spec.Source{SID: 0x0102, SVT: spec.SVTBus}), true, 0xFEE0_1000, 0x4035, 0},
		"software bits":   {software, true, 0xFEE0_1000, 0x4036, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemappingRig(t)
			r.write64(spec.RegIRTA, uint64(spec.NewIRTA(irtBase, irtSize, c.eime)))
			r.write32(spec.RegGCMD, spec.GlobalIRE|spec.GlobalSIRTP)
			r.setEntry(9, c.entry)
			q := spec.NewRequest(9, false, 0)
			q.Data = c.ignoring
			require.NoError(t, r.request(ridA, q))
			require.Equal(t, []pci.Message{{Address: c.address, Data: c.data}}, r.apic.take())
			require.Equal(t, uint64(1), r.stats(ridA).Remapped)
		})
	}
}

func TestSubhandleAddsToTheIndex(t *testing.T) {
	r := newRemappingRig(t)
	r.setEntry(12, spec.NewRemapped(0x30, spec.Fixed, 1, spec.Source{}))
	require.NoError(t, r.request(ridA, spec.NewRequest(10, true, 2)))
	require.Equal(t, []pci.Message{fixed(0x30, 1)}, r.apic.take())
}

func TestHighestIndexOfTheLargestTable(t *testing.T) {
	r := newRemappingRig(t, func(c *Config) { require.NoError(t, c.Memory.AddRAM(1<<32, 1<<20)) })
	r.write64(spec.RegIRTA, uint64(spec.NewIRTA(1<<32, 15, true)))
	r.write32(spec.RegGCMD, spec.GlobalIRE|spec.GlobalSIRTP)
	e := spec.NewRemapped(0x30, spec.Fixed, 1, spec.Source{})
	require.NoError(t, r.mem.Store64(1<<32+0xFFFF*16, e.Lo))
	require.NoError(t, r.raise(ridA, 0xFFFF))
}

func TestRequestFaults(t *testing.T) {
	shv := func(handle, sub uint16, reserved uint32) spec.Request {
		q := spec.NewRequest(handle, true, sub)
		q.Data |= reserved
		return q
	}
	for name, c := range map[string]struct {
		q      spec.Request
		index  uint16
		reason spec.Reason
	}{
		"reserved data":              {shv(1, 2, 1<<16), 3, spec.RequestReserved},
		"index past the table":       {spec.NewRequest(256, false, 0), 256, spec.IndexOutOfRange},
		"subhandle past the table":   {shv(255, 1, 0), 256, spec.IndexOutOfRange},
		"index past 16 bits":         {shv(0xFFFF, 2, 0), 1, spec.IndexOutOfRange},
		"entry not present":          {spec.NewRequest(7, false, 0), 7, spec.EntryNotPresent},
		"compatibility format":       {spec.Request{Address: 0xFEE0_1000, Data: 0x30}, 0, spec.CompatBlocked},
		"reserved wins over too big": {shv(0xFFFF, 1, 1<<31), 0, spec.RequestReserved},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemappingRig(t)
			r.requireFault(r.request(ridA, c.q), ridA, c.index, c.reason)
		})
	}
}

func TestUnreadableTableFaults(t *testing.T) {
	for name, base := range map[string]uint64{
		"hole":                      1 << 30,
		"end of RAM":                ramSize,
		"in the interrupt range":    0xFEE0_0000,
		"wraps to the start of RAM": ^uint64(0xFFF), // index 0x100 of it would be address 0
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemappingRig(t)
			require.NoError(t, r.mem.Store64(0, spec.NewRemapped(0x30, spec.Fixed, 1, spec.Source{}).Lo))
			r.write64(spec.RegIRTA, uint64(spec.NewIRTA(base, 15, true)))
			r.write32(spec.RegGCMD, spec.GlobalIRE|spec.GlobalSIRTP)
			r.requireFault(r.raise(ridA, 0x100), ridA, 0x100, spec.TableUnreadable)
		})
	}
}

func TestCompatibilityFormatNeedsCFIAndXAPIC(t *testing.T) {
	for name, c := range map[string]struct {
		eime, cfi, passes bool
	}{
		"x2APIC":          {true, false, false},
		"x2APIC with CFI": {true, true, false},
		"xAPIC":           {false, false, false},
		"xAPIC with CFI":  {false, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemappingRig(t)
			r.write64(spec.RegIRTA, uint64(spec.NewIRTA(irtBase, irtSize, c.eime)))
			cmd := spec.GlobalIRE
			if c.cfi {
				cmd |= spec.GlobalCFI
			}
			r.write32(spec.RegGCMD, cmd|spec.GlobalSIRTP)
			require.Equal(t, cmd|spec.GlobalSIRTP, r.read32(spec.RegGSTS))
			err := r.Sender(ridA).SendMSI(fixed(0x30, 1))
			if !c.passes {
				r.requireFault(err, ridA, 0, spec.CompatBlocked)
				return
			}
			require.NoError(t, err)
			require.Equal(t, []pci.Message{fixed(0x30, 1)}, r.apic.take())
		})
	}
}

func TestReservedEntryFaults(t *testing.T) {
	ok := spec.NewRemapped(0x30, spec.Fixed, 1, spec.OnlyFrom(uint16(ridA)))
	for name, e := range map[string]spec.IRTE{
		"bit 12":              {Lo: ok.Lo | 1<<12, Hi: ok.Hi},
		"bit 31":              {Lo: ok.Lo | 1<<31, Hi: ok.Hi},
		"bit 84":              {Lo: ok.Lo, Hi: ok.Hi | 1<<20},
		"bit 127":             {Lo: ok.Lo, Hi: ok.Hi | 1<<63},
		"delivery mode 3":     spec.NewRemapped(0x30, 3, 1, ok.Source()),
		"delivery mode 6":     spec.NewRemapped(0x30, 6, 1, ok.Source()),
		"posted, bit 2":       {Lo: spec.NewPosted(1, pidBase, false, ok.Source()).Lo | 1<<2, Hi: ok.Hi},
		"reserved and source": {Lo: ok.Lo | 1<<12, Hi: spec.NewRemapped(0, 0, 0, spec.OnlyFrom(uint16(ridB))).Hi},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemappingRig(t)
			r.setEntry(4, e)
			r.requireFault(r.raise(ridA, 4), ridA, 4, spec.EntryReserved)
		})
	}
}

func TestPostedEntriesAreReservedWithoutPostedInterrupts(t *testing.T) {
	for name, e := range map[string]spec.IRTE{
		"posted":      spec.NewPosted(1, pidBase, false, spec.OnlyFrom(uint16(ridA))),
		"user-posted": spec.NewUserPosted(1, poolA, false, uint16(ridA)),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemappingRig(t, func(c *Config) { c.Posted = false })
			r.setEntry(4, e)
			r.requireFault(r.raise(ridA, 4), ridA, 4, spec.EntryReserved)
		})
	}
}

func TestSourceMismatchFaults(t *testing.T) {
	for name, src := range map[string]spec.Source{
		"other requester": spec.OnlyFrom(uint16(ridB)),
		"other bus":       {SID: 0x0205, SVT: spec.SVTBus},
		"reserved type":   {SID: uint16(ridA), SVT: 3},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemappingRig(t)
			r.setEntry(4, spec.NewRemapped(0x30, spec.Fixed, 1, src))
			r.requireFault(r.raise(ridA, 4), ridA, 4, spec.SourceRefused)
		})
	}
}

func TestDeliveryErrorsReachTheSender(t *testing.T) {
	r := newRemappingRig(t)
	r.apic.err = errors.New("no such APIC")
	r.setEntry(0, spec.NewRemapped(0x30, spec.Fixed, 1, spec.Source{}))
	require.ErrorIs(t, r.raise(ridA, 0), r.apic.err)
	require.Equal(t, uint64(1), r.stats(ridA).Undelivered)
	require.Empty(t, r.Faults())
}

func TestSendersAreSharedByRequesterID(t *testing.T) {
	r := newRig(t)
	require.Same(t, r.Sender(ridA), r.Sender(ridA))
	require.NotSame(t, r.Sender(ridA), r.Sender(ridB))
	stats := r.Stats()
	require.Len(t, stats, 2)
	require.Equal(t, []pci.RequesterID{ridA, ridB}, []pci.RequesterID{stats[0].Requester, stats[1].Requester})
}

func TestRequesterWithoutDomainFunctionIsInDomainZero(t *testing.T) {
	r := newRemappingRig(t, func(c *Config) { c.Domain = nil })
	r.loadPools(spec.Pool{Base: poolA, Count: 1, Domain: 0}, spec.Pool{Base: poolB, Count: 1, Domain: 1})
	r.upid(poolA)
	r.setEntry(0, spec.NewUserPosted(1, poolA, false, uint16(ridA)))
	r.setEntry(1, spec.NewUserPosted(1, poolB, false, uint16(ridA)))
	require.NoError(t, r.raise(ridA, 0))
	require.Equal(t, spec.PoolDenied, r.refusal(1))
}
