package vmm

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/iommu/spec"
	uspec "gvmm/uintr/spec"
	"gvmm/vcpu"
)

// attackRig is a machine whose edu device attacks the first disk: it can send any message and access any address. Firmware has translated the disk's
// DMA (translate), and remaps interrupts by a table at irt.
type attackRig struct {
	*Machine
	t testing.TB
}

const (
	attackIRT  = 0x200_0000
	attackPool = 0x210_0000 // the disk's UPIDs
	attackList = 0x211_0000 // of pools
)

func newAttackRig(t testing.TB) *attackRig {
	image := guestImage(t, "guest")
	disk, _ := newDisk(t, 512)
	m := newMachine(t, Config{
		Image: image, UINTR: true, Posted: true, IOMMU: true, Edu: true, Accel: vcpu.AccelSoft, Memory: 128 * MiB, Disks: []Disk{{Path: disk, ReadOnly: true}},
	})
	m.translate(t, func(page uint64) bool { return page == 0x5000 })
	r := &attackRig{m, t}
	m.bus.WriteConfig(eduRID, 4, []byte{6, 0})
	pool := make(spec.PoolEntry, spec.PoolBytes)
	pool.Put(spec.Pool{Base: attackPool, Count: 4, Domain: 0})
	require.NoError(t, m.memory.WriteAt(pool, attackList))
	require.NoError(t, m.memory.Store64(attackPool, uint64(uspec.NewControl(0xEC, 0))))
	r.entry(5, spec.NewRemapped(0x41, spec.Fixed, 0, spec.OnlyFrom(uint16(m.devices[0].requester))))
	r.entry(6, spec.NewUserPosted(1, attackPool, false, uint16(eduRID)))
	r.write64(spec.RegVendor+spec.VendorRegBase, attackList)
	r.write64(spec.RegVendor+spec.VendorRegCount, 1)
	r.write64(spec.RegIRTA, uint64(spec.NewIRTA(attackIRT, 7, true)))
	for _, v := range []uint32{spec.GlobalSIRTP, 0} {
		r.write32(spec.RegGCMD, spec.GlobalTE|spec.GlobalQIE|spec.GlobalIRE|v)
	}
	r.write32(spec.RegVendor+spec.VendorRegControl, spec.VendorEnable|spec.VendorLoad)
	return r
}

func (r *attackRig) write64(off, v uint64) {
	r.iommu.WriteMMIO(off, binary.LittleEndian.AppendUint64(nil, v))
}

func (r *attackRig) write32(off uint64, v uint32) {
	r.iommu.WriteMMIO(off, binary.LittleEndian.AppendUint32(nil, v))
}

func (r *attackRig) entry(index uint64, e spec.IRTE) {
	require.NoError(r.t, r.memory.Store64(attackIRT+index*16+8, e.Hi))
	require.NoError(r.t, r.memory.Store64(attackIRT+index*16, e.Lo))
}

// transfer has the device move bytes between its buffer and an address.
func (r *attackRig) transfer(addr uint64, n uint64, write bool) {
	region, _ := r.space.at(eduBAR, 4)
	source, destination, command := addr, uint64(0x40000), uint64(1)
	if write {
		source, destination, command = destination, source, 3
	}
	for i, v := range []uint64{source, destination, n, command} {
		region.WriteMMIO(0x80+8*uint64(i), binary.LittleEndian.AppendUint64(nil, v))
	}
}

// TestAttacksOfADevice has each attack refused, recorded under the attacker's requester id, and leave memory and processors as they were.
func TestAttacksOfADevice(t *testing.T) {
	r := newAttackRig(t)
	before := make([]byte, r.config.Memory)
	require.NoError(t, r.memory.ReadAt(before, 0))
	for name, c := range map[string]struct {
		addr   uint64
		write  bool
		reason spec.Reason
	}{
		"the disk's interrupt index":      {spec.NewRequest(5, false, 0).Address, true, spec.SourceRefused},
		"the disk's UPID":                 {spec.NewRequest(6, false, 0).Address, true, spec.PoolDenied},
		"an index that is not there":      {spec.NewRequest(7, false, 0).Address, true, spec.EntryNotPresent},
		"an index beyond the table":       {spec.NewRequest(256, false, 0).Address, true, spec.IndexOutOfRange},
		"a message in the old format":     {0xFEE0_0000, true, spec.CompatBlocked},
		"a read of the interrupt range":   {0xFEE0_0000, false, spec.ReadDenied},
		"the disk's buffers":              {0x10_0000, true, spec.ContextNotPresent},
		"the kernel's text":               {0x10_0000, false, spec.ContextNotPresent},
		"the interrupt-remapping table":   {attackIRT + 0x50, true, spec.ContextNotPresent},
		"the UPID by DMA":                 {attackPool, true, spec.ContextNotPresent},
		"the unit's registers":            {iommuBase + spec.RegGCMD, true, spec.ContextNotPresent},
		"the last address that there is":  {^uint64(3), true, spec.ContextNotPresent},
		"the doorbell page of the disk":   {barBase, true, spec.ContextNotPresent},
		"an address that is not mappable": {1 << 63, false, spec.ContextNotPresent},
	} {
		t.Run(name, func(t *testing.T) {
			refused := r.requester(eduRID).Faults[c.reason]
			r.transfer(c.addr, 4, c.write)
			require.Equal(t, refused+1, r.requester(eduRID).Faults[c.reason])
			faults := r.iommu.Faults()
			last := faults[len(faults)-1]
			require.Equal(t, []any{eduRID, c.reason, true}, []any{last.Requester, last.Reason, last.Recorded})
			record := (len(faults) - 1) % 8
			p := make([]byte, 8)
			r.iommu.ReadMMIO(spec.RegFRCD+16*uint64(record)+8, p)
			got := spec.FaultRecord{Hi: binary.LittleEndian.Uint64(p)}
			require.True(t, got.Pending())
			require.Equal(t, uint16(eduRID), got.SID())
			r.iommu.WriteMMIO(spec.RegFRCD+16*uint64(record)+8, p) // F is cleared
		})
	}
	after, err := r.memory.View(0, r.config.Memory)
	require.NoError(t, err)
	require.True(t, string(before) == string(after), "memory is as it was")
	require.False(t, r.engine.(*softEngine).chip.Local(0).Pending())
	require.Empty(t, r.requester(r.devices[0].requester).Faults)
	for _, f := range r.Report().Refused {
		require.Equal(t, "edu", f.Device)
	}
}
