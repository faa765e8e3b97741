package irqchip

// MSRs of a local APIC.
const (
	msrAPICBase    = 0x1B  // IA32_APIC_BASE, SDM 3 §10.4.4
	msrTSCDeadline = 0x6E0 // IA32_TSC_DEADLINE, SDM 3 §10.5.4.1
	msrX2APIC      = 0x800 // register r is 0x800+r in x2APIC mode, SDM 3 §10.12.1.2
	msrX2APICEnd   = 0x900
)

// IA32_APIC_BASE.
const (
	baseBSP     = 1 << 8
	baseEXTD    = 1 << 10 // x2APIC mode
	baseEN      = 1 << 11 // global enable
	baseDefault = 0xFEE00000
	basePage    = 0xFFF
)

// reg is a register's number: its byte offset in the xAPIC page over 16, and its MSR in x2APIC mode less 0x800
// (SDM 3 tables 10-1 and 10-6).
type reg uint32

const (
	regID          reg = 0x02
	regVersion     reg = 0x03
	regTPR         reg = 0x08
	regAPR         reg = 0x09
	regPPR         reg = 0x0A
	regEOI         reg = 0x0B
	regRRD         reg = 0x0C
	regLDR         reg = 0x0D
	regDFR         reg = 0x0E
	regSVR         reg = 0x0F
	regISR         reg = 0x10 // eight of 32 vectors each; so TMR and IRR
	regTMR         reg = 0x18
	regIRR         reg = 0x20
	regESR         reg = 0x28
	regICR         reg = 0x30
	regICRHigh     reg = 0x31
	regLVTTimer    reg = 0x32
	regLVTError    reg = 0x37
	regInitial     reg = 0x38
	regCurrent     reg = 0x39
	regDivide      reg = 0x3E
	regSelfIPI     reg = 0x3F
	regIRREnd          = regESR
	registerStride     = 16
)

// Entries of the local vector table, in the order of their registers from 320H. There is no CMCI entry.
const (
	lvtTimer = iota
	lvtThermal
	lvtPerformance
	lvtLINT0
	lvtLINT1
	lvtError
	lvtEntries
)

// localVersion is an integrated APIC's version, the highest LVT entry, and the suppression of EOI broadcasts.
const localVersion = 0x14 | (lvtEntries-1)<<16 | 1<<24

// Fields of LVT entries, SDM 3 §10.5.1.
const (
	lvtVector    = 0xFF
	lvtDelivery  = 7 << 8
	lvtStatus    = 1 << 12 // read only
	lvtPolarity  = 1 << 13
	lvtRemoteIRR = 1 << 14 // read only
	lvtLevel     = 1 << 15
	lvtMasked    = 1 << 16
	lvtMode      = 3 << 17 // of the timer
)

// lvtWritable holds the bits that software may set in each entry; setting others is #GP(0) in x2APIC mode, but for the read-only ones.
var lvtWritable = [lvtEntries]uint32{
	lvtTimer:       lvtVector | lvtMasked | lvtMode,
	lvtThermal:     lvtVector | lvtDelivery | lvtMasked,
	lvtPerformance: lvtVector | lvtDelivery | lvtMasked,
	lvtLINT0:       lvtVector | lvtDelivery | lvtPolarity | lvtLevel | lvtMasked,
	lvtLINT1:       lvtVector | lvtDelivery | lvtPolarity | lvtLevel | lvtMasked,
	lvtError:       lvtVector | lvtMasked,
}

// lvtReadOnly holds the bits of each entry that software may write without effect.
var lvtReadOnly = [lvtEntries]uint32{
	lvtTimer:       lvtStatus,
	lvtThermal:     lvtStatus,
	lvtPerformance: lvtStatus,
	lvtLINT0:       lvtStatus | lvtRemoteIRR,
	lvtLINT1:       lvtStatus | lvtRemoteIRR,
	lvtError:       lvtStatus,
}

// Timer modes, LVT timer bits 18:17.
const (
	timerOneShot  = 0 << 17
	timerPeriodic = 1 << 17
	timerDeadline = 2 << 17
	timerReserved = 3 << 17 // never counts
)

// Spurious-interrupt vector register, SDM 3 §10.9.
const (
	svrEnable      = 1 << 8
	svrNoBroadcast = 1 << 12 // EOI of a level interrupt stays inside
	svrWritable    = 0xFF | svrEnable | svrNoBroadcast
	svrReset       = 0xFF
)

// Destination format register.
const (
	dfrFlat    = 0xF << 28
	dfrCluster = 0
	dfrModel   = 0xF << 28
)

// Errors in the ESR, SDM 3 §10.5.3.
const (
	esrSendIllegal    = 1 << 5
	esrReceiveIllegal = 1 << 6
	esrRegister       = 1 << 7
	esrGiven          = 1 << 31 // ours, never seen: the error interrupt was raised since the last write
)

// Fields of the ICR, SDM 3 §10.6.1.
const (
	icrLogical    = 1 << 11
	icrStatus     = 1 << 12 // read only
	icrAssert     = 1 << 14
	icrLevel      = 1 << 15
	icrWritable   = 0xFF | 7<<8 | icrLogical | icrAssert | icrLevel | shorthandMask
	shorthandMask = 3 << 18
	shorthandNone = 0 << 18
	shorthandSelf = 1 << 18
	shorthandAll  = 2 << 18 // including self
	icrOthers     = 3 << 18 // all excluding self
)

// delivery is a delivery mode, the same in messages, the ICR, LVT entries and redirection table entries.
type delivery uint8

const (
	deliverFixed   delivery = 0
	deliverLowest  delivery = 1
	deliverSMI     delivery = 2
	deliverNMI     delivery = 4
	deliverINIT    delivery = 5
	deliverStartup delivery = 6 // in the ICR only
	deliverExtINT  delivery = 7 // not in the ICR
)

// An interrupt message, SDM 3 §10.11; bits 63:40 of the address are the destination's 31:8 (iommu.md §1.7).
const (
	msgLogical     = 1 << 2 // address
	msgRedirection = 1 << 3
	msgAssert      = 1 << 14 // data
	msgLevel       = 1 << 15
)

const (
	firstVector   = 16         // 0-15 are illegal
	everyone      = 0xFFFFFFFF // the physical and logical destination of all
	everyoneXAPIC = 0xFF
)
