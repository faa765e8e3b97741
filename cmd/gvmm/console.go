package main

import (
	"io"
	"os"

	"github.com/spf13/cobra"

	"gvmm/vmm"
	"gvmm/vmm/terminal"
)

// console gives the guest standard input. What it returns gives a terminal back as it was.
func console(cmd *cobra.Command, c *vmm.Config, leave func()) (io.Closer, error) {
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok {
		c.Input = cmd.InOrStdin()
		return io.NopCloser(nil), nil
	}
	config := terminal.Config{In: in, Message: cmd.ErrOrStderr(), Leave: leave}
	if c.Console != nil {
		config.Resized = c.Console.Resize
	}
	t, err := terminal.New(config)
	if err != nil {
		return nil, err
	}
	c.Input = t
	return t, nil
}
