package vcpu

import "fmt"

// JIT says whether the software CPU translates hot code to the host's.
type JIT uint8

// The ways. JITAuto lets the machine choose.
const (
	JITAuto  JIT = iota
	JITOn        // hot blocks of 64-bit mode are translated
	JITOff       // the interpreter alone
	JITCheck     // translations are compared with the interpreter, each time that they run
)

var jitNames = [...]string{"auto", "on", "off", "check"}

// String is the name on the command line and in reports.
func (j JIT) String() string { return jitNames[j] }

// ParseJIT reads a name.
func ParseJIT(s string) (JIT, error) {
	for i, name := range jitNames {
		if s == name {
			return JIT(i), nil
		}
	}
	return JITAuto, fmt.Errorf("%q: auto, on, off or check", s)
}
