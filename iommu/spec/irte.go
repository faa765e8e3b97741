package spec

// IRTEBytes is the size of an interrupt-remapping table entry and its alignment.
const IRTEBytes = 16

// IRTE is an interrupt-remapping table entry: the remapped format, VT-d §9.9, the posted format, VT-d §9.10, or the user-posted one, `iommu.md §2.5`.
type IRTE struct{ Lo, Hi uint64 }

// DeliveryMode is what a local APIC does with a message.
type DeliveryMode uint8

// Delivery modes of a remapped entry; 3 and 6 are reserved.
const (
	Fixed          DeliveryMode = 0
	LowestPriority DeliveryMode = 1
	SMI            DeliveryMode = 2
	NMI            DeliveryMode = 4
	INIT           DeliveryMode = 5
	ExtINT         DeliveryMode = 7
)

// Reserved reports whether m has no meaning in a remapped entry.
func (m DeliveryMode) Reserved() bool { return m == 3 || m == 6 }

const (
	irteP   = uint64(1) << 0
	irteFPD = uint64(1) << 1
	irteDM  = uint64(1) << 2
	irteRH  = uint64(1) << 3
	irteTM  = uint64(1) << 4
	irteUPM = uint64(1) << 13
	irteURG = uint64(1) << 14
	irteIM  = uint64(1) << 15

	irteDLMShift    = 5
	irteVectorShift = 16
	irteDSTShift    = 32
	irteSQShift     = 16
	irteSVTShift    = 18

	irtePDALow  = uint64(0xFFFF_FFC0) // PDA[31:6], which sits in bits 63:38 of Lo
	irtePDAHigh = uint64(0xFFFF_FFFF) << 32
)

// Reserved bits by format. UserPostedReservedLo leaves out UPM, which the other formats reserve.
const (
	remappedReservedLo   = uint64(0xFF00_7000)
	remappedReservedHi   = ^uint64(0xF_FFFF)
	postedReservedLo     = uint64(0x3F_FF00_30FC)
	userPostedReservedLo = postedReservedLo &^ irteUPM
	postedReservedHi     = uint64(0xFFF0_0000)
)

// UserVectors is the number of vectors of a UPID.
const UserVectors = 64

// SVT is how an entry validates the requester.
type SVT uint8

// Source validation types, VT-d §9.9.
const (
	SVTNone SVT = 0
	SVTSID  SVT = 1 // SID under the mask that SQ selects
	SVTBus  SVT = 2 // bus number within [SID>>8, SID&0xFF]
)

// Source is the requester that an entry serves.
type Source struct {
	SID uint16
	SQ  uint8 // 0 compares all of SID; 1, 2, 3 ignore 1, 2, 3 bits of the function number from bit 2 down
	SVT SVT
}

// OnlyFrom is the source that admits exactly one requester.
func OnlyFrom(sid uint16) Source { return Source{SID: sid, SVT: SVTSID} }

// sqMasks are the compared bits of SID by SQ, VT-d §9.9.
var sqMasks = [4]uint16{0xFFFF, 0xFFFB, 0xFFF9, 0xFFF8}

// Admits reports whether a request from sid passes. The reserved SVT admits nobody.
func (s Source) Admits(sid uint16) bool {
	switch s.SVT {
	case SVTNone:
		return true
	case SVTSID:
		mask := sqMasks[s.SQ&3]
		return sid&mask == s.SID&mask
	case SVTBus:
		bus := sid >> 8
		return bus >= s.SID>>8 && bus <= s.SID&0xFF
	default:
		return false
	}
}

func (s Source) bits() uint64 {
	return uint64(s.SID) | uint64(s.SQ&3)<<irteSQShift | uint64(s.SVT&3)<<irteSVTShift
}

// NewRemapped makes a present entry that sends vector to dst: an x2APIC ID, or ID<<8 while EIME is off.
// Destination mode, redirection hint and trigger mode start physical, off and edge.
func NewRemapped(vector uint8, mode DeliveryMode, dst uint32, src Source) IRTE {
	return IRTE{
		Lo: irteP | uint64(mode&7)<<irteDLMShift | uint64(vector)<<irteVectorShift | uint64(dst)<<irteDSTShift,
		Hi: src.bits(),
	}
}

// NewPosted makes a present entry that posts vector to the PID at the 64-byte aligned guest-physical address pda.
func NewPosted(vector uint8, pda uint64, urgent bool, src Source) IRTE {
	e := IRTE{
		Lo: irteP | irteIM | uint64(vector)<<irteVectorShift | (pda&irtePDALow)<<32,
		Hi: src.bits() | pda&irtePDAHigh,
	}
	if urgent {
		e.Lo |= irteURG
	}
	return e
}

// NewUserPosted makes a present entry that posts the user vector to the UPID at pda for requester sid alone.
func NewUserPosted(vector uint8, pda uint64, urgent bool, sid uint16) IRTE {
	e := NewPosted(vector, pda, urgent, OnlyFrom(sid))
	e.Lo |= irteUPM
	return e
}

// WithFPD keeps faults of the entry from being recorded.
func (e IRTE) WithFPD() IRTE { e.Lo |= irteFPD; return e }

// WithUPM makes a posted entry a user-posted one.
func (e IRTE) WithUPM() IRTE { e.Lo |= irteUPM; return e }

// WithLogical makes DST a logical destination.
func (e IRTE) WithLogical() IRTE { e.Lo |= irteDM; return e }

// WithRedirection sets the redirection hint.
func (e IRTE) WithRedirection() IRTE { e.Lo |= irteRH; return e }

// WithLevel sets the trigger mode.
func (e IRTE) WithLevel() IRTE { e.Lo |= irteTM; return e }

func (e IRTE) Present() bool          { return e.Lo&irteP != 0 }
func (e IRTE) FPD() bool              { return e.Lo&irteFPD != 0 }
func (e IRTE) Posted() bool           { return e.Lo&irteIM != 0 }
func (e IRTE) UserPosted() bool       { return e.Posted() && e.Lo&irteUPM != 0 }
func (e IRTE) Logical() bool          { return e.Lo&irteDM != 0 }
func (e IRTE) Redirection() bool      { return e.Lo&irteRH != 0 }
func (e IRTE) Level() bool            { return e.Lo&irteTM != 0 }
func (e IRTE) Urgent() bool           { return e.Lo&irteURG != 0 }
func (e IRTE) Vector() uint8          { return uint8(e.Lo >> irteVectorShift) }
func (e IRTE) Destination() uint32    { return uint32(e.Lo >> irteDSTShift) }
func (e IRTE) Delivery() DeliveryMode { return DeliveryMode(e.Lo>>irteDLMShift) & 7 }

// PDA is the guest-physical address of the descriptor that a posted entry names; it is 64-byte aligned.
func (e IRTE) PDA() uint64 { return e.Lo>>32&irtePDALow | e.Hi&irtePDAHigh }

// Source returns the SID, SQ and SVT fields.
func (e IRTE) Source() Source {
	return Source{SID: uint16(e.Hi), SQ: uint8(e.Hi>>irteSQShift) & 3, SVT: SVT(e.Hi>>irteSVTShift) & 3}
}

// Malformed reports whether the entry uses a reserved bit or encoding of its own format, with user posting allowed.
func (e IRTE) Malformed() bool {
	switch {
	case e.UserPosted():
		return e.Lo&userPostedReservedLo != 0 || e.Hi&postedReservedHi != 0 || e.Vector() >= UserVectors ||
			e.Source().SVT != SVTSID || e.Source().SQ != 0
	case e.Posted():
		return e.Lo&postedReservedLo != 0 || e.Hi&postedReservedHi != 0
	default:
		return e.Lo&remappedReservedLo != 0 || e.Hi&remappedReservedHi != 0 || e.Delivery().Reserved()
	}
}
