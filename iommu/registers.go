package iommu

import (
	"encoding/binary"

	"gvmm/iommu/spec"
	"gvmm/vmm/pci"
)

var _ pci.Region = (*Unit)(nil)

// registers is the state behind the register page that the paths of messages and of DMA do not need. Unit.mu guards it.
type registers struct {
	irta        spec.IRTA // as written; SIRTP latches it
	latched     bool      // IRTPS
	rtaddr      spec.RTADDR
	rootLatched bool // RTPS

	fsts    uint32 // without PPF and FRI
	records [faultRecords]spec.FaultRecord
	next    int            // the record that the next fault takes
	first   int            // FRI
	event   eventRegisters // of faults

	iqa        spec.IQA // as written; QIE latches it
	iqt        uint64
	iqercd     uint64
	ics        uint32
	completion eventRegisters // of the queue
	queue      queueState

	ccmd  spec.ContextCommand
	iva   uint64
	iotlb spec.IOTLBCommand

	waits settling
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
	var word [8]byte
	copy(word[:], p)
	v := binary.LittleEndian.Uint64(word[:])
	if u.cfg.Trace != nil {
		u.cfg.Trace(written{off, len(p), v})
	}
	if len(p) == 8 {
		u.store(off, v, low|high)
		return
	}
	shift := off & 4 * 8
	u.store(off&^7, v<<shift, low<<shift)
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
		cap, _ := u.cfg.Capabilities()
		return cap
	case spec.RegECAP:
		_, ecap := u.cfg.Capabilities()
		return ecap
	case spec.RegGCMD:
		return uint64(u.status()) << 32
	case spec.RegFSTS &^ 7:
		return uint64(r.faultStatus()) << 32
	case spec.RegFECTL:
		return r.event.loadControl()
	case spec.RegFEADDR:
		return r.event.loadAddress()
	case spec.RegIRTA:
		return uint64(r.irta)
	}
	if i, upper, ok := recordAt(off); ok {
		if upper {
			return r.records[i].Hi
		}
		return r.records[i].Lo
	}
	if u.cfg.DMA {
		return r.loadTranslation(off)
	}
	return 0
}

// loadTranslation reads the registers that exist with queued invalidation and DMA remapping.
func (r *registers) loadTranslation(off uint64) uint64 {
	switch off {
	case spec.RegRTADDR:
		return uint64(r.rtaddr)
	case spec.RegCCMD:
		return uint64(r.ccmd)
	case spec.RegIQH:
		return r.queue.head
	case spec.RegIQT:
		return r.iqt
	case spec.RegIQA:
		return uint64(r.iqa)
	case spec.RegICS &^ 7:
		return uint64(r.ics) << 32
	case spec.RegIECTL:
		return r.completion.loadControl()
	case spec.RegIEADDR:
		return r.completion.loadAddress()
	case spec.RegIQERCD:
		return r.iqercd
	case spec.RegIOTLB:
		return uint64(r.iotlb)
	}
	return 0 // IVA is write-only
}

// store writes the bytes of v that mask covers (the lower half, the upper half, or both) to the registers at off, a multiple of 8.
func (u *Unit) store(off, v, mask uint64) {
	if off >= spec.RegVendor {
		u.storeVendor(off-spec.RegVendor, v, mask)
		return
	}
	u.mu.Lock()
	out := u.storeLocked(off, v, mask)
	if u.cfg.DMA {
		out = u.storeTranslation(off, v, mask, out)
		out = u.settleNow(out)
	}
	u.mu.Unlock()
	u.sendEvents(out)
}

func (u *Unit) storeLocked(off, v, mask uint64) (out []pci.Message) {
	r := &u.regs
	switch off {
	case spec.RegGCMD:
		if mask&low != 0 {
			u.command(uint32(v))
		}
	case spec.RegFSTS &^ 7:
		r.storeFaultStatus(uint32((v & mask) >> 32))
	case spec.RegFECTL:
		out = r.event.storeControl(v, mask, out)
	case spec.RegFEADDR:
		r.event.storeAddress(v, mask, u.cfg.X2APIC)
	case spec.RegIRTA:
		r.irta = spec.IRTA(uint64(r.irta)&^mask | v&mask).Defined(u.cfg.X2APIC)
	}
	if i, upper, ok := recordAt(off); ok && upper {
		r.records[i] = r.records[i].Clear(v & mask)
		r.cleared()
	}
	return out
}

// storeTranslation writes the registers that exist with queued invalidation and DMA remapping.
func (u *Unit) storeTranslation(off, v, mask uint64, out []pci.Message) []pci.Message {
	r := &u.regs
	switch off {
	case spec.RegRTADDR:
		r.rtaddr = spec.RTADDR(uint64(r.rtaddr)&^mask | v&mask).Defined()
	case spec.RegCCMD:
		c := spec.ContextCommand(uint64(r.ccmd)&^mask | v&mask)
		if mask&high != 0 {
			u.contextCommand(c)
		} else if r.waits.context == nil {
			r.ccmd = c
		}
	case spec.RegIQT:
		if mask&low != 0 {
			r.iqt = v & spec.IQTDefined
		}
	case spec.RegIQA:
		r.iqa = spec.IQA(uint64(r.iqa)&^mask | v&mask).Defined()
	case spec.RegICS &^ 7:
		if uint32((v&mask)>>32)&spec.CompletionIWC != 0 {
			r.ics = 0
			r.completion.serviced()
		}
	case spec.RegIECTL:
		return r.completion.storeControl(v, mask, out)
	case spec.RegIEADDR:
		r.completion.storeAddress(v, mask, u.cfg.X2APIC)
	case spec.RegIVA:
		r.iva = (r.iva&^mask | v&mask) & spec.IVADefined
	case spec.RegIOTLB:
		if mask&high != 0 {
			u.iotlbCommand(spec.IOTLBCommand(v & mask))
		}
	}
	return out
}

// storeFaultStatus clears what is written 1. The queue goes on where IQE stopped it.
func (r *registers) storeFaultStatus(v uint32) {
	r.fsts &^= v & (spec.FaultPFO | spec.FaultIQE | spec.FaultICE | spec.FaultITE)
	if r.fsts&spec.FaultIQE == 0 {
		r.iqercd = 0
	}
	r.cleared()
}

// Capabilities are CAP and ECAP of a unit that is made of c.
func (c Config) Capabilities() (cap, ecap uint64) {
	cap, ecap = spec.CapFaultRecords(faultRecords)|spec.CapESIRTPS, spec.EcapC|spec.EcapIR
	if c.Posted {
		cap |= spec.CapPI
	}
	if c.X2APIC {
		ecap |= spec.EcapEIM
	}
	if c.DMA {
		cap |= spec.CapTranslation(c.width())
		ecap |= spec.EcapTranslation
	}
	return cap, ecap
}

func (c Config) width() int {
	if c.Width == 0 {
		return 48
	}
	return c.Width
}
