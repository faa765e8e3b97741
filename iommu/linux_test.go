package iommu

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/iommu/spec"
	"gvmm/vmm/memory"
	"gvmm/vmm/pci"
)

// step is an access of the guest's to the register page: a write, or a read that must give value.
type step struct {
	write bool
	off   uint64
	size  int
	value uint64
}

func w4(off, v uint64) step { return step{true, off, 4, v} }
func w8(off, v uint64) step { return step{true, off, 8, v} }
func r4(off, v uint64) step { return step{false, off, 4, v} }
func r8(off, v uint64) step { return step{false, off, 8, v} }

// Capabilities as `iommu.md §1.2` proposes them.
const (
	proposedCAP  = 0xC8D2078C222F0606
	proposedECAP = 0xF00F5B
)

func TestCapabilitiesAreThoseProposed(t *testing.T) {
	r := newDMARig(t)
	require.Equal(t, uint64(proposedCAP), r.read64(spec.RegCAP))
	require.Equal(t, uint64(proposedECAP), r.read64(spec.RegECAP))
	for width, sagaw := range map[int]uint64{39: 0x2, 48: 0x6, 57: 0xE} {
		v := newDMARig(t, func(c *Config) { c.Width = width }).read64(spec.RegCAP)
		require.Equal(t, sagaw, v>>8&0x1F, "%d bits", width)
		require.Equal(t, uint64(width-1), v>>16&0x3F)
	}
}

// TestLinuxBootSequence is the whole register traffic of Linux 6.1 from power-on to its first invalidations (`iommu.md §1.9`), with what it put into
// the queue at each move of the tail.
func TestLinuxBootSequence(t *testing.T) {
	const queueAt, irtAt, rootAt, statusPage = 0x11B7000, 0x1200000, 0x1CF7000, 0x1046000
	r := newDMARig(t)
	steps := []step{
		r8(spec.RegCAP, proposedCAP), r8(spec.RegECAP, proposedECAP), r8(spec.RegCAP, proposedCAP), r8(spec.RegECAP, proposedECAP),
		r4(spec.RegVER, 0x10), r4(spec.RegGSTS, 0), r4(spec.RegFSTS, 0), r4(spec.RegGSTS, 0),
		w4(spec.RegIQT, 0), w8(spec.RegIQA, queueAt), w4(spec.RegGCMD, 0x400_0000), r4(spec.RegGSTS, 0x400_0000), r4(spec.RegGSTS, 0x400_0000),
		w8(spec.RegIRTA, irtAt|0xF), w4(spec.RegGCMD, 0x500_0000), r4(spec.RegGSTS, 0x500_0000),
		w4(spec.RegIQT, 0x20),
		w4(spec.RegGCMD, 0x600_0000), r4(spec.RegGSTS, 0x700_0000),
		w4(spec.RegFEDATA, 0x21), w4(spec.RegFEADDR, 0xFEE0_1004), w4(spec.RegFEUADDR, 0),
		w4(spec.RegFEDATA, 0x21), w4(spec.RegFEADDR, 0xFEE0_1004), w4(spec.RegFEUADDR, 0),
		w4(spec.RegFECTL, 0), r4(spec.RegFECTL, 0), r4(spec.RegFSTS, 0), r4(spec.RegFSTS, 0), w4(spec.RegFSTS, 0),
		w4(spec.RegIQT, 0x40), w4(spec.RegIQT, 0x60), w4(spec.RegIQT, 0x80), w4(spec.RegIQT, 0xA0),
		r4(spec.RegGSTS, 0x700_0000), w8(spec.RegRTADDR, rootAt), w4(spec.RegGCMD, 0x4600_0000), r4(spec.RegGSTS, 0x4700_0000),
		w4(spec.RegIQT, 0xC0), w4(spec.RegIQT, 0xE0),
		w4(spec.RegGCMD, 0x8600_0000), r4(spec.RegGSTS, 0xC700_0000),
	}
	queued := []uint64{ // lower halves of what comes before each wait
		0x4, 0x1_0000_0014, 0x1_0000_0014, 0x8_0000_0014, 0x8_0000_0014, 0x11, 0xD2,
		0xB_0000_0014, 0xB_0000_0014, 0xB_0000_0014, 0xB_0000_0014, 0xB_0000_0014, 0x14, 0x14, 0x7_0000_0014, 0x7_0000_0014, 0x3_0000_0014, 0x3_0000_0014,
	}
	for tail := uint64(0x100); tail <= 0x240; tail += 0x20 {
		steps = append(steps, w4(spec.RegIQT, tail))
	}
	for i, lo := range queued {
		at := queueAt + uint64(i)*32
		r.store64(at, lo)
		r.store64(at+16, 0x2_0000_0025)
		r.store64(at+24, statusPage+4+uint64(i)*8)
	}
	waits := 0
	for i, s := range steps {
		switch {
		case s.write && s.size == 8:
			r.write64(s.off, s.value)
		case s.write:
			r.write32(s.off, uint32(s.value))
		case s.size == 8:
			require.Equal(t, s.value, r.read64(s.off), "step %d", i)
		default:
			require.Equal(t, s.value, uint64(r.read32(s.off)), "step %d", i)
		}
		if s.write && s.off == spec.RegIQT && s.value != 0 {
			status, err := r.mem.Load32(statusPage + 4 + uint64(waits)*8)
			require.NoError(t, err)
			require.Equal(t, uint32(2), status, "wait %d", waits)
			waits++
		}
	}
	require.Equal(t, len(queued), waits)
	require.Equal(t, uint64(0x240), r.read64(spec.RegIQH))
	require.Zero(t, r.read32(spec.RegFSTS))

	// The timer's entry and the IOAPIC's message.
	r.store64(irtAt+16, 0x100_0030_000D)
	r.store64(irtAt+24, 0x4_FF00)
	require.NoError(t, r.request(0xFF00, spec.Request{Address: 0xFEE0_0030, Data: 2}))
	require.Equal(t, []pci.Message{{Address: 0xFEE0_100C, Data: 0x4030}}, r.apic.take())
}

func TestRepeatedOneShotBitsAreIdempotent(t *testing.T) {
	r := newTranslatingRig(t)
	all := spec.GlobalTE | spec.GlobalSRTP | spec.GlobalQIE | spec.GlobalIRE | spec.GlobalSIRTP
	for range 3 {
		r.write32(spec.RegGCMD, r.read32(spec.RegGSTS)) // kvm-unit-tests writes GSTS back
		require.Equal(t, all, r.read32(spec.RegGSTS))
	}
}

func TestWriteBufferFlushAndAdvancedFaultLogAreNotOffered(t *testing.T) {
	r := newDMARig(t)
	r.write32(spec.RegGCMD, 1<<29|1<<28|1<<27)
	require.Zero(t, r.read32(spec.RegGSTS))
}

func TestProtectedMemoryRegistersAreAbsent(t *testing.T) {
	r := newDMARig(t)
	for off := uint64(0x64); off <= 0x7C; off += 4 {
		r.write32(off, ^uint32(0))
		require.Zero(t, r.read32(off))
	}
}

func TestTranslationRegistersAreAbsentWithoutDMA(t *testing.T) {
	r := newRig(t)
	for _, off := range []uint64{0x20, 0x28, 0x80, 0x88, 0x90, 0x98, 0xA0, 0xA8, 0xB0, 0xF0, 0xF8} {
		r.write64(off, ^uint64(0))
		require.Zero(t, r.read64(off), "%#x", off)
	}
	r.write32(spec.RegGCMD, spec.GlobalTE|spec.GlobalSRTP|spec.GlobalQIE)
	require.Zero(t, r.read32(spec.RegGSTS))
}

func TestTranslationRegistersKeepDefinedBitsOnly(t *testing.T) {
	r := newDMARig(t)
	for off, want := range map[uint64]uint64{
		spec.RegRTADDR: ^uint64(0xFFF), spec.RegIQA: ^uint64(0x7F8), spec.RegIQT: 0x7_FFF0, spec.RegIVA: 0,
		spec.RegIECTL: uint64(spec.EventIM) | high, spec.RegIEADDR: 0xFFFF_FF00_FFFF_FFFC,
	} {
		r.write64(off, ^uint64(0))
		require.Equal(t, want, r.read64(off), "%#x", off)
	}
}

func TestFaultIndexIsResetWhenBothTranslationsAreOff(t *testing.T) {
	r := newTranslatingRig(t)
	r.requireBlocked(ridA, 0x1000, false, spec.ReadDenied)
	r.write32(spec.RegGCMD, spec.GlobalQIE)
	r.command(spec.GlobalIRE)
	r.failAs(1)
	require.True(t, r.record(0).Pending())
}

func TestResetOfAUnitWithDMA(t *testing.T) {
	fresh, r := newDMARig(t), newTranslatingRig(t)
	r.submit(spec.Descriptor{})
	r.Reset()
	for off := uint64(0); off < spec.RegVendor+spec.VendorRegPosted; off += 8 {
		require.Equal(t, fresh.read64(off), r.read64(off), "register %#x", off)
	}
	r.fill(buffers, 9)
	require.Equal(t, byte(9), r.sees(r.view(ridA), buffers))
}

func TestStatusWordIsTold(t *testing.T) {
	type write struct{ addr, n uint64 }
	var told []write
	r := newTranslatingRig(t, func(c *Config) { c.Written = func(addr, n uint64) { told = append(told, write{addr, n}) } })
	told = nil
	r.invalidate()
	require.Equal(t, []write{{statusAt, 4}}, told)
}

var _ DMA = memory.Physical{}
