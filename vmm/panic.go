package vmm

// portPanic is where the panic device answers (QEMU, "PVPANIC device"): ACPI's QEMU0001, for which Linux has the
// driver pvpanic.
const portPanic = 0x505

// eventPanicked is the one event that is taken. A kernel with a crash kernel loaded tells of another, and goes on with that.
const eventPanicked = 1 << 0

// panicPort ends the machine when its kernel panics.
type panicPort struct{ machine *Machine }

func (panicPort) Read(_ uint16, p []byte) {
	ones(p)
	p[0] = eventPanicked
}

func (d panicPort) Write(_ uint16, p []byte) {
	if p[0]&eventPanicked != 0 {
		d.machine.end(0, ErrPanic)
	}
}
