package spec

// Fields of a UPID's control word, `uintr.md §1.5`.
const (
	UPIDON       = Control(1 << 0)
	UPIDSN       = Control(1 << 1)
	UPIDReserved = Control(0xFF00_FFFC) // SENDUIPI demands 0, notification processing ignores them
	upidNVShift  = 16
	upidNVMask   = Control(0xFF << upidNVShift)
	upidIDShift  = 32
	upidIDMask   = Control(0xFFFF_FFFF << upidIDShift)
)

// Control is the value of a UPID's control word.
type Control uint64

// NewControl makes a control word with ON and SN clear. ndst is NDST as stored: an x2APIC ID, or XAPICDestination's.
func NewControl(nv uint8, ndst uint32) Control {
	return Control(0).WithNV(nv).WithNDST(ndst)
}

func (c Control) ON() bool          { return c&UPIDON != 0 }           // a notification is outstanding
func (c Control) SN() bool          { return c&UPIDSN != 0 }           // notifications are suppressed
func (c Control) NV() uint8         { return uint8(c >> upidNVShift) } // the notification's vector
func (c Control) NDST() uint32      { return uint32(c >> upidIDShift) }
func (c Control) Reserved() Control { return c & UPIDReserved }

func (c Control) WithNV(v uint8) Control { return c&^upidNVMask | Control(v)<<upidNVShift }
func (c Control) WithNDST(v uint32) Control {
	return c&^upidIDMask | Control(v)<<upidIDShift
}

// WithSN sets or clears SN.
func (c Control) WithSN(on bool) Control {
	if on {
		return c | UPIDSN
	}
	return c &^ UPIDSN
}

// XAPICDestination is the NDST that addresses an 8-bit APIC ID in xAPIC mode: NDST[15:8].
func XAPICDestination(id uint8) uint32 { return uint32(id) << 8 }
