package spec

// Bits of an interrupt request's address, VT-d §5.1.2 and `iommu.md §1.7`.
const (
	requestBase       = uint64(0xFEE0_0000)
	requestWindow     = ^uint64(0xF_FFFF)
	requestRemappable = uint64(1) << 4
	requestSHV        = uint64(1) << 3
	requestHandle15   = uint64(1) << 2
	requestHandleAt   = 5
	requestHandleLow  = uint64(0x7FFF)
)

// Request is an interrupt request as a requester writes it: a 32-bit write of Data to Address.
type Request struct {
	Address uint64
	Data    uint32
}

// NewRequest makes a remappable request for table index handle; with shv, for handle+subhandle.
func NewRequest(handle uint16, shv bool, subhandle uint16) Request {
	q := Request{Address: requestBase | requestRemappable | (uint64(handle)&requestHandleLow)<<requestHandleAt}
	if handle>>15 != 0 {
		q.Address |= requestHandle15
	}
	if shv {
		q.Address |= requestSHV
		q.Data = uint32(subhandle)
	}
	return q
}

// Interrupt reports whether the address is in the interrupt range at all: anything else is a plain memory write.
func (q Request) Interrupt() bool { return q.Address&requestWindow == requestBase }

// Remappable reports the format: false is the compatibility format, which names its destination itself.
func (q Request) Remappable() bool { return q.Address&requestRemappable != 0 }

func (q Request) handle() uint16 {
	h := uint16(q.Address >> requestHandleAt & requestHandleLow)
	if q.Address&requestHandle15 != 0 {
		h |= 1 << 15
	}
	return h
}

// Index is the table index that a remappable request asks for. ok is false when it uses reserved bits of Data.
// An index that does not fit 16 bits is returned as it is: it is beyond every table.
func (q Request) Index() (index uint32, ok bool) {
	index = uint32(q.handle())
	if q.Address&requestSHV == 0 {
		return index, true // Data is the requester's business: Linux puts an IOAPIC's pin there
	}
	return index + q.Data&0xFFFF, q.Data>>16 == 0
}

// Fields of a message to a local APIC, `iommu.md §1.7` "To KVM".
const (
	messageDestinationAt = 12
	messageRH            = uint64(1) << 3
	messageLogical       = uint64(1) << 2
	messageDestinationHi = uint64(0xFFFF_FF00)
	messageDeliveryAt    = 8
	messageAssert        = uint32(1) << 14
	messageLevel         = uint32(1) << 15
)

// Message is an interrupt on its way to a local APIC. The destination is a full APIC ID whatever the mode.
type Message struct {
	Vector                      uint8
	Delivery                    DeliveryMode
	Destination                 uint32
	Logical, Redirection, Level bool
}

// Encode returns the message in the x2APIC format: destination bits 7:0 in address bits 19:12, bits 31:8 in address bits 63:40.
func (m Message) Encode() (address uint64, data uint32) {
	address = requestBase | uint64(m.Destination&0xFF)<<messageDestinationAt | (uint64(m.Destination)&messageDestinationHi)<<32
	if m.Redirection {
		address |= messageRH
	}
	if m.Logical {
		address |= messageLogical
	}
	data = uint32(m.Vector) | uint32(m.Delivery)<<messageDeliveryAt | messageAssert
	if m.Level {
		data |= messageLevel
	}
	return address, data
}

// DestinationID is the APIC ID in a DST or NDST field: all of it in x2APIC mode, bits 15:8 in xAPIC mode.
func DestinationID(field uint32, x2apic bool) uint32 {
	if x2apic {
		return field
	}
	return field >> 8 & 0xFF
}
