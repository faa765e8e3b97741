package iommu

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gvmm/iommu/spec"
)

func TestCapabilitiesAdvertiseOnlyWhatWorks(t *testing.T) {
	const records, esirtps, pi = uint64(0x22)<<24 | 7<<40, uint64(1) << 62, uint64(1) << 59
	for name, c := range map[string]struct {
		x2apic, posted bool
		cap, ecap      uint64
	}{
		"all":       {true, true, records | esirtps | pi, 0x19},
		"xAPIC":     {false, true, records | esirtps | pi, 0x09},
		"no posted": {true, false, records | esirtps, 0x19},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(cfg *Config) { cfg.X2APIC, cfg.Posted = c.x2apic, c.posted })
			require.Equal(t, uint32(0x10), r.read32(spec.RegVER))
			require.Equal(t, c.cap, r.read64(spec.RegCAP))
			require.Equal(t, c.ecap, r.read64(spec.RegECAP))
		})
	}
}

func TestResetState(t *testing.T) {
	r := newRig(t)
	require.Zero(t, r.read32(spec.RegGSTS))
	require.Zero(t, r.read32(spec.RegFSTS))
	require.Equal(t, spec.EventIM, r.read32(spec.RegFECTL))
	require.Zero(t, r.read64(spec.RegIRTA))
	require.Zero(t, r.read64(spec.RegVCCAP), "Linux reads it unconditionally")
	require.Zero(t, r.read64(0x90), "no queued invalidation")
}

func TestResetRestoresEverything(t *testing.T) {
	fresh, r := newRig(t), newRemappingRig(t)
	r.write32(spec.RegFECTL, 0)
	_ = r.raise(ridA, 0)
	r.Reset()
	for off := uint64(0); off < spec.RegVendor+spec.VendorRegPosted; off += 8 {
		require.Equal(t, fresh.read64(off), r.read64(off), "register %#x", off)
	}
	require.NoError(t, r.Sender(ridA).SendMSI(fixed(0x30, 0)), "messages pass unremapped")
}

func TestIRERejectedWithoutTable(t *testing.T) {
	r := newRig(t)
	r.write32(spec.RegGCMD, spec.GlobalIRE)
	require.Zero(t, r.read32(spec.RegGSTS))
}

func TestTableAddressIsLatchedBySIRTPOnly(t *testing.T) {
	r := newRemappingRig(t)
	r.setEntry(0, spec.NewRemapped(0x30, spec.Fixed, 1, spec.OnlyFrom(uint16(ridA))))
	r.write64(spec.RegIRTA, uint64(spec.NewIRTA(0x8_0000, 0, true)))
	require.NoError(t, r.raise(ridA, 0), "the old table is still in force")

	r.write32(spec.RegGCMD, spec.GlobalIRE|spec.GlobalSIRTP)
	require.Equal(t, spec.EntryNotPresent, r.refusal(0))
	require.Equal(t, spec.GlobalIRE|spec.GlobalSIRTP, r.read32(spec.RegGSTS))
}

func TestSIRTPIsIdempotent(t *testing.T) {
	r := newRemappingRig(t)
	for range 3 { // kvm-unit-tests writes GSTS back with the next command
		r.write32(spec.RegGCMD, r.read32(spec.RegGSTS)|spec.GlobalSIRTP)
		require.Equal(t, spec.GlobalIRE|spec.GlobalSIRTP, r.read32(spec.RegGSTS))
	}
}

func TestIREOffLeavesIRTPS(t *testing.T) {
	r := newRemappingRig(t)
	r.write32(spec.RegGCMD, 0)
	require.Equal(t, spec.GlobalSIRTP, r.read32(spec.RegGSTS))
	require.NoError(t, r.raise(ridA, 0), "not remapped any more")
}

func TestUnknownCommandsChangeNothing(t *testing.T) {
	r := newRemappingRig(t)
	r.write32(spec.RegGCMD, ^(spec.GlobalSIRTP | spec.GlobalCFI))
	require.Equal(t, spec.GlobalIRE|spec.GlobalSIRTP, r.read32(spec.RegGSTS))
}

func TestCommandRegisterReadsZero(t *testing.T) {
	r := newRemappingRig(t)
	require.Zero(t, r.read32(spec.RegGCMD))
	require.Equal(t, uint64(r.read32(spec.RegGSTS))<<32, r.read64(spec.RegGCMD))
}

func TestTableAddressKeepsDefinedBitsOnly(t *testing.T) {
	r := newRig(t)
	r.write64(spec.RegIRTA, ^uint64(0))
	require.Equal(t, ^uint64(0x7F0), r.read64(spec.RegIRTA))
	x := newRig(t, func(c *Config) { c.X2APIC = false })
	x.write64(spec.RegIRTA, ^uint64(0))
	require.Equal(t, ^uint64(0xFF0), x.read64(spec.RegIRTA), "no EIME without EIM")
}

func TestFaultEventRegistersKeepDefinedBitsOnly(t *testing.T) {
	r := newRig(t)
	for _, off := range []uint64{spec.RegFECTL, spec.RegFEDATA, spec.RegFEADDR, spec.RegFEUADDR} {
		r.write32(off, ^uint32(0))
	}
	require.Equal(t, spec.EventIM, r.read32(spec.RegFECTL), "IP is read-only")
	require.Equal(t, ^uint32(0), r.read32(spec.RegFEDATA))
	require.Equal(t, ^uint32(3), r.read32(spec.RegFEADDR))
	require.Equal(t, ^uint32(0xFF), r.read32(spec.RegFEUADDR))
	x := newRig(t, func(c *Config) { c.X2APIC = false })
	x.write32(spec.RegFEUADDR, ^uint32(0))
	require.Zero(t, x.read32(spec.RegFEUADDR))
}

func TestOddAccessesReadOnesAndWriteNothing(t *testing.T) {
	r := newRemappingRig(t)
	before := r.read64(spec.RegIRTA)
	for _, c := range []struct{ off, n uint64 }{
		{spec.RegIRTA, 0}, {spec.RegIRTA, 1}, {spec.RegIRTA, 2}, {spec.RegIRTA, 3}, {spec.RegIRTA, 16},
		{spec.RegIRTA + 2, 4}, {spec.RegIRTA + 4, 8}, {spec.RegIRTA + 1, 8},
		{0x1000, 4}, {0x1000, 8}, {0xFFC, 8}, {^uint64(7), 8}, {^uint64(3), 4},
	} {
		p := make([]byte, c.n)
		r.WriteMMIO(c.off, p)
		r.ReadMMIO(c.off, p)
		for _, b := range p {
			require.Equal(t, byte(0xFF), b, "%d bytes at %#x", c.n, c.off)
		}
	}
	require.Equal(t, before, r.read64(spec.RegIRTA))
}

// TestAccessWidthsArriveAtTheSameState writes one unit by 8 bytes and its twin by 4 and 4.
func TestAccessWidthsArriveAtTheSameState(t *testing.T) {
	offsets := []uint64{
		spec.RegGCMD, 0x30, spec.RegFECTL, spec.RegFEADDR, spec.RegIRTA, spec.RegFRCD, spec.RegFRCD + 8, spec.RegFRCD + 24,
		spec.RegVendor + 8, spec.RegVendor + 0x10, spec.RegVendor + 0x18, spec.RegVendor + 0x20,
	}
	rapid.Check(t, func(rt *rapid.T) {
		wide, narrow := newRemappingRig(t), newRemappingRig(t)
		for range rapid.IntRange(1, 12).Draw(rt, "writes") {
			off := rapid.SampledFrom(offsets).Draw(rt, "off")
			v := rapid.OneOf(rapid.Uint64(), rapid.SampledFrom([]uint64{0, 1, 3, 1 << 63, irtBase, poolTable, ^uint64(0)})).Draw(rt, "value")
			wide.write64(off, v)
			narrow.write32(off, uint32(v))
			narrow.write32(off+4, uint32(v>>32))
			if rapid.Bool().Draw(rt, "fault") {
				_ = wide.raise(ridA, 200)
				_ = narrow.raise(ridA, 200)
			}
			for at := uint64(0); at < spec.PageBytes; at += 8 {
				want := wide.read64(at)
				require.Equal(rt, want, narrow.read64(at), "register %#x", at)
				require.Equal(rt, want, uint64(wide.read32(at))|uint64(wide.read32(at+4))<<32, "register %#x read by halves", at)
			}
		}
	})
}

// TestLinuxInterruptRemappingSequence is the interrupt-remapping part of `iommu.md §1.9`.
func TestLinuxInterruptRemappingSequence(t *testing.T) {
	r := newRig(t)
	r.write64(spec.RegIRTA, 0x1000F)
	r.write32(spec.RegGCMD, 0x0100_0000)
	require.Equal(t, uint32(0x0100_0000), r.read32(spec.RegGSTS))
	r.write32(spec.RegGCMD, 0x0200_0000)
	require.Equal(t, uint32(0x0300_0000), r.read32(spec.RegGSTS))
	for range 2 {
		r.write32(spec.RegFEDATA, 0x21)
		r.write32(spec.RegFEADDR, 0xFEE0_1004)
		r.write32(spec.RegFEUADDR, 0)
	}
	r.write32(spec.RegFECTL, 0)
	require.Zero(t, r.read32(spec.RegFECTL))
	require.Zero(t, r.read32(spec.RegFSTS))
	r.write32(spec.RegFSTS, spec.FaultPFO|spec.FaultPPF)

	r.setEntry(1, spec.IRTE{Lo: 0x100_0030_000D, Hi: 0x4FF00})
	require.NoError(t, r.request(0xFF00, spec.Request{Address: 0xFEE0_0030, Data: 2}))
	got := r.apic.take()
	require.Len(t, got, 1)
	require.Equal(t, uint64(0xFEE0_100C), got[0].Address)
	require.Equal(t, uint32(0x4030), got[0].Data)
}
