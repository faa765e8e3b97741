package iommu

import (
	"encoding/binary"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/iommu/spec"
	uspec "gvmm/uintr/spec"
	"gvmm/vmm/memory"
	"gvmm/vmm/pci"
)

// Where the test guest keeps things. RAM is [0, ramSize).
const (
	ramSize   = 1 << 20
	irtBase   = 0x1_0000 // 256 entries
	irtSize   = 7
	poolTable = 0x2_0000
	poolA     = 0x3_0000 // 16 UPIDs of domain 1
	poolB     = 0x4_0000 // 16 UPIDs of domain 2
	pidBase   = 0x5_0000

	ridA = pci.RequesterID(0x0108) // domain 1
	ridB = pci.RequesterID(0x0210) // domain 2

	uinv  = 0xEC
	wakeV = 0xED
)

// apics records what reaches the local APICs.
type apics struct {
	mu  sync.Mutex
	got []pci.Message
	err error
}

func (a *apics) SendMSI(m pci.Message) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.got = append(a.got, m)
	return a.err
}

// take returns the messages since the last call.
func (a *apics) take() []pci.Message {
	a.mu.Lock()
	defer a.mu.Unlock()
	got := a.got
	a.got = nil
	return got
}

// rig is a unit, its memory, and the guest that programs it.
type rig struct {
	*Unit
	t    testing.TB
	mem  *memory.Memory
	apic *apics
}

func domains(rid pci.RequesterID) uint16 {
	switch rid {
	case ridA:
		return 1
	case ridB:
		return 2
	}
	return 0
}

// newRig returns a unit in its reset state: x2APIC, posted, two tenants.
func newRig(t testing.TB, edit ...func(*Config)) *rig {
	t.Helper()
	mem := memory.New()
	require.NoError(t, mem.AddRAM(0, ramSize))
	apic := new(apics)
	cfg := Config{Memory: mem, Deliver: apic, X2APIC: true, Posted: true, UserPosted: true, Domain: domains}
	for _, e := range edit {
		e(&cfg)
	}
	u := New(cfg)
	t.Cleanup(func() {
		u.Close()
		_ = mem.Close()
	})
	return &rig{Unit: u, t: t, mem: mem, apic: apic}
}

// newRemappingRig is newRig with remapping on, and where posted interrupts exist the pools of both tenants in force.
func newRemappingRig(t testing.TB, edit ...func(*Config)) *rig {
	t.Helper()
	r := newRig(t, edit...)
	r.write64(spec.RegIRTA, uint64(spec.NewIRTA(irtBase, irtSize, true)))
	r.write32(spec.RegGCMD, spec.GlobalSIRTP)
	r.write32(spec.RegGCMD, spec.GlobalIRE)
	if r.cfg.UserPosted {
		r.loadPools(spec.Pool{Base: poolA, Count: 16, Domain: 1, Tag: 0xA}, spec.Pool{Base: poolB, Count: 16, Domain: 2, Tag: 0xB})
		require.Equal(t, spec.VendorEnable|spec.VendorLoaded, r.read32(spec.RegVendor+0x0C))
		r.write32(spec.RegVendor+0x1C, wakeV)
	}
	return r
}

// loadPools writes the pool table, loads it and enables user posting.
func (r *rig) loadPools(pools ...spec.Pool) {
	r.t.Helper()
	for i, p := range pools {
		e := make(spec.PoolEntry, spec.PoolBytes)
		e.Put(p)
		require.NoError(r.t, r.mem.WriteAt(e, poolTable+uint64(i)*spec.PoolBytes))
	}
	r.write64(spec.RegVendor+spec.VendorRegBase, poolTable)
	r.write32(spec.RegVendor+spec.VendorRegCount, uint32(len(pools)))
	r.write32(spec.RegVendor+spec.VendorRegControl, spec.VendorEnable|spec.VendorLoad)
}

func (r *rig) read32(off uint64) uint32 {
	p := make([]byte, 4)
	r.ReadMMIO(off, p)
	return binary.LittleEndian.Uint32(p)
}

func (r *rig) read64(off uint64) uint64 {
	p := make([]byte, 8)
	r.ReadMMIO(off, p)
	return binary.LittleEndian.Uint64(p)
}

func (r *rig) write32(off uint64, v uint32) {
	r.WriteMMIO(off, binary.LittleEndian.AppendUint32(nil, v))
}

func (r *rig) write64(off, v uint64) {
	r.WriteMMIO(off, binary.LittleEndian.AppendUint64(nil, v))
}

// setEntry writes a table entry.
func (r *rig) setEntry(index uint16, e spec.IRTE) {
	r.t.Helper()
	at := irtBase + uint64(index)*spec.IRTEBytes
	require.NoError(r.t, r.mem.Store64(at+8, e.Hi))
	require.NoError(r.t, r.mem.Store64(at, e.Lo))
}

// raise sends a remappable request for index.
func (r *rig) raise(rid pci.RequesterID, index uint16) error {
	return r.request(rid, spec.NewRequest(index, false, 0))
}

func (r *rig) request(rid pci.RequesterID, q spec.Request) error {
	return r.Sender(rid).SendMSI(pci.Message{Address: q.Address, Data: q.Data})
}

// upid is the UPID at a guest-physical address, initialised to notify uinv at APIC 3.
func (r *rig) upid(at uint64) uspec.UPID {
	r.t.Helper()
	b, err := r.mem.View(at, uspec.UPIDSize)
	require.NoError(r.t, err)
	u := uspec.UPID(b)
	u.Init(uspec.NewControl(uinv, 3), 0)
	return u
}

// fixed is a fixed, physical, edge message.
func fixed(vector uint8, dst uint32) pci.Message {
	address, data := spec.Message{Vector: vector, Destination: dst}.Encode()
	return pci.Message{Address: address, Data: data}
}

// stats are those of one requester.
func (r *rig) stats(rid pci.RequesterID) RequesterStats {
	for _, s := range r.Stats() {
		if s.Requester == rid {
			return s
		}
	}
	r.t.Fatalf("no statistics for %v", rid)
	return RequesterStats{}
}

// record is the fault record i as the guest reads it.
func (r *rig) record(i uint64) spec.FaultRecord {
	return spec.FaultRecord{Lo: r.read64(spec.RegFRCD + 16*i), Hi: r.read64(spec.RegFRCD + 16*i + 8)}
}

// requireFault checks that exactly one fault was recorded, and that nothing reached a local APIC.
func (r *rig) requireFault(err error, rid pci.RequesterID, index uint16, reason spec.Reason) {
	r.t.Helper()
	require.ErrorIs(r.t, err, ErrRefused)
	require.Equal(r.t, spec.NewInterruptFault(uint16(rid), index, reason), r.record(0))
	require.False(r.t, r.record(1).Pending())
	require.Equal(r.t, spec.FaultPPF, r.read32(spec.RegFSTS))
	require.Equal(r.t, []Fault{{Requester: rid, Index: index, Reason: reason, Recorded: true}}, r.Faults())
	require.Equal(r.t, map[spec.Reason]uint64{reason: 1}, r.stats(rid).Faults)
	require.Empty(r.t, r.apic.take())
}

// refusal raises index as ridA, which must be refused, and returns why it was.
func (r *rig) refusal(index uint16) spec.Reason {
	r.t.Helper()
	before := len(r.Faults())
	require.ErrorIs(r.t, r.raise(ridA, index), ErrRefused)
	faults := r.Faults()
	require.Len(r.t, faults, before+1)
	return faults[before].Reason
}
