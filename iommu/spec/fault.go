package spec

import "fmt"

// Reason is why a request was refused. The zero value is no fault.
type Reason uint8

// Fault reasons of interrupt requests, VT-d §7 and `iommu.md §1.4`; PoolDenied is ours, `iommu.md §2.5`.
const (
	RequestReserved    Reason = 0x20
	IndexOutOfRange    Reason = 0x21
	EntryNotPresent    Reason = 0x22
	TableUnreadable    Reason = 0x23
	EntryReserved      Reason = 0x24
	CompatBlocked      Reason = 0x25
	SourceRefused      Reason = 0x26
	DescriptorNotInRAM Reason = 0x27
	DescriptorReserved Reason = 0x28
	PoolDenied         Reason = 0x2E
)

// Reasons lists every reason in ascending order.
var Reasons = []Reason{
	RequestReserved, IndexOutOfRange, EntryNotPresent, TableUnreadable, EntryReserved,
	CompatBlocked, SourceRefused, DescriptorNotInRAM, DescriptorReserved, PoolDenied,
}

func (r Reason) String() string {
	switch r {
	case RequestReserved:
		return "reserved bits in the interrupt request"
	case IndexOutOfRange:
		return "interrupt index beyond the table"
	case EntryNotPresent:
		return "table entry not present"
	case TableUnreadable:
		return "interrupt-remapping table unreadable"
	case EntryReserved:
		return "reserved bits in the table entry"
	case CompatBlocked:
		return "compatibility-format request blocked"
	case SourceRefused:
		return "requester refused by the table entry"
	case DescriptorNotInRAM:
		return "posted-interrupt descriptor unreadable"
	case DescriptorReserved:
		return "reserved bits in the posted-interrupt descriptor"
	case PoolDenied:
		return "descriptor outside the requester's pools"
	default:
		return fmt.Sprintf("fault reason %#x", uint8(r))
	}
}

const (
	recordIndexShift  = 48
	recordReasonShift = 32
	recordF           = uint64(1) << 63
)

// FaultRecordBytes is the size of a fault recording register.
const FaultRecordBytes = 16

// FaultRecord is a fault recording register, VT-d §11.4.
type FaultRecord struct{ Lo, Hi uint64 }

// NewInterruptFault is the pending record of an interrupt request from sid for a table index.
func NewInterruptFault(sid, index uint16, reason Reason) FaultRecord {
	return FaultRecord{
		Lo: uint64(index) << recordIndexShift,
		Hi: uint64(sid) | uint64(reason)<<recordReasonShift | recordF,
	}
}

// Pending is F: software has not cleared the record yet.
func (r FaultRecord) Pending() bool  { return r.Hi&recordF != 0 }
func (r FaultRecord) SID() uint16    { return uint16(r.Hi) }
func (r FaultRecord) Index() uint16  { return uint16(r.Lo >> recordIndexShift) }
func (r FaultRecord) Reason() Reason { return Reason(r.Hi >> recordReasonShift) }

// Clear applies a write of v to the upper word: F is RW1C, the rest is read-only.
func (r FaultRecord) Clear(v uint64) FaultRecord {
	r.Hi &^= v & recordF
	return r
}
