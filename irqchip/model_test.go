package irqchip

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"gvmm/vmm/pci"
)

// model is a local APIC as SDM 3 §10.8 describes it, without any of its haste: sets, and a stack of what is served.
type model struct {
	irr     map[uint8]bool
	level   map[uint8]bool
	service []uint8
	tpr     uint8
	on      bool
}

func (m *model) ppr() uint8 {
	if n := len(m.service); n > 0 {
		if top := slices.Max(m.service); top>>4 > m.tpr>>4 {
			return top & 0xF0
		}
	}
	return m.tpr
}

// next is the vector that may be delivered, 0 for none.
func (m *model) next() (best uint8) {
	for v := range m.irr {
		best = max(best, v)
	}
	if best>>4 <= m.ppr()>>4 {
		return 0
	}
	return best
}

// TestALocalAPICBehavesAsTheModelDoes plays one sequence on both, in both modes, and compares all that software can see after each step.
func TestALocalAPICBehavesAsTheModelDoes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newListeningRig(t, 1)
		l := r.Local(0)
		if rapid.Bool().Draw(rt, "x2apic") {
			r.x2apic(l)
		}
		m := &model{irr: map[uint8]bool{}, level: map[uint8]bool{}, on: true}
		vectors := rapid.OneOf(rapid.Uint8(), rapid.SampledFrom([]uint8{15, 16, 0x3F, 0x40, 0x7F, 0x80, 0xBF, 0xC0, 0xFF}))
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch step := rapid.SampledFrom([]string{"post", "post", "self", "ack", "ack", "eoi", "tpr", "svr"}).Draw(rt, "step"); step {
			case "post", "self":
				v := vectors.Draw(rt, "vector")
				level := step == "post" && rapid.Bool().Draw(rt, "level")
				taken := m.on && v >= firstVector
				if step == "self" {
					l.writeICR(shorthandSelf | uint64(v))
				} else {
					msg := pci.Message{Address: Address(0), Data: msgAssert | uint32(v)}
					if level {
						msg.Data |= msgLevel
					}
					if err := r.SendMSI(msg); (err == nil) != taken {
						rt.Fatalf("message: %v, the model takes it: %v", err, taken)
					}
				}
				if taken {
					m.irr[v] = true
					m.level[v] = level
				}
			case "ack":
				want := m.next()
				v, ok := l.Acknowledge()
				if ok != (want != 0) || v != want {
					rt.Fatalf("acknowledged %x %v, the model has %x", v, ok, want)
				}
				if ok {
					delete(m.irr, v)
					m.service = append(m.service, v)
				}
			case "eoi":
				r.write(l, regEOI, 0)
				if len(m.service) > 0 {
					top := slices.Max(m.service)
					m.service = slices.DeleteFunc(m.service, func(v uint8) bool { return v == top })
				}
			case "tpr":
				m.tpr = rapid.Uint8().Draw(rt, "tpr")
				r.write(l, regTPR, uint32(m.tpr))
			case "svr":
				m.on = rapid.Bool().Draw(rt, "on")
				svr := uint32(0xFF)
				if m.on {
					svr |= svrEnable
				}
				r.write(l, regSVR, svr)
			}
			m.compare(rt, r, l)
		}
	})
}

func (m *model) compare(rt *rapid.T, r *rig, l *Local) {
	if got := r.read(l, regPPR); got != uint32(m.ppr()) {
		rt.Fatalf("PPR %x, the model's %x", got, m.ppr())
	}
	if l.Pending() != (m.next() != 0) {
		rt.Fatalf("pending %v, the model has %x", l.Pending(), m.next())
	}
	for v := range 256 {
		bit := func(base reg) bool { return r.read(l, base+reg(v>>5))>>(v&31)&1 != 0 }
		v := uint8(v)
		if bit(regIRR) != m.irr[v] || bit(regTMR) != m.level[v] || bit(regISR) != slices.Contains(m.service, v) {
			rt.Fatalf("vector %x: IRR %v TMR %v ISR %v", v, bit(regIRR), bit(regTMR), bit(regISR))
		}
	}
}

// TestNoMessageIsLost sends to many in random ways; when all is drained, each vector came to exactly those who were sent it.
func TestNoMessageIsLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const cpus = 20
		r := newListeningRig(t, cpus)
		for i := range cpus {
			r.x2apic(r.Local(i))
		}
		var sent [cpus]map[uint8]bool
		for i := range sent {
			sent[i] = map[uint8]bool{}
		}
		for range rapid.IntRange(1, 40).Draw(rt, "messages") {
			v := rapid.Uint8Range(16, 255).Draw(rt, "vector")
			from := r.Local(rapid.IntRange(0, cpus-1).Draw(rt, "from"))
			to := uint32(rapid.IntRange(0, cpus-1).Draw(rt, "to"))
			targets := func(i int) bool { return i == int(to) }
			switch rapid.SampledFrom([]string{"msi", "notify", "icr", "others", "cluster", "self"}).Draw(rt, "way") {
			case "msi":
				_ = r.msi(int(to), v)
			case "notify":
				from.Notify(v, to)
			case "icr":
				from.WriteMSR(0x830, uint64(to)<<32|uint64(v))
			case "others":
				from.WriteMSR(0x830, icrOthers|uint64(v))
				targets = func(i int) bool { return i != int(from.id) }
			case "cluster":
				set := rapid.Uint32Range(0, 0xFFFF).Draw(rt, "set")
				from.WriteMSR(0x830, uint64(to>>4<<16|set)<<32|icrLogical|uint64(v))
				targets = func(i int) bool { return i>>4 == int(to>>4) && set>>(i&15)&1 != 0 }
			case "self":
				from.WriteMSR(0x83F, uint64(v))
				targets = func(i int) bool { return i == int(from.id) }
			}
			for i := range sent {
				if targets(i) {
					sent[i][v] = true
				}
			}
		}
		for i, l := range r.locals {
			got := r.drain(l)
			if !slices.IsSortedFunc(got, func(a, b uint8) int { return int(b) - int(a) }) {
				rt.Fatalf("processor %d got %x: not by priority", i, got)
			}
			if len(got) != len(sent[i]) {
				rt.Fatalf("processor %d got %x, was sent %v", i, got, sent[i])
			}
			for _, v := range got {
				if !sent[i][v] {
					rt.Fatalf("processor %d got %x, which nobody sent", i, v)
				}
			}
		}
	})
}
