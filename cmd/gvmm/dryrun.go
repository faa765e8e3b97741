package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"gvmm/vmm"
)

// describe builds the machine, shows it, and runs nothing.
func (f *runFlags) describe(cmd *cobra.Command, c vmm.Config) error {
	m, err := vmm.New(c)
	if err != nil {
		return err
	}
	defer m.Close()
	d := m.Describe()
	if f.json {
		return printJSON(cmd.OutOrStdout(), d)
	}
	printDescription(cmd.OutOrStdout(), d)
	return nil
}

func printDescription(w io.Writer, d vmm.Description) {
	t := newTable(w)
	row := func(name, value string) {
		if value != "" {
			t.AppendRow(table.Row{name, value})
		}
	}
	span := func(r vmm.Range) string {
		return strings.TrimSpace(fmt.Sprintf("%s to %s %s", r.First, r.Last, r.What))
	}
	row("image", d.Image)
	row("is", d.Kind)
	if d.Kernel != d.Image {
		row("kernel", d.Kernel)
	}
	row("version", d.Version)
	row("entered by", fmt.Sprintf("%s, at %s", d.Boot, d.Entry))
	row("loaded at", span(d.Loaded))
	row("KASLR", d.KASLR)
	row("command line", d.Command)
	row("initrd", strings.Join(d.Initrds, " + "))
	if d.Initrd != nil {
		row("initrd at", span(*d.Initrd))
	}
	t.AppendSeparator()
	row("memory", fmt.Sprintf("%d MiB", d.Memory/vmm.MiB))
	for _, r := range d.Map {
		row("", span(r))
	}
	t.AppendSeparator()
	row("CPUs", fmt.Sprint(d.CPUs))
	row("engine", fmt.Sprintf("%s: %s", d.Engine, d.Why))
	row("user interrupts", d.UserInts)
	t.AppendSeparator()
	for _, f := range d.Devices {
		row(f.Address, fmt.Sprintf("%s class %s  %s", f.ID, f.Class, f.Name))
	}
	t.Render()
}
