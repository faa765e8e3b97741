package spec

// DescriptorBytes is the size of an invalidation descriptor of legacy mode.
const DescriptorBytes = 16

// Descriptor is an entry of the invalidation queue, VT-d §6.5.2.
type Descriptor struct{ Lo, Hi uint64 }

// DescriptorType is what a descriptor asks for.
type DescriptorType uint8

// Descriptor types of legacy mode. Those for device TLBs and PASIDs are invalid in a unit that has neither.
const (
	DescriptorContext   DescriptorType = 1
	DescriptorIOTLB     DescriptorType = 2
	DescriptorDeviceTLB DescriptorType = 3
	DescriptorIEC       DescriptorType = 4
	DescriptorWait      DescriptorType = 5
)

// Granularity is how much an invalidation covers. The zero value is reserved.
type Granularity uint8

// Granularities of context cache and IOTLB. The third is a device for the one, an address range for the other.
const (
	Global    Granularity = 1
	PerDomain Granularity = 2
	PerDevice Granularity = 3
	PerPage   Granularity = 3
)

// ContextInvalidation covers entries of the context cache.
type ContextInvalidation struct {
	Granularity Granularity
	DID, SID    uint16
	FM          uint8 // 1, 2, 3 ignore 1, 2, 3 bits of the function number from bit 2 down
}

// Covers reports whether an entry of domain did for requester sid is meant.
func (v ContextInvalidation) Covers(did, sid uint16) bool {
	switch v.Granularity {
	case Global:
		return true
	case PerDomain:
		return did == v.DID
	default:
		mask := sqMasks[v.FM&3]
		return did == v.DID && sid&mask == v.SID&mask
	}
}

// IOTLBInvalidation covers translations.
type IOTLBInvalidation struct {
	Granularity Granularity
	DID         uint16
	Address     uint64
	AM          uint8 // 2^AM pages
}

// Range is the first and the last address that a page-selective invalidation covers. Address bits below the size are ignored.
func (v IOTLBInvalidation) Range() (first, last uint64) {
	mask := uint64(1)<<(12+v.AM) - 1
	return v.Address &^ mask, v.Address | mask
}

// IECInvalidation covers entries of the interrupt entry cache.
type IECInvalidation struct {
	All   bool
	Index uint16
	IM    uint8 // 2^IM entries
}

// Range is the first and the last index that is covered.
func (v IECInvalidation) Range() (first, last uint32) {
	if v.All {
		return 0, 1<<16 - 1
	}
	mask := uint32(1)<<v.IM - 1
	return uint32(v.Index) &^ mask, min(uint32(v.Index)|mask, 1<<16-1)
}

// Wait is an invalidation wait descriptor.
type Wait struct {
	Interrupt, Write bool
	Address          uint64
	Data             uint32
}

// Fields of descriptors, VT-d §6.5.2.
const (
	descriptorTypeLow  = uint64(0xF)
	descriptorTypeHigh = uint64(7) << 9

	descriptorGShift   = 4
	descriptorDIDShift = 16
	descriptorSIDShift = 32
	descriptorFMShift  = 48
	contextReservedLo  = ^uint64(0x3_FFFF_FFFF_003F)

	iotlbReservedLo = ^uint64(0xFFFF_00FF) // DR and DW ask for what is always done
	iotlbReservedHi = uint64(0xF80)

	iecG          = uint64(1) << 4
	iecIMShift    = 27
	iecIndexShift = 32
	iecReservedLo = ^uint64(0xFFFF_F800_001F)

	waitIF         = uint64(1) << 4
	waitSW         = uint64(1) << 5
	waitFN         = uint64(1) << 6
	waitDataShift  = 32
	waitReservedLo = uint64(0xFFFF_FF80)
	waitReservedHi = uint64(3)
)

// Type concatenates bits 11:9 and 3:0.
func (d Descriptor) Type() DescriptorType {
	return DescriptorType(d.Lo&descriptorTypeLow | d.Lo&descriptorTypeHigh>>5)
}

// Context decodes a context cache invalidation. ok is false when it uses what is reserved.
func (d Descriptor) Context() (v ContextInvalidation, ok bool) {
	v = ContextInvalidation{
		Granularity: Granularity(d.Lo>>descriptorGShift) & 3,
		DID:         uint16(d.Lo >> descriptorDIDShift), SID: uint16(d.Lo >> descriptorSIDShift), FM: uint8(d.Lo>>descriptorFMShift) & 3,
	}
	return v, d.Lo&contextReservedLo == 0 && d.Hi == 0 && v.Granularity != 0
}

// IOTLB decodes an IOTLB invalidation. ok is false when it uses what is reserved, or covers more than MaxAddressMask says.
func (d Descriptor) IOTLB() (v IOTLBInvalidation, ok bool) {
	v = IOTLBInvalidation{
		Granularity: Granularity(d.Lo>>descriptorGShift) & 3, DID: uint16(d.Lo >> descriptorDIDShift),
		Address: d.Hi & ivaAddress, AM: uint8(d.Hi & ivaAM),
	}
	if v.Granularity == PerPage && v.AM > MaxAddressMask {
		return v, false
	}
	return v, d.Lo&iotlbReservedLo == 0 && d.Hi&iotlbReservedHi == 0 && v.Granularity != 0
}

// IEC decodes an interrupt entry cache invalidation. ok is false when it uses what is reserved, or covers more than MaxIndexMask says.
func (d Descriptor) IEC() (v IECInvalidation, ok bool) {
	v = IECInvalidation{All: d.Lo&iecG == 0, Index: uint16(d.Lo >> iecIndexShift), IM: uint8(d.Lo>>iecIMShift) & 0x1F}
	if !v.All && v.IM > MaxIndexMask {
		return v, false
	}
	return v, d.Lo&iecReservedLo == 0 && d.Hi == 0
}

// Wait decodes a wait. ok is false when it uses what is reserved. The fence flag means nothing to a queue that is served in order.
func (d Descriptor) Wait() (v Wait, ok bool) {
	v = Wait{
		Interrupt: d.Lo&waitIF != 0, Write: d.Lo&waitSW != 0,
		Address: d.Hi &^ waitReservedHi, Data: uint32(d.Lo >> waitDataShift),
	}
	return v, d.Lo&waitReservedLo == 0 && d.Hi&waitReservedHi == 0
}

// NewContextDescriptor encodes v.
func NewContextDescriptor(v ContextInvalidation) Descriptor {
	return Descriptor{Lo: uint64(DescriptorContext) | uint64(v.Granularity)<<descriptorGShift | uint64(v.DID)<<descriptorDIDShift |
		uint64(v.SID)<<descriptorSIDShift | uint64(v.FM&3)<<descriptorFMShift}
}

// NewIOTLBDescriptor encodes v, with reads and writes drained.
func NewIOTLBDescriptor(v IOTLBInvalidation) Descriptor {
	return Descriptor{
		Lo: uint64(DescriptorIOTLB) | uint64(v.Granularity)<<descriptorGShift | 3<<6 | uint64(v.DID)<<descriptorDIDShift,
		Hi: v.Address&ivaAddress | uint64(v.AM)&ivaAM,
	}
}

// NewIECDescriptor encodes v.
func NewIECDescriptor(v IECInvalidation) Descriptor {
	d := Descriptor{Lo: uint64(DescriptorIEC)}
	if !v.All {
		d.Lo |= iecG | uint64(v.IM&0x1F)<<iecIMShift | uint64(v.Index)<<iecIndexShift
	}
	return d
}

// NewWaitDescriptor encodes v, with the fence flag.
func NewWaitDescriptor(v Wait) Descriptor {
	d := Descriptor{Lo: uint64(DescriptorWait) | waitFN | uint64(v.Data)<<waitDataShift, Hi: v.Address}
	if v.Interrupt {
		d.Lo |= waitIF
	}
	if v.Write {
		d.Lo |= waitSW
	}
	return d
}
