package pci_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gvmm/vmm/pci"
)

// space is an address space that refuses overlaps and anything past 1<<40.
type space struct {
	t      require.TestingT
	mapped map[uint64]uint64 // base -> size
}

func newSpace(t require.TestingT) *space { return &space{t, map[uint64]uint64{}} }

func (s *space) Map(base, size uint64, r pci.Region) error {
	if base >= 1<<40 || base < 1<<20 {
		return errors.New("no place for a BAR")
	}
	for b, n := range s.mapped {
		if base < b+n && b < base+size {
			return errors.New("taken")
		}
	}
	s.mapped[base] = size
	return nil
}

func (s *space) Unmap(base uint64) {
	require.Contains(s.t, s.mapped, base, "only what was mapped is unmapped")
	delete(s.mapped, base)
}

// ram is a Region of plain bytes.
type ram []byte

func (r ram) ReadMMIO(off uint64, p []byte)  { copy(p, r[min(off, uint64(len(r))):]) }
func (r ram) WriteMMIO(off uint64, p []byte) { copy(r[min(off, uint64(len(r))):], p) }

const (
	regCommand = 4
	regBAR0    = 0x10
	memory     = 2
	master     = 4
)

var where = pci.NewRequesterID(0, 3, 0)

type rig struct {
	*space
	bus *pci.Bus
	f   *pci.Function
}

func newRig(t require.TestingT, bars ...pci.BAR) *rig {
	r := &rig{space: newSpace(t)}
	r.bus = pci.NewBus(r.space)
	r.f = newFunction(t, bars...)
	require.NoError(t, r.bus.Add(where, r.f))
	return r
}

func newFunction(t require.TestingT, bars ...pci.BAR) *pci.Function {
	f := pci.NewFunction(pci.IDs{Vendor: 0x1AF4, Device: 0x1042, Revision: 1, Class: 0x018000, SubsystemVendor: 0x1AF4, Subsystem: 0x1042})
	at := 0
	for _, b := range bars {
		require.NoError(t, f.AddBAR(at, b))
		at++
		if b.Wide {
			at++
		}
	}
	return f
}

func (r *rig) read32(off int) uint32 {
	var p [4]byte
	r.bus.ReadConfig(where, off, p[:])
	return binary.LittleEndian.Uint32(p[:])
}

func (r *rig) write32(off int, v uint32) {
	r.bus.WriteConfig(where, off, binary.LittleEndian.AppendUint32(nil, v))
}

func (r *rig) write16(off int, v uint16) {
	r.bus.WriteConfig(where, off, binary.LittleEndian.AppendUint16(nil, v))
}

func TestHeaderReadsWhatItWasGiven(t *testing.T) {
	r := newRig(t)
	require.Equal(t, uint32(0x1042_1AF4), r.read32(0))
	require.Equal(t, uint32(0x018000_01), r.read32(8))
	require.Equal(t, uint32(0x1042_1AF4), r.read32(0x2C))
	r.write32(0, 0xFFFFFFFF)
	r.write32(8, 0xFFFFFFFF)
	c := r.f.Config()
	require.Equal(t, uint16(0x1AF4), c.VendorID(), "ids are read only")
	require.Equal(t, uint16(0x1042), c.DeviceID())
	require.Equal(t, uint32(0x018000), c.Class())
	require.Zero(t, c.Status())
	require.Zero(t, c.HeaderType())
	require.Zero(t, c.Capabilities())
	r.write16(regCommand, 0xFFFF)
	require.Equal(t, uint16(0x0546), r.f.Config().Command(), "no I/O space, nothing reserved")
}

func TestBARSizing(t *testing.T) {
	r := newRig(t, pci.BAR{Size: 0x1000, Region: ram{}}, pci.BAR{Size: 1 << 33, Wide: true, Prefetchable: true, Region: ram{}},
		pci.BAR{Size: 16, Region: ram{}})
	for i, want := range []uint32{0xFFFFF000, 0x0000000C, 0xFFFFFFFE, 0xFFFFFFF0, 0, 0} {
		r.write32(regBAR0+4*i, 0xFFFFFFFF)
		require.Equal(t, want, r.read32(regBAR0+4*i), "BAR %d", i)
	}
	require.Empty(t, r.mapped)
}

func TestBARMoves(t *testing.T) {
	type move struct {
		base    uint64
		decoded bool
	}
	var moves []move
	r := newRig(t, pci.BAR{Size: 0x1000, Wide: true, Region: ram{}, Moved: func(b uint64, d bool) { moves = append(moves, move{b, d}) }})
	r.write32(regBAR0, 0xE000_0000)
	require.Empty(t, r.mapped, "decoding is off")
	r.write16(regCommand, memory)
	require.Equal(t, map[uint64]uint64{0xE000_0000: 0x1000}, r.mapped)
	r.write32(regBAR0, 0xE100_0000)
	require.Equal(t, map[uint64]uint64{0xE100_0000: 0x1000}, r.mapped)
	r.write32(regBAR0+4, 0x10)
	require.Equal(t, map[uint64]uint64{0x10_E100_0000: 0x1000}, r.mapped)
	base, size, decoded := r.f.BAR(0)
	require.Equal(t, []any{uint64(0x10_E100_0000), uint64(0x1000), true}, []any{base, size, decoded})
	r.write16(regCommand, 0)
	require.Empty(t, r.mapped)
	require.Equal(t, []move{
		{0xE000_0000, true}, {0xE000_0000, false}, {0xE100_0000, true}, {0xE100_0000, false},
		{0x10_E100_0000, true}, {0x10_E100_0000, false},
	}, moves)
}

func TestIllPlacedBARIsNotDecoded(t *testing.T) {
	r := newRig(t, pci.BAR{Size: 0x1000, Wide: true, Region: ram{}})
	r.write16(regCommand, memory)
	for _, base := range []uint64{0, 0xFFFF_F000, 0xFFFFFFFF_FFFFF000, 1 << 40, 0x1000} {
		r.write32(regBAR0, uint32(base))
		r.write32(regBAR0+4, uint32(base>>32))
		require.Empty(t, r.mapped, "%#x", base)
	}
}

func TestOverlappedBARAppearsWhenTheOtherLeaves(t *testing.T) {
	r := newRig(t, pci.BAR{Size: 0x1000, Region: ram{}})
	g := newFunction(t, pci.BAR{Size: 0x10000, Region: ram{}})
	require.NoError(t, r.bus.Add(where+8, g))
	require.NoError(t, g.SetBAR(0, 0xE000_0000))
	require.NoError(t, r.f.SetBAR(0, 0xE000_4000))
	r.bus.WriteConfig(where+8, regCommand, []byte{memory, 0})
	r.write16(regCommand, memory)
	require.Equal(t, map[uint64]uint64{0xE000_0000: 0x10000}, r.mapped)
	r.bus.WriteConfig(where+8, regCommand, []byte{0, 0})
	require.Equal(t, map[uint64]uint64{0xE000_4000: 0x1000}, r.mapped)
}

func TestTwoBARsChangePlaces(t *testing.T) {
	r := newRig(t, pci.BAR{Size: 0x1000, Region: ram{}}, pci.BAR{Size: 0x1000, Region: ram{}})
	r.write16(regCommand, memory)
	r.write32(regBAR0, 0xE000_0000)
	r.write32(regBAR0+4, 0xE000_1000)
	r.write32(regBAR0, 0xE000_1000) // where the other still is
	require.Len(t, r.mapped, 1)
	r.write32(regBAR0+4, 0xE000_0000)
	require.Len(t, r.mapped, 2)
}

func TestFunctionIsRefusedWhatDoesNotFit(t *testing.T) {
	f := pci.NewFunction(pci.IDs{})
	for _, c := range []struct {
		index int
		bar   pci.BAR
	}{
		{-1, pci.BAR{Size: 16, Region: ram{}}}, {6, pci.BAR{Size: 16, Region: ram{}}},
		{5, pci.BAR{Size: 16, Wide: true, Region: ram{}}}, {0, pci.BAR{Size: 8, Region: ram{}}},
		{0, pci.BAR{Size: 48, Region: ram{}}}, {0, pci.BAR{Size: 1 << 32, Region: ram{}}}, {0, pci.BAR{Size: 16}},
	} {
		require.ErrorIs(t, f.AddBAR(c.index, c.bar), pci.ErrBAR, "%+v", c)
	}
	require.NoError(t, f.AddBAR(0, pci.BAR{Size: 16, Wide: true, Region: ram{}}))
	require.ErrorIs(t, f.AddBAR(1, pci.BAR{Size: 16, Region: ram{}}), pci.ErrBAR, "the upper half is taken")
	require.ErrorIs(t, f.SetBAR(0, 8), pci.ErrBAR)
	require.ErrorIs(t, f.SetBAR(1, 16), pci.ErrBAR)
	_, err := f.AddCapability(pci.Capability{ID: 9, Body: make([]byte, 200)})
	require.ErrorIs(t, err, pci.ErrCapability)

	bus := pci.NewBus(newSpace(t))
	require.NoError(t, bus.Add(8, f))
	require.ErrorIs(t, bus.Add(8, pci.NewFunction(pci.IDs{})), pci.ErrOccupied)
	require.ErrorIs(t, bus.Add(16, f), pci.ErrAttached)
	require.ErrorIs(t, f.AddBAR(2, pci.BAR{Size: 16, Region: ram{}}), pci.ErrAttached)
}

func TestCapabilitiesAreAList(t *testing.T) {
	f := pci.NewFunction(pci.IDs{})
	window := make(ram, 12)
	a, err := f.AddCapability(pci.Capability{ID: 9, Body: []byte{1, 2, 3}, Writable: []byte{0, 0xF0}})
	require.NoError(t, err)
	b, err := f.AddCapability(pci.Capability{ID: 9, Body: make([]byte, 10), Handler: window})
	require.NoError(t, err)
	require.Equal(t, []int{0x40, 0x48}, []int{a, b})
	require.NoError(t, pci.NewBus(newSpace(t)).Add(8, f))

	f.WriteConfig(0x40, []byte{0xFF, 0xFF, 0xFF, 0xFF})
	f.WriteConfig(0x49, []byte{0xFF, 0x01, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55}) // any alignment
	c := f.Config()
	require.Equal(t, byte(0x40), c.Capabilities())
	require.Equal(t, uint16(0x10), c.Status())
	require.Equal(t, []byte{9, 0x48, 1, 0xF2, 3, 0, 0, 0, 9, 0, 0, 0}, []byte(c[0x40:0x4C]))
	require.Equal(t, []byte{0, 0, 0, 0, 0x11, 0x22, 0x33, 0x44, 0x55}, []byte(window[:9]))
	got := make([]byte, 6)
	f.ReadConfig(0x4B, got)
	require.Equal(t, []byte{0, 0x11, 0x22, 0x33, 0x44, 0x55}, got)
}

func TestResetPutsEverythingBack(t *testing.T) {
	r := newRig(t, pci.BAR{Size: 0x1000, Region: ram{}})
	before := r.f.Config()
	r.write32(regBAR0, 0xE000_0000)
	r.write16(regCommand, memory|master)
	require.True(t, r.f.BusMaster())
	r.bus.Reset()
	require.Empty(t, r.mapped)
	require.False(t, r.f.BusMaster())
	require.Equal(t, before, r.f.Config())
}

func TestPorts(t *testing.T) {
	r := newRig(t)
	address := func(v uint32) { r.bus.WritePort(0xCF8, binary.LittleEndian.AppendUint32(nil, v)) }
	in := func(port uint16, n int) []byte {
		p := make([]byte, n)
		r.bus.ReadPort(port, p)
		return p
	}
	address(0x8000_1800)
	require.Equal(t, []byte{0, 0x18, 0, 0x80}, in(0xCF8, 4))
	require.Equal(t, []byte{0xF4, 0x1A, 0x42, 0x10}, in(0xCFC, 4))
	require.Equal(t, []byte{0x42, 0x10}, in(0xCFE, 2))
	require.Equal(t, []byte{0x1A}, in(0xCFD, 1))
	require.Equal(t, []byte{0x10, 0xFF, 0xFF, 0xFF}, in(0xCFF, 4), "past the port is nobody's")
	require.Equal(t, []byte{0xFF}, in(0xCF9, 1), "the reset port is not the bus's")
	r.bus.WritePort(0xCFB, []byte{0}) // only dwords reach the latch
	require.Equal(t, []byte{0xF4, 0x1A}, in(0xCFC, 2))
	address(0x8000_1804)
	r.bus.WritePort(0xCFC, []byte{master})
	require.True(t, r.f.BusMaster())
	address(0x0000_1800)
	require.Equal(t, []byte{0xFF, 0xFF}, in(0xCFC, 2), "not enabled")
	address(0x8000_2000)
	require.Equal(t, []byte{0xFF, 0xFF, 0xFF, 0xFF}, in(0xCFC, 4), "absent")
	address(0x8000_0000)
	require.Equal(t, []byte{0x86, 0x80}, in(0xCFC, 2), "host bridge")
}

func TestECAM(t *testing.T) {
	r := newRig(t)
	ecam := r.bus.ECAM()
	p := make([]byte, 4)
	ecam.ReadMMIO(3<<15, p)
	require.Equal(t, []byte{0xF4, 0x1A, 0x42, 0x10}, p)
	ecam.ReadMMIO(3<<15|0x100, p)
	require.Equal(t, []byte{0xFF, 0xFF, 0xFF, 0xFF}, p, "no extended space")
	ecam.ReadMMIO(pci.ECAMSize, p)
	require.Equal(t, []byte{0xFF, 0xFF, 0xFF, 0xFF}, p)
	ecam.WriteMMIO(3<<15|regCommand, []byte{master})
	require.True(t, r.f.BusMaster())
	ecam.WriteMMIO(pci.ECAMSize+3<<15|regCommand, []byte{0})
	require.True(t, r.f.BusMaster())
}

func TestFunctionsOfADeviceSayTheyAreSeveral(t *testing.T) {
	r := newRig(t)
	require.Zero(t, r.f.Config().HeaderType())
	require.NoError(t, r.bus.Add(where+1, newFunction(t)))
	require.Equal(t, byte(0x80), r.f.Config().HeaderType())
	require.Equal(t, []pci.RequesterID{pci.HostBridge, where, where + 1}, r.bus.RequesterIDs())
	require.Equal(t, "00:03.1", (where + 1).String())
}

func TestWindows(t *testing.T) {
	a, b := make(ram, 8), make(ram, 8)
	w := pci.Windows{{Offset: 0, Size: 8, Region: a}, {Offset: 0x10, Size: 8, Region: b}}
	w.WriteMMIO(0x14, []byte{1, 2, 3, 4})
	w.WriteMMIO(0x16, []byte{9, 9, 9, 9}) // over the end
	w.WriteMMIO(^uint64(0), []byte{9, 9})
	require.Equal(t, ram{0, 0, 0, 0, 1, 2, 3, 4}, b)
	p := []byte{7, 7}
	w.ReadMMIO(0x0C, p)
	require.Equal(t, []byte{0, 0}, p)
}

// Whatever is written, the address space holds exactly what BAR reports, and
// read-only bits keep their value.
func TestConfigWritesNeverLeaveTheFunction(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRig(rt, pci.BAR{Size: 0x1000, Region: ram{}}, pci.BAR{Size: 0x4000, Wide: true, Region: ram{}})
		before := r.f.Config()
		rt.Repeat(map[string]func(*rapid.T){"write": func(t *rapid.T) {
			off := rapid.OneOf(rapid.IntRange(0, 0x28), rapid.IntRange(0, 300)).Draw(t, "off")
			r.bus.WriteConfig(where, off, rapid.SliceOfN(rapid.Byte(), 1, 8).Draw(t, "bytes"))
			checkDecoded(t, r)
			require.Equal(t, before[:4], r.f.Config()[:4])
			require.Equal(t, before[0x2C:0x3C], r.f.Config()[0x2C:0x3C])
		}})
	})
}

func checkDecoded(t require.TestingT, r *rig) {
	want := map[uint64]uint64{}
	for i := range 6 {
		if base, size, ok := r.f.BAR(i); ok {
			want[base] = size
			require.Zero(t, base&(size-1))
		}
	}
	require.Equal(t, want, r.mapped)
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte{4, 2, 0x10, 0xFF, 0x10, 0x12})
	f.Add([]byte{0x10, 0xF0, 0x13, 0xE0, 4, 6, 0x41, 0xFF, 0xFE, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := newRig(t, pci.BAR{Size: 0x1000, Region: ram{}}, pci.BAR{Size: 0x4000, Wide: true, Region: ram{}})
		for i := 0; i+2 <= len(in) && i < 256; i += 2 {
			n := 1 << (in[i+1] & 3)
			p := make([]byte, n)
			for j := range p {
				p[j] = in[(i+j)%len(in)] ^ byte(j)
			}
			r.bus.WriteConfig(where, int(in[i])+int(in[i+1]&0x80), p)
			r.bus.ReadConfig(where, int(in[i]), p)
			r.bus.WritePort(0xCF8+uint16(in[i]&7), p)
			r.bus.ReadPort(0xCF8+uint16(in[i]&7), p)
			checkDecoded(t, r)
		}
	})
}
