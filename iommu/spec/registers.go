package spec

// Register offsets in the 4 KiB register page, VT-d §11.4 and `iommu.md §1.1`. Each is 32 or 64 bits wide as noted.
const (
	RegVER     = 0x00 // 32, version
	RegCAP     = 0x08 // 64, capabilities
	RegECAP    = 0x10 // 64, extended capabilities
	RegGCMD    = 0x18 // 32, global command
	RegGSTS    = 0x1C // 32, global status
	RegFSTS    = 0x34 // 32, fault status
	RegFECTL   = 0x38 // 32, fault event control
	RegFEDATA  = 0x3C // 32, fault event data
	RegFEADDR  = 0x40 // 32, fault event address
	RegFEUADDR = 0x44 // 32, fault event upper address
	RegIRTA    = 0xB8 // 64, interrupt-remapping table address
	RegFRCD    = 0x220
	RegVCCAP   = 0xE30 // 64, virtual command capability: 0
	RegVendor  = 0xF00 // vendor page, see VendorMagic

	PageBytes = 0x1000
	Version   = 0x10 // 1.0
)

// Bits of CAP, VT-d §11.4.
const (
	capFROShift = 24 // of the first fault record, in 16-byte units
	capNFRShift = 40 // number of fault records minus 1
	CapPI       = uint64(1) << 59
	CapESIRTPS  = uint64(1) << 62 // SIRTP invalidates the interrupt entry cache
)

// CapFaultRecords is the part of CAP that says where n fault records are.
func CapFaultRecords(n int) uint64 {
	return RegFRCD/16<<capFROShift | uint64(n-1)<<capNFRShift
}

// Bits of ECAP, VT-d §11.4.
const (
	EcapC   = uint64(1) << 0 // table reads snoop the processors' caches
	EcapIR  = uint64(1) << 3
	EcapEIM = uint64(1) << 4
)

// Bits of GCMD and GSTS, which share positions, VT-d §11.4.
const (
	GlobalIRE   = uint32(1) << 25 // level: remap interrupts
	GlobalSIRTP = uint32(1) << 24 // one-shot: latch IRTA
	GlobalCFI   = uint32(1) << 23 // level: let compatibility-format requests through
)

// Bits of FSTS, VT-d §11.4.
const (
	FaultPFO      = uint32(1) << 0 // overflow, RW1C
	FaultPPF      = uint32(1) << 1 // a record is pending, RO
	FaultFRIShift = 8              // index of the first pending record
)

// Bits of FECTL, VT-d §11.4.
const (
	EventIM = uint32(1) << 31 // masked
	EventIP = uint32(1) << 30 // pending, RO
)

// Fields of IRTA, VT-d §11.4.
const (
	irtaBase = ^uint64(0xFFF)
	irtaEIME = uint64(1) << 11
	irtaSize = uint64(0xF)
)

// IRTA is the value of the interrupt-remapping table address register.
type IRTA uint64

// NewIRTA describes a table of 2^(size+1) entries at the page-aligned base; eime selects 32-bit destinations.
func NewIRTA(base uint64, size uint8, eime bool) IRTA {
	v := base&irtaBase | uint64(size)&irtaSize
	if eime {
		v |= irtaEIME
	}
	return IRTA(v)
}

func (r IRTA) Base() uint64    { return uint64(r) & irtaBase }
func (r IRTA) EIME() bool      { return uint64(r)&irtaEIME != 0 }
func (r IRTA) Entries() uint32 { return 2 << (uint64(r) & irtaSize) }

// Defined is r without reserved bits. EIME is one of them when the unit has no extended interrupt mode.
func (r IRTA) Defined(eim bool) IRTA {
	mask := irtaBase | irtaSize
	if eim {
		mask |= irtaEIME
	}
	return IRTA(uint64(r) & mask)
}
