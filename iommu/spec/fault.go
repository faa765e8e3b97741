package spec

import "fmt"

// Reason is why a request was refused. The zero value is no fault.
type Reason uint8

// Fault reasons of DMA requests, VT-d §7.1.3. ProtectedMemory is ours: whatever a table says, no request reaches the interrupt-remapping table or the
// pools of UPIDs (`iommu.md §2.5` rule 3).
const (
	RootNotPresent    Reason = 0x1
	ContextNotPresent Reason = 0x2
	ContextInvalid    Reason = 0x3
	AddressBeyond     Reason = 0x4
	WriteDenied       Reason = 0x5
	ReadDenied        Reason = 0x6
	SLUnreadable      Reason = 0x7
	RootUnreadable    Reason = 0x8
	ContextUnreadable Reason = 0x9
	RootReserved      Reason = 0xA
	ContextReserved   Reason = 0xB
	SLReserved        Reason = 0xC
	InterruptOutput   Reason = 0xE
	ProtectedMemory   Reason = 0x2F
)

// Fault reasons of interrupt requests, VT-d §5.1.4 and `iommu.md §1.4`; PoolDenied is ours, `iommu.md §2.5`.
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
	RootNotPresent, ContextNotPresent, ContextInvalid, AddressBeyond, WriteDenied, ReadDenied, SLUnreadable, RootUnreadable, ContextUnreadable,
	RootReserved, ContextReserved, SLReserved, InterruptOutput,
	RequestReserved, IndexOutOfRange, EntryNotPresent, TableUnreadable, EntryReserved,
	CompatBlocked, SourceRefused, DescriptorNotInRAM, DescriptorReserved, PoolDenied, ProtectedMemory,
}

// DMA reports whether r is a fault of a DMA request.
func (r Reason) DMA() bool { return r < RequestReserved || r == ProtectedMemory }

func (r Reason) String() string {
	switch r {
	case RootNotPresent:
		return "root entry not present"
	case ContextNotPresent:
		return "context entry not present"
	case ContextInvalid:
		return "context entry invalid"
	case AddressBeyond:
		return "address beyond the domain's width"
	case WriteDenied:
		return "write not permitted"
	case ReadDenied:
		return "read not permitted"
	case SLUnreadable:
		return "second-level table unreadable"
	case RootUnreadable:
		return "root table unreadable"
	case ContextUnreadable:
		return "context table unreadable"
	case RootReserved:
		return "reserved bits in the root entry"
	case ContextReserved:
		return "reserved bits in the context entry"
	case SLReserved:
		return "reserved bits in a second-level entry"
	case InterruptOutput:
		return "translated to the interrupt range"
	case ProtectedMemory:
		return "DMA to interrupt tables or descriptors"
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
	recordT           = uint64(1) << 62 // a read
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

// NewDMAFault is the pending record of a DMA request from sid to addr, whose bits 11:0 are not kept.
func NewDMAFault(sid uint16, addr uint64, read bool, reason Reason) FaultRecord {
	r := FaultRecord{Lo: addr &^ 0xFFF, Hi: uint64(sid) | uint64(reason)<<recordReasonShift | recordF}
	if read {
		r.Hi |= recordT
	}
	return r
}

// Pending is F: software has not cleared the record yet.
func (r FaultRecord) Pending() bool  { return r.Hi&recordF != 0 }
func (r FaultRecord) SID() uint16    { return uint16(r.Hi) }
func (r FaultRecord) Index() uint16  { return uint16(r.Lo >> recordIndexShift) }
func (r FaultRecord) Page() uint64   { return r.Lo &^ 0xFFF }
func (r FaultRecord) Read() bool     { return r.Hi&recordT != 0 }
func (r FaultRecord) Reason() Reason { return Reason(r.Hi >> recordReasonShift) }

// Clear applies a write of v to the upper word: F is RW1C, the rest is read-only.
func (r FaultRecord) Clear(v uint64) FaultRecord {
	r.Hi &^= v & recordF
	return r
}
