package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"gvmm/bench"
	"gvmm/vcpu/trace"
)

// traceDefault is where a trace goes that no --trace-file sends elsewhere.
const traceDefault = "gvmm-trace.txt"

// traceFlags are --trace and --trace-file.
type traceFlags struct {
	list, file string
	named      bool // --trace-file was given
}

// add makes the flags.
func (f *traceFlags) add(c *cobra.Command) {
	s := c.Flags()
	s.StringVar(&f.list, "trace", "", "write what processors do: any of insn,exit,irq,uintr,iommu, or all; insn and irq need --accel soft")
	s.StringVar(&f.file, "trace-file", traceDefault, "where to: a file, which is overwritten if named here, or - for standard error")
	_ = c.RegisterFlagCompletionFunc("trace", cobra.FixedCompletions(append(trace.Names(), "all"), cobra.ShellCompDirectiveNoFileComp))
}

// traceFile is an open trace.
type traceFile struct {
	*trace.Log
	out   *traceOutput
	fresh bool // the file was not there before
}

// open makes the trace that the flags ask for, nil for none. A file that exists is
// only overwritten if --trace-file names it.
func (f *traceFlags) open(cmd *cobra.Command) (*traceFile, error) {
	f.named = cmd.Flags().Changed("trace-file")
	if f.list == "" {
		if f.named {
			return nil, errors.New("--trace-file without --trace: say what to trace")
		}
		return nil, nil
	}
	kinds, err := trace.ParseKinds(f.list)
	if err != nil {
		return nil, fmt.Errorf("--trace: %w", err)
	}
	if f.file == "-" {
		return &traceFile{Log: trace.New(cmd.ErrOrStderr(), kinds)}, nil
	}
	file, err := os.OpenFile(f.file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	fresh := err == nil
	switch {
	case errors.Is(err, fs.ErrExist) && f.named:
		file, err = os.OpenFile(f.file, os.O_WRONLY, 0o644)
	case errors.Is(err, fs.ErrExist):
		return nil, fmt.Errorf("--trace: %s exists; --trace-file %s overwrites it", f.file, f.file)
	}
	if err != nil {
		return nil, fmt.Errorf("--trace-file: %w", err)
	}
	out := &traceOutput{file: file}
	return &traceFile{trace.New(out, kinds), out, fresh}, nil
}

// close completes the trace. Where nothing has run there is none, and what was in
// the file before is there still.
func (t *traceFile) close(err error) error {
	if t == nil {
		return err
	}
	var setup *bench.SetupError
	if t.out == nil {
		return errors.Join(err, t.Flush())
	}
	if errors.As(err, &setup) {
		_ = t.out.file.Close()
		if t.fresh {
			_ = os.Remove(t.out.file.Name())
		}
		return err
	}
	return errors.Join(err, t.Flush(), t.out.file.Close())
}

// traceOutput empties a regular file before the first write.
type traceOutput struct {
	file  *os.File
	begun bool
}

var _ io.Writer = (*traceOutput)(nil)

// Write implements io.Writer.
func (o *traceOutput) Write(p []byte) (int, error) {
	if !o.begun {
		o.begun = true
		if info, err := o.file.Stat(); err == nil && info.Mode().IsRegular() {
			if err := o.file.Truncate(0); err != nil {
				return 0, err
			}
		}
	}
	return o.file.Write(p)
}
