package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"gvmm/vmm"
)

// deviceFlags are the flags of devices that are there by a word.
type deviceFlags struct{ rng, console string }

// Values of --console.
const (
	consoleSerial = "serial"
	consoleHVC    = "hvc"
)

// add makes the flags.
func (f *deviceFlags) add(c *cobra.Command) {
	s := c.Flags()
	s.StringVar(&f.rng, "rng", "auto", "a virtio-rng device: on, off, or auto: for all images but those made for gvmm")
	s.StringVar(&f.console, "console", consoleSerial, "what standard input and output are to the guest: serial (COM1), or hvc (a virtio console, Linux's hvc0; COM1 goes to standard error)")
	complete := func(flag string, values ...string) {
		_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	complete("rng", "auto", "on", "off")
	complete("console", consoleSerial, consoleHVC)
}

// apply judges the flags.
func (f *deviceFlags) apply(c *vmm.Config) (err error) {
	if c.Entropy, err = vmm.ParseEntropy(f.rng); err != nil {
		return fmt.Errorf("--rng %w", err)
	}
	switch f.console {
	case consoleSerial:
	case consoleHVC:
		c.Console = &vmm.Console{}
	default:
		return fmt.Errorf("--console %s: %s or %s", f.console, consoleSerial, consoleHVC)
	}
	return nil
}

// connect gives the virtio console, where there is one, COM1's place at standard output and input.
func (f *deviceFlags) connect(cmd *cobra.Command, c *vmm.Config) {
	if c.Console == nil {
		return
	}
	c.Console.Out, c.Serial = c.Serial, cmd.ErrOrStderr()
	c.Console.In, c.Input = c.Input, nil
}
