package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"gvmm/vcpu"
	"gvmm/vcpu/soft/jit"
	"gvmm/vmm"
)

// jitFlag is --jit.
type jitFlag struct{ value string }

func (f *jitFlag) add(c *cobra.Command) {
	c.Flags().StringVar(&f.value, "jit", "auto", "the software CPU's translator to host code: auto, on, off, or check (compares with the interpreter; slow)")
	_ = c.RegisterFlagCompletionFunc("jit", cobra.FixedCompletions([]string{"auto", "on", "off", "check"}, cobra.ShellCompDirectiveNoFileComp))
}

func (f *jitFlag) parse() (vcpu.JIT, error) {
	j, err := vcpu.ParseJIT(f.value)
	if err != nil {
		return j, fmt.Errorf("--jit %w", err)
	}
	return j, nil
}

// translatorInfo says whether this host can execute translated code.
func translatorInfo() string {
	if err := jit.Usable(); err != nil {
		return "no: " + err.Error()
	}
	return "hot code is translated (--jit)"
}

// printJIT shows what was translated, if anything could be.
func printJIT(w io.Writer, r *vmm.JITReport) {
	switch {
	case r == nil:
	case r.Native == 0:
		if r.Why != "" {
			fmt.Fprintf(w, "translator %s: %s\n", r.Mode, r.Why)
		}
	default:
		fmt.Fprintf(w, "translator %s: %.1f %% of %d instructions, %d blocks, %d KiB of code, dropped %d times\n",
			r.Mode, 100*r.Share, r.Instructions, r.Blocks, r.CodeBytes>>10, r.Flushes)
	}
}
