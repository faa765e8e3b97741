package iommu

import (
	"encoding/binary"

	"gvmm/iommu/spec"
	"gvmm/vmm/pci"
)

var _ pci.Region = (*Unit)(nil)

// registers is the state behind the register page that the path of a message does not need. Unit.mu guards it.
type registers struct {
	irta    spec.IRTA // as written; SIRTP latches it
	latched bool      // IRTPS

	fectl, fedata, feaddr, feuaddr uint32

	records  [faultRecords]spec.FaultRecord
	next     int  // the record that the next fault takes
	first    int  // FRI
	overflow bool // PFO

	pools poolRegisters
}

const (
	low  = uint64(0xFFFF_FFFF)
	high = low << 32
)

// ReadMMIO implements [pci.Region] for the register page. Registers are read by aligned accesses of 4 or 8 bytes; any other access, and any beyond
// the page, reads all-ones. Unassigned registers are 0.
func (u *Unit) ReadMMIO(off uint64, p []byte) {
	if !accepts(off, p) {
		for i := range p {
			p[i] = 0xFF
		}
		return
	}
	v := u.load(off &^ 7)
	if len(p) == 8 {
		binary.LittleEndian.PutUint64(p, v)
		return
	}
	binary.LittleEndian.PutUint32(p, uint32(v>>(off&4*8)))
}

// WriteMMIO implements [pci.Region]. Other accesses than aligned ones of 4 or 8 bytes inside the page are ignored.
func (u *Unit) WriteMMIO(off uint64, p []byte) {
	if !accepts(off, p) {
		return
	}
	if len(p) == 8 {
		u.store(off, binary.LittleEndian.Uint64(p), low|high)
		return
	}
	shift := off & 4 * 8
	u.store(off&^7, uint64(binary.LittleEndian.Uint32(p))<<shift, low<<shift)
}

func accepts(off uint64, p []byte) bool {
	n := uint64(len(p))
	return (n == 4 || n == 8) && off%n == 0 && off < spec.PageBytes
}

// load returns the 8 bytes of registers at off, a multiple of 8.
func (u *Unit) load(off uint64) uint64 {
	if off >= spec.RegVendor {
		return u.loadVendor(off - spec.RegVendor)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	r := &u.regs
	switch off {
	case spec.RegVER:
		return spec.Version
	case spec.RegCAP:
		return u.capabilities()
	case spec.RegECAP:
		return u.extendedCapabilities()
	case spec.RegGCMD:
		return uint64(u.status()) << 32
	case spec.RegFSTS &^ 7:
		return uint64(r.faultStatus()) << 32
	case spec.RegFECTL:
		return uint64(r.fectl) | uint64(r.fedata)<<32
	case spec.RegFEADDR:
		return uint64(r.feaddr) | uint64(r.feuaddr)<<32
	case spec.RegIRTA:
		return uint64(r.irta)
	}
	if i, upper, ok := recordAt(off); ok {
		if upper {
			return r.records[i].Hi
		}
		return r.records[i].Lo
	}
	return 0
}

// store writes the bytes of v that mask covers (the lower half, the upper half, or both) to the registers at off, a multiple of 8.
func (u *Unit) store(off, v, mask uint64) {
	if off >= spec.RegVendor {
		u.storeVendor(off-spec.RegVendor, v, mask)
		return
	}
	u.mu.Lock()
	event, fire := u.storeLocked(off, v, mask)
	u.mu.Unlock()
	if fire {
		u.sendEvent(event)
	}
}

func (u *Unit) storeLocked(off, v, mask uint64) (event pci.Message, fire bool) {
	r := &u.regs
	switch off {
	case spec.RegGCMD:
		if mask&low != 0 {
			u.command(uint32(v))
		}
	case spec.RegFSTS &^ 7:
		if uint32((v&mask)>>32)&spec.FaultPFO != 0 {
			r.overflow = false
		}
	case spec.RegFECTL:
		if mask&high != 0 {
			r.fedata = uint32(v >> 32)
		}
		if mask&low != 0 {
			r.fectl = r.fectl&spec.EventIP | uint32(v)&spec.EventIM
			return r.raise()
		}
	case spec.RegFEADDR:
		if mask&low != 0 {
			r.feaddr = uint32(v) &^ 3
		}
		if mask&high != 0 && u.cfg.X2APIC {
			r.feuaddr = uint32(v>>32) &^ 0xFF
		}
	case spec.RegIRTA:
		r.irta = spec.IRTA(uint64(r.irta)&^mask | v&mask).Defined(u.cfg.X2APIC)
	}
	if i, upper, ok := recordAt(off); ok && upper {
		r.clearRecord(i, v&mask)
	}
	return pci.Message{}, false
}

func (u *Unit) capabilities() uint64 {
	v := spec.CapFaultRecords(faultRecords) | spec.CapESIRTPS
	if u.cfg.Posted {
		v |= spec.CapPI
	}
	return v
}

func (u *Unit) extendedCapabilities() uint64 {
	v := spec.EcapC | spec.EcapIR
	if u.cfg.X2APIC {
		v |= spec.EcapEIM
	}
	return v
}

// status is GSTS.
func (u *Unit) status() (v uint32) {
	t := u.live.Load()
	if t.enabled {
		v |= spec.GlobalIRE
	}
	if t.compat {
		v |= spec.GlobalCFI
	}
	if u.regs.latched {
		v |= spec.GlobalSIRTP
	}
	return v
}

// command is a write of GCMD. It has taken effect when it returns; commands that the capabilities do not offer change nothing (`iommu.md §1.3`).
func (u *Unit) command(v uint32) {
	if v&spec.GlobalSIRTP != 0 {
		u.regs.latched = true
	}
	u.change(func(t *tables) {
		if v&spec.GlobalSIRTP != 0 {
			t.irta = u.regs.irta
		}
		// Without a table there is nothing to remap by.
		t.enabled = v&spec.GlobalIRE != 0 && u.regs.latched
		t.compat = v&spec.GlobalCFI != 0
	})
}
