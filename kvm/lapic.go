package kvm

import "encoding/binary"

// LAPIC is the register page of an in-kernel local APIC (struct
// kvm_lapic_state): one 32-bit register every 16 bytes, at the offsets of SDM
// vol. 3 §12.4.1. The id at 0x20 is in x2APIC form only with [CapX2APICAPI] and
// x2APIC mode on.
type LAPIC [kvmAPICRegSize]byte

// Reg returns the register at offset off, below 0x400.
func (l *LAPIC) Reg(off int) uint32 { return binary.LittleEndian.Uint32(l[off:]) }

// SetReg sets the register at offset off, below 0x400.
func (l *LAPIC) SetReg(off int, v uint32) { binary.LittleEndian.PutUint32(l[off:], v) }

// GetLAPIC reads the local APIC (KVM_GET_LAPIC, [CapIRQChip]).
func (v *VCPU) GetLAPIC(l *LAPIC) error { return call(&v.descriptor, reqGetLAPIC, l) }

// SetLAPIC writes the local APIC (KVM_SET_LAPIC, [CapIRQChip]).
func (v *VCPU) SetLAPIC(l *LAPIC) error { return call(&v.descriptor, reqSetLAPIC, l) }
