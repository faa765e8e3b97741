package boot

import "encoding/binary"

// DMAR is the remapping unit that the tables describe, for all functions of segment 0.
type DMAR struct {
	Base   uint64 // of its registers; 0: the machine has no unit
	Width  int    // of a host address, in bits
	IOAPIC uint16 // the I/O APIC's requester id, not 0
}

// Fields of the DMAR table (VT-d §8.1-3).
const (
	dmarInterrupts = 1 << 0 // INTR_REMAP; X2APIC_OPT_OUT stays clear
	drhdAll        = 1 << 0 // INCLUDE_PCI_ALL
	scopeIOAPIC    = 3
)

// body is the table's: one unit, with the I/O APIC of the MADT in its scope, which kernels insist on before they remap interrupts.
func (d DMAR) body() []byte {
	le := binary.LittleEndian
	path := []byte{byte(d.IOAPIC) >> 3, byte(d.IOAPIC) & 7} // device, function
	scope := append([]byte{scopeIOAPIC, 0, 0, 0, ioapicID, byte(d.IOAPIC >> 8)}, path...)
	scope[1] = byte(len(scope))

	unit := le.AppendUint16(nil, 0)
	unit = le.AppendUint16(unit, uint16(16+len(scope)))
	unit = append(unit, drhdAll, 0)
	unit = le.AppendUint16(unit, 0) // segment
	unit = le.AppendUint64(unit, d.Base)
	unit = append(unit, scope...)

	b := make([]byte, 12)
	b[0], b[1] = byte(d.Width-1), dmarInterrupts
	return append(b, unit...)
}
