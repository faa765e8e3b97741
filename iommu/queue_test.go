package iommu

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/iommu/spec"
	"gvmm/vmm/pci"
)

func TestQueueServesEveryTypeOfLegacyMode(t *testing.T) {
	for name, d := range map[string]spec.Descriptor{
		"context, global":   spec.NewContextDescriptor(spec.ContextInvalidation{Granularity: spec.Global}),
		"context, domain":   spec.NewContextDescriptor(spec.ContextInvalidation{Granularity: spec.PerDomain, DID: domA}),
		"context, device":   spec.NewContextDescriptor(spec.ContextInvalidation{Granularity: spec.PerDevice, DID: domA, SID: uint16(ridA), FM: 3}),
		"IOTLB, global":     spec.NewIOTLBDescriptor(spec.IOTLBInvalidation{Granularity: spec.Global}),
		"IOTLB, domain":     invalidateDomain(domA),
		"IOTLB, page":       invalidatePage(domA, 0x1000, 0),
		"IOTLB, largest":    invalidatePage(domA, 0, spec.MaxAddressMask),
		"IOTLB, IH":         {Lo: 0x32, Hi: 0x1040},
		"entries, all":      spec.NewIECDescriptor(spec.IECInvalidation{All: true}),
		"entries, one":      spec.NewIECDescriptor(spec.IECInvalidation{Index: 3}),
		"entries, all by M": spec.NewIECDescriptor(spec.IECInvalidation{Index: 3, IM: spec.MaxIndexMask}),
		"wait, nothing":     spec.NewWaitDescriptor(spec.Wait{}),
		"Linux's wait":      {Lo: 0x2_0000_0025, Hi: statusAt},
		"Linux's IOTLB":     {Lo: 0xD2},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTranslatingRig(t)
			r.invalidate(d)
			require.Zero(t, r.read32(spec.RegFSTS))
		})
	}
}

func TestMalformedDescriptorStopsTheQueueOnIt(t *testing.T) {
	wait := func(addr uint64) spec.Descriptor {
		return spec.NewWaitDescriptor(spec.Wait{Write: true, Address: addr, Data: 1})
	}
	for name, c := range map[string]struct {
		d   spec.Descriptor
		why spec.QueueError
	}{
		"type 0":                      {spec.Descriptor{}, spec.QueueType},
		"device TLB, which is not":    {spec.Descriptor{Lo: 3}, spec.QueueType},
		"PASID IOTLB":                 {spec.Descriptor{Lo: 6 | 2<<4}, spec.QueueType},
		"type 15":                     {spec.Descriptor{Lo: 15}, spec.QueueType},
		"high bits of the type":       {spec.Descriptor{Lo: 4 | 1<<9}, spec.QueueType},
		"context granularity 0":       {spec.Descriptor{Lo: 1}, spec.QueueReserved},
		"context reserved":            {spec.Descriptor{Lo: 1 | 1<<4 | 1<<50}, spec.QueueReserved},
		"context upper half":          {spec.Descriptor{Lo: 1 | 1<<4, Hi: 1}, spec.QueueReserved},
		"IOTLB granularity 0":         {spec.Descriptor{Lo: 2}, spec.QueueReserved},
		"IOTLB reserved":              {spec.Descriptor{Lo: 2 | 1<<4 | 1<<32}, spec.QueueReserved},
		"IOTLB reserved address bits": {spec.Descriptor{Lo: 2 | 3<<4, Hi: 0x1080}, spec.QueueReserved},
		"IOTLB AM above MAMV":         {invalidatePage(1, 0, spec.MaxAddressMask+1), spec.QueueReserved},
		"IOTLB AM 63":                 {invalidatePage(1, 0, 63), spec.QueueReserved},
		"entries reserved":            {spec.Descriptor{Lo: 4 | 1<<5}, spec.QueueReserved},
		"entries IM above MHMV":       {spec.Descriptor{Lo: 4 | 1<<4 | 16<<27}, spec.QueueReserved},
		"wait reserved":               {spec.Descriptor{Lo: 5 | 1<<8}, spec.QueueReserved},
		"wait with page requests":     {spec.Descriptor{Lo: 5 | 1<<7}, spec.QueueReserved},
		"wait status misaligned":      {spec.Descriptor{Lo: 5 | 1<<5, Hi: statusAt | 2}, spec.QueueReserved},
		"wait status beyond RAM":      {wait(dmaRAM), spec.QueueReserved},
		"wait status in registers":    {wait(0xFED9_0000), spec.QueueReserved},
		"wait status as interrupt":    {wait(0xFEE0_0000), spec.QueueReserved},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTranslatingRig(t)
			r.armEvent()
			good, done := r.wait()
			r.submit(spec.NewIECDescriptor(spec.IECInvalidation{All: true}), c.d, good)
			require.Equal(t, uint64(16), r.read64(spec.RegIQH), "the head is on the bad descriptor")
			require.Equal(t, spec.FaultIQE, r.read32(spec.RegFSTS))
			require.Equal(t, uint64(c.why), r.read64(spec.RegIQERCD))
			require.Equal(t, []pci.Message{event}, r.apic.take())
			require.False(t, done())

			// Moving the tail serves nothing while IQE is set. Linux overwrites the bad slot and clears IQE.
			r.submit(good)
			require.Equal(t, uint64(16), r.read64(spec.RegIQH))
			r.store64(queueBase+16, good.Lo)
			r.store64(queueBase+24, good.Hi)
			r.write32(spec.RegFSTS, spec.FaultIQE)
			require.True(t, done())
			require.Equal(t, r.tail, r.read64(spec.RegIQH))
			require.Zero(t, r.read32(spec.RegFSTS))
			require.Zero(t, r.read64(spec.RegIQERCD))
		})
	}
}

func TestQueueErrorNotMendedStopsAgain(t *testing.T) {
	r := newTranslatingRig(t)
	r.armEvent()
	r.submit(spec.Descriptor{})
	for range 3 {
		require.Equal(t, []pci.Message{event}, r.apic.take())
		require.Equal(t, spec.FaultIQE, r.read32(spec.RegFSTS))
		require.Zero(t, r.read64(spec.RegIQH))
		r.write32(spec.RegFSTS, spec.FaultIQE)
	}
}

func TestQueueErrorBesideAFaultRaisesNoSecondEvent(t *testing.T) {
	r := newTranslatingRig(t)
	r.armEvent()
	r.failAs(9)
	require.Len(t, r.apic.take(), 1)
	r.submit(spec.Descriptor{})
	require.Empty(t, r.apic.take(), "the first condition is not serviced yet")
	require.Equal(t, spec.FaultIQE|spec.FaultPPF, r.read32(spec.RegFSTS)&0xFF)
}

func TestQueueThatCannotBeRead(t *testing.T) {
	for name, c := range map[string]struct {
		iqa  uint64
		tail uint32
		why  spec.QueueError
	}{
		"beyond RAM":            {dmaRAM, 16, spec.QueueFetch},
		"in registers":          {0xFED9_0000, 16, spec.QueueFetch},
		"end of addresses":      {^uint64(0xFFF), 16, spec.QueueFetch},
		"tail beyond the queue": {queueBase, 0x1000, spec.QueueTail},
		"tail far beyond":       {queueBase, 0x7_FFF0, spec.QueueTail},
		"256-bit descriptors":   {queueBase | 1<<11, 16, spec.QueueWidth},
	} {
		t.Run(name, func(t *testing.T) {
			r := newDMARig(t)
			r.write64(spec.RegIQA, c.iqa)
			r.command(spec.GlobalQIE)
			r.write32(spec.RegIQT, c.tail)
			require.Equal(t, spec.FaultIQE, r.read32(spec.RegFSTS))
			require.Equal(t, uint64(c.why), r.read64(spec.RegIQERCD))
			require.Zero(t, r.read64(spec.RegIQH))
			r.write32(spec.RegGCMD, 0)
			require.Zero(t, r.read32(spec.RegGSTS), "a queue that is stopped can be switched off")
		})
	}
}

func TestQueueWrapsAround(t *testing.T) {
	r := newTranslatingRig(t)
	for range 1000 {
		r.invalidate(spec.NewIECDescriptor(spec.IECInvalidation{Index: 1}), invalidatePage(domA, 0x5000, 0))
	}
	require.Equal(t, QueueStats{Invalidations: 2000, Waits: 1000}, r.Queue())
}

func TestQueueLargestSizeIsServedWithoutTheCaller(t *testing.T) {
	r := newTranslatingRig(t)
	r.disableQueue()
	const size = 1 << 15
	base := uint64(buffers)
	r.write32(spec.RegIQT, 0)
	r.write64(spec.RegIQA, base|7)
	r.command(spec.GlobalQIE)
	for i := range uint64(size) {
		d := invalidatePage(domA, i<<12, uint8(i%19))
		r.store64(base+i*16, d.Lo)
		r.store64(base+i*16+8, d.Hi)
	}
	r.write32(spec.RegIQT, (size-1)*16)
	r.eventually(func() bool { return r.read64(spec.RegIQH) == (size-1)*16 }, "the queue runs to its tail")
	require.Equal(t, uint64(size-1), r.Queue().Invalidations)
}

func TestQIEOffServesWhatIsQueuedFirst(t *testing.T) {
	r := newTranslatingRig(t)
	r.disableQueue()
	const n = 2000
	r.write32(spec.RegIQT, 0)
	r.write64(spec.RegIQA, buffers|7)
	r.command(spec.GlobalQIE)
	d := spec.NewIECDescriptor(spec.IECInvalidation{All: true})
	for i := range uint64(n) {
		r.store64(buffers+i*16, d.Lo)
	}
	before := r.Queue().Invalidations
	r.write32(spec.RegIQT, n*16)
	r.write32(spec.RegGCMD, r.read32(spec.RegGSTS)&^(spec.GlobalSRTP|spec.GlobalSIRTP|spec.GlobalQIE))
	r.eventually(func() bool { return r.read32(spec.RegGSTS)&spec.GlobalQIE == 0 }, "QIES follows")
	require.Equal(t, before+n, r.Queue().Invalidations)
	require.Zero(t, r.read64(spec.RegIQH))
}

func TestEnablingTheQueueServesWhatIsInIt(t *testing.T) {
	r := newDMARig(t)
	w, done := r.wait()
	r.store64(queueBase, w.Lo)
	r.store64(queueBase+8, w.Hi)
	r.write64(spec.RegIQA, queueBase)
	r.write32(spec.RegIQT, 16)
	require.False(t, done())
	r.command(spec.GlobalQIE)
	require.True(t, done())
	require.Equal(t, uint64(16), r.read64(spec.RegIQH))
	r.write32(spec.RegGCMD, 0)
	require.Zero(t, r.read32(spec.RegGSTS))
	require.Zero(t, r.read64(spec.RegIQH))
}

func TestQueueAddressIsLatchedWhenItIsEnabled(t *testing.T) {
	r := newTranslatingRig(t)
	r.write64(spec.RegIQA, dmaRAM)
	w, done := r.wait()
	r.store64(queueBase, w.Lo)
	r.store64(queueBase+8, w.Hi)
	r.write32(spec.RegIQT, 16)
	require.True(t, done(), "the queue is still where it was")
}

func TestWaitInterruptsOnceUntilServiced(t *testing.T) {
	completion := pci.Message{Address: 0xFEE0_7000, Data: 0x4055}
	r := newTranslatingRig(t)
	r.write32(spec.RegIEDATA, completion.Data)
	r.write32(spec.RegIEADDR, uint32(completion.Address))
	r.write32(spec.RegIECTL, 0)
	both := spec.NewWaitDescriptor(spec.Wait{Interrupt: true, Write: true, Address: statusAt, Data: 7})
	r.submit(both)
	v, err := r.mem.Load32(statusAt)
	require.NoError(t, err)
	require.Equal(t, uint32(7), v, "status and interrupt both")
	require.Equal(t, []pci.Message{completion}, r.apic.take())
	require.Equal(t, spec.CompletionIWC, r.read32(spec.RegICS))

	r.submit(both)
	require.Empty(t, r.apic.take(), "IWC was not cleared")
	r.write32(spec.RegICS, spec.CompletionIWC)
	require.Zero(t, r.read32(spec.RegICS))

	r.write32(spec.RegIECTL, spec.EventIM)
	r.submit(both)
	require.Empty(t, r.apic.take())
	require.Equal(t, spec.EventIM|spec.EventIP, r.read32(spec.RegIECTL))
	r.write32(spec.RegIECTL, 0)
	require.Equal(t, []pci.Message{completion}, r.apic.take())

	r.write32(spec.RegICS, spec.CompletionIWC)
	r.write32(spec.RegIECTL, spec.EventIM)
	r.submit(both)
	r.write32(spec.RegICS, spec.CompletionIWC)
	require.Equal(t, spec.EventIM, r.read32(spec.RegIECTL), "serviced: nothing is owed")
}

func TestQueueHeadIsReadOnly(t *testing.T) {
	r := newTranslatingRig(t)
	r.write64(spec.RegIQH, 0x40)
	require.Zero(t, r.read64(spec.RegIQH))
	r.write64(spec.RegIQERCD, 1)
	require.Zero(t, r.read64(spec.RegIQERCD))
}

func TestRegisterInvalidationIsRefusedWhileTheQueueIsOn(t *testing.T) {
	r := newTranslatingRig(t)
	r.write64(spec.RegCCMD, spec.CommandICC|1<<61)
	require.Equal(t, uint64(1<<61), r.read64(spec.RegCCMD), "no actual granularity")
	r.write64(spec.RegIOTLB, spec.CommandIVT|1<<60)
	require.Equal(t, uint64(1<<60), r.read64(spec.RegIOTLB))
}

func TestRegisterInvalidation(t *testing.T) {
	r := newTranslatingRig(t)
	r.disableQueue()
	r.mapPage(ridA, 0x5000, buffers, 1, readWrite)
	r.fill(buffers, 0xAA)
	r.fill(buffers+4096, 0xBB)
	v := r.view(ridA)
	require.Equal(t, byte(0xAA), r.sees(v, 0x5000))
	r.mapPage(ridA, 0x5000, buffers+4096, 1, readWrite)
	require.Equal(t, byte(0xAA), r.sees(v, 0x5000), "cached")
	for name, cmd := range map[string]uint64{"global": 1 << 60, "domain": 2<<60 | domA<<32, "page": 3<<60 | domA<<32} {
		r.mapPage(ridA, 0x5000, buffers, 1, readWrite)
		r.write32(spec.RegGCMD, r.read32(spec.RegGSTS)|spec.GlobalSRTP)
		require.Equal(t, byte(0xAA), r.sees(v, 0x5000), name)
		r.mapPage(ridA, 0x5000, buffers+4096, 1, readWrite)
		r.write64(spec.RegIVA, 0x5000)
		r.write32(spec.RegIOTLB, 0)
		require.Equal(t, byte(0xAA), r.sees(v, 0x5000), "the upper half commands")
		r.write32(spec.RegIOTLB+4, uint32((cmd|spec.CommandIVT)>>32))
		require.Equal(t, cmd|cmd>>60<<57, r.read64(spec.RegIOTLB), "%s: done, at the granularity asked for", name)
		require.Equal(t, byte(0xBB), r.sees(v, 0x5000), name)
	}
	r.attach(ridA, spec.ContextEntry{})
	require.Equal(t, byte(0xBB), r.sees(v, 0x5000), "the context entry is cached")
	r.write64(spec.RegCCMD, spec.CommandICC|3<<61|uint64(ridA)<<16|domA)
	require.Equal(t, uint64(3<<61|3<<59)|uint64(ridA)<<16|domA, r.read64(spec.RegCCMD))
	r.requireBlocked(ridA, 0x5000, false, spec.ContextNotPresent)
}
