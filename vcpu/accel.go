package vcpu

import "fmt"

// Accel is the engine that runs processors.
type Accel uint8

// The engines. AccelAuto lets the machine choose.
const (
	AccelAuto Accel = iota
	AccelKVM
	AccelSoft
)

// String is the engine's name on the command line and in reports.
func (a Accel) String() string {
	switch a {
	case AccelKVM:
		return "kvm"
	case AccelSoft:
		return "soft"
	}
	return "auto"
}

// ParseAccel reads an engine's name.
func ParseAccel(s string) (Accel, error) {
	for _, a := range []Accel{AccelAuto, AccelKVM, AccelSoft} {
		if s == a.String() {
			return a, nil
		}
	}
	return AccelAuto, fmt.Errorf("%q is no engine: auto, kvm or soft", s)
}
