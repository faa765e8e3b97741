package pci

// statusInterrupt tells that the function asks for its pin, whether or not it
// gets it (PCI 3.0 §6.2.3).
const statusInterrupt uint16 = 1 << 3

// AddPin gives the function INTA#. line is called with the configuration lock
// held whenever the pin's level changes. route is what the interrupt line
// register shows: the input that the pin is wired to, as firmware tells it.
func (f *Function) AddPin(route uint8, line func(high bool)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.building("add pin"); err != nil {
		return err
	}
	f.line = line
	f.space[offInterruptPin] = 1
	f.space[offInterruptLine] = route
	return nil
}

// SetINTx asserts the function's pin, or releases it. What is asserted while
// the guest has disabled the pin, or uses messages, shows when it does not.
func (f *Function) SetINTx(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asserted = on
	f.drive()
}

// drive makes pin and status agree with the space. f.mu is held.
func (f *Function) drive() {
	if f.line == nil {
		return
	}
	status := f.space.Status() &^ statusInterrupt
	if f.asserted {
		status |= statusInterrupt
	}
	f.space.putU16(offStatus, status)
	high := f.asserted && f.space.Command()&commandInterruptDisable == 0 &&
		(f.msi == nil || !f.msi.Enabled()) && (f.msix == nil || !f.msix.Enabled())
	if high != f.high {
		f.high = high
		f.line(high)
	}
}
