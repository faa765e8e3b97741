package platform

import "sync"

// Ports by which a PC is reset.
const (
	PortKeyboard        = 0x60 // 8042 data
	PortKeyboardCommand = 0x64 // 8042 command and status
	PortFastReset       = 0x92 // system control port A
	PortResetControl    = 0xcf9
)

// Bits and commands of the 8042 and of the other two ports.
const (
	statusFull    = 1 << 0 // output buffer
	statusSystem  = 1 << 2
	statusCommand = 1 << 3
	statusNoLock  = 1 << 4

	commandReadByte  = 0x20
	commandWriteByte = 0x60
	commandSelfTest  = 0xaa
	commandTestPort  = 0xab
	commandNoPort    = 0xad
	commandPort      = 0xae
	commandReadOut   = 0xd0
	commandWriteOut  = 0xd1
	commandPulse     = 0xf0 // to FFH: pulse the output port's low bits that are 0

	selfTestPassed = 0x55
	outRun         = 1 << 0 // 0 holds the processor in reset
	outA20         = 1 << 1
	byteSystem     = 1 << 2
	byteNoPort     = 1 << 4

	fastReset = 1 << 0
	fastA20   = 1 << 1

	controlHard = 1 << 1
	controlRun  = 1 << 2 // a rise resets
	controlFull = 1 << 3
)

// Reset is the ports that reset a PC: the 8042, of which there is no more than a
// controller without a keyboard, system control port A, and the reset control register.
// A20 is always open. Its methods may be called from any goroutine.
//
// The reset control register lies inside the dword of PCI configuration's data port:
// accesses of one byte at CF9H are this device's, wider ones are not.
type Reset struct {
	reset func()

	mu      sync.Mutex
	fast    byte
	control byte
	command byte // the 8042's: waits for its data
	last    byte // status bit: the last write was a command
	config  byte
	full    bool
	data    byte
}

// NewReset returns the ports; reset is called, without a lock, each time the guest asks.
func NewReset(reset func()) *Reset {
	if reset == nil {
		reset = func() {}
	}
	return &Reset{reset: reset, config: byteSystem | byteNoPort}
}

// Read answers ports 60H, 64H, 92H and CF9H.
func (r *Reset) Read(port uint16, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ones(b)
	for i := range b {
		switch port + uint16(i) {
		case PortKeyboard:
			b[i], r.full = r.data, false
		case PortKeyboardCommand:
			b[i] = statusSystem | statusNoLock | r.last
			if r.full {
				b[i] |= statusFull
			}
		case PortFastReset:
			b[i] = r.fast | fastA20
		case PortResetControl:
			if len(b) == 1 {
				b[i] = r.control
			}
		}
	}
}

// Write answers ports 60H, 64H, 92H and CF9H.
func (r *Reset) Write(port uint16, b []byte) {
	if r.write(port, b) {
		r.reset()
	}
}

// write reports whether the guest asked for a reset.
func (r *Reset) write(port uint16, b []byte) (reset bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, v := range b {
		switch port + uint16(i) {
		case PortKeyboard:
			reset = r.keyboardData(v) || reset
		case PortKeyboardCommand:
			reset = r.keyboardCommand(v) || reset
		case PortFastReset:
			reset = reset || v&^r.fast&fastReset != 0
			r.fast = v &^ fastA20
		case PortResetControl:
			if len(b) == 1 {
				reset = reset || v&^r.control&controlRun != 0
				r.control = v & (controlHard | controlRun | controlFull)
			}
		}
	}
	return reset
}

func (r *Reset) answer(v byte) { r.full, r.data = true, v }

func (r *Reset) keyboardCommand(v byte) (reset bool) {
	r.last, r.command = statusCommand, 0
	switch {
	case v >= commandPulse:
		return v&outRun == 0
	case v == commandReadByte:
		r.answer(r.config)
	case v == commandWriteByte, v == commandWriteOut:
		r.command = v
	case v == commandSelfTest:
		r.answer(selfTestPassed)
	case v == commandTestPort:
		r.answer(0)
	case v == commandNoPort:
		r.config |= byteNoPort
	case v == commandPort:
		r.config &^= byteNoPort
	case v == commandReadOut:
		r.answer(outRun | outA20)
	}
	return false
}

// keyboardData takes a command's data; what is for the keyboard reaches nobody.
func (r *Reset) keyboardData(v byte) (reset bool) {
	command := r.command
	r.last, r.command = 0, 0
	switch command {
	case commandWriteByte:
		r.config = v
	case commandWriteOut:
		return v&outRun == 0
	}
	return false
}
