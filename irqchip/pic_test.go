package irqchip

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// newPICRig makes a machine whose 8259s are started and reach processor 0 through LINT0.
func newPICRig(t testing.TB) *rig {
	r := newRig(t, 2)
	r.Local(0).VirtualWire()
	r.startPICs(0x30, 1)
	r.take()
	return r
}

// intas are the INTA cycles of processor 0 until nothing asks.
func (r *rig) intas() (vectors []uint8) {
	for r.Local(0).Pending() && len(vectors) < 100 {
		v, ok := r.Local(0).Acknowledge()
		require.True(r.t, ok)
		vectors = append(vectors, v)
	}
	return vectors
}

func (r *rig) pulse(line int) {
	r.SetIRQ(line, true)
	r.SetIRQ(line, false)
}

func TestAnISALineInterruptsThroughTheVirtualWire(t *testing.T) {
	r := newPICRig(t)
	l := r.Local(0)
	l.SetTPR(0xFF) // means nothing to ExtINT
	r.SetIRQ(4, true)
	require.Equal(t, []told{{0, SignalInterrupt, 0}}, r.take())
	require.True(t, l.Pending())
	require.False(t, r.Local(1).Pending())
	v, ok := l.Acknowledge()
	require.True(t, ok)
	require.EqualValues(t, 0x34, v)
	require.False(t, l.Pending())
	require.Zero(t, r.read(l, regISR+1), "it is not the local APIC's")

	r.SetIRQ(6, true)
	require.False(t, l.Pending(), "IRQ 4 is in service")
	r.SetIRQ(12, true)
	require.Equal(t, []uint8{0x3C}, r.intas(), "the slave's come before it")
	r.out(portSlave, 0x20)
	r.out(portMaster, 0x20)
	require.Empty(t, r.intas())
	r.out(portMaster, 0x20)
	require.Equal(t, []uint8{0x36}, r.intas())
}

func TestThe8259sReachWhoLetsThem(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(*rig, *Local)
		pending bool
		vector  uint8
	}{
		{"masked LINT0", func(r *rig, l *Local) { r.write(l, regLVTLINT0, 0x10700) }, false, 0},
		{"ExtINT", func(r *rig, l *Local) { r.write(l, regLVTLINT0, 0x700) }, true, 0x31},
		{"fixed", func(r *rig, l *Local) { r.write(l, regLVTLINT0, 0x99) }, true, 0x99},
		{"fixed, level", func(r *rig, l *Local) { r.write(l, regLVTLINT0, 0x99|lvtLevel) }, true, 0x99},
		{"disabled by software", func(r *rig, l *Local) { r.write(l, regSVR, 0xFF) }, false, 0},
		{"globally disabled", func(r *rig, l *Local) { l.WriteMSR(msrAPICBase, baseDefault) }, true, 0x31},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, first := range []string{"line", "entry"} {
				r := newPICRig(t)
				l := r.Local(0)
				if first == "line" {
					r.SetIRQ(1, true)
				}
				c.prepare(r, l)
				if first == "entry" {
					r.SetIRQ(1, true)
				} else if c.name == "fixed" {
					continue // its edge is past
				}
				require.Equal(t, c.pending, l.Pending())
				if c.pending {
					v, ok := l.Acknowledge()
					require.True(t, ok)
					require.Equal(t, c.vector, v)
				}
			}
		})
	}
}

func TestALevelAtLINT0IsRaisedAgainAtEOI(t *testing.T) {
	r := newPICRig(t)
	l := r.Local(0)
	r.write(l, regLVTLINT0, 0x99|lvtLevel)
	r.SetIRQ(1, true)
	require.EqualValues(t, 0x99|lvtLevel|lvtRemoteIRR, r.read(l, regLVTLINT0))
	_, _ = l.Acknowledge()
	r.write(l, regLVTLINT0, 0x99|lvtLevel)
	require.False(t, l.Pending(), "the same entry again is still waiting for EOI")
	l.EOI()
	require.True(t, l.Pending())
	_, _ = l.Acknowledge()
	r.out(portMasterData, 0xFF)
	l.EOI()
	require.False(t, l.Pending())
	require.EqualValues(t, 0x99|lvtLevel, r.read(l, regLVTLINT0))
}

func TestLINT0AsNMI(t *testing.T) {
	r := newPICRig(t)
	r.write(r.Local(0), regLVTLINT0, 0x400)
	r.SetIRQ(1, true)
	require.Equal(t, []told{{0, SignalNMI, 0}}, r.take())
}

func TestAnExtINTEntryOfTheIOAPICAsksForAnINTACycle(t *testing.T) {
	r := newRig(t, 2)
	r.startPICs(0x30, 3) // automatic EOI
	r.setEntry(0, 1<<56|0x700)
	l := r.Local(1)
	for range 2 {
		r.pulse(0)
		require.True(t, l.Pending())
		v, ok := l.Acknowledge()
		require.True(t, ok)
		require.EqualValues(t, 0x30, v)
	}
	// The output falls between two cycles, so the second is an edge too.
	r.pulse(3)
	r.pulse(5)
	require.Equal(t, []uint8{0x33, 0x35}, func() (vs []uint8) {
		for l.Pending() {
			v, _ := l.Acknowledge()
			vs = append(vs, v)
		}
		return vs
	}())
}

func TestPrioritiesOfThePair(t *testing.T) {
	r := newPICRig(t)
	r.out(portMasterData, 0xFF)
	for line := range 16 {
		r.SetIRQ(line, true)
	}
	r.out(portMasterData, 0)
	var order []uint8
	for r.Local(0).Pending() {
		v, _ := r.Local(0).Acknowledge()
		order = append(order, v-0x30)
		if v >= 0x38 {
			r.out(portSlave, 0x20)
		}
		r.out(portMaster, 0x20)
	}
	require.Equal(t, []uint8{0, 1, 8, 9, 10, 11, 12, 13, 14, 15, 3, 4, 5, 6, 7}, order)
}

func TestEdgesAndLevels(t *testing.T) {
	r := newPICRig(t)
	r.out(portELCR, 0xFF)
	r.out(portELCRSlave, 0xFF)
	require.EqualValues(t, 0xF8, r.in(portELCR))
	require.EqualValues(t, 0xDE, r.in(portELCRSlave))

	r.SetIRQ(1, true) // edge
	require.Equal(t, []uint8{0x31}, r.intas())
	r.out(portMaster, 0x20)
	require.Empty(t, r.intas(), "one interrupt for one edge")
	r.SetIRQ(1, false)
	r.pulse(1)
	require.Equal(t, []uint8{0x31}, r.intas(), "an edge is remembered")
	r.out(portMaster, 0x20)

	for range 3 {
		r.SetIRQ(5, true)
		require.Equal(t, []uint8{0x35}, r.intas())
		r.out(portMaster, 0x20)
	}
	r.SetIRQ(5, false)
	require.Empty(t, r.intas(), "a level is not")
	r.SetIRQ(10, true)
	r.SetIRQ(10, false)
	require.Empty(t, r.intas())
	require.Zero(t, r.in(portMaster))
}

func TestAnINTACycleWithoutRequestIsSpurious(t *testing.T) {
	r := newPICRig(t)
	require.EqualValues(t, 0x37, r.inta())
	r.out(portMaster, 0x0B)
	require.Zero(t, r.in(portMaster), "IR7 is not in service")

	// The request ends between a processor's look and its cycle.
	r.SetIRQ(3, true)
	p := r.Local(0).pending.Load()
	r.out(portMasterData, 0xFF)
	r.Local(0).pending.Store(p)
	v, ok := r.Local(0).Acknowledge()
	require.True(t, ok)
	require.EqualValues(t, 0x37, v)
}

func TestReadingRegistersAndPolling(t *testing.T) {
	r := newPICRig(t)
	r.out(portMasterData, 0xE0)
	require.EqualValues(t, 0xE0, r.in(portMasterData))
	r.SetIRQ(3, true)
	r.SetIRQ(6, true)
	require.EqualValues(t, 0x48, r.in(portMaster))
	require.Equal(t, []uint8{0x33}, r.intas())
	require.EqualValues(t, 0x40, r.in(portMaster))
	r.out(portMaster, 0x0B)
	require.EqualValues(t, 0x08, r.in(portMaster))
	r.out(portMaster, 0x0A)
	require.EqualValues(t, 0x40, r.in(portMaster))

	r.SetIRQ(1, true)
	r.out(portMaster, 0x0C)
	require.EqualValues(t, 0x81, r.in(portMaster), "the poll is an acknowledgement")
	require.False(t, r.Local(0).Pending())
	r.out(portMaster, 0x0C)
	require.Zero(t, r.in(portMaster))
	r.SetIRQ(9, true)
	r.out(portSlave, 0x0C)
	require.EqualValues(t, 0x81, r.in(portSlave))

	var p [4]byte
	r.ReadPort(portMaster, p[:])
	require.Equal(t, []byte{0x40, 0xE0, 0xFF, 0xFF}, p[:], "a wider access is several ports")
	r.WritePort(portMaster, []byte{0x0B, 0xFF})
	require.EqualValues(t, 0x0A, r.in(portMaster))
	require.EqualValues(t, 0xFF, r.in(portMasterData))
}

func TestOperationCommandWords(t *testing.T) {
	for _, c := range []struct {
		name     string
		commands []uint8
		served   []int // in service before, in that order
		isr      uint8
		asked    []int // then asserted
		want     []uint8
	}{
		{"non-specific EOI ends the highest", []uint8{0x20}, []int{5, 3}, 1 << 5, nil, nil},
		{"specific EOI", []uint8{0x65}, []int{5, 3}, 1 << 3, nil, nil},
		{"EOI of nothing", []uint8{0x20}, nil, 0, nil, nil},
		{"rotate on non-specific EOI", []uint8{0xA0}, []int{3}, 0, []int{1, 4}, []uint8{0x34}},
		{"rotate on specific EOI", []uint8{0xE3}, []int{3}, 0, []int{1, 4}, []uint8{0x34}},
		{"set priority", []uint8{0xC4}, nil, 0, []int{1, 5}, []uint8{0x35}},
		{"set priority, and the wrap", []uint8{0xC4}, nil, 0, []int{4, 3}, []uint8{0x33}},
		{"no operation", []uint8{0x40}, []int{5}, 1 << 5, nil, nil},
		{"in service inhibits what is below", nil, []int{3}, 1 << 3, []int{4}, nil},
		{"and lets through what is above", nil, []int{3}, 1 << 3, []int{1}, []uint8{0x31}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newPICRig(t)
			for _, line := range c.served {
				r.pulse(line)
				require.Len(t, r.intas(), 1)
			}
			for _, v := range c.commands {
				r.out(portMaster, v)
			}
			r.out(portMaster, 0x0B)
			require.Equal(t, c.isr, r.in(portMaster))
			for _, line := range c.asked {
				r.pulse(line)
			}
			got := r.intas()
			require.Equal(t, c.want, got[:min(len(got), len(c.want))])
			if c.want == nil {
				require.Empty(t, got)
			}
		})
	}
}

func TestSpecialMaskMode(t *testing.T) {
	r := newPICRig(t)
	r.pulse(3)
	require.Equal(t, []uint8{0x33}, r.intas())
	r.out(portMasterData, 1<<3)
	r.out(portMaster, 0x68)
	r.pulse(5)
	require.Equal(t, []uint8{0x35}, r.intas(), "what is masked in service does not inhibit")
	r.out(portMaster, 0x20)
	r.out(portMaster, 0x20) // does not end what is masked
	r.out(portMaster, 0x0B)
	require.EqualValues(t, 1<<3, r.in(portMaster))
	r.out(portMaster, 0x48)
	r.pulse(6)
	require.Empty(t, r.intas())
	r.out(portMaster, 0x63)
	require.Equal(t, []uint8{0x36}, r.intas())
}

func TestSpecialFullyNestedMode(t *testing.T) {
	for _, nested := range []bool{false, true} {
		r := newPICRig(t)
		icw4 := uint8(0x01)
		if nested {
			icw4 = 0x11
		}
		r.startPICs(0x30, icw4)
		r.pulse(12)
		require.Equal(t, []uint8{0x3C}, r.intas())
		r.pulse(9)
		var want []uint8
		if nested {
			want = []uint8{0x39}
		}
		require.Equal(t, want, r.intas(), "nested %v", nested)
	}
}

func TestAutomaticEOIRotates(t *testing.T) {
	r := newPICRig(t)
	r.startPICs(0x30, 3)
	r.out(portMaster, 0x80) // rotate in this mode
	for _, line := range []int{1, 4} {
		r.pulse(line)
	}
	require.Equal(t, []uint8{0x31, 0x34}, r.intas())
	r.pulse(1)
	r.pulse(5)
	require.Equal(t, []uint8{0x35, 0x31}, r.intas(), "IR4 was the last served")
	r.out(portMaster, 0x00)
	r.pulse(3)
	r.pulse(0)
	require.Equal(t, []uint8{0x33, 0x30}, r.intas(), "IR1 was")
	r.out(portMaster, 0x0B)
	require.Zero(t, r.in(portMaster))
}

func TestInitialization(t *testing.T) {
	r := newRig(t, 1)
	r.Local(0).VirtualWire()
	r.out(portMasterData, 0)
	r.SetIRQ(1, true)
	require.False(t, r.Local(0).Pending(), "before ICW1 there are no interrupts")
	r.startPICs(0x40, 1)
	require.False(t, r.Local(0).Pending(), "an edge before ICW1 does not count")
	r.SetIRQ(1, false)
	r.SetIRQ(1, true)
	require.Equal(t, []uint8{0x41}, r.intas())

	r.out(portMaster, 0x12) // single, no ICW4
	r.out(portMasterData, 0x57)
	require.Zero(t, r.in(portMasterData), "ICW1 cleared the mask, and there is no ICW3 or ICW4")
	r.pulse(6)
	require.Equal(t, []uint8{0x56}, r.intas())
	r.out(portMaster, 0x13) // single, ICW4
	r.out(portMasterData, 0x58)
	r.out(portMasterData, 0x03)
	r.pulse(6)
	r.pulse(6)
	require.Equal(t, []uint8{0x5E}, r.intas())
	r.out(portMaster, 0x10) // cascaded, no ICW4
	r.out(portMasterData, 0x60)
	r.out(portMasterData, 0x04)
	r.out(portMasterData, 0xAA)
	require.EqualValues(t, 0xAA, r.in(portMasterData))
}

// TestThePairIsFullyNested plays lines, cycles and EOIs against a plain list of priorities.
func TestThePairIsFullyNested(t *testing.T) {
	order := []int{0, 1, 8, 9, 10, 11, 12, 13, 14, 15, 3, 4, 5, 6, 7}
	rapid.Check(t, func(rt *rapid.T) {
		r := newPICRig(t)
		var asking, line [16]bool
		var mask uint16
		var service []int // served last is last
		rank := func(irq int) int {
			for i, o := range order {
				if o == irq {
					return i
				}
			}
			return -1
		}
		next := func() int {
			for i, irq := range order {
				if !asking[irq] || mask>>irq&1 != 0 || irq >= 8 && mask>>2&1 != 0 {
					continue
				}
				if n := len(service); n > 0 {
					// All of the slave's are one priority to the master.
					if last := service[n-1]; i >= rank(last) || irq >= 8 && last >= 8 {
						return -1
					}
				}
				return irq
			}
			return -1
		}
		for range rapid.IntRange(1, 80).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{"line", "line", "inta", "eoi", "mask"}).Draw(rt, "step") {
			case "line":
				irq := rapid.SampledFrom(order).Draw(rt, "irq")
				high := rapid.Bool().Draw(rt, "high")
				r.SetIRQ(irq, high)
				asking[irq] = asking[irq] || high && !line[irq]
				line[irq] = high
			case "inta":
				irq := next()
				if pending := r.Local(0).Pending(); pending != (irq >= 0) {
					rt.Fatalf("pending %v, the model has IRQ %d", pending, irq)
				}
				if irq < 0 {
					continue
				}
				if v, ok := r.Local(0).Acknowledge(); !ok || int(v) != 0x30+irq {
					rt.Fatalf("vector %x, the model has IRQ %d", v, irq)
				}
				asking[irq] = false
				service = append(service, irq)
			case "eoi":
				if n := len(service); n > 0 {
					if service[n-1] >= 8 {
						r.out(portSlave, 0x20)
					}
					r.out(portMaster, 0x20)
					service = service[:n-1]
				}
			case "mask":
				mask = rapid.Uint16().Draw(rt, "mask")
				r.out(portMasterData, uint8(mask))
				r.out(portSlaveData, uint8(mask>>8))
			}
		}
	})
}
