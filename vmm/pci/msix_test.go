package pci_test

import (
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gvmm/vmm/pci"
)

type sender struct {
	sent []pci.Message
	err  error
}

func (s *sender) SendMSI(m pci.Message) error {
	s.sent = append(s.sent, m)
	return s.err
}

type msixRig struct {
	*rig
	*sender
	x *pci.MSIX
}

const (
	capMSIX = 0x40
	enable  = 0x8000
	fmask   = 0x4000
)

func newMSIX(t require.TestingT, n int) *msixRig {
	m := &msixRig{rig: &rig{space: newSpace(t)}, sender: &sender{}}
	var err error
	m.x, err = pci.NewMSIX(n, m.sender)
	require.NoError(t, err)
	m.f = newFunction(t, pci.BAR{Size: 0x10000, Region: pci.Windows{
		{Offset: 0, Size: m.x.TableSize(), Region: m.x.Table()}, {Offset: 0x8000, Size: m.x.PBASize(), Region: m.x.PBA()},
	}})
	require.NoError(t, m.f.AddMSIX(m.x, 0, 0, 0, 0x8000))
	m.bus = pci.NewBus(m.space)
	require.NoError(t, m.bus.Add(where, m.f))
	m.write16(regCommand, master)
	return m
}

func (m *msixRig) control(v uint16) { m.write16(capMSIX+2, v) }

func (m *msixRig) entry(n int, addr uint64, data, ctrl uint32) {
	p := binary.LittleEndian.AppendUint64(nil, addr)
	m.x.Table().WriteMMIO(uint64(n)*16, p)
	m.x.Table().WriteMMIO(uint64(n)*16+8, binary.LittleEndian.AppendUint32(nil, data))
	m.mask(n, ctrl)
}

func (m *msixRig) mask(n int, ctrl uint32) {
	m.x.Table().WriteMMIO(uint64(n)*16+12, binary.LittleEndian.AppendUint32(nil, ctrl))
}

func (m *msixRig) pending(n int) bool {
	var p [1]byte
	m.x.PBA().ReadMMIO(uint64(n/8), p[:])
	return p[0]>>(n%8)&1 == 1
}

func TestMSIXCapability(t *testing.T) {
	m := newMSIX(t, 65)
	require.Equal(t, uint32(64)<<16|0x11, m.read32(capMSIX))
	require.Equal(t, uint32(0), m.read32(capMSIX+4))
	require.Equal(t, uint32(0x8000), m.read32(capMSIX+8))
	m.write32(capMSIX, 0xFFFFFFFF)
	require.Equal(t, uint32(0xC040_0011), m.read32(capMSIX), "only enable and mask are writable")
	require.Equal(t, uint64(16), m.x.PBASize())
	for _, n := range []int{0, 2049} {
		_, err := pci.NewMSIX(n, m.sender)
		require.ErrorIs(t, err, pci.ErrVectors)
	}
	require.ErrorIs(t, newFunction(t).AddMSIX(m.x, 8, 0, 0, 0), pci.ErrCapability)
	require.ErrorIs(t, newFunction(t).AddMSIX(m.x, 0, 4, 0, 0), pci.ErrCapability)
}

// What holds a vector back, and what lets it go: the bit is set once however
// often it is signalled, and one message leaves.
func TestHeldVectorIsDeliveredOnceWhenReleased(t *testing.T) {
	for _, c := range []struct {
		name          string
		hold, release func(m *msixRig)
	}{
		{"vector mask", func(m *msixRig) { m.mask(2, 1) }, func(m *msixRig) { m.mask(2, 0) }},
		{"function mask", func(m *msixRig) { m.control(enable | fmask) }, func(m *msixRig) { m.control(enable) }},
		{"no bus mastering", func(m *msixRig) { m.write16(regCommand, 0) }, func(m *msixRig) { m.write16(regCommand, master) }},
		{"disabled while pending", func(m *msixRig) { m.mask(2, 1) }, func(m *msixRig) {
			before := len(m.sent)
			m.control(0)
			m.mask(2, 0)
			require.Len(m.t, m.sent, before)
			m.control(enable)
		}},
		{"both masks", func(m *msixRig) { m.mask(2, 1); m.control(enable | fmask) }, func(m *msixRig) {
			before := len(m.sent)
			m.mask(2, 0)
			require.Len(m.t, m.sent, before)
			m.control(enable)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMSIX(t, 4)
			m.entry(2, 0xFEE0_1000, 0x41, 0)
			m.control(enable)
			c.hold(m)
			for range 3 {
				m.x.Signal(2)
			}
			require.Empty(t, m.sent)
			require.True(t, m.pending(2))
			require.False(t, m.pending(1))
			c.release(m)
			require.Equal(t, []pci.Message{{Address: 0xFEE0_1000, Data: 0x41}}, m.sent)
			require.False(t, m.pending(2))
			c.hold(m)
			c.release(m)
			require.Len(t, m.sent, 1, "nothing is pending any more")
			require.Equal(t, pci.MSIXStats{Sent: 1, Held: 3}, m.x.Stats())
		})
	}
}

func TestUnmaskedVectorIsSentAtOnce(t *testing.T) {
	m := newMSIX(t, 4)
	m.entry(1, 0x1_FEE0_0000, 7, 0)
	m.x.Signal(1)
	require.Empty(t, m.sent, "MSI-X is off")
	require.False(t, m.pending(1), "and what is off does not wait")
	m.control(enable)
	m.x.Signal(1)
	m.x.Signal(1)
	m.err = errors.New("refused")
	m.x.Signal(1)
	require.Len(t, m.sent, 3)
	require.Equal(t, pci.MSIXStats{Sent: 2, Refused: 1}, m.x.VectorStats(1))
}

// iommu.md §4.6 #11.
func TestVectorOutOfRangeIsDropped(t *testing.T) {
	m := newMSIX(t, 4)
	m.control(enable)
	for _, n := range []uint16{4, 5, 2047, 2048, 0xFFFF} {
		m.x.Signal(n)
		require.Zero(t, m.x.VectorStats(n))
	}
	require.Empty(t, m.sent)
	for _, off := range []uint64{64, 63, 61, 0x8000, ^uint64(0), ^uint64(0) - 7} {
		p := make([]byte, 8)
		m.x.Table().WriteMMIO(off, p)
		m.x.Table().ReadMMIO(off, p)
		m.x.PBA().ReadMMIO(off, p)
		m.x.PBA().WriteMMIO(off, p)
	}
}

func TestTableReadsWhatWasWritten(t *testing.T) {
	m := newMSIX(t, 4)
	p := make([]byte, 8)
	m.x.Table().ReadMMIO(8, p)
	require.Equal(t, []byte{0, 0, 0, 0, 1, 0, 0, 0}, p, "masked at reset")
	m.x.Table().WriteMMIO(16, []byte{1, 2, 3, 4, 5, 6, 7, 8})
	m.x.Table().WriteMMIO(24, []byte{9, 10, 11, 12, 0xFE, 0xFF, 0xFF, 0xFF})
	m.x.Table().WriteMMIO(17, []byte{0x22})
	m.x.Table().ReadMMIO(16, p)
	require.Equal(t, []byte{1, 0x22, 3, 4, 5, 6, 7, 8}, p)
	m.x.Table().ReadMMIO(24, p)
	require.Equal(t, []byte{9, 10, 11, 12, 0, 0, 0, 0}, p, "reserved control bits stay zero")
	m.x.Table().WriteMMIO(28, []byte{1, 0, 0, 0, 0xAA, 0xBB, 0xCC, 0xDD}) // over an entry's end
	m.x.Table().ReadMMIO(32, p)
	require.Equal(t, []byte{0xAA, 0xBB, 0xCC, 0xDD, 0, 0, 0, 0}, p)
}

func TestResetMasksAndForgets(t *testing.T) {
	m := newMSIX(t, 4)
	m.control(enable)
	m.x.Signal(0)
	require.True(t, m.pending(0))
	m.f.Reset()
	require.False(t, m.pending(0))
	require.False(t, m.x.Enabled())
	m.write16(regCommand, master)
	m.control(enable)
	require.Empty(t, m.sent)
}

// counting checks each message against what a table entry ever held.
type counting struct {
	n     atomic.Int64
	wrong atomic.Int64
}

func (c *counting) SendMSI(m pci.Message) error {
	c.n.Add(1)
	if uint64(m.Data) != m.Address>>12&0xFF {
		c.wrong.Add(1)
	}
	return nil
}

// A guest that masks, rewrites and unmasks an entry, as it should, gets only
// whole messages; every signal made while masked is delivered after unmasking.
func TestEntryRewrittenUnderMaskIsNeverTorn(t *testing.T) {
	c := &counting{}
	x, err := pci.NewMSIX(2, c)
	require.NoError(t, err)
	f := newFunction(t, pci.BAR{Size: 0x1000, Region: x.Table()})
	require.NoError(t, f.AddMSIX(x, 0, 0, 0, 0x800))
	require.NoError(t, pci.NewBus(newSpace(t)).Add(where, f))
	f.WriteConfig(regCommand, []byte{master, 0})
	f.WriteConfig(capMSIX+2, []byte{0, enable >> 8})
	var signals sync.WaitGroup
	var stop atomic.Bool
	for range 2 {
		signals.Go(func() {
			for !stop.Load() {
				x.Signal(0)
			}
		})
	}
	table, word := x.Table(), func(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
	for i := range uint32(5000) {
		table.WriteMMIO(12, word(1))
		before := c.n.Load()
		table.WriteMMIO(0, word(0xFEE0_0000|i&0xFF<<12))
		table.WriteMMIO(8, word(i&0xFF))
		require.Equal(t, before, c.n.Load(), "a masked vector sends nothing")
		table.WriteMMIO(12, word(0))
	}
	table.WriteMMIO(12, word(1))
	stop.Store(true)
	signals.Wait()
	before := c.n.Load()
	x.Signal(0)
	table.WriteMMIO(12, word(0))
	require.Equal(t, before+1, c.n.Load())
	require.Zero(t, c.wrong.Load())
}

// The table against a model: a pending bit is what was signalled while held.
func TestMSIXAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMSIX(rt, 3)
		masked, pending := [3]bool{true, true, true}, [3]bool{}
		on, fm, bm, want := false, false, true, 0
		settle := func(t *rapid.T) {
			for n := range pending {
				if pending[n] && on && !fm && bm && !masked[n] {
					pending[n] = false
					want++
				}
				require.Equal(t, pending[n], m.pending(n))
			}
			require.Len(t, m.sent, want)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"": settle,
			"mask": func(t *rapid.T) {
				n := rapid.IntRange(0, 2).Draw(t, "n")
				masked[n] = rapid.Bool().Draw(t, "masked")
				m.mask(n, map[bool]uint32{true: 1}[masked[n]])
			},
			"control": func(t *rapid.T) {
				on, fm = rapid.Bool().Draw(t, "enable"), rapid.Bool().Draw(t, "function mask")
				m.control(map[bool]uint16{true: enable}[on] | map[bool]uint16{true: fmask}[fm])
			},
			"master": func(t *rapid.T) {
				bm = rapid.Bool().Draw(t, "master")
				m.write16(regCommand, map[bool]uint16{true: master}[bm])
			},
			"signal": func(t *rapid.T) {
				n := rapid.IntRange(0, 2).Draw(t, "n")
				m.x.Signal(uint16(n))
				pending[n] = pending[n] || on
				settle(t)
			},
		})
	})
}

func FuzzMSIXTable(f *testing.F) {
	f.Add([]byte{0x0C, 0, 0x80, 3, 0x10, 7})
	f.Add([]byte{0xFF, 0xFF, 0x3F, 8, 0x0C, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		m := newMSIX(t, 5)
		m.control(enable)
		signals := uint64(0)
		for i := 0; i+2 <= len(in); i += 2 {
			p := make([]byte, 1<<(in[i+1]&3))
			p[0] = in[i+1] >> 2
			off := uint64(in[i])
			if in[i+1]&0x80 != 0 {
				off = ^off
			}
			m.x.Table().WriteMMIO(off, p)
			m.x.Table().ReadMMIO(off, p)
			m.x.PBA().ReadMMIO(off, p)
			m.x.Signal(uint16(in[i+1]))
			signals++
		}
		s := m.x.Stats()
		if s.Sent > signals || s.Sent+s.Held > 2*signals {
			t.Fatalf("%d signals made %+v", signals, s)
		}
	})
}

func TestSignalDoesNotAllocate(t *testing.T) {
	x, m := benchMSIX(t)
	require.Zero(t, testing.AllocsPerRun(1000, func() { x.Signal(0) }))
	require.NotZero(t, m.n.Load())
}

func benchMSIX(t testing.TB) (*pci.MSIX, *counting) {
	c := &counting{}
	x, err := pci.NewMSIX(1, c)
	require.NoError(t, err)
	f := newFunction(t, pci.BAR{Size: 0x1000, Region: x.Table()})
	require.NoError(t, f.AddMSIX(x, 0, 0, 0, 0x800))
	require.NoError(t, pci.NewBus(newSpace(t)).Add(where, f))
	f.WriteConfig(regCommand, []byte{master, 0})
	f.WriteConfig(capMSIX+2, []byte{0, enable >> 8})
	x.Table().WriteMMIO(12, make([]byte, 4))
	return x, c
}

func BenchmarkSignal(b *testing.B) {
	x, _ := benchMSIX(b)
	b.ReportAllocs()
	for b.Loop() {
		x.Signal(0)
	}
}
