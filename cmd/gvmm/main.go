// Command gvmm runs virtual machines whose user programs get device completions
// as x86 user interrupts, and counts the exits that this saves.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"gvmm/vmm"
)

// Exit statuses besides the guest's own.
const (
	statusFailed      = 1   // the machine failed
	statusUsage       = 2   // bad input: nothing has run
	statusPanicked    = 3   // a Linux guest's kernel panicked
	statusInterrupted = 130 // Ctrl-C
)

// A guestStatus is a guest's own exit status; it is not an error of ours.
type guestStatus int

func (s guestStatus) Error() string { return fmt.Sprintf("the guest's status is %d", int(s)) }

func main() {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(status(root().ExecuteContext(ctx)))
}

// status turns what a command returned into the process's exit status, and says
// why in one line.
func status(err error) int {
	var guest guestStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &guest):
		return int(guest)
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "gvmm: stopped")
		return statusInterrupted
	}
	fmt.Fprintf(os.Stderr, "gvmm: %v\n", err)
	if errors.Is(err, vmm.ErrPanic) {
		return statusPanicked
	}
	var failure *failed
	if errors.As(err, &failure) {
		return statusFailed
	}
	return statusUsage
}

// failed wraps an error after something has run.
type failed struct{ error }

func (f *failed) Unwrap() error { return f.error }

func root() *cobra.Command {
	c := &cobra.Command{
		Use:   "gvmm",
		Short: "Virtual machines with user interrupts on any x86-64 host",
		Long: `gvmm runs virtual machines whose user programs get the completions of their
devices as x86 user interrupts (UINTR), whether or not the host's CPU or its KVM
knows them, and counts the exits that this saves beside a control run.`,
		Example: `  gvmm run --uintr --disk disk.img,readonly guest.img
  gvmm info
  gvmm bench exits --image guest.img`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	c.AddCommand(runCommand(), infoCommand(), benchCommand(), imageCommand(), testbedCommand(), versionCommand())
	return c
}

// group is a command of commands: alone it tells which there are.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.NoArgs, // which is judged only with a RunE
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(commands...)
	return c
}
