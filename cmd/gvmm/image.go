package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"gvmm/guests/image"
)

func imageCommand() *cobra.Command {
	return group("image", "Make and look into guest images",
		group("build", "Make a guest image", imageBuildDebianCommand()), imageInspectCommand(), imageListCommand())
}

func imageBuildDebianCommand() *cobra.Command {
	var o image.Options
	var flavour, size string
	var asJSON bool
	c := &cobra.Command{
		Use:   "debian",
		Short: "A small Linux guest from this Debian's own packages",
		Long: `Make a disk image of Debian's stock kernel, busybox and a start-up that brings the
network up and gives a shell on the console. Nothing needs root. apt downloads and verifies the packages, of the release that this host runs;
packages asked for by --package come with all that they depend on, unpacked, without
their documentation, and their installation scripts are not run.

The disk has a GPT and one ext4 partition; under /boot are the kernel, an initial RAM
disk and a Boot Loader Specification entry. Beside it, and in it as
/` + image.ManifestPath + `, is a list of what it was made from. The same inputs make the
same bytes; where the image is there already, nothing is done.

With --uintr a guest gets user interrupts: the kernel's driver for them, compiled by the
host's gcc with the kernel's own headers, and loaded at boot; and the programs of gvmm
bench, in /usr/local/bin. Both have their sources in /root/uintr. Such a guest is run
by gvmm run --uintr.

In the guest, gvmm.run='COMMAND' on the kernel's command line, or a program
/etc/gvmm/autorun.sh, is run, after which the machine ends: status 0 is power-off and
gvmm's status 0; another status, N, is gvmm's 2N+1, as with QEMU's isa-debug-exit.`,
		Example: `  gvmm image build debian
  gvmm image build debian --flavour generic --size 2G --output generic.img
  gvmm image build debian --uintr && gvmm run --uintr --cpus 2 guest.img
  gvmm image build debian --package strace --package iperf3`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			bytes, err := parseSize(size)
			if err != nil {
				return errors.New(strings.Replace(err.Error(), "--memory", "--size", 1))
			}
			o.Size, o.Flavour = int64(bytes), image.Flavour(flavour)
			stages := stages(cmd.ErrOrStderr())
			o.Progress = stages.tell
			r, err := image.Build(cmd.Context(), o)
			stages.end()
			if err != nil {
				return buildError(err)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), r)
			}
			printBuilt(cmd.OutOrStdout(), o.Output, r)
			return nil
		},
	}
	s := c.Flags()
	s.StringVarP(&o.Output, "output", "o", "guest.img", "the image to make")
	s.StringVar(&flavour, "flavour", string(image.Cloud), "the kernel: cloud (drivers of virtual machines) or generic (every driver)")
	s.StringArrayVar(&o.Packages, "package", nil, "a Debian package to add (repeatable)")
	s.StringVar(&size, "size", "1G", "size of the disk, with M or G; the file is sparse")
	s.StringVar(&o.CommandLine, "append", "", `the kernel's command line after root= ["rw console=ttyS0", and with --uintr "pti=off"]`)
	s.BoolVar(&o.UINTR, "uintr", false, "add the driver of user interrupts, and programs that use them, with their sources")
	s.BoolVar(&o.Force, "force", false, "build even if the image is up to date, and replace whatever is there")
	s.StringVar(&o.Cache, "cache", "", "folder for downloads; may be removed at any time [gvmm in the user's cache folder]")
	s.BoolVar(&asJSON, "json", false, "print what was made as one JSON object")
	_ = c.RegisterFlagCompletionFunc("flavour", cobra.FixedCompletions([]string{"cloud", "generic"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// buildError tells bad input from a build that failed.
func buildError(err error) error {
	for _, usage := range []error{image.ErrOption, image.ErrExists, image.ErrHost} {
		if errors.Is(err, usage) {
			return err
		}
	}
	return &failed{err}
}

func printBuilt(w io.Writer, path string, r *image.Result) {
	what := "made"
	switch {
	case r.Used:
		what = "has these inputs already, and a guest has written to it since (--force makes it anew)"
	case r.Reused:
		what = "is up to date"
	}
	fmt.Fprintf(w, "%s %s: Linux %s, %d packages of %s, %d MiB on this disk", path, what, r.Manifest.Kernel,
		len(r.Manifest.Packages), r.Manifest.Distribution, r.Allocated>>20)
	if r.Downloaded > 0 {
		fmt.Fprintf(w, ", %d MiB downloaded", r.Downloaded>>20)
	}
	fmt.Fprintln(w)
}

// A staged shows on a terminal one stage of work after the other.
type staged struct {
	w     io.Writer
	stage string
	done  func()
	bar   func(done, total int)
	total int
}

func stages(w io.Writer) *staged { return &staged{w: w} }

// tell is called by the work: a stage whose size is not known spins.
func (s *staged) tell(stage string, done, total int) {
	if s.stage != stage {
		s.end()
		s.stage = stage
		if total == 0 {
			s.done = spinner(s.w, stage)
		} else {
			s.bar = progress(s.w, stage)
		}
	}
	if s.bar != nil && s.total >= 0 {
		s.bar(done, total)
		if s.total = total; done == total {
			s.total = -1 // the bar has gone
		}
	}
}

// end takes away what is shown.
func (s *staged) end() {
	if s.done != nil {
		s.done()
	}
	if s.bar != nil && s.total > 0 {
		s.bar(s.total, s.total)
	}
	s.stage, s.done, s.bar, s.total = "", nil, nil, 0
}
