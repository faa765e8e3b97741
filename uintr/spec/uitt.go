package spec

// A UITT entry is 16 bytes at UITTADDR + 16*index, `uintr.md §1.5`.
const (
	UITTEntrySize     = 16
	UITTValid         = uint64(1)
	UITTVectorShift   = 8
	UITTLowReserved   = ^(UITTValid | 0xFF<<UITTVectorShift)
	UITTUPIDAlignment = uint64(UPIDSize - 1) // the bits of the second word that must be 0
)

// UITTE is one entry of a user-interrupt target table in memory.
type UITTE []byte

// Load copies the entry, each word atomically. The kernel that owns the table may be changing it: judge the copy.
func (e UITTE) Load() UITTEntry {
	return UITTEntry{Low: load64(e, 0), High: load64(e, 8)}
}

// Store writes the entry, its valid bit last.
func (e UITTE) Store(v UITTEntry) {
	store64(e, 8, v.High)
	store64(e, 0, v.Low)
}

// UITTEntry is the value of a UITT entry.
type UITTEntry struct{ Low, High uint64 }

// NewUITTEntry makes a valid entry that sends the user vector to the UPID at the linear address upid.
func NewUITTEntry(vector uint8, upid uint64) UITTEntry {
	return UITTEntry{Low: UITTValid | uint64(vector)<<UITTVectorShift, High: upid}
}

func (e UITTEntry) Valid() bool      { return e.Low&UITTValid != 0 }
func (e UITTEntry) Vector() uint8    { return uint8(e.Low >> UITTVectorShift) }
func (e UITTEntry) UPIDAddr() uint64 { return e.High }

// WellFormed reports whether SENDUIPI accepts the entry: valid, reserved bits 0, vector below 64, UPID aligned.
func (e UITTEntry) WellFormed() bool {
	return e.Valid() && e.Low&UITTLowReserved == 0 && e.Vector() < Vectors && e.High&UITTUPIDAlignment == 0
}
