package irqchip

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestX2APICRegistersAndTheirReservedBits(t *testing.T) {
	const (
		all  = ^uint64(0)
		none = ^uint64(0) - 1 // not even zero is taken; bit 0 is told by that
	)
	for _, c := range []struct {
		name     string
		msr      uint32
		readable bool
		reserved uint64 // each bit of it is #GP(0) when set
		back     uint64 // what a write of all other bits reads as
	}{
		{"ID", 0x802, true, none, 0},
		{"version", 0x803, true, none, 0},
		{"TPR", 0x808, true, ^uint64(0xFF), 0xFF},
		{"APR", 0x809, false, none, 0},
		{"PPR", 0x80A, true, none, 0},
		{"EOI", 0x80B, false, all, 0},
		{"remote read", 0x80C, false, none, 0},
		{"LDR", 0x80D, true, none, 0},
		{"DFR", 0x80E, false, none, 0},
		{"SVR", 0x80F, true, ^uint64(0x11FF), 0x11FF},
		{"ISR", 0x810, true, none, 0},
		{"ISR, last", 0x817, true, none, 0},
		{"TMR", 0x818, true, none, 0},
		{"TMR, last", 0x81F, true, none, 0},
		{"IRR", 0x820, true, none, 0},
		{"IRR, last", 0x827, true, none, 0},
		{"ESR", 0x828, true, all, 0},
		{"CMCI", 0x82F, false, none, 0},
		{"ICR", 0x830, true, 0xFFF3<<16 | 1<<13, 0xFFFFFFFF_000CCFFF},
		{"ICR high", 0x831, false, none, 0},
		{"LVT timer", 0x832, true, ^uint64(0x710FF), 0x700FF},
		{"LVT thermal", 0x833, true, ^uint64(0x117FF), 0x107FF},
		{"LVT performance", 0x834, true, ^uint64(0x117FF), 0x107FF},
		{"LVT LINT0", 0x835, true, ^uint64(0x1F7FF), 0x1A7FF},
		{"LVT LINT1", 0x836, true, ^uint64(0x1F7FF), 0x1A7FF},
		{"LVT error", 0x837, true, ^uint64(0x110FF), 0x100FF},
		{"initial count", 0x838, true, ^uint64(0xFFFFFFFF), 0}, // after the reserved timer mode
		{"current count", 0x839, true, none, 0},
		{"divide", 0x83E, true, ^uint64(0xB), 0xB},
		{"SELF IPI", 0x83F, false, ^uint64(0xFF), 0},
		{"nothing", 0x800, false, none, 0},
		{"nothing past the last", 0x840, false, none, 0},
		{"nothing at the end", 0x8FF, false, none, 0},
		{"not an APIC's", 0x900, false, none, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newListeningRig(t, 1)
			l := r.Local(0)
			_, ok := l.ReadMSR(c.msr)
			require.False(t, ok || l.WriteMSR(c.msr, 0), "there is none in xAPIC mode")
			r.x2apic(l)
			r.write(l, regLVTTimer, timerReserved|lvtMasked)

			_, ok = l.ReadMSR(c.msr)
			require.Equal(t, c.readable, ok)
			for b := range 64 {
				if bit := uint64(1) << b; c.reserved&bit != 0 {
					require.False(t, l.WriteMSR(c.msr, bit), "bit %d", b)
				}
			}
			if c.reserved == none {
				require.False(t, l.WriteMSR(c.msr, 0))
				require.False(t, l.WriteMSR(c.msr, 1))
				return
			}
			require.True(t, l.WriteMSR(c.msr, ^c.reserved))
			if v, ok := l.ReadMSR(c.msr); ok {
				require.Equal(t, c.back, v)
			}
		})
	}
}

func TestAPICBaseTransitions(t *testing.T) {
	const (
		off    = 0
		bad    = baseEXTD
		xapic  = baseEN
		x2apic = baseEN | baseEXTD
	)
	for _, c := range []struct {
		from, to uint64
		ok       bool
	}{
		{off, off, true}, {off, bad, false}, {off, xapic, true}, {off, x2apic, false},
		{xapic, off, true}, {xapic, bad, false}, {xapic, xapic, true}, {xapic, x2apic, true},
		{x2apic, off, true}, {x2apic, bad, false}, {x2apic, xapic, false}, {x2apic, x2apic, true},
	} {
		r := newListeningRig(t, 2)
		l := r.Local(1)
		if c.from == x2apic {
			r.x2apic(l)
		} else {
			require.True(t, l.WriteMSR(msrAPICBase, baseDefault|c.from))
		}
		before, _ := l.ReadMSR(msrAPICBase)

		require.Equal(t, c.ok, l.WriteMSR(msrAPICBase, baseDefault|c.to), "%x to %x", c.from, c.to)

		v, _ := l.ReadMSR(msrAPICBase)
		if !c.ok {
			require.Equal(t, before, v)
			continue
		}
		require.EqualValues(t, baseDefault|c.to, v)
		require.Equal(t, c.to == x2apic, l.X2APIC())
		_, mmio := l.Base()
		require.Equal(t, c.to == xapic, mmio)
	}
}

func TestAPICBaseReservedBits(t *testing.T) {
	r := newRig(t, 1, func(c *SoftConfig) { c.PhysicalBits = 40 })
	l := r.Local(0)
	for b := range 64 {
		ok := b == 8 || b >= 12 && b < 40
		if b == 10 || b == 11 {
			continue
		}
		require.Equal(t, ok, l.WriteMSR(msrAPICBase, baseEN|1<<b), "bit %d", b)
		if addr, mmio := l.Base(); ok && b >= 12 {
			require.True(t, mmio)
			require.EqualValues(t, uint64(1)<<b, addr)
		}
	}
}

func TestEnteringX2APICModeKeepsTheState(t *testing.T) {
	r := newListeningRig(t, 20)
	l := r.Local(18)
	r.write(l, regTPR, 0x34)
	r.write(l, regLVTError, 0x99)
	r.write(l, regLDR, 0x01000000)
	r.write(l, regICRHigh, 0x77000000)
	require.NoError(t, r.msi(18, 0x88))
	r.x2apic(l)
	require.EqualValues(t, 0x34, r.read(l, regTPR))
	require.EqualValues(t, 0x99, r.read(l, regLVTError))
	require.EqualValues(t, 1<<16|1<<2, r.read(l, regLDR))
	v, _ := l.ReadMSR(msrX2APIC + uint32(regICR))
	require.Zero(t, v>>32)
	require.Equal(t, []uint8{0x88}, r.drain(l))
}

func TestTheXAPICPageTakesAlignedRegistersOnly(t *testing.T) {
	r := newListeningRig(t, 1)
	l := r.Local(0)
	l.WriteMMIO(0x80, []byte{0x55, 0, 0, 0})
	for _, c := range []struct {
		off uint64
		p   []byte
	}{
		{0x80, []byte{1}}, {0x80, []byte{1, 0}}, {0x80, []byte{1, 0, 0, 0, 0, 0, 0, 0}}, {0x84, []byte{1, 0, 0, 0}}, {0x1080, []byte{1, 0, 0, 0}},
		{^uint64(0xF7F), []byte{1, 0, 0, 0}}, {0x80, nil},
	} {
		l.WriteMMIO(c.off, c.p)
		require.EqualValues(t, 0x55, l.TPR(), "%x %v", c.off, c.p)
	}
	for _, c := range []struct {
		off  uint64
		want []byte
	}{
		{0x30, []byte{0x14, 0, 5, 1}}, {0x30, []byte{0x14}}, {0x32, []byte{5, 1}}, {0x33, []byte{1}}, {0x31, []byte{0, 5, 1, 0}},
		{0x30, []byte{0x14, 0, 5, 1, 0, 0, 0, 0}}, {0x34, []byte{0, 0, 0, 0}}, {0x1030, []byte{0, 0}}, {0x3F, []byte{0}},
	} {
		p := make([]byte, len(c.want))
		for i := range p {
			p[i] = 0xEE
		}
		l.ReadMMIO(c.off, p)
		require.Equal(t, c.want, p, "%x", c.off)
	}
	r.write(l, regESR, 0)
	require.Zero(t, r.read(l, regESR), "none of these is an error")
}

func TestXAPICRegistersThatAreThereRaiseNoError(t *testing.T) {
	there := map[reg]bool{}
	for _, g := range []reg{regID, regVersion, regTPR, regAPR, regPPR, regEOI, regRRD, regLDR, regDFR, regSVR, regESR, regICR, regICRHigh, regInitial,
		regCurrent, regDivide} {
		there[g] = true
	}
	for g := regISR; g < regESR; g++ {
		there[g] = true
	}
	for g := regLVTTimer; g <= regLVTError; g++ {
		there[g] = true
	}
	for g := range reg(256) {
		for _, access := range []func(*rig, *Local){
			func(r *rig, l *Local) { r.read(l, g) },
			func(r *rig, l *Local) { r.write(l, g, 0x10000) },
		} {
			r := newListeningRig(t, 1)
			access(r, r.Local(0))
			require.Equal(t, !there[g], r.Local(0).errors.Load()&esrRegister != 0, "register %x", g)
		}
	}
}
