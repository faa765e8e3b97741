package uintrtest

// Op is the event of a case.
type Op uint32

// The events.
const (
	SendUIPI Op = iota // SENDUIPI with Case.Operand
	TestUI
	CLUI
	STUI
	UIRET
	Notify // the interrupt Case.Vector arrives

	Ops = 6
)

// String is the event's name.
func (o Op) String() string {
	return [...]string{"SENDUIPI", "TESTUI", "CLUI", "STUI", "UIRET", "Notify"}[o]
}

// State is the user-interrupt state of a CPU. It is loaded as it is, without the checks of the MSRs.
type State struct {
	UIRR        uint64
	UIF         bool
	Handler     Addr
	StackAdjust Addr
	UPIDAddr    Addr
	UITTAddr    Addr // with the enable in bit 0
	UINV        uint32
	UITTSize    uint32
}

// UPID is the content of a descriptor.
type UPID struct{ Low, PIR uint64 }

// UITTEntry is the content of a target-table entry.
type UITTEntry struct {
	Low  uint64
	High Addr
}

// Flags say how a case is to be carried out.
type Flags uint32

const (
	// FlagNoGuest: a guest program cannot do it, Case.NoHardware says why.
	FlagNoGuest Flags = 1 << iota
	// FlagLoopback: the notification that SENDUIPI sends arrives at this CPU at once. Otherwise it is only recorded.
	FlagLoopback
	// FlagPlaceFrame: Case.Frame is written to the stack at RSP first.
	FlagPlaceFrame
	// FlagPrivileged: it shows that UPID and UITT are out of the user's reach. An engine that leaves them there skips it.
	FlagPrivileged
)

// ReturnFrame is what UIRET pops.
type ReturnFrame struct {
	RIP    Addr
	RFLAGS uint64
	RSP    Addr
}

// DeliveredFrame is what delivery pushes, in ascending addresses.
type DeliveredFrame struct {
	Vector uint64
	RIP    Addr
	RFLAGS uint64
	RSP    Addr
}

// Fault is an exception, the zero value none. Address is CR2 and counts for #PF only.
type Fault struct {
	Vector, ErrorCode uint32
	Address           Addr
}

// IPI is a notification as it was sent, the zero value none. NDST is as the UPID stores it.
type IPI struct {
	Sent   bool
	Vector uint32
	NDST   uint32
}

// Case is one row of the table.
type Case struct {
	Name       string
	Op         Op
	Operand    uint64 // SendUIPI: the index
	Vector     uint8  // Notify
	Flags      Flags
	NoHardware string // why a guest program cannot do it; empty if it can
	Before     State
	UPID       [2]UPID
	UITT       [4]UITTEntry
	RFLAGS     uint64 // user-changeable bits; the CPU has RFLAGSFixed besides
	RSP        Addr
	Frame      ReturnFrame // UIRET
	Want       Want
}

// Want is what must be seen at the end of a case.
type Want struct {
	After      State
	UPID       [2]UPID
	Fault      Fault
	IPI        IPI
	Identified bool // a vector was taken as a notification and did not go to the IDT
	Delivered  bool
	Frame      DeliveredFrame // if Delivered
	RIP, RSP   Addr           // at the handler, at the fault, or after the operation
	RFLAGS     uint64         // there
}

// RFLAGSFixed are the bits of RFLAGS that every case has set: IF and the one that is always 1.
const RFLAGSFixed = 0x202
