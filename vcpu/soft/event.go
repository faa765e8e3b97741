package soft

// eventKind is where an event comes from: SDM 3 §6.
type eventKind uint8

const (
	eventFault     eventKind = iota // an exception that restarts: RIP is the instruction's, RF is pushed as 1
	eventTrap                       // #DB after an instruction
	eventInterrupt                  // external
	eventNMI
	eventSoft  // INT n: checks the gate's DPL
	eventSoft3 // INT3 and INTO: the same, but an exception for #DF's rules
	eventInt1  // ICEBP: no check
)

// event goes through the IDT, or the interrupt vector table of real mode.
type event struct {
	vector  uint8
	kind    eventKind
	hasCode bool
	code    uint32
}
