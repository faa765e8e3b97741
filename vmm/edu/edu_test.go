package edu_test

import (
	"encoding/binary"
	"errors"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gvmm/iommu"
	"gvmm/iommu/spec"
	"gvmm/vmm/edu"
	"gvmm/vmm/memory"
	"gvmm/vmm/pci"
)

const (
	ramSize = 16 << 20
	buffer  = 0x4_0000
	start   = 1
	toRAM   = 2
	signal  = 4
)

type sender struct {
	got []pci.Message
	err error
}

func (s *sender) SendMSI(m pci.Message) error { s.got = append(s.got, m); return s.err }

// anywhere is an address space in which everything can stand.
type anywhere struct{}

func (anywhere) Map(uint64, uint64, pci.Region) error { return nil }
func (anywhere) Unmap(uint64)                         {}

type rig struct {
	*edu.Device
	t    testing.TB
	mem  *memory.Memory
	msi  *sender
	pins []bool // levels, in the order in which they came
	bus  *pci.Bus
}

var where = pci.NewRequesterID(0, 4, 0)

func newRig(t testing.TB, edit ...func(*edu.Options)) *rig {
	t.Helper()
	r := &rig{t: t, mem: memory.New(), msi: new(sender), bus: pci.NewBus(anywhere{})}
	require.NoError(t, r.mem.AddRAM(0, ramSize))
	o := edu.Options{DMA: r.mem.DMA(), MSI: r.msi, Pin: func(high bool) { r.pins = append(r.pins, high) }, Route: 11}
	for _, e := range edit {
		e(&o)
	}
	var err error
	r.Device, err = edu.New(o)
	require.NoError(t, err)
	require.NoError(t, r.bus.Add(where, r.Function()))
	t.Cleanup(func() { r.Close(); _ = r.mem.Close() })
	r.config16(4, 2|4) // memory and bus mastering
	return r
}

func (r *rig) config16(off int, v uint16) {
	r.bus.WriteConfig(where, off, binary.LittleEndian.AppendUint16(nil, v))
}

func (r *rig) read(off uint64) uint32 {
	p := make([]byte, 4)
	r.ReadMMIO(off, p)
	return binary.LittleEndian.Uint32(p)
}

func (r *rig) write(off uint64, v uint32) { r.WriteMMIO(off, binary.LittleEndian.AppendUint32(nil, v)) }

func (r *rig) write64(off, v uint64) { r.WriteMMIO(off, binary.LittleEndian.AppendUint64(nil, v)) }

// copyDMA starts a transfer.
func (r *rig) copyDMA(src, dst, n uint64, command uint32) {
	r.write64(0x80, src)
	r.write64(0x88, dst)
	r.write64(0x90, n)
	r.write(0x98, command|start)
}

// enableMSI finds the capability and switches it on, or off.
func (r *rig) enableMSI(on bool) {
	r.t.Helper()
	c := r.Function().Config()
	at := int(c.Capabilities())
	require.Equal(r.t, byte(pci.CapMSI), c[at])
	r.bus.WriteConfig(where, at+4, binary.LittleEndian.AppendUint32(nil, 0xFEE0_1000))
	r.config16(at+12, 0x4030)
	v := uint16(0)
	if on {
		v = 1
	}
	r.config16(at+2, v)
}

func TestIdentity(t *testing.T) {
	r := newRig(t)
	c := r.Function().Config()
	require.Equal(t, uint16(0x1234), c.VendorID())
	require.Equal(t, uint16(0x11E8), c.DeviceID())
	require.Equal(t, []byte{11, 1}, []byte(c[0x3C:0x3E]), "interrupt line and INTA#")
	require.Equal(t, uint32(0x0100_00ED), r.read(0))
	r.write(0, 1)
	require.Equal(t, uint32(0x0100_00ED), r.read(0))
}

func TestLivenessInverts(t *testing.T) {
	r := newRig(t)
	r.write(4, 0x1234_5678)
	require.Equal(t, ^uint32(0x1234_5678), r.read(4))
}

func TestFactorial(t *testing.T) {
	r := newRig(t)
	mod := new(big.Int).Lsh(big.NewInt(1), 32)
	for n := range int64(60) {
		r.write(8, uint32(n))
		want := new(big.Int).Mod(new(big.Int).MulRange(1, n), mod)
		require.Equal(t, uint32(want.Uint64()), r.read(8), "%d!", n)
		require.Zero(t, r.read(0x20)&1)
	}
	r.write(8, ^uint32(0)) // ends
	require.Zero(t, r.read(8))
}

func TestInterruptByPin(t *testing.T) {
	r := newRig(t)
	r.write(0x60, 0x12)
	require.Equal(t, uint32(0x12), r.read(0x24))
	require.Equal(t, []bool{true}, r.pins)
	r.write(0x60, 0x20)
	require.Equal(t, []bool{true}, r.pins, "high already")
	r.write(0x64, 0x12)
	require.Equal(t, []bool{true}, r.pins, "not all is acknowledged")
	r.write(0x64, 0x20)
	require.Equal(t, []bool{true, false}, r.pins)
	require.Zero(t, r.read(0x24))

	r.write(0x20, 0x80)
	require.Equal(t, uint32(0x80), r.read(0x20))
	r.write(8, 5)
	require.Equal(t, uint32(1), r.read(0x24))
	require.Equal(t, []bool{true, false, true}, r.pins)
	require.NotZero(t, r.Function().Config().Status()&8)

	r.config16(4, 2|4|1<<10)
	require.Equal(t, []bool{true, false, true, false}, r.pins, "disabled, still asserted")
	r.config16(4, 2|4)
	require.Len(t, r.pins, 5)
	r.Reset()
	r.Function().Reset()
	require.Equal(t, false, r.pins[len(r.pins)-1])
	require.Zero(t, r.Function().Config().Status()&8)
	require.Empty(t, r.msi.got)
}

func TestInterruptByMessage(t *testing.T) {
	r := newRig(t)
	r.enableMSI(true)
	r.write(0x60, 1)
	r.write(0x60, 1)
	want := pci.Message{Address: 0xFEE0_1000, Data: 0x4030}
	require.Equal(t, []pci.Message{want, want}, r.msi.got)
	require.Empty(t, r.pins)
	r.config16(4, 2)
	r.write(0x60, 1)
	require.Len(t, r.msi.got, 2, "no bus mastering")
	r.config16(4, 2|4)
	r.enableMSI(false)
	r.write(0x60, 1)
	require.Len(t, r.msi.got, 2)
	require.Equal(t, []bool{true}, r.pins)
	r.enableMSI(true)
	require.Equal(t, []bool{true, false}, r.pins, "a function that uses messages does not use its pin")
}

func TestDMABothWays(t *testing.T) {
	r := newRig(t)
	r.enableMSI(true)
	want := []byte("what memory holds, further than a word")
	require.NoError(t, r.mem.WriteAt(want, 0x10_0000))
	r.copyDMA(0x10_0000, buffer+8, uint64(len(want)), signal)
	require.Zero(t, r.read(0x98)&start, "done")
	require.Equal(t, uint32(0x100), r.read(0x24))
	require.Len(t, r.msi.got, 1)
	r.copyDMA(buffer+8, 0x20_0001, uint64(len(want)), toRAM)
	got := make([]byte, len(want))
	require.NoError(t, r.mem.ReadAt(got, 0x20_0001))
	require.Equal(t, want, got)
	require.Len(t, r.msi.got, 1, "not asked for")
	require.Equal(t, edu.Stats{Transfers: 2, Bytes: 2 * uint64(len(want)), Interrupts: 1}, r.Stats())
}

func TestDMARegistersByHalves(t *testing.T) {
	r := newRig(t)
	r.write64(0x80, ^uint64(0))
	r.write(0x80, 7)
	require.Equal(t, uint32(7), r.read(0x80))
	require.Zero(t, r.read(0x84), "32 bits are a whole address")
	r.write(0x84, 9)
	p := make([]byte, 8)
	r.ReadMMIO(0x80, p)
	require.Equal(t, uint64(9<<32|7), binary.LittleEndian.Uint64(p))
}

func TestDMAOutsideTheBufferMovesNothing(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct{ at, n uint64 }{
		{buffer - 1, 1}, {buffer, 4097}, {buffer + 4095, 2}, {buffer + 4096, 1}, {0, 4096}, {buffer, ^uint64(0)}, {^uint64(0), 2}, {0x98, 4},
	} {
		for _, direction := range []uint32{0, toRAM} {
			r.copyDMA(c.at, c.at, c.n, direction|signal)
			require.Zero(t, r.read(0x98)&start)
		}
	}
	require.Equal(t, edu.Stats{Misplaced: 16}, r.Stats())
	require.Zero(t, r.read(0x24))
}

func TestDMAAddressesAreMasked(t *testing.T) {
	r := newRig(t)
	require.NoError(t, r.mem.WriteAt([]byte{42}, 0x1000))
	r.copyDMA(0xF_F000_1000, buffer, 1, 0)
	r.copyDMA(buffer, 0x2000, 1, toRAM)
	v, err := r.mem.View(0x2000, 1)
	require.NoError(t, err)
	require.Equal(t, byte(42), v[0])
}

func TestDMANeedsMemoryAndBusMastering(t *testing.T) {
	r := newRig(t)
	r.copyDMA(buffer, ramSize-1, 2, toRAM|signal)
	r.copyDMA(ramSize, buffer, 2, signal)
	require.Equal(t, edu.Stats{Refused: 2}, r.Stats())
	r.config16(4, 2)
	r.copyDMA(buffer, 0, 2, toRAM|signal)
	require.Equal(t, edu.Stats{Refused: 2, Misplaced: 1}, r.Stats())
}

func TestDMAWriteToTheInterruptRangeIsAMessage(t *testing.T) {
	r := newRig(t, func(o *edu.Options) { o.Mask = ^uint64(0) })
	require.NoError(t, r.mem.WriteAt([]byte{0x31, 0x40, 0, 0}, 0x1000))
	r.copyDMA(0x1000, buffer, 4, 0)
	r.copyDMA(buffer, 0xFEE0_2000, 4, toRAM)
	require.Equal(t, []pci.Message{{Address: 0xFEE0_2000, Data: 0x4031}}, r.msi.got)
	r.copyDMA(buffer, 0xFEE0_2000, 8, toRAM)
	r.copyDMA(buffer, 0xFEE0_2002, 4, toRAM)
	r.copyDMA(0xFEE0_2000, buffer, 4, 0)
	require.Len(t, r.msi.got, 1)
	require.Equal(t, uint64(3), r.Stats().Refused)
	r.msi.err = errors.New("refused")
	r.copyDMA(buffer, 0xFEE0_2000, 4, toRAM)
	require.Equal(t, uint64(4), r.Stats().Refused)
}

func TestAccessesOfOtherSizesAreNone(t *testing.T) {
	r := newRig(t)
	r.write(4, 5)
	for _, c := range []struct {
		off uint64
		n   int
	}{{0, 1}, {0, 2}, {0, 8}, {2, 4}, {0x80, 2}, {0x84, 8}, {0xA0, 4}, {buffer, 4}, {0xF_FFFC, 4}, {^uint64(7), 8}, {4, 0}} {
		p := make([]byte, c.n)
		r.WriteMMIO(c.off, p)
		r.ReadMMIO(c.off, p)
		for _, b := range p {
			require.Equal(t, byte(0xFF), b, "%d bytes at %#x", c.n, c.off)
		}
	}
	require.Equal(t, ^uint32(5), r.read(4))
}

func TestOptionsThatMakeNoDevice(t *testing.T) {
	_, err := edu.New(edu.Options{})
	require.ErrorIs(t, err, edu.ErrOptions)
}

// TestBehindAnIOMMU drives the device as a tenant's driver would, with addresses of its domain and a remapped interrupt.
func TestBehindAnIOMMU(t *testing.T) {
	const root, contexts, tables, irt = 0x1000, 0x2000, 0x3000, 0x8000
	mem := memory.New()
	require.NoError(t, mem.AddRAM(0, ramSize))
	apic := new(sender)
	unit := iommu.New(iommu.Config{Memory: mem, Deliver: apic, X2APIC: true, DMA: true})
	store := func(at uint64, words ...uint64) {
		for i, w := range words {
			require.NoError(t, mem.Store64(at+uint64(i)*8, w))
		}
	}
	store(root, spec.NewRootEntry(contexts).Lo)
	ce := spec.NewContextEntry(spec.Translated, tables, 3, 1)
	store(contexts+uint64(where)*16, ce.Lo, ce.Hi)
	store(tables, uint64(spec.NewSLTable(tables+0x1000)))
	store(tables+0x1000, uint64(spec.NewSLTable(tables+0x2000)))
	store(tables+0x2000+5*8, uint64(spec.NewSLPage(0x20_0000, 1, spec.SLRead|spec.SLWrite)))
	entry := spec.NewRemapped(0x55, spec.Fixed, 2, spec.OnlyFrom(uint16(where)))
	store(irt+3*16, entry.Lo, entry.Hi)
	for _, w := range []struct{ off, v uint64 }{
		{spec.RegRTADDR, root}, {spec.RegIRTA, uint64(spec.NewIRTA(irt, 7, true))},
		{spec.RegGCMD, uint64(spec.GlobalSRTP | spec.GlobalSIRTP)}, {spec.RegGCMD, uint64(spec.GlobalTE | spec.GlobalIRE)},
	} {
		unit.WriteMMIO(w.off, binary.LittleEndian.AppendUint64(nil, w.v))
	}
	client := unit.View(where, mem.DMA()).Client(1)
	r := newRig(t, func(o *edu.Options) { o.DMA, o.MSI, o.Mask = client, unit.Sender(where), ^uint64(0) })
	t.Cleanup(func() { unit.Close(); _ = mem.Close() })

	store(0x20_0000, 0x1122_3344_5566_7788)
	r.copyDMA(0x5000, buffer, 8, 0)
	r.copyDMA(buffer, 0x5100, 8, toRAM)
	v, err := mem.Load64(0x20_0100)
	require.NoError(t, err)
	require.Equal(t, uint64(0x1122_3344_5566_7788), v)

	// Memory that is not its own, the table of its own interrupts among it.
	for _, at := range []uint64{0x20_0000, irt, root, 0x6000, 0x5FFF} {
		r.copyDMA(buffer, at, 8, toRAM|signal)
	}
	require.Equal(t, edu.Stats{Transfers: 2, Bytes: 16, Refused: 5}, r.Stats())
	require.Len(t, unit.Faults(), 5)

	// A message by the MSI capability, and one by DMA: the index decides, the requester is checked.
	q := spec.NewRequest(3, false, 0)
	store(0x20_0000, uint64(q.Data))
	r.copyDMA(0x5000, buffer, 4, 0)
	r.copyDMA(buffer, q.Address, 4, toRAM)
	address, data := spec.Message{Vector: 0x55, Destination: 2}.Encode()
	require.Equal(t, []pci.Message{{Address: address, Data: data}}, apic.got)
	r.copyDMA(buffer, 0xFEE0_2000, 4, toRAM)
	require.Len(t, apic.got, 1, "compatibility format is blocked")
	r.copyDMA(buffer, spec.NewRequest(4, false, 0).Address, 4, toRAM)
	require.Len(t, apic.got, 1)
	require.Equal(t, uint64(7), r.Stats().Refused)
}

// TestAnyAccessEnds writes and reads at random: no more is asked than that it ends and leaves the identity alone.
func TestAnyAccessEnds(t *testing.T) {
	r := newRig(t, func(o *edu.Options) { o.Mask = ^uint64(0) })
	rapid.Check(t, func(rt *rapid.T) {
		off := rapid.OneOf(rapid.Uint64Range(0, 0xA8), rapid.Uint64()).Draw(rt, "off")
		p := rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(rt, "bytes")
		r.WriteMMIO(off, p)
		r.ReadMMIO(off, p)
		require.Equal(rt, uint32(0x0100_00ED), r.read(0))
	})
}
