package soft

import (
	bin "encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vmm/memory"
)

// Where the rig puts things; linear addresses are physical ones.
const (
	atGDT    = 0x1000
	atIDT    = 0x2000
	atTSS    = 0x3000
	atTSS2   = 0x4000
	atLDT    = 0x6000
	atCode   = 0x8000
	atVector = 0x9000 // handlers, 16 bytes each
	atData   = 0xa000
	stack0   = 0x10000
	stack1   = 0x11000
	stackIST = 0x12000
	stack3   = 0x14000
	atPML4   = 0x20000
	atPDPT   = 0x21000
	atPD     = 0x22000
	atPT     = 0x23000
	rigRAM   = 4 << 20
)

// Selectors of the rig's GDT.
const (
	selCode64    = 0x08
	selData      = 0x10
	selUser32    = 0x18
	selUserData  = 0x20
	selUser64    = 0x28
	selCode32    = 0x30
	selTSS       = 0x38 // two entries in long mode
	selLDT       = 0x48 // two
	selConform   = 0x58
	selCode1     = 0x60
	selCode16    = 0x68
	selData16    = 0x70
	selAbsent    = 0x78
	selReadOnly  = 0x80
	selGate      = 0x88 // two
	selTSS2      = 0x98
	selTaskGate  = 0xa0
	selTSS16     = 0xa8
	selData1     = 0xb0
	selExecute   = 0xb8
	selBoth      = 0xc0 // L and D
	selBig       = 0xc8 // expand-down
	selCode16Far = 0xd0 // with a base
	selEnd       = 0xd8
)

type sysAPIC struct {
	pending []uint8
	tpr     uint8
	resets  int
	msr     map[uint32]uint64
}

func (a *sysAPIC) Pending() bool { return len(a.pending) > 0 }
func (a *sysAPIC) Acknowledge() (uint8, bool) {
	if len(a.pending) == 0 {
		return 0, false
	}
	v := a.pending[0]
	a.pending = a.pending[1:]
	return v, true
}
func (a *sysAPIC) EOI()                    {}
func (a *sysAPIC) ReadMMIO(uint64, []byte) {}
func (a *sysAPIC) WriteMMIO(uint64, []byte) {
}
func (a *sysAPIC) ReadMSR(n uint32) (uint64, bool) { v, ok := a.msr[n]; return v, ok }
func (a *sysAPIC) WriteMSR(n uint32, v uint64) bool {
	_, ok := a.msr[n]
	if ok {
		a.msr[n] = v
	}
	return ok
}
func (a *sysAPIC) Base() (uint64, bool) { return 0xfee00000, true }
func (a *sysAPIC) X2APIC() bool         { return false }
func (a *sysAPIC) TPR() uint8           { return a.tpr }
func (a *sysAPIC) SetTPR(v uint8)       { a.tpr = v }
func (a *sysAPIC) Notify(uint8, uint32) {}
func (a *sysAPIC) Deadline() uint64     { return ^uint64(0) }
func (a *sysAPIC) Tick(uint64)          {}
func (a *sysAPIC) Reset()               { a.resets++ }

// sysClock moves on by a microsecond a look.
type sysClock struct{ now, hz uint64 }

func (c *sysClock) TSC() uint64 { c.now += c.hz / 1e6; return c.now }
func (c *sysClock) Hz() uint64  { return c.hz }

// sysHandler remembers port writes; reads answer the port's number.
type sysHandler struct {
	nobody
	wrote map[uint16]uint64
	msr   map[uint32]uint64
}

func (h *sysHandler) PortRead(port uint16, p []byte)  { putLittle(p, uint64(port)*0x01010101) }
func (h *sysHandler) PortWrite(port uint16, p []byte) { h.wrote[port] = little(p) }
func (h *sysHandler) ReadMSR(_ int, n uint32) (uint64, bool) {
	v, ok := h.msr[n]
	return v, ok
}
func (h *sysHandler) WriteMSR(_ int, n uint32, v uint64) bool {
	_, ok := h.msr[n]
	if ok {
		h.msr[n] = v
	}
	return ok
}

// sysRig is a processor with descriptor tables, in one of the modes.
type sysRig struct {
	t     testing.TB
	c     *CPU
	ram   []byte
	apic  *sysAPIC
	clock *sysClock
	out   *sysHandler
}

func newSysRig(t testing.TB) *sysRig {
	t.Helper()
	mem := memory.New()
	require.NoError(t, mem.AddRAM(0, rigRAM))
	t.Cleanup(func() { mem.Close() })
	r := &sysRig{t: t, ram: mem.Slots()[0].Host, clock: &sysClock{hz: 2e9}}
	r.apic = &sysAPIC{msr: map[uint32]uint64{msrAPICBase: 0xfee00900, msrTSCDeadline: 0, 0x808: 0}}
	r.out = &sysHandler{wrote: map[uint16]uint64{}, msr: map[uint32]uint64{0x1234: 77}}
	m := NewMachine(mem, r.clock)
	c, err := newTestCPU(m, CPUConfig{CPUs: 1, APIC: r.apic, UINTR: true, BusHz: 25e6})
	require.NoError(t, err)
	c.handler = r.out
	c.sleeping.Store(false)
	r.c = c
	return r
}

func (r *sysRig) put64(at int, v uint64)   { bin.LittleEndian.PutUint64(r.ram[at:], v) }
func (r *sysRig) put32(at int, v uint32)   { bin.LittleEndian.PutUint32(r.ram[at:], v) }
func (r *sysRig) put16(at int, v uint16)   { bin.LittleEndian.PutUint16(r.ram[at:], v) }
func (r *sysRig) get64(at uint64) uint64   { return bin.LittleEndian.Uint64(r.ram[at:]) }
func (r *sysRig) get32(at uint64) uint32   { return bin.LittleEndian.Uint32(r.ram[at:]) }
func (r *sysRig) get16(at uint64) uint16   { return bin.LittleEndian.Uint16(r.ram[at:]) }
func (r *sysRig) gdt(sel uint16, v uint64) { r.put64(atGDT+int(sel&^7), v) }

// desc is a descriptor: limit in units of its granularity, attr as segment.attr.
func desc(base uint64, limit uint32, attr uint16) uint64 {
	return uint64(limit&0xffff) | base&0xffffff<<16 | uint64(attr&0xff)<<40 | uint64(limit>>16&15)<<48 | uint64(attr>>8&15)<<52 | base>>24&0xff<<56
}

// gateOf is the lower half of a gate.
func gateOf(sel uint16, off uint64, kind uint8, dpl uint8) uint64 {
	return off&0xffff | uint64(sel)<<16 | uint64(kind)<<40 | uint64(dpl)<<45 | 1<<47 | off>>16&0xffff<<48
}

const (
	attrCode0 = attrP | attrS | attrCode | attrReadable
	attrData0 = attrP | attrS | attrWritable
	dpl1      = 1 << 5
	dpl3      = 3 << 5
	flat32    = attrDB | attrG
	maxLimit  = 0xfffff
)

// tables fills GDT, LDT and TSS.
func (r *sysRig) tables(long bool) {
	r.gdt(selCode64, desc(0, maxLimit, attrCode0|attrL|attrG))
	r.gdt(selData, desc(0, maxLimit, attrData0|flat32))
	r.gdt(selUser32, desc(0, maxLimit, attrCode0|dpl3|flat32))
	r.gdt(selUserData, desc(0, maxLimit, attrData0|dpl3|flat32))
	r.gdt(selUser64, desc(0, maxLimit, attrCode0|dpl3|attrL|attrG))
	r.gdt(selCode32, desc(0, maxLimit, attrCode0|flat32))
	r.gdt(selTSS, desc(atTSS, 0x20ff, attrP|typeTSS))
	r.gdt(selLDT, desc(atLDT, 0xff, attrP|typeLDT))
	conform := uint16(attrCode0 | attrConforming | flat32)
	if long {
		conform = attrCode0 | attrConforming | attrL | attrG
	}
	r.gdt(selConform, desc(0, maxLimit, conform))
	r.gdt(selCode1, desc(0, maxLimit, attrCode0|dpl1|flat32))
	r.gdt(selCode16, desc(0, 0xffff, attrCode0))
	r.gdt(selData16, desc(0, 0xffff, attrData0))
	r.gdt(selAbsent, desc(0, maxLimit, attrData0&^attrP|flat32))
	r.gdt(selReadOnly, desc(0, maxLimit, attrP|attrS|flat32))
	r.gdt(selTSS2, desc(atTSS2, 0x67, attrP|typeTSS))
	r.gdt(selTaskGate, gateOf(selTSS2, 0, typeTask, 0))
	r.gdt(selTSS16, desc(atTSS2, 0x2b, attrP|typeTSS16))
	r.gdt(selData1, desc(0, maxLimit, attrData0|dpl1|flat32))
	r.gdt(selExecute, desc(0, maxLimit, attrP|attrS|attrCode|flat32))
	r.gdt(selBoth, desc(0, maxLimit, attrCode0|attrL|flat32))
	r.gdt(selBig, desc(0, 0xfff, attrData0|attrDown|attrDB))
	r.c.gdtr = table{atGDT, selEnd - 1}
	r.c.seg[tr] = segment{base: atTSS, limit: 0x20ff, sel: selTSS, attr: attrP | typeTSSBusy}
	r.put64(atLDT+8, desc(0, maxLimit, attrData0|flat32))
	if long {
		r.put64(atTSS+4, stack0)
		r.put64(atTSS+12, stack1)
		r.put64(atTSS+36, stackIST)
	} else {
		r.put32(atTSS+4, stack0)
		r.put32(atTSS+8, selData)
		r.put32(atTSS+12, stack1)
		r.put32(atTSS+16, selData1|1)
	}
	r.put16(atTSS+tssIOMap, 0x68)
}

// enter loads CS and the data segments; the CPL is CS's RPL.
func (r *sysRig) enter(csSel, ssSel uint16) {
	c := r.c
	load := func(i int, sel uint16) {
		d := descriptor{low: r.get64(uint64(atGDT + int(sel&^7)))}
		c.seg[i] = d.segment(sel)
	}
	load(cs, csSel)
	for _, i := range []int{ss, ds, es, fs, gs} {
		load(i, ssSel)
	}
	c.cpl = uint8(csSel & 3)
	c.r[rsp] = stack0
	if c.cpl == 3 {
		c.r[rsp] = stack3
	}
	c.rflags = 0
	c.updateMode()
	c.rip = atCode
}

// protectedRig is protected mode without paging.
func protectedRig(t testing.TB) *sysRig {
	r := newSysRig(t)
	r.tables(false)
	r.c.cr0 = cr0PE | cr0ET
	for v := range 256 {
		r.put64(atIDT+v*8, gateOf(selCode32, handler(v), typeInterrupt, 3))
	}
	r.c.idtr = table{atIDT, 0x7ff}
	r.enter(selCode32, selData)
	return r
}

// longRig is 64-bit mode with 4-level paging: 4 KiB pages that everybody may use.
func longRig(t testing.TB) *sysRig {
	r := newSysRig(t)
	r.tables(true)
	r.put64(atPML4, atPDPT|7)
	r.put64(atPDPT, atPD|7)
	r.put64(atPD, atPT|7)
	for i := range 512 {
		r.put64(atPT+8*i, uint64(i)<<12|7)
	}
	c := r.c
	c.cr0, c.cr3, c.cr4, c.efer = cr0PE|cr0ET|cr0PG|cr0WP|cr0NE, atPML4, cr4PAE, eferLME|eferLMA|eferSCE|eferNXE
	for v := range 256 {
		r.put64(atIDT+v*16, gateOf(selCode64, handler(v), typeInterrupt, 3))
		r.put64(atIDT+v*16+8, 0)
	}
	c.idtr = table{atIDT, 0xfff}
	r.enter(selCode64, selData)
	return r
}

// realRig is real mode at 0:atCode.
func realRig(t testing.TB) *sysRig {
	r := newSysRig(t)
	c := r.c
	c.seg[cs] = segment{limit: 0xffff, attr: attrP | attrS | attrWritable | attrAccessed}
	for v := range 256 {
		r.put32(v*4, uint32(handler(v)))
	}
	c.idtr = table{0, 0x3ff}
	c.r[rsp] = 0x7000
	c.updateMode()
	c.rip = atCode
	return r
}

// handler is where vector v goes.
func handler(v int) uint64 { return atVector + uint64(v)*16 }

func (r *sysRig) code(b ...byte) *sysRig {
	copy(r.ram[r.c.rip+r.c.bases[cs]:], b)
	r.c.dropAll()
	return r
}

// step runs one instruction, or takes one event.
func (r *sysRig) step() error {
	c := r.c
	if p := c.pending.Load() &^ c.ignore; p != 0 || c.halted {
		if again, err := c.attend(p); again || err != nil {
			return err
		}
	}
	if !c.one() {
		c.except()
	}
	c.ignore = 0
	return nil
}

func (r *sysRig) steps(n int) {
	r.t.Helper()
	for range n {
		require.NoError(r.t, r.step())
	}
}

// vector is the vector whose handler execution is at, or -1.
func (r *sysRig) vector() int {
	if d := int(r.c.rip) - atVector; d >= 0 && d%16 == 0 && d < 256*16 {
		return d / 16
	}
	return -1
}

// top is the nth word of the stack, of the width that gates of the mode push.
func (r *sysRig) top(n int) uint64 {
	c := r.c
	at := c.seg[ss].base + c.r[rsp]
	switch {
	case c.long():
		return r.get64(c.r[rsp] + 8*uint64(n))
	case c.real():
		return uint64(r.get16(at&0xffff + 2*uint64(n)))
	}
	return uint64(r.get32(at + 4*uint64(n)))
}

// faults says what a step did: the vector and its error code.
func (r *sysRig) faults(vector int, code uint64, about string) {
	r.t.Helper()
	require.Equal(r.t, vector, r.vector(), "%s: rip %#x", about, r.c.rip)
	if vector >= 0 && hasCode(vector) {
		require.Equal(r.t, code, r.top(0), "%s: error code", about)
	}
}

func hasCode(v int) bool { return v == 8 || v >= 10 && v <= 14 || v == 17 }
