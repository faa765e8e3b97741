package irqchip

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vmm/pci"
)

// told is one call of SoftConfig.Signal.
type told struct {
	cpu    int
	signal Signal
	vector uint8
}

// rig is a machine's controllers with a clock that the test turns and signals that it reads.
type rig struct {
	*Soft
	t   testing.TB
	now atomic.Uint64

	mu   sync.Mutex
	told []told
}

func newRig(t testing.TB, cpus int, change ...func(*SoftConfig)) *rig {
	r := &rig{t: t}
	cfg := SoftConfig{CPUs: cpus, Hz: 1e9, Now: r.now.Load, Signal: r.record}
	for _, c := range change {
		c(&cfg)
	}
	r.Soft = NewSoft(cfg)
	return r
}

// newListeningRig makes one whose local APICs are enabled by software.
func newListeningRig(t testing.TB, cpus int, change ...func(*SoftConfig)) *rig {
	r := newRig(t, cpus, change...)
	for _, l := range r.locals {
		r.write(l, regSVR, 0x1FF)
	}
	return r
}

func (r *rig) record(cpu int, s Signal, vector uint8) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, told{cpu, s, vector})
}

// take is what was signalled since the last take.
func (r *rig) take() []told {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.told = nil }()
	return r.told
}

// write writes a register as the APIC's mode has it.
func (r *rig) write(l *Local, g reg, v uint32) {
	if l.X2APIC() {
		require.True(r.t, l.WriteMSR(msrX2APIC+uint32(g), uint64(v)))
		return
	}
	l.WriteMMIO(uint64(g)*16, binary.LittleEndian.AppendUint32(nil, v))
}

func (r *rig) read(l *Local, g reg) uint32 {
	if l.X2APIC() {
		v, ok := l.ReadMSR(msrX2APIC + uint32(g))
		require.True(r.t, ok)
		return uint32(v)
	}
	var p [4]byte
	l.ReadMMIO(uint64(g)*16, p[:])
	return binary.LittleEndian.Uint32(p[:])
}

// x2apic puts an APIC into x2APIC mode.
func (r *rig) x2apic(l *Local) {
	b, _ := l.ReadMSR(msrAPICBase)
	require.True(r.t, l.WriteMSR(msrAPICBase, b|baseEXTD))
}

// msi sends a fixed, edge-triggered message to a physical destination.
func (r *rig) msi(cpu int, vector uint8) error {
	return r.SendMSI(pci.Message{Address: Address(uint32(cpu)), Data: uint32(vector)})
}

// drain acknowledges and ends all that a processor has, in the order given.
func (r *rig) drain(l *Local) (vectors []uint8) {
	for range 1000 {
		v, ok := l.Acknowledge()
		if !ok {
			require.False(r.t, l.Pending())
			return vectors
		}
		vectors = append(vectors, v)
		l.EOI()
	}
	r.t.Fatal("an endless supply of interrupts")
	return nil
}

// receivers is which processors have vector, as bits; it takes it from them.
func (r *rig) receivers(vector uint8) (set uint64) {
	for i, l := range r.locals {
		for _, v := range r.drain(l) {
			require.Equal(r.t, vector, v)
			require.Zero(r.t, set>>i&1, "twice")
			set |= 1 << i
		}
	}
	return set
}

// setPin writes a redirection table entry.
func (r *rig) setEntry(pin int, e rte) {
	r.ioapicWrite(uint8(ioapicTable+2*pin+1), uint32(e>>32))
	r.ioapicWrite(uint8(ioapicTable+2*pin), uint32(e))
}

func (r *rig) entry(pin int) rte {
	return rte(r.ioapicRead(uint8(ioapicTable+2*pin+1)))<<32 | rte(r.ioapicRead(uint8(ioapicTable+2*pin)))
}

func (r *rig) ioapicWrite(g uint8, v uint32) {
	r.IOAPIC().WriteMMIO(ioregsel, []byte{g, 0, 0, 0})
	r.IOAPIC().WriteMMIO(iowin, binary.LittleEndian.AppendUint32(nil, v))
}

func (r *rig) ioapicRead(g uint8) uint32 {
	r.IOAPIC().WriteMMIO(ioregsel, []byte{g, 0, 0, 0})
	var p [4]byte
	r.IOAPIC().ReadMMIO(iowin, p[:])
	return binary.LittleEndian.Uint32(p[:])
}

func (r *rig) out(port uint16, v uint8) { r.WritePort(port, []byte{v}) }

func (r *rig) in(port uint16) uint8 {
	var p [1]byte
	r.ReadPort(port, p[:])
	return p[0]
}

// startPICs initializes the 8259s as a PC's firmware does, with vectors base and base+8, everything unmasked.
func (r *rig) startPICs(base, icw4 uint8) {
	for _, w := range []struct {
		port uint16
		v    uint8
	}{
		{portMaster, 0x11}, {portMasterData, base}, {portMasterData, 4}, {portMasterData, icw4},
		{portSlave, 0x11}, {portSlaveData, base + 8}, {portSlaveData, 2}, {portSlaveData, 1},
		{portMasterData, 0}, {portSlaveData, 0},
	} {
		r.out(w.port, w.v)
	}
}

const (
	regLVTLINT0 reg = regLVTTimer + lvtLINT0
	regLVTLINT1 reg = regLVTTimer + lvtLINT1
)
