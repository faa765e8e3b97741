package soft

import (
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"gvmm/vcpu"
	"gvmm/vmm/memory"
)

// Clock is guest time.
type Clock interface {
	// TSC is the time stamp counter. It never goes back.
	TSC() uint64
	// Hz is its frequency.
	Hz() uint64
}

// Machine is guest memory and the processors that share it.
type Machine struct {
	slots []memory.Slot
	code  codeMap
	clock Clock
	split sync.Mutex // held for a locked operand that lies in two pages

	mu   sync.Mutex
	cpus atomic.Pointer[[]*CPU]
}

// NewMachine makes a machine over the RAM of mem, which must stay mapped.
func NewMachine(mem *memory.Memory, clock Clock) *Machine {
	m := &Machine{slots: mem.Slots(), clock: clock}
	m.cpus.Store(new([]*CPU))
	m.code.init(m.slots)
	return m
}

// host finds the page of RAM at a physical address.
func (m *Machine) host(pa uint64) (hostPage, bool) {
	for i := range m.slots {
		if s := &m.slots[i]; pa-s.Base < s.Size {
			return hostAt(s.Host, pa-s.Base), true
		}
	}
	return hostPage{}, false
}

// load64 reads a paging-structure entry. Outside RAM there is none.
func (m *Machine) load64(pa uint64) (uint64, bool) {
	h, ok := m.host(pa)
	if !ok {
		return 0, false
	}
	return h.load(pa&0xff8, 8), true
}

func (m *Machine) load32(pa uint64) (uint32, bool) {
	h, ok := m.host(pa)
	if !ok {
		return 0, false
	}
	return uint32(h.load(pa&0xffc, 4)), true
}

// setEntryBits sets bits of a present paging-structure entry in one atomic operation; it is
// false if the entry is not present any more.
func (m *Machine) setEntryBits(pa, set uint64, short bool) bool {
	h, ok := m.host(pa)
	if !ok {
		return false
	}
	n := uint8(8)
	if short {
		n = 4
	}
	for {
		old := h.load(pa&0xfff, n)
		switch {
		case old&pteP == 0:
			return false
		case old&set == set:
			return true
		case h.compareAndSwap(pa&0xfff, n, old, old|set):
			return true
		}
	}
}

// codeMap tells for each page of RAM which processors hold blocks decoded from it.
type codeMap struct {
	slots []codeSlot
}

type codeSlot struct {
	base, size uint64
	owners     []atomic.Uint64 // a bit a processor
}

// maxCPUs is the width of a set of owners.
const maxCPUs = 64

func (m *codeMap) init(slots []memory.Slot) {
	for _, s := range slots {
		m.slots = append(m.slots, codeSlot{s.Base, s.Size, make([]atomic.Uint64, (s.Size+4095)/4096)})
	}
}

// owners is the set of the page's, nil outside RAM.
func (m *codeMap) owners(pa uint64) *atomic.Uint64 {
	for i := range m.slots {
		if s := &m.slots[i]; pa-s.base < s.size {
			return &s.owners[(pa-s.base)>>12]
		}
	}
	return nil
}

func (m *codeMap) holds(pa uint64) bool {
	o := m.owners(pa)
	return o != nil && o.Load() != 0
}

// Written tells the processors that n bytes of RAM at pa were written by somebody
// else: a device, a debugger. It is called after the bytes were written and before
// the guest is told.
func (m *Machine) Written(pa, n uint64) {
	for first := pa &^ 0xfff; first < pa+n; first += 4096 {
		if o := m.code.owners(first); o != nil && o.Load() != 0 {
			from, to := max(pa, first), min(pa+n, first+4096)
			m.invalidate(o.Load(), from, to-from)
		}
	}
}

// invalidate has the processors of the set drop their blocks of a range, before
// their next block.
func (m *Machine) invalidate(owners, pa, n uint64) {
	cpus := *m.cpus.Load()
	for ; owners != 0; owners &= owners - 1 {
		if i := bits.TrailingZeros64(owners); i < len(cpus) {
			cpus[i].inbox.add(pa, n)
			cpus[i].signal(pendingCode)
		}
	}
}

// inbox holds what other processors tell about code pages.
type inbox struct {
	mu      sync.Mutex
	ranges  [16][2]uint64
	n       int
	all     bool          // more ranges than fit
	protect atomic.Uint32 // processors that wait for this one's rights to write to go
	seen    atomic.Uint32 // how many were served
}

func (b *inbox) add(pa, n uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.n == len(b.ranges) {
		b.all = true
		return
	}
	b.ranges[b.n] = [2]uint64{pa, n}
	b.n++
}

// CPUConfig is what a processor is told about its machine.
type CPUConfig struct {
	ID   uint32 // also the local APIC's
	CPUs uint32 // in the machine
	APIC LocalAPIC

	// UINTR shows user interrupts in CPUID.
	UINTR bool
	// Posted is a host with APIC virtualisation and posted interrupts; without it the exits that such a host saves are counted.
	Posted bool
	// Leaves are added to CPUID.
	Leaves []vcpu.Leaf
	// BusHz is the frequency of the local APIC's timer before its divider: CPUID.15H's crystal.
	BusHz uint64
	// Devices have timers that this processor drives; nil for all but one.
	Devices Timers
	// Virtual time: a halted processor returns from Slice instead of sleeping.
	Virtual bool
	// Seed is what RDRAND's numbers come from where time is virtual.
	Seed  uint64
	Trace Tracer
	// JIT translates hot blocks to host code; NewCPU fails with jit.ErrHost on a host that cannot execute it. JITAuto is JITOff.
	JIT vcpu.JIT
}

// Timers are devices that fire by the clock.
type Timers interface {
	// Deadline is the TSC at which the next one is due, all ones for never.
	Deadline() uint64
	Tick(now uint64)
}

// NewCPU adds a processor. Processor 0 starts at the reset vector or where SetPVH
// or SetEntry say, the others when a start-up interrupt comes.
func (m *Machine) NewCPU(config CPUConfig) (*CPU, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := *m.cpus.Load()
	if config.ID >= maxCPUs || int(config.ID) != len(old) {
		return nil, fmt.Errorf("soft: processor %d after %d others; at most %d, in order", config.ID, len(old), maxCPUs)
	}
	c := &CPU{machine: m, id: config.ID, config: config, apic: config.APIC, wake: make(chan struct{}, 1), timer: time.NewTimer(time.Hour), handler: nobody{}}
	for t := range c.tlbs {
		for i := range c.tlbs[t] {
			c.tlbs[t][i].clear(i)
		}
	}
	c.generation = 1 // no context is 0, which an empty jump has
	c.sleeping.Store(true)
	c.cache.init()
	c.powerOn()
	if err := c.startTranslating(config.JIT); err != nil {
		return nil, err
	}
	next := append(append([]*CPU(nil), old...), c)
	m.cpus.Store(&next)
	return c, nil
}

// nobody is the handler before Run.
type nobody struct{}

var _ vcpu.Handler = nobody{}

func (nobody) PortRead(_ uint16, p []byte)        { ones(p) }
func (nobody) PortWrite(uint16, []byte)           {}
func (nobody) MemoryRead(_ uint64, p []byte)      { ones(p) }
func (nobody) MemoryWrite(uint64, []byte)         {}
func (nobody) ReadMSR(int, uint32) (uint64, bool) { return 0, false }
func (nobody) WriteMSR(int, uint32, uint64) bool  { return false }

func ones(p []byte) {
	for i := range p {
		p[i] = 0xff
	}
}

// Code reports whether n bytes of RAM at pa hold instructions that some processor
// decoded.
func (m *Machine) Code(pa, n uint64) bool {
	for first := pa &^ 0xfff; first < pa+n; first += 4096 {
		if m.code.holds(first) {
			return true
		}
	}
	return false
}
