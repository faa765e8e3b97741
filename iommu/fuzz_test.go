package iommu

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/iommu/spec"
	"gvmm/vmm/pci"
)

// outcomes counts what became of a requester's messages; each message is exactly one of them.
func outcomes(s RequesterStats) (n uint64) {
	n = s.Passed + s.Remapped + s.Posted + s.Stray
	for _, f := range s.Faults {
		n += f
	}
	return n
}

// FuzzInterrupt sends one message through one entry, both arbitrary. It must have exactly one outcome, and may write nothing but the descriptor
// that the entry names: for a user post, inside the requester's pool.
func FuzzInterrupt(f *testing.F) {
	seed := func(e spec.IRTE, q spec.Request, control uint64) { f.Add(e.Lo, e.Hi, q.Address, q.Data, control, true) }
	seed(spec.NewRemapped(0x30, spec.Fixed, 1, spec.OnlyFrom(uint16(ridA))), spec.NewRequest(3, false, 0), 0)
	seed(spec.NewPosted(0x30, pidBase, true, spec.OnlyFrom(uint16(ridA))), spec.NewRequest(1, true, 2), 0)
	seed(spec.NewUserPosted(5, poolA, true, uint16(ridA)), spec.NewRequest(3, false, 0), 2)
	seed(spec.NewUserPosted(5, poolB, false, uint16(ridA)), spec.NewRequest(3, false, 0), 1)
	seed(spec.IRTE{}, spec.Request{Address: 0xFEE0_1000, Data: 0x30}, 0)
	f.Fuzz(func(t *testing.T, lo, hi, address uint64, data uint32, control uint64, eime bool) {
		r := newRemappingRig(t)
		r.write64(spec.RegIRTA, uint64(spec.NewIRTA(irtBase, irtSize, eime)))
		r.write32(spec.RegGCMD, spec.GlobalIRE|spec.GlobalSIRTP)
		e := spec.IRTE{Lo: lo, Hi: hi}
		r.setEntry(3, e)
		for _, at := range []uint64{poolA, poolB, pidBase + spec.PIDControl} {
			require.NoError(t, r.mem.Store64(at, control))
		}
		ram, err := r.mem.View(0, ramSize)
		require.NoError(t, err)
		before := bytes.Clone(ram)

		err = r.Sender(ridA).SendMSI(pci.Message{Address: address, Data: data})

		s := r.stats(ridA)
		require.Equal(t, uint64(1), outcomes(s))
		if err != nil {
			require.ErrorIs(t, err, ErrRefused)
			require.Empty(t, r.apic.take())
		}
		if s.Posted == 0 {
			require.True(t, bytes.Equal(before, ram), "guest memory changed without a post")
			return
		}
		require.Equal(t, uint64(1), s.Notified+s.Coalesced+s.Suppressed)
		start, size := e.PDA(), uint64(spec.PIDBytes)
		if s.UserPosted == 1 {
			require.True(t, start >= poolA && start < poolA+16*64)
		}
		for _, at := range [][2]uint64{{0, start}, {start + size, ramSize}} {
			require.True(t, bytes.Equal(before[at[0]:at[1]], ram[at[0]:at[1]]), "guest memory changed outside the descriptor")
		}
	})
}

// FuzzRegisters plays a sequence of register accesses and messages: 11 bytes an operation (kind, offset, value).
func FuzzRegisters(f *testing.F) {
	op := func(kind byte, off uint16, v uint64) []byte {
		return binary.LittleEndian.AppendUint64(append([]byte{kind}, byte(off), byte(off>>8)), v)
	}
	f.Add(slices.Concat(op(3, spec.RegIRTA, irtBase|0x807), op(2, spec.RegGCMD, 1<<24), op(2, spec.RegGCMD, 1<<25), op(4, 0, 0xFEE0_0010)))
	f.Add(slices.Concat(op(2, spec.RegFECTL, 0), op(2, spec.RegFEADDR, 0xFEE0_0000), op(4, 0, 0xFEE0_0010), op(3, spec.RegFRCD+8, 1<<63)))
	f.Add(slices.Concat(op(3, vendor+0x10, poolTable), op(2, vendor+0x18, 3), op(2, vendor+8, 3), op(1, 0xFFD, 0)))
	f.Fuzz(func(t *testing.T, ops []byte) {
		r := newRemappingRig(t)
		constant := []uint64{r.read64(spec.RegVER), r.read64(spec.RegCAP), r.read64(spec.RegECAP)}
		for ; len(ops) >= 11; ops = ops[11:] {
			off, v := uint64(binary.LittleEndian.Uint16(ops[1:])), binary.LittleEndian.Uint64(ops[3:])
			switch ops[0] % 6 {
			case 0:
				r.ReadMMIO(off, make([]byte, v%17))
			case 1:
				r.WriteMMIO(off, ops[3:3+v%9])
			case 2:
				r.write32(off&0xFFC, uint32(v))
			case 3:
				r.write64(off&0xFF8, v)
			case 4:
				_ = r.Sender(pci.RequesterID(off % 12)).SendMSI(pci.Message{Address: v & 0xFFFF_FFFF, Data: uint32(off)})
			case 5:
				_ = r.raise(ridA, uint16(off))
			}
			r.checkInvariants(t, constant)
		}
	})
}

// checkInvariants checks what holds between registers whatever a guest did.
func (r *rig) checkInvariants(t *testing.T, constant []uint64) {
	t.Helper()
	require.Equal(t, constant, []uint64{r.read64(spec.RegVER), r.read64(spec.RegCAP), r.read64(spec.RegECAP)})
	status := r.read32(spec.RegGSTS)
	require.False(t, status&spec.GlobalIRE != 0 && status&spec.GlobalSIRTP == 0)
	pending := uint32(0)
	sids := map[uint16]bool{}
	for i := range uint64(faultRecords) {
		if rec := r.record(i); rec.Pending() {
			pending = spec.FaultPPF
			require.False(t, sids[rec.SID()], "two records of one requester")
			sids[rec.SID()] = true
		}
	}
	require.Equal(t, pending, r.read32(spec.RegFSTS)&spec.FaultPPF)
	if r.read32(spec.RegFECTL)&spec.EventIP != 0 {
		require.Equal(t, spec.EventIM|spec.EventIP, r.read32(spec.RegFECTL), "an unmasked event does not wait")
		require.NotZero(t, r.read32(spec.RegFSTS)&faultConditions)
	}
}

// FuzzPoolTable loads an arbitrary table and compares who may post where with a plain reading of it.
func FuzzPoolTable(f *testing.F) {
	entry := func(p spec.Pool) []byte {
		e := make(spec.PoolEntry, spec.PoolBytes)
		e.Put(p)
		return e
	}
	a, b := entry(spec.Pool{Base: poolA, Count: 4, Domain: 1}), entry(spec.Pool{Base: poolB, Count: 1, Domain: 2, Tag: 7})
	f.Add(slices.Concat(a, b), uint32(2), uint64(poolTable), uint64(poolA+64))
	f.Add(slices.Concat(b, a, a), uint32(3), uint64(poolTable), uint64(poolB))
	f.Add(entry(spec.Pool{Base: ^uint64(63), Count: ^uint32(0)}), uint32(1), uint64(poolTable), uint64(0))
	f.Add(a, ^uint32(0), ^uint64(31), uint64(poolA))
	f.Fuzz(func(t *testing.T, table []byte, count uint32, base, pda uint64) {
		r := newRemappingRig(t)
		table = table[:min(len(table), 64*spec.PoolBytes)]
		require.NoError(t, r.mem.WriteAt(table, poolTable))
		r.write64(vendor+spec.VendorRegBase, base)
		r.write32(vendor+spec.VendorRegCount, count)
		r.write32(vendor+spec.VendorRegControl, spec.VendorEnable|spec.VendorLoad)

		pools := r.Pools()
		status := r.read32(vendor + 0x0C)
		require.True(t, status == spec.VendorEnable|spec.VendorLoaded || status == spec.VendorEnable|spec.VendorLoadRefused)
		if status&spec.VendorLoaded != 0 {
			require.Len(t, pools, int(count))
		} else {
			require.Empty(t, pools)
		}
		end := uint64(0)
		for _, p := range pools {
			require.True(t, p.Base >= end && p.Base+p.Bytes() <= ramSize, "ascending, disjoint, in RAM")
			end = p.Base + p.Bytes()
		}
		pda &^= 63
		for _, domain := range []uint16{0, 1, 2} {
			want := false
			for _, p := range pools {
				inTable := pda >= irtBase && pda < irtBase+256*16
				want = want || p.Domain == domain && pda >= p.Base && pda < p.Base+p.Bytes() && !inTable
			}
			require.Equal(t, want, r.live.Load().admits(pda, domain))
		}
	})
}
