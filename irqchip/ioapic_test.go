package irqchip

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gvmm/vmm/pci"
)

// sink is a pci.MSISender that keeps what it gets, and refuses if it is told to.
type sink struct {
	mu     sync.Mutex
	got    []pci.Message
	refuse bool
}

func (s *sink) SendMSI(m pci.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse {
		return ErrRefused
	}
	s.got = append(s.got, m)
	return nil
}

func (s *sink) take() []pci.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.got = nil }()
	return s.got
}

// newSinkRig makes a machine whose IOAPIC sends to a sink.
func newSinkRig(t testing.TB) (*rig, *sink) {
	k := &sink{}
	return newListeningRig(t, 1, func(c *SoftConfig) { c.Route = k }), k
}

func TestIOAPICRegisters(t *testing.T) {
	r := newRig(t, 1)
	require.EqualValues(t, 0x00170020, r.ioapicRead(ioapicVersion))
	r.ioapicWrite(ioapicVersion, 0)
	require.EqualValues(t, 0x00170020, r.ioapicRead(ioapicVersion))
	r.ioapicWrite(ioapicID, 0xFFFFFFFF)
	require.EqualValues(t, 0x0F000000, r.ioapicRead(ioapicID))
	require.EqualValues(t, 0x0F000000, r.ioapicRead(ioapicARB))
	require.EqualValues(t, 1, r.ioapicRead(ioapicBoot))
	for pin := range ioapicPins {
		require.Equal(t, rteMasked, r.entry(pin))
		r.setEntry(pin, ^rte(0))
		require.EqualValues(t, uint64(0xFFFF_0000_0001_AFFF), r.entry(pin), "delivery status and remote IRR are read-only")
	}
	for _, g := range []uint8{0x04, 0x0F, 0x40, 0xFF} {
		r.ioapicWrite(g, 0xFFFFFFFF)
		require.Zero(t, r.ioapicRead(g))
	}
}

func TestIOAPICAccessesOfOtherWidths(t *testing.T) {
	r := newRig(t, 1)
	a := r.IOAPIC()
	a.WriteMMIO(ioregsel, []byte{ioapicVersion})
	for n := range 9 {
		p := make([]byte, n)
		for i := range p {
			p[i] = 0xEE
		}
		a.ReadMMIO(iowin, p)
		want := make([]byte, 9)
		copy(want, []byte{0x20, 0, 0x17, 0})
		require.Equal(t, want[:n], p)
		for _, off := range []uint64{0x04, 0x11, 0x20, 0x40, 0xFFF, 0x1000, never} {
			a.ReadMMIO(off, p)
			require.Equal(t, make([]byte, n), p)
		}
	}
	p := []byte{0}
	a.ReadMMIO(ioregsel, p)
	require.Equal(t, []byte{ioapicVersion}, p)
	a.WriteMMIO(ioregsel, []byte{ioapicTable, 0})
	a.WriteMMIO(iowin, []byte{0x41, 0x08})
	require.EqualValues(t, 0x841, r.entry(0))
	a.WriteMMIO(iowin, nil)
}

func TestAnEntryBecomesAMessage(t *testing.T) {
	for _, c := range []struct {
		name string
		e    rte
		want pci.Message
	}{
		{"physical, edge", 0x03<<56 | 0x30, pci.Message{Address: 0xFEE03000, Data: 0x4030}},
		{"logical, level, active low", 0xFF<<56 | 0x30 | 1<<11 | 1<<13 | rteLevel, pci.Message{Address: 0xFEEFF004, Data: 0xC030}},
		{"lowest priority", 0x01<<56 | 0x131, pci.Message{Address: 0xFEE01000, Data: 0x4131}},
		{"NMI has no level", 0x400 | rteLevel, pci.Message{Address: 0xFEE00000, Data: 0x4400}},
		{"ExtINT", 0x700, pci.Message{Address: 0xFEE00000, Data: 0x4700}},
		// VT-d §5.1.2.1: index 8123H in bits 63:49 and 11, format in bit 48.
		{"remappable", 0x0123<<49 | 1<<48 | 1<<11 | 9, pci.Message{Address: 0xFEE0_0000 | 0x0123<<5 | 1<<4 | 1<<2, Data: 0x4009}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, k := newSinkRig(t)
			r.setEntry(9, c.e)
			require.Empty(t, k.take())
			r.SetIRQ(9, true)
			require.Equal(t, []pci.Message{c.want}, k.take())
			require.Equal(t, c.e.level(), r.entry(9)&rteRemoteIRR != 0)
		})
	}
}

func TestLinesReachTheirPins(t *testing.T) {
	r, k := newSinkRig(t)
	for pin := range ioapicPins {
		r.setEntry(pin, rte(0x40+pin))
	}
	for line := -1; line <= ioapicPins; line++ {
		r.SetIRQ(line, true)
		r.SetIRQ(line, false)
		want := []pci.Message{{Address: 0xFEE00000, Data: uint32(0x4040 + line)}}
		switch line {
		case 0:
			want[0].Data = 0x4042
		case -1, 2, ioapicPins:
			want = nil
		}
		require.Equal(t, want, k.take(), "line %d", line)
	}
}

func TestAnEdgePinSendsEachRise(t *testing.T) {
	r, k := newSinkRig(t)
	r.setEntry(4, 0x34)
	for range 3 {
		r.SetIRQ(4, true)
		r.SetIRQ(4, true)
		require.Len(t, k.take(), 1)
		r.SetIRQ(4, false)
		require.Empty(t, k.take())
	}
	r.setEntry(4, 0x34|rteMasked)
	r.SetIRQ(4, true)
	r.setEntry(4, 0x34)
	require.Empty(t, k.take(), "an edge at a masked pin is lost")
	r.SetIRQ(4, true)
	require.Empty(t, k.take())
}

func TestALevelPinSendsOnceUntilItsEOI(t *testing.T) {
	for name, eoi := range map[string]func(*rig, uint8){
		"broadcast": func(r *rig, v uint8) { r.IOAPIC().EOI(v) },
		"register":  func(r *rig, v uint8) { r.IOAPIC().WriteMMIO(ioeoi, []byte{v, 0, 0, 0}) },
	} {
		t.Run(name, func(t *testing.T) {
			r, k := newSinkRig(t)
			r.SetIRQ(20, true)
			r.setEntry(20, 0x70|rteLevel)
			require.Len(t, k.take(), 1, "a level waits for its entry")
			r.SetIRQ(20, false)
			r.SetIRQ(20, true)
			require.Empty(t, k.take())
			eoi(r, 0x71)
			require.Empty(t, k.take(), "another vector")
			eoi(r, 0x70)
			require.Len(t, k.take(), 1, "still asserted")
			r.SetIRQ(20, false)
			eoi(r, 0x70)
			require.Empty(t, k.take())
			require.Zero(t, r.entry(20)&rteRemoteIRR)
			r.SetIRQ(20, true)
			require.Len(t, k.take(), 1)

			r.setEntry(20, 0x70|rteLevel|rteMasked)
			require.NotZero(t, r.entry(20)&rteRemoteIRR)
			eoi(r, 0x70)
			require.Empty(t, k.take(), "masked")
			require.Zero(t, r.entry(20)&rteRemoteIRR)
			r.setEntry(20, 0x70|rteLevel)
			require.Len(t, k.take(), 1)
			r.setEntry(20, 0x70|rteMasked)
			require.Zero(t, r.entry(20)&rteRemoteIRR, "edge and back is the way to be rid of it")
			r.setEntry(20, 0x70|rteLevel)
			require.Len(t, k.take(), 1)
		})
	}
}

func TestALevelInterruptGoesFullCircle(t *testing.T) {
	r := newListeningRig(t, 2)
	l := r.Local(1)
	r.setEntry(17, 1<<56|0x91|rteLevel)
	r.SetIRQ(17, true)
	require.EqualValues(t, 1<<0x11, r.read(l, regTMR+4))
	v, ok := l.Acknowledge()
	require.True(t, ok)
	require.EqualValues(t, 0x91, v)
	require.NotZero(t, r.entry(17)&rteRemoteIRR)
	r.SetIRQ(17, false)
	r.SetIRQ(17, true)
	require.False(t, l.Pending())
	l.EOI()
	require.True(t, l.Pending(), "the line is high at EOI")
	_, _ = l.Acknowledge()
	r.SetIRQ(17, false)
	l.EOI()
	require.False(t, l.Pending())
	require.Zero(t, r.entry(17)&rteRemoteIRR)
}

func TestDirectedEOIStaysInsideTheLocalAPIC(t *testing.T) {
	r := newListeningRig(t, 1)
	l := r.Local(0)
	r.write(l, regSVR, 0x1FF|svrNoBroadcast)
	r.setEntry(17, 0x91|rteLevel)
	r.SetIRQ(17, true)
	_, _ = l.Acknowledge()
	l.EOI()
	require.NotZero(t, r.entry(17)&rteRemoteIRR)
	require.False(t, l.Pending())
	r.IOAPIC().WriteMMIO(ioeoi, []byte{0x91, 0, 0, 0})
	require.True(t, l.Pending())
}

func TestALevelThatNobodyTookIsSentWhenSomebodyListens(t *testing.T) {
	r := newRig(t, 1)
	l := r.Local(0)
	r.setEntry(17, 0x91|rteLevel)
	r.SetIRQ(17, true)
	require.Zero(t, r.entry(17)&rteRemoteIRR, "nobody took it")
	r.write(l, regSVR, 0x1FF)
	require.Equal(t, rteRemoteIRR, r.entry(17)&rteRemoteIRR)
	require.True(t, l.Pending())

	// Somebody began to listen between a refusal and its end.
	k := &sink{refuse: true}
	r.ioapic.send = senderFunc(func(m pci.Message) error {
		err := k.SendMSI(m)
		if k.refuse {
			k.refuse = false
			r.ioapic.retry()
		}
		return err
	})
	r.setEntry(18, 0x92|rteLevel)
	r.SetIRQ(18, true)
	require.Len(t, k.take(), 1)
	require.NotZero(t, r.entry(18)&rteRemoteIRR)
}

type senderFunc func(pci.Message) error

func (f senderFunc) SendMSI(m pci.Message) error { return f(m) }

// TestALevelPinKeepsItsRules: a message exactly when the pin is asserted, not masked and not waiting for EOI.
func TestALevelPinKeepsItsRules(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r, k := newSinkRig(t)
		high, masked, waiting := false, true, false
		r.setEntry(16, 0x50|rteLevel|rteMasked)
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{"line", "mask", "eoi", "other"}).Draw(rt, "step") {
			case "line":
				high = rapid.Bool().Draw(rt, "high")
				r.SetIRQ(16, high)
			case "mask":
				masked = rapid.Bool().Draw(rt, "masked")
				e := 0x50 | rteLevel
				if masked {
					e |= rteMasked
				}
				r.ioapicWrite(ioapicTable+2*16, uint32(e))
			case "eoi":
				r.IOAPIC().EOI(0x50)
				waiting = false
			case "other":
				r.IOAPIC().EOI(0x51)
			}
			want := 0
			if high && !masked && !waiting {
				want, waiting = 1, true
			}
			if got := len(k.take()); got != want {
				rt.Fatalf("%d messages, want %d", got, want)
			}
			if got := r.entry(16)&rteRemoteIRR != 0; got != waiting {
				rt.Fatalf("remote IRR %v, want %v", got, waiting)
			}
		}
	})
}
