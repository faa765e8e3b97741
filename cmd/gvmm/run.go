package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gvmm/bench"
	"gvmm/vcpu"
	"gvmm/vmm"
	"gvmm/vmm/boot"
	"gvmm/vmm/gdb"
)

// runFlags are the flags of gvmm run.
type runFlags struct {
	uintr   bool
	way     string
	disks   []string
	memory  string
	cpus    int
	queues  int
	posted  string
	control string
	command string
	initrd  string
	accel   string
	kvm     string
	json    bool
	iommu   bool
	edu     bool
	icount  uint64
	seed    uint64
	gdb     string
	trace   traceFlags
	devices deviceFlags
	noReset bool
	kernel  string
	boot    string
	dryRun  bool
	rw      bool
	net     netFlags
	jit     jitFlag
}

func runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run [flags] [IMAGE]",
		Short: "Run a guest and report what it cost",
		Long: `Run the guest in IMAGE. What it is, the file tells: a Linux kernel (bzImage, alone or in
a unified kernel image, or vmlinux), an x86 ELF executable with a PVH note, or an image
with a multiboot header, or a disk, raw or qcow2, in which a kernel is found: by boot
loader entries, GRUB's configuration, as a unified kernel image, or under /boot. The disk
is then /dev/vda, and is not changed unless --rw says so. --kernel names the kernel
instead, with --initrd and --disk for the rest.

A Linux kernel gets 512 MiB and, without --append, what came with it and these words:
  console=ttyS0        COM1 is what gvmm shows
  cryptomgr.notests    no self-tests of ciphers: 60 % of a boot's instructions
  panic=-1             a kernel that cannot go on resets at once
  reboot=panic_warm    and says so by a warm reset, which ends gvmm with status 3
--append 'words' replaces them all, --append '+ words' adds to them. The kernel is
unpacked and randomised (KASLR) here, which is faster; --boot bzimage leaves both to its
own code. --dry-run shows all that would be run, and runs nothing.

COM1 is standard output and, once the guest reads it, standard input: a terminal then
is the guest's, Ctrl-C included, until Ctrl-A x (Ctrl-A h tells the keys). A guest that
resets its machine begins anew, on the same disks; --no-reset ends it instead.

With --uintr the guest gets user interrupts, by the best way that a probe finds to work
on this host (see gvmm info), and a report follows: completions, user interrupts, exits
by cause and device, latency. Beside it stands a control run of the same guest without
posted interrupts. A guest that writes to a disk, or that measures nothing, is not run a
second time unless --control=on asks for it.

` + netHelp + `
--trace writes what processors do as text, a line an event: insn instructions with
the registers that they change, exit each exit, irq interrupts and exceptions,
uintr the steps of user interrupts, iommu what the remapping unit does. --gdb has the
machine wait for a debugger before its first instruction: processors are its threads,
addresses are linear, and a debugger that goes away lets the guest go on. Of both there is no control run
unless --control=on asks for it, and where the engine is not chosen they choose one
that can.

The exit status is the guest's; 1 if the machine failed, 2 if nothing could be
run, 3 if a Linux kernel with reboot=panic_warm panic=-1 on its command line
panicked, 130 after Ctrl-C, Ctrl-A x or a debugger's kill.`,
		Example: `  gvmm run --uintr --disk disk.img,readonly guest.img
  gvmm run --uintr --way resident --disk disk.img,readonly --append 'depth=1 requests=10000' guest.img
  gvmm run --uintr --disk disk.img,readonly --json guest.img > report.json   # COM1 on standard error
  gvmm run --uintr --cpus 2 ipi.img
  gvmm run --uintr --trace exit,uintr --trace-file - --disk disk.img,readonly guest.img
  gvmm run --initrd initrd.img /boot/vmlinuz
  gvmm run --kernel /boot/vmlinuz --initrd initrd.img --disk root.img --append '+ root=/dev/vda1' --memory 4G
  gvmm run --net user,hostfwd=tcp::2222-:22 guest.img
  gvmm run --dry-run /boot/vmlinuz
  gvmm run debian.qcow2            # what is written is gone with the machine; --rw keeps it, in a raw disk
  gvmm run --gdb :1234 guest.img   # then: gdb -ex 'target remote :1234' guest.img`,
		Args: f.arguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, append(args, f.kernel)[0])
		},
	}
	s := c.Flags()
	s.BoolVar(&f.uintr, "uintr", false, "give the guest user interrupts")
	s.StringVar(&f.way, "way", "auto", "how they go: auto, native (the software CPU), direct or resident (over KVM)")
	s.StringArrayVar(&f.disks, "disk", nil, diskUsage)
	s.StringVar(&f.memory, "memory", "", "RAM, with M or G (default 512M for a Linux kernel, else 64M)")
	s.IntVar(&f.cpus, "cpus", 1, "virtual CPUs")
	s.IntVar(&f.queues, "queues", 1, "request queues of each disk")
	s.StringVar(&f.posted, "posted", "on", "on: the IOMMU posts to user programs; off: like a machine without posted interrupts")
	s.StringVar(&f.control, "control", "auto", "run the guest again without posted interrupts, to compare: auto, on or off")
	s.BoolVar(&f.iommu, "iommu", false, "put devices behind the IOMMU for DMA too; their drivers must accept ACCESS_PLATFORM")
	s.BoolVar(&f.edu, "edu", false, "add a PCI device for experiments with DMA and interrupts, 1234:11e8")
	s.StringVar(&f.kernel, "kernel", "", "host file with the kernel, in the place of IMAGE")
	s.StringVar(&f.boot, "boot", "auto", "how the kernel is entered: auto, linux, bzimage, pvh or multiboot")
	s.BoolVar(&f.rw, "rw", false, "write to IMAGE, if it is a raw disk, instead of to an overlay that ends with the machine")
	s.BoolVar(&f.dryRun, "dry-run", false, "show what would be run, and run nothing")
	s.StringVar(&f.command, "append", "", "the guest's command line; with '+ ' before it, added to what it gets without")
	s.StringVar(&f.initrd, "initrd", "", "host file as the kernel's initial RAM disk")
	s.BoolVar(&f.noReset, "no-reset", false, "end the machine when the guest resets it")
	s.StringVar(&f.accel, "accel", "auto", "the engine: auto, kvm or soft")
	s.StringVar(&f.kvm, "kvm", "/dev/kvm", "the KVM device")
	s.StringVar(&f.gdb, "gdb", "", "wait for a debugger at HOST:PORT, :PORT (this machine only) or unix:PATH before the first instruction")
	f.trace.add(c)
	f.devices.add(c)
	f.net.add(c)
	f.jit.add(c)
	s.Uint64Var(&f.icount, "icount", 0, "virtual time: nanoseconds that each instruction takes; the run repeats exactly (software CPU)")
	s.Uint64Var(&f.seed, "seed", 0, "with --icount: what the guest's random numbers come from")
	s.BoolVar(&f.json, "json", false, "print the report as one JSON object; COM1 goes to standard error")
	complete := func(flag string, values ...string) {
		_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	complete("way", "auto", "native", "direct", "resident")
	complete("posted", "on", "off")
	complete("control", "auto", "on", "off")
	complete("accel", "auto", "kvm", "soft")
	complete("boot", "auto", "linux", "bzimage", "pvh", "multiboot")
	return c
}

// arguments wants the kernel named once.
func (f *runFlags) arguments(cmd *cobra.Command, args []string) error {
	switch {
	case f.kernel == "" && len(args) == 0:
		return errors.New("no guest: give an IMAGE, or a kernel with --kernel")
	case f.kernel != "" && len(args) > 0:
		return fmt.Errorf("--kernel %s and image %s: give one of the two", f.kernel, args[0])
	}
	return cobra.MaximumNArgs(1)(cmd, args)
}

// config judges the flags.
func (f *runFlags) config(cmd *cobra.Command, image string) (vmm.Config, error) {
	c := vmm.Config{
		Image: image, Initrd: f.initrd, Command: f.command, CPUs: f.cpus, Queues: f.queues, UINTR: f.uintr, KVM: f.kvm,
		ICount: f.icount, Seed: f.seed, IOMMU: f.iommu, Edu: f.edu, NoReset: f.noReset, WriteImage: f.rw,
	}
	if added, more := strings.CutPrefix(f.command, "+ "); more || !cmd.Flags().Changed("append") {
		c.Command, c.Defaults = added, true
	}
	var err error
	if f.memory != "" {
		if c.Memory, err = parseSize(f.memory); err != nil {
			return c, err
		}
	}
	if c.Boot, err = boot.ParseWay(f.boot); err != nil {
		return c, err
	}
	if c.Posted, err = parseSwitch("posted", f.posted); err != nil {
		return c, err
	}
	if c.Way, err = parseWay(f.way); err != nil {
		return c, err
	}
	if c.JIT, err = f.jit.parse(); err != nil {
		return c, err
	}
	if c.Accel, err = vcpu.ParseAccel(f.accel); err != nil {
		return c, fmt.Errorf("--accel: %w", err)
	}
	if f.control != "auto" && f.control != "on" && f.control != "off" {
		return c, fmt.Errorf("--control %s: auto, on or off", f.control)
	}
	if f.cpus < 1 {
		return c, fmt.Errorf("--cpus %d: at least 1", f.cpus)
	}
	if err := f.devices.apply(&c); err != nil {
		return c, err
	}
	if c.Networks, err = f.net.config(); err != nil {
		return c, err
	}
	for _, d := range f.disks {
		parsed, err := parseDisk(d)
		if err != nil {
			return c, err
		}
		c.Disks = append(c.Disks, parsed)
	}
	return c, nil
}

func (f *runFlags) run(cmd *cobra.Command, image string) error {
	c, err := f.config(cmd, image)
	if err != nil {
		return err
	}
	c.Booting = func(what string) { fmt.Fprintf(cmd.ErrOrStderr(), "gvmm: booting %s\n", what) }
	if f.dryRun {
		return f.describe(cmd, c)
	}
	c.Chosen = func(accel vcpu.Accel, why string) {
		fmt.Fprintf(cmd.ErrOrStderr(), "gvmm: engine %v: %s\n", accel, why)
	}
	c.Serial = cmd.OutOrStdout()
	if f.json {
		c.Serial = cmd.ErrOrStderr()
	}
	if f.gdb != "" {
		if c.GDB, err = gdb.Listen(f.gdb); err != nil {
			return fmt.Errorf("--gdb: %w", err)
		}
		listener := c.GDB
		defer listener.Close()
		fmt.Fprintf(cmd.ErrOrStderr(), "gvmm: waiting for a debugger: target remote %s\n", gdb.Remote(c.GDB))
	}
	traced, err := f.trace.open(cmd)
	if err != nil {
		return err
	}
	if traced != nil {
		c.Trace = traced.Log
	}
	ctx, leave := context.WithCancel(cmd.Context())
	defer leave()
	keyboard, err := console(cmd, &c, leave)
	if err != nil {
		return err
	}
	f.devices.connect(cmd, &c)
	report, err := bench.Run(ctx, c)
	err = errors.Join(err, keyboard.Close())
	if err = traced.close(err); err != nil {
		return f.failed(cmd, report, err)
	}
	if err := f.compare(cmd, c, report); err != nil {
		return f.failed(cmd, report, err)
	}
	if err := f.print(cmd.OutOrStdout(), report); err != nil {
		return err
	}
	if report.Status != 0 {
		return guestStatus(report.Status)
	}
	return nil
}

// failed prints what was counted before an error, unless nothing has run or the
// user stopped it.
func (f *runFlags) failed(cmd *cobra.Command, report *vmm.Report, err error) error {
	if report == nil {
		return err
	}
	if !errors.Is(err, context.Canceled) {
		_ = f.print(cmd.OutOrStdout(), report)
	}
	return &failed{err}
}

// compare adds the control run, where one makes sense.
func (f *runFlags) compare(cmd *cobra.Command, c vmm.Config, report *vmm.Report) error {
	if !f.uintr || !c.Posted || f.control == "off" || report.Status != 0 {
		return nil
	}
	if f.control == "auto" && (c.GDB != nil || c.Trace != nil || !report.Measured) {
		return nil
	}
	c.GDB, c.Trace, c.Input = nil, nil, nil
	if f.control == "auto" && len(c.Networks) > 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), "gvmm: no control run: the guest has a network; --control=on runs it again all the same")
		return nil
	}
	if f.control == "auto" && report.WroteDisk {
		fmt.Fprintln(cmd.ErrOrStderr(), "gvmm: no control run: the guest wrote to a disk; --control=on runs it again all the same")
		return nil
	}
	done := spinner(cmd.ErrOrStderr(), "control run, without posted interrupts")
	defer done()
	return bench.Control(cmd.Context(), c, report)
}

func (f *runFlags) print(w io.Writer, report *vmm.Report) error {
	if f.json {
		return printJSON(w, report)
	}
	if f.uintr {
		printReport(w, report)
	} else {
		printRefused(w, report)
	}
	return nil
}

func parseWay(s string) (vcpu.Way, error) {
	switch s {
	case "auto":
		return vcpu.WayNone, nil
	case "direct":
		return vcpu.WayDirect, nil
	case "resident":
		return vcpu.WayResident, nil
	case "native":
		return vcpu.WayNative, nil
	}
	return vcpu.WayNone, fmt.Errorf("--way %s: auto, native, direct or resident", s)
}

func parseSwitch(flag, s string) (bool, error) {
	if s != "on" && s != "off" {
		return false, fmt.Errorf("--%s %s: on or off", flag, s)
	}
	return s == "on", nil
}

// parseSize reads a number of bytes with M or G behind it.
func parseSize(s string) (uint64, error) {
	digits, unit := strings.TrimRight(s, "MG"), uint64(0)
	switch s[len(digits):] {
	case "M":
		unit = 1 << 20
	case "G":
		unit = 1 << 30
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || unit == 0 || n == 0 {
		return 0, fmt.Errorf("--memory %s: a number with M or G, such as 64M", s)
	}
	return n * unit, nil
}
