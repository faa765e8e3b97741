package spec

// Register offsets in the 4 KiB register page, VT-d §11.4 and `iommu.md §1.1`. Each is 32 or 64 bits wide as noted.
const (
	RegVER     = 0x00 // 32, version
	RegCAP     = 0x08 // 64, capabilities
	RegECAP    = 0x10 // 64, extended capabilities
	RegGCMD    = 0x18 // 32, global command
	RegGSTS    = 0x1C // 32, global status
	RegRTADDR  = 0x20 // 64, root table address
	RegCCMD    = 0x28 // 64, context command
	RegFSTS    = 0x34 // 32, fault status
	RegFECTL   = 0x38 // 32, fault event control
	RegFEDATA  = 0x3C // 32, fault event data
	RegFEADDR  = 0x40 // 32, fault event address
	RegFEUADDR = 0x44 // 32, fault event upper address
	RegIQH     = 0x80 // 64, invalidation queue head
	RegIQT     = 0x88 // 64, invalidation queue tail
	RegIQA     = 0x90 // 64, invalidation queue address
	RegICS     = 0x9C // 32, invalidation completion status
	RegIECTL   = 0xA0 // 32, invalidation event control
	RegIEDATA  = 0xA4 // 32, invalidation event data
	RegIEADDR  = 0xA8 // 32, invalidation event address
	RegIEUADDR = 0xAC // 32, invalidation event upper address
	RegIQERCD  = 0xB0 // 64, invalidation queue error
	RegIRTA    = 0xB8 // 64, interrupt-remapping table address
	RegIVA     = 0xF0 // 64, address to invalidate
	RegIOTLB   = 0xF8 // 64, IOTLB invalidate
	RegFRCD    = 0x220
	RegVCCAP   = 0xE30 // 64, virtual command capability: 0
	RegVendor  = 0xF00 // vendor page, see VendorMagic

	PageBytes = 0x1000
	Version   = 0x10 // 1.0
)

// Bits of CAP, VT-d §11.4.2.
const (
	capND         = uint64(6) // 2^16 domains
	capSAGAWShift = 8         // bit n: second-level tables of n+2 levels
	capMGAWShift  = 16        // width of an address, minus 1
	capFROShift   = 24        // of the first fault record, in 16-byte units
	cap2M         = uint64(1) << 34
	cap1G         = uint64(1) << 35
	capPSI        = uint64(1) << 39 // page-selective invalidation
	capNFRShift   = 40              // number of fault records minus 1
	capMAMVShift  = 48
	capDWD        = uint64(1) << 54 // writes are drained
	capDRD        = uint64(1) << 55 // reads are drained
	capESRTPS     = uint64(1) << 63 // SRTP invalidates context cache and IOTLB

	CapPI      = uint64(1) << 59
	CapESIRTPS = uint64(1) << 62 // SIRTP invalidates the interrupt entry cache

	// MaxAddressMask is CAP.MAMV: the largest AM of a page-selective invalidation, 1 GiB.
	MaxAddressMask = 18
)

// CapFaultRecords is the part of CAP that says where n fault records are.
func CapFaultRecords(n int) uint64 {
	return RegFRCD/16<<capFROShift | uint64(n-1)<<capNFRShift
}

// CapTranslation is the part of CAP that offers DMA remapping for addresses of width bits: tables of 3 levels up to the number that width takes.
func CapTranslation(width int) uint64 {
	v := capND | uint64(width-1)<<capMGAWShift | cap2M | cap1G | capPSI | MaxAddressMask<<capMAMVShift | capDWD | capDRD | capESRTPS
	for levels := minLevels; levels <= MaxLevels(width); levels++ {
		v |= 1 << (capSAGAWShift + levels - 2)
	}
	return v
}

// Bits of ECAP, VT-d §11.4.3.
const (
	EcapC   = uint64(1) << 0 // table reads snoop the processors' caches
	EcapIR  = uint64(1) << 3
	EcapEIM = uint64(1) << 4

	ecapQI        = uint64(1) << 1
	ecapPT        = uint64(1) << 6
	ecapIROShift  = 8
	ecapMHMVShift = 20

	// EcapTranslation is the part of ECAP that offers queued invalidation, pass-through, where the IOTLB registers are, and the largest IM of an
	// interrupt entry cache invalidation.
	EcapTranslation = ecapQI | ecapPT | RegIVA/16<<ecapIROShift | MaxIndexMask<<ecapMHMVShift
	// MaxIndexMask is ECAP.MHMV.
	MaxIndexMask = 15
)

// Bits of GCMD and GSTS, which share positions, VT-d §11.4.4.
const (
	GlobalTE    = uint32(1) << 31 // level: translate DMA
	GlobalSRTP  = uint32(1) << 30 // one-shot: latch RTADDR
	GlobalQIE   = uint32(1) << 26 // level: queued invalidation
	GlobalIRE   = uint32(1) << 25 // level: remap interrupts
	GlobalSIRTP = uint32(1) << 24 // one-shot: latch IRTA
	GlobalCFI   = uint32(1) << 23 // level: let compatibility-format requests through
)

// Bits of FSTS, VT-d §11.4.7.1.
const (
	FaultPFO      = uint32(1) << 0 // overflow, RW1C
	FaultPPF      = uint32(1) << 1 // a record is pending, RO
	FaultIQE      = uint32(1) << 4 // invalidation queue error, RW1C
	FaultICE      = uint32(1) << 5 // invalidation completion error, of device TLBs only, RW1C
	FaultITE      = uint32(1) << 6 // invalidation time-out, of device TLBs only, RW1C
	FaultFRIShift = 8              // index of the first pending record
)

// Bits of FECTL and IECTL, VT-d §11.4.7.2.
const (
	EventIM = uint32(1) << 31 // masked
	EventIP = uint32(1) << 30 // pending, RO
)

// CompletionIWC is bit 0 of ICS: a wait descriptor with IF completed, RW1C.
const CompletionIWC = uint32(1) << 0

// QueueError is IQERCD.IQEI, why the queue stopped, VT-d §11.4.9.9.
type QueueError uint8

// Queue errors.
const (
	QueueTail          QueueError = 1 // tail pointer beyond the queue
	QueueFetch         QueueError = 2 // descriptor unreadable
	QueueType          QueueError = 3 // descriptor type invalid
	QueueReserved      QueueError = 4 // reserved field set, or value reserved
	QueueWidth         QueueError = 5 // IQA.DW asks for what the mode does not have
	QueueTailMisplaced QueueError = 6 // tail pointer misaligned
)

// Fields of RTADDR, VT-d §11.4.5.
const rtaddrBase = ^uint64(0xFFF)

// RTADDR is the value of the root table address register. Scalable mode is not offered: bits 11:10 stay 0.
type RTADDR uint64

func (r RTADDR) Base() uint64 { return uint64(r) & rtaddrBase }

// Defined is r without reserved bits.
func (r RTADDR) Defined() RTADDR { return r & RTADDR(rtaddrBase) }

// Fields of IQA, VT-d §11.4.9.3.
const (
	iqaBase = ^uint64(0xFFF)
	iqaDW   = uint64(1) << 11
	iqaQS   = uint64(7)
)

// IQA is the value of the invalidation queue address register.
type IQA uint64

func (r IQA) Base() uint64 { return uint64(r) & iqaBase }

// Wide reports 256-bit descriptors, which need scalable mode.
func (r IQA) Wide() bool { return uint64(r)&iqaDW != 0 }

// Bytes is the size of the queue.
func (r IQA) Bytes() uint64 { return DescriptorBytes << (8 + uint64(r)&iqaQS) }

// Defined is r without reserved bits.
func (r IQA) Defined() IQA { return r & IQA(iqaBase|iqaDW|iqaQS) }

// IQTDefined are the bits of IQT that software may write, VT-d §11.4.9.2.
const IQTDefined = uint64(0x7_FFF0)

// Fields of CCMD, VT-d §11.4.6.1.
const (
	CommandICC      = uint64(1) << 63 // go; set until it is done
	ccmdCIRGShift   = 61
	ccmdCAIGShift   = 59
	ccmdFMShift     = 32
	ccmdSIDShift    = 16
	ccmdDefined     = uint64(3)<<ccmdCIRGShift | uint64(3)<<ccmdFMShift | uint64(0xFFFF_FFFF)
	ccmdGranularity = uint64(3)
)

// ContextCommand is the value of CCMD.
type ContextCommand uint64

// Invalidation is what the command asks for.
func (c ContextCommand) Invalidation() ContextInvalidation {
	return ContextInvalidation{
		Granularity: Granularity(uint64(c) >> ccmdCIRGShift & ccmdGranularity),
		DID:         uint16(c), SID: uint16(c >> ccmdSIDShift), FM: uint8(c>>ccmdFMShift) & 3,
	}
}

// Done is the register once the command was performed at granularity g, 0 if it was refused.
func (c ContextCommand) Done(g Granularity) ContextCommand {
	return ContextCommand(uint64(c)&ccmdDefined | uint64(g)<<ccmdCAIGShift)
}

// Fields of IVA and IOTLB, VT-d §11.4.6.2.
const (
	CommandIVT       = uint64(1) << 63 // go; set until it is done
	iotlbIIRGShift   = 60
	iotlbIAIGShift   = 57
	iotlbDIDShift    = 32
	iotlbDefined     = uint64(3)<<iotlbIIRGShift | uint64(3)<<48 | uint64(0xFFFF)<<iotlbDIDShift
	ivaAM            = uint64(0x3F)
	ivaIH            = uint64(1) << 6
	ivaAddress       = ^uint64(0xFFF)
	IVADefined       = ivaAM | ivaIH | ivaAddress
	iotlbGranularity = uint64(3)
)

// IOTLBCommand is the value of IOTLB.
type IOTLBCommand uint64

// Invalidation is what the command asks for, with iva in IVA.
func (c IOTLBCommand) Invalidation(iva uint64) IOTLBInvalidation {
	return IOTLBInvalidation{
		Granularity: Granularity(uint64(c) >> iotlbIIRGShift & iotlbGranularity),
		DID:         uint16(c >> iotlbDIDShift), Address: iva & ivaAddress, AM: uint8(iva & ivaAM),
	}
}

// Done is the register once the command was performed at granularity g, 0 if it was refused.
func (c IOTLBCommand) Done(g Granularity) IOTLBCommand {
	return IOTLBCommand(uint64(c)&iotlbDefined | uint64(g)<<iotlbIAIGShift)
}

// Fields of IRTA, VT-d §11.4.10.1.
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

// Bytes is the size of the table.
func (r IRTA) Bytes() uint64 { return uint64(r.Entries()) * IRTEBytes }

// Defined is r without reserved bits. EIME is one of them when the unit has no extended interrupt mode.
func (r IRTA) Defined(eim bool) IRTA {
	mask := irtaBase | irtaSize
	if eim {
		mask |= irtaEIME
	}
	return IRTA(uint64(r) & mask)
}
