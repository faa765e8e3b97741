package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"gvmm/guests/image"
	"gvmm/vmm/disk/bootable"
)

func imageInspectCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "inspect IMAGE",
		Short: "Tell what an image is and what it would boot",
		Long: `Tell what IMAGE is, by what is in it: a kernel in any form that gvmm run takes, or a
disk, raw or qcow2. Of a disk: its partitions and file systems, and the kernel, initial
RAM disk and command line that its boot loader's configuration names. Of an image that
gvmm image build made: what it was made from.`,
		Example: `  gvmm image inspect guest.img
  gvmm image inspect --json debian-12-nocloud-amd64.qcow2
  gvmm image inspect /boot/vmlinuz`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			i, err := image.Inspect(args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), i)
			}
			printInspection(cmd.OutOrStdout(), i)
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

func imageListCommand() *cobra.Command {
	var asJSON, long bool
	partition := -1
	c := &cobra.Command{
		Use:   "ls IMAGE [PATH]",
		Short: "List files in a disk image",
		Long: `List a directory, or one file, in a disk image, raw or qcow2, without mounting it.
File systems that are read are ext2 to ext4 and FAT; a journal is not replayed.`,
		Example: `  gvmm image ls guest.img
  gvmm image ls -l guest.img /boot
  gvmm image ls --partition 15 debian-12-nocloud-amd64.qcow2 /EFI`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/"
			if len(args) > 1 {
				path = args[1]
			}
			if cmd.Flags().Changed("partition") && partition < 0 {
				return errors.New("--partition: 0 for a disk without partitions, or a partition's number")
			}
			files, err := image.List(args[0], partition, path)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), listed(files))
			}
			printFiles(cmd.OutOrStdout(), files, long)
			return nil
		},
	}
	s := c.Flags()
	s.BoolVarP(&long, "long", "l", false, "type, size and a link's target beside each name")
	s.IntVar(&partition, "partition", -1, "the partition, by its number [the one that holds a system]")
	s.BoolVar(&asJSON, "json", false, "print a JSON list")
	return c
}

func printInspection(w io.Writer, i *image.Inspection) {
	t := newTable(w)
	row := func(name, value string) {
		if value != "" {
			t.AppendRow(table.Row{name, plain(value)})
		}
	}
	bytes := func(n int64) string {
		if n == 0 {
			return ""
		}
		return size(n)
	}
	row("image", i.Path)
	row("is", strings.TrimSuffix(i.Kind+": "+i.Detail, ": "))
	row("format", i.Format)
	row("over", strings.Join(i.Backing, ", "))
	row("size", fmt.Sprintf("%s, %s on this disk", size(i.Size), size(i.Allocated)))
	for _, p := range i.Parts {
		name := "partition " + strconv.Itoa(p.Number)
		if p.Number == 0 {
			name = "no partitions"
		}
		kind := p.Filesystem
		if kind == "" {
			kind = "unknown"
		}
		row(name, fmt.Sprintf("%s, %s from %s on", kind, size(p.Size), size(p.Offset)))
	}
	t.AppendSeparator()
	row("boots", i.From)
	row("boots nothing", i.NoKernel)
	row("kernel", strings.Trim(i.Version+", "+bytes(i.Kernel), ", "))
	row("initrd", bytes(i.Initrd))
	row("command line", i.Command)
	if m := i.Manifest; m != nil {
		t.AppendSeparator()
		row("made by", "gvmm image build, of "+m.Distribution)
		for _, p := range m.Packages {
			row("package", p.Name+" "+p.Version)
		}
		row("inputs", "SHA-256 "+m.Inputs)
		if i.Used {
			row("used", "a guest has mounted it since")
		}
	}
	t.Render()
}

// size is a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.4g MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.4g KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

// plain quotes what could do something to a terminal: an image's names are its maker's.
func plain(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// typeName is a file's type in a word.
func typeName(mode fs.FileMode) string {
	switch mode {
	case 0:
		return "file"
	case fs.ModeDir:
		return "directory"
	case fs.ModeSymlink:
		return "link"
	}
	return "other"
}

func printFiles(w io.Writer, files []bootable.File, long bool) {
	for _, f := range files {
		name := plain(f.Name)
		if !long {
			fmt.Fprintln(w, name)
			continue
		}
		if f.Type == fs.ModeSymlink {
			name += " -> " + plain(f.Target)
		}
		fmt.Fprintf(w, "%-9s %12d %s\n", typeName(f.Type), f.Size, name)
	}
}

// A listedFile is a file as programs are told of it.
type listedFile struct {
	Name   string `json:"name"`
	Type   string `json:"type"` // file, directory, link or other
	Size   int64  `json:"size"`
	Target string `json:"target,omitempty"`
}

func listed(files []bootable.File) []listedFile {
	list := make([]listedFile, 0, len(files))
	for _, f := range files {
		list = append(list, listedFile{f.Name, typeName(f.Type), f.Size, f.Target})
	}
	return list
}
