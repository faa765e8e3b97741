package iommu

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/iommu/spec"
	"gvmm/vmm/memory"
	"gvmm/vmm/pci"
)

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

// linuxReads are what Linux must read in the trace, register by register.
var linuxReads = map[uint64][]uint64{
	spec.RegCAP: {proposedCAP, proposedCAP}, spec.RegECAP: {proposedECAP, proposedECAP}, spec.RegVER: {0x10},
	spec.RegGSTS: {0, 0, 0x400_0000, 0x400_0000, 0x500_0000, 0x700_0000, 0x700_0000, 0x4700_0000, 0xC700_0000},
	spec.RegFSTS: {0, 0, 0}, spec.RegFECTL: {0},
}

// replay plays a trace of a unit's other user: register accesses, the descriptors that were in the queue at each move of its tail, and the
// interrupt entries that each message met.
type replay struct {
	*dmaRig
	lines []string
	reads map[uint64][]uint64 // still to come
	queue uint64              // IQA
	table uint64              // IRTA
	did   map[string]int      // what was replayed
}

// TestLinuxBootIsReplayed is everything that Linux 6.1 did to a unit from power-on until it had no root file system, 18 reads, 35 writes, 36
// descriptors and 156 messages (`iommu.md §1.9`): reads give what they must, waits are over when the tail's write is, messages come out the same.
func TestLinuxBootIsReplayed(t *testing.T) {
	text, err := os.ReadFile("testdata/linux61.trace.txt")
	require.NoError(t, err)
	r := &replay{dmaRig: newDMARig(t), lines: strings.Split(strings.TrimSpace(string(text)), "\n"), reads: maps.Clone(linuxReads), did: map[string]int{}}
	for i, line := range r.lines {
		r.play(i, line)
	}
	require.Equal(t, map[string]int{"read": 18, "write": 35, "descriptor": 36, "wait": 18, "message": 156, "entry": 155}, r.did)
	require.Empty(t, r.reads)
	require.Equal(t, uint64(0x240), r.read64(spec.RegIQH))
	require.Zero(t, r.read32(spec.RegFSTS))
	require.Empty(t, r.Faults())
}

// play does what a line says. The lines of descriptors and entries are read ahead, by what comes before them.
func (r *replay) play(i int, line string) {
	var off, size, v uint64
	var m pci.Message
	if n, _ := fmt.Sscanf(line, "vtd_reg_read addr %v size %v", &off, &size); n == 2 {
		r.did["read"]++
		require.NotEmpty(r.t, r.reads[off], line)
		want := r.reads[off][0]
		if r.reads[off] = r.reads[off][1:]; len(r.reads[off]) == 0 {
			delete(r.reads, off)
		}
		p := make([]byte, 8)
		r.ReadMMIO(off, p[:size])
		require.Equal(r.t, want, binary.LittleEndian.Uint64(p), "line %d: %s", i, line)
	}
	if n, _ := fmt.Sscanf(line, "vtd_reg_write addr %v size %v value %v", &off, &size, &v); n == 3 {
		r.did["write"]++
		r.write(i, off, size, v)
	}
	if n, _ := fmt.Sscanf(line, "vtd_ir_remap_msi_req addr %v data %v", &m.Address, &m.Data); n == 2 {
		r.did["message"]++
		r.message(i, m)
	}
}

func (r *replay) write(i int, off, size, v uint64) {
	switch off {
	case spec.RegIQA:
		r.queue = v
	case spec.RegIRTA:
		r.table = v &^ 0xFFF
	}
	waits := map[uint64]uint32{}
	if off == spec.RegIQT {
		waits = r.descriptors(r.lines[i+1:])
	}
	r.WriteMMIO(off, binary.LittleEndian.AppendUint64(nil, v)[:size])
	for at, want := range waits {
		r.did["wait"]++
		got, err := r.mem.Load32(at)
		require.NoError(r.t, err)
		require.Equal(r.t, want, got, "line %d: the wait at %#x", i, at)
	}
	if off == spec.RegIQT {
		require.Equal(r.t, v, r.read64(spec.RegIQH), "line %d", i)
	}
}

// descriptors puts those into the queue that the other unit fetched before its registers were accessed again, and returns the waits' status words.
func (r *replay) descriptors(lines []string) (waits map[uint64]uint32) {
	waits = map[uint64]uint32{}
	var head, hi, lo, at uint64
	var data uint32
	for _, line := range lines {
		if strings.HasPrefix(line, "vtd_reg_") {
			break
		}
		_, _ = fmt.Sscanf(line, "vtd_inv_qi_head read head %d", &head)
		if rest, ok := strings.CutPrefix(line, "vtd_inv_desc invalidate desc type "); ok {
			r.did["descriptor"]++
			var kind string
			_, err := fmt.Sscanf(rest, "%s high %v low %v", &kind, &hi, &lo)
			require.NoError(r.t, err, line)
			r.store64(r.queue+head*spec.DescriptorBytes, lo)
			r.store64(r.queue+head*spec.DescriptorBytes+8, hi)
		}
		if n, _ := fmt.Sscanf(line, "vtd_inv_desc_wait_sw wait invalidate status write addr %v data %v", &at, &data); n == 2 {
			waits[at] = data
		}
	}
	return waits
}

// message sends one of the IOAPIC's, by the entry that it met.
func (r *replay) message(i int, m pci.Message) {
	var index, hi, lo uint64
	var in, want pci.Message
	next := r.lines[i+1]
	if n, _ := fmt.Sscanf(next, "vtd_ir_irte_get index %d low %v high %v", &index, &hi, &lo); n == 3 { // it names the halves so
		r.did["entry"]++
		r.store64(r.table+index*spec.IRTEBytes+8, hi)
		r.store64(r.table+index*spec.IRTEBytes, lo)
		next = r.lines[i+2]
	}
	_, err := fmt.Sscanf(next, "vtd_ir_remap_msi (addr %v, data %v) -> (addr %v, data %v)", &in.Address, &in.Data, &want.Address, &want.Data)
	require.NoError(r.t, err, next)
	require.Equal(r.t, m, in)
	require.NoError(r.t, r.Sender(0xFF00).SendMSI(m), "line %d", i)
	require.Equal(r.t, []pci.Message{want}, r.apic.take(), "line %d", i)
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
