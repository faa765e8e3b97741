package soft

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/uintr/uintrtest"
)

// loopAPIC is a local APIC in x2APIC mode that records what is sent, and holds at
// most one vector.
type loopAPIC struct {
	idleAPIC
	sent        uintrtest.IPI
	vector      uint8
	eois, acked int
}

func (a *loopAPIC) X2APIC() bool  { return true }
func (a *loopAPIC) EOI()          { a.eois++ }
func (a *loopAPIC) Pending() bool { return a.vector != 0 }

func (a *loopAPIC) Acknowledge() (uint8, bool) {
	v := a.vector
	a.vector = 0
	if v != 0 {
		a.acked++
	}
	return v, v != 0
}

func (a *loopAPIC) Notify(vector uint8, destination uint32) {
	a.sent = uintrtest.IPI{Sent: true, Vector: uint32(vector), NDST: destination}
}

// Where tableCPU keeps what its program does not see.
const (
	tableGDT      = 0x800000
	tableIDT      = 0x801000
	tableTSS      = 0x802000
	tableStack    = 0x804000
	tableHandlers = 0x805000 // vector v enters at +v
)

// tableCPU is flatCPU at CPL 3 for a case of the table, with an IDT.
func tableCPU(t *testing.T, k *uintrtest.Case) (*CPU, *loopAPIC) {
	t.Helper()
	b := &uintrtest.FlatBases
	apic := new(loopAPIC)
	c := flatCPU(t, nil)
	c.apic, c.config.UINTR = apic, true
	le := binary.LittleEndian
	at := func(pa uint64, n int) []byte {
		h, ok := c.machine.host(pa)
		require.True(t, ok)
		return h.bytes(pa&0xfff, n)
	}
	user := func(la uint64, present bool) {
		p := at(flatPages+0x3000+la>>12*8, 8)
		if present {
			le.PutUint64(p, la&^0xfff|pteP|pteW|pteU)
		} else {
			clear(p)
		}
	}
	for _, e := range []uint64{flatPages, flatPages + 0x1000, flatPages + 0x2000} {
		p := at(e, 8)
		le.PutUint64(p, le.Uint64(p)|pteU)
	}
	for la := uint64(0); la < 1<<20; la += 4096 {
		p := at(flatPages+0x3000+la>>12*8, 8)
		le.PutUint64(p, le.Uint64(p)&^pteU)
	}
	user(b.StackTop, false)
	user(b.StackTop-4096, true)
	user(b.StackTop-2*4096, true)
	user(b.StackTop-3*4096, false)
	user(b.Unmapped, false)
	user(b.Unmapped+4096, false)
	user(b.Handler, true)
	user(b.Op[0], true)
	for op, bytes := range [][]byte{{0xf3, 0x0f, 0xc7, 0xf0}, {0xf3, 0x0f, 0x01, 0xed}, {0xf3, 0x0f, 0x01, 0xee}, {0xf3, 0x0f, 0x01, 0xef}, {0xf3, 0x0f, 0x01, 0xec}} {
		copy(at(b.Op[op], 4), bytes)
	}
	le.PutUint64(at(tableGDT+8, 8), 0x00af9b000000ffff)
	for v := range uint64(256) {
		gate := at(tableIDT+16*v, 16)
		target := tableHandlers + v
		le.PutUint64(gate, target&0xffff|8<<16|0x8e<<40|target>>16<<48)
	}
	le.PutUint64(at(tableTSS+4, 8), tableStack)
	c.gdtr, c.idtr = table{tableGDT, 0xff}, table{tableIDT, 0xfff}
	c.seg[tr] = segment{sel: 0x18, base: tableTSS, limit: 0x67, attr: attrP | 11}
	c.seg[cs].sel, c.seg[cs].attr = 0x33, c.seg[cs].attr|attrDPL
	c.seg[ss].sel, c.seg[ss].attr = 0x2b, c.seg[ss].attr|attrDPL
	c.cr4 |= cr4UINTR
	c.cpl = 3
	c.updateMode()

	s := b.Values(k.Before, k.Op)
	c.uintr.UIRR, c.uintr.UIF, c.uintr.Handler, c.uintr.StackAdjust = s.UIRR, s.UIF != 0, s.Handler, s.StackAdjust
	c.uintr.UINV, c.uintr.UPIDAddr, c.uintr.UITTAddr, c.uintr.UITTSize = uint8(s.UINV), s.UPIDAddr, s.UITTAddr, s.UITTSize
	for i, u := range k.UPID {
		p := at(b.UPIDArray+64*uint64(i), 16)
		le.PutUint64(p, u.Low)
		le.PutUint64(p[8:], u.PIR)
	}
	for i, e := range k.UITT {
		p := at(b.UITTArray+16*uint64(i), 16)
		le.PutUint64(p, e.Low)
		le.PutUint64(p[8:], b.Resolve(e.High, k.Op))
	}
	c.rip, c.r[rsp], c.r[rax] = b.Op[k.Op], b.Resolve(k.RSP, k.Op), k.Operand
	c.setRFLAGS(k.RFLAGS|uintrtest.RFLAGSFixed, ^uint64(0))
	if k.Flags&uintrtest.FlagPlaceFrame != 0 {
		for i, w := range []uint64{b.Resolve(k.Frame.RIP, k.Op), k.Frame.RFLAGS, b.Resolve(k.Frame.RSP, k.Op)} {
			la := c.r[rsp] + 8*uint64(i)
			var word [8]byte
			le.PutUint64(word[:], w)
			for j := range word {
				if h, ok := c.machine.host(la + uint64(j)); ok {
					h.bytes((la+uint64(j))&0xfff, 1)[0] = word[j]
				}
			}
		}
	}
	return c, apic
}

// TestCasesOfTheTable carries out the table that package uintr is tested with, by
// instructions of this processor: decoded, translated, delivered through an IDT.
func TestCasesOfTheTable(t *testing.T) {
	b := &uintrtest.FlatBases
	for _, k := range uintrtest.Cases() {
		t.Run(k.Name, func(t *testing.T) {
			c, apic := tableCPU(t, &k)
			r := uintrtest.Result{Done: true}
			ok := true
			if k.Op != uintrtest.Notify {
				single := c.rflags & flagTF
				c.rflags &^= flagTF // the table leaves the trap of TF out
				if ok = c.one(); !ok {
					c.except()
				}
				if k.Op != uintrtest.UIRET {
					c.rflags |= single
				}
			}
			r.IPI = apic.sent
			if ok {
				switch {
				case k.Op == uintrtest.Notify:
					apic.vector = k.Vector
				case k.Flags&uintrtest.FlagLoopback != 0 && r.IPI.Sent:
					apic.vector = uint8(r.IPI.Vector)
				}
				if apic.vector != 0 && c.uintr.Identify(registers{c}, apic.vector) {
					c.pending.Or(pendingInterrupt)
					_, err := c.events(c.pending.Load())
					require.NoError(t, err)
					r.Identified = true
					require.Equal(t, 1, apic.eois)
				}
				if before := c.stats.delivered.Load(); c.cpl == 3 {
					c.lookUser()
					c.pending.And(^pendingInterrupt)
					_, err := c.events(c.pending.Load())
					require.NoError(t, err)
					r.Delivered = c.stats.delivered.Load() != before
				}
			}
			require.False(t, c.shutdown)
			r.RIP, r.RSP, r.RFLAGS = c.rip, c.r[rsp], c.RFLAGS()
			if c.cpl == 0 {
				r.FaultVector = uint32(c.rip - tableHandlers)
				if r.FaultVector != vectorUD {
					code, ok := c.pop(8)
					require.True(t, ok)
					r.FaultError = uint32(code)
				}
				if r.FaultVector == vectorPF {
					r.FaultAddress = c.cr2
				}
				frame := c.r[rsp]
				for i, p := range []*uint64{&r.RIP, nil, &r.RFLAGS, &r.RSP} {
					if p != nil {
						v, ok := c.read(frame+8*uint64(i), 8, 0)
						require.True(t, ok)
						*p = v
					}
				}
			}
			s := &c.uintr
			r.After = uintrtest.Values{
				UIRR: s.UIRR, Handler: s.Handler, StackAdjust: s.StackAdjust, UPIDAddr: s.UPIDAddr, UITTAddr: s.UITTAddr,
				UINV: uint32(s.UINV), UITTSize: s.UITTSize,
			}
			if s.UIF {
				r.After.UIF = 1
			}
			word := func(la uint64) uint64 {
				h, _ := c.machine.host(la)
				return h.load(la&0xfff, 8)
			}
			for i := range r.UPID {
				la := b.UPIDArray + 64*uint64(i)
				r.UPID[i] = uintrtest.UPID{Low: word(la), PIR: word(la + 8)}
			}
			if r.Delivered {
				for i := range r.Frame {
					r.Frame[i] = word(r.RSP + 8*uint64(i))
				}
			}
			require.Empty(t, uintrtest.Compare(k, *b, r))
		})
	}
}
