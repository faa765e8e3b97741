package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"gvmm/kvm"
	"gvmm/uintr/spec"
	"gvmm/vcpu"
	"gvmm/vcpu/hw"
)

// hostInfo is what gvmm info tells.
type hostInfo struct {
	KVM        string    `json:"kvm"`           // kind of KVM, "none" without
	Why        string    `json:"why,omitempty"` // what is missing
	APICv      bool      `json:"apicv"`         // interrupts may be posted into a running vCPU
	IPIv       bool      `json:"ipiv"`
	UINTR      bool      `json:"uintr_in_cpuid"` // the CPU has user interrupts
	UINTRKVM   bool      `json:"uintr_in_kvm"`   // and KVM offers them to guests
	IOURing    bool      `json:"io_uring"`
	CPUs       int       `json:"cpus"`
	Memory     uint64    `json:"memory_bytes"`
	Translator string    `json:"translator"` // of the software CPU
	Way        string    `json:"way"`        // how user interrupts would go
	Probe      *hw.Probe `json:"probe,omitempty"`
	IOMMU      unitInfo  `json:"iommu"`
}

func infoCommand() *cobra.Command {
	var asJSON bool
	var path string
	c := &cobra.Command{
		Use:   "info",
		Short: "Tell what this host offers, and which way user interrupts will go",
		Long: `Tell what this host offers: its KVM, whether interrupts can be posted into a
running virtual CPU, user interrupts in hardware, io_uring, memory. The ways of user
interrupts are tried in a small machine, and what an interrupt costs is measured.`,
		Example: "  gvmm info\n  gvmm info --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info := gatherInfo(path)
			if asJSON {
				return printJSON(cmd.OutOrStdout(), info)
			}
			printInfo(cmd.OutOrStdout(), info)
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	c.Flags().StringVar(&path, "kvm", kvm.DefaultPath, "the KVM device")
	return c
}

func gatherInfo(path string) hostInfo {
	host := kvm.DescribeHost(os.DirFS("/"))
	info := hostInfo{
		KVM: host.Kind.String(), APICv: host.APICv, IPIv: host.IPIv, UINTR: cpuHasUINTR(), IOURing: hasIOURing(),
		CPUs: runtime.NumCPU(), Way: vcpu.WayNone.String(), Translator: translatorInfo(), IOMMU: describeUnit(),
	}
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) == nil {
		info.Memory = s.Totalram * uint64(s.Unit)
	}
	system, err := kvm.Open(path)
	if err != nil {
		info.KVM, info.Why = kvm.HostNone.String(), err.Error()
		return info
	}
	defer system.Close()
	if c, err := system.GetSupportedCPUID(); err == nil {
		if e := c.Find(spec.CPUIDLeaf, 0); e != nil {
			info.UINTRKVM = e.EDX&spec.CPUIDBit != 0
		}
	}
	if info.Probe, err = hw.RunProbe(path); err != nil {
		info.Why = err.Error()
		return info
	}
	way, err := info.Probe.Choose(vcpu.WayNone)
	info.Way = way.String()
	if err != nil {
		info.Why = err.Error()
	}
	return info
}

// cpuHasUINTR looks for the flag that Linux names.
func cpuHasUINTR() bool {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "flags") {
			return slices.Contains(strings.Fields(line), "uintr")
		}
	}
	return false
}

// hasIOURing tells whether a ring can be made.
func hasIOURing() bool {
	var params [120]byte // struct io_uring_params
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptrOf(&params), 0)
	if errno == 0 {
		_ = unix.Close(int(fd))
	}
	return errno == 0
}

func printInfo(w io.Writer, i hostInfo) {
	yes := map[bool]string{true: "yes", false: "no"}
	t := newTable(w)
	t.AppendRow([]any{"KVM", i.KVM})
	t.AppendRow([]any{"posts interrupts (APICv, AVIC)", yes[i.APICv] + ", as its module says"})
	t.AppendRow([]any{"IPI virtualisation", yes[i.IPIv] + ", as its module says"})
	t.AppendRow([]any{"UINTR in the CPU", yes[i.UINTR]})
	t.AppendRow([]any{"UINTR offered by KVM", yes[i.UINTRKVM]})
	t.AppendRow([]any{"io_uring", yes[i.IOURing]})
	t.AppendRow([]any{"CPUs, memory", fmt.Sprintf("%d, %.1f GiB", i.CPUs, float64(i.Memory)/(1<<30))})
	t.AppendRow([]any{"software CPU (--accel soft)", "there on any x86-64 host, user interrupts included"})
	t.AppendRow([]any{"its translator", i.Translator})
	t.AppendRow([]any{"user interrupts go, over KVM", i.Way})
	if p := i.Probe; p != nil {
		t.AppendSeparator()
		trial := func(name string, x hw.Trial) {
			if !x.Works {
				t.AppendRow([]any{name, "does not work here: " + x.Why})
				return
			}
			t.AppendRow([]any{name, fmt.Sprintf("%v; an interrupt costs KVM %.1f exits, %.1f injections, %.1f interpreted instructions",
				time.Duration(x.P50).Round(100*time.Nanosecond), x.Exits, x.Inject, x.Emul)})
		}
		trial("direct", p.Direct)
		trial("resident (short shim)", p.Resident)
		trial("kick and rewrite", p.Kick)
		t.AppendRow([]any{"exit-free", yes[p.ExitFree] + ", measured"})
	}
	i.IOMMU.print(t)
	t.Render()
	if i.Why != "" {
		fmt.Fprintln(w, i.Why)
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Tell the version",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			version, revision := "devel", ""
			if b, ok := debug.ReadBuildInfo(); ok {
				if b.Main.Version != "" && b.Main.Version != "(devel)" {
					version = b.Main.Version
				}
				for _, s := range b.Settings {
					if s.Key == "vcs.revision" {
						revision = " " + s.Value
					}
				}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "gvmm %s%s %s\n", version, revision, runtime.Version())
		},
	}
}
