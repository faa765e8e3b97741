package bench

import (
	"context"
	"errors"
	"fmt"
	"io"

	"gvmm/vcpu"
	"gvmm/vmm"
)

// Run builds a machine, runs it to its end and reports. The report is there even
// if err says that the guest could not go on, or that ctx ended it.
func Run(ctx context.Context, c vmm.Config) (*vmm.Report, error) {
	m, err := vmm.New(c)
	if err != nil {
		return nil, &SetupError{err}
	}
	_, err = m.Run(ctx)
	report := m.Report()
	return report, errors.Join(err, m.Close())
}

// A SetupError is a machine that could not be built: nothing has run.
type SetupError struct{ Err error }

// Error implements error.
func (e *SetupError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *SetupError) Unwrap() error { return e.Err }

// Control runs the same guest without posted interrupts, its text discarded, and
// puts its report beside r. The host is not probed again: the way is the same.
func Control(ctx context.Context, c vmm.Config, r *vmm.Report) error {
	c.Posted = false
	c.Probe = r.Probe
	c.Chosen = nil
	if accel, err := vcpu.ParseAccel(r.Engine); err == nil {
		c.Accel = accel
	}
	c.Serial, c.Console = io.Discard, c.Console.Silent()
	control, err := Run(ctx, c)
	if err != nil {
		return fmt.Errorf("control run: %w", err)
	}
	if control.Status != r.Status {
		return fmt.Errorf("control run: the guest's status is %d, it was %d before", control.Status, r.Status)
	}
	r.SetControl(control)
	return nil
}
