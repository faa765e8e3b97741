package kvm

import (
	"io/fs"
	"path"
	"strings"
)

// HostKind is the implementation behind /dev/kvm (kvm-hosts.md §1).
type HostKind uint8

// Kinds of hosts.
const (
	HostNone    HostKind = iota // no KVM module
	HostUnknown                 // KVM, but nothing that says which
	HostVMX                     // Intel VT-x
	HostSVM                     // AMD-V
	HostPVM                     // page-table virtual machine: guest CPL 0 is interpreted
)

// String names the kind.
func (k HostKind) String() string {
	switch k {
	case HostNone:
		return "none"
	case HostVMX:
		return "Intel VMX"
	case HostSVM:
		return "AMD SVM"
	case HostPVM:
		return "kvm_pvm"
	}
	return "unknown"
}

// Host is what the host's modules say of its KVM. Parameters only say what may
// happen: whether an interrupt costs an exit is for a measurement to tell.
type Host struct {
	Kind HostKind
	// APICv says that interrupts may be posted into a running vCPU:
	// kvm_intel's enable_apicv, kvm_amd's avic.
	APICv bool
	// IPIv says that a guest's ICR store may need no exit: enable_ipiv.
	IPIv bool
}

// String describes the host in one line.
func (h Host) String() string {
	if h.Kind != HostVMX && h.Kind != HostSVM {
		return h.Kind.String()
	}
	feature := "APICv"
	if h.Kind == HostSVM {
		feature = "AVIC"
	}
	return h.Kind.String() + ", " + feature + onOff(h.APICv) + ", IPI virtualization" + onOff(h.IPIv)
}

func onOff(on bool) string {
	if on {
		return " on"
	}
	return " off"
}

// DescribeHost reads fsys, the host's root directory (os.DirFS("/")): the
// modules under sys/module, and proc/cpuinfo where both vendors' are built into
// the kernel.
func DescribeHost(fsys fs.FS) Host {
	h := Host{Kind: hostKind(fsys)}
	switch h.Kind {
	case HostVMX:
		h.APICv = parameter(fsys, "kvm_intel", "enable_apicv")
		h.IPIv = h.APICv && parameter(fsys, "kvm_intel", "enable_ipiv")
	case HostSVM:
		h.APICv = parameter(fsys, "kvm_amd", "avic")
		h.IPIv = h.APICv && parameter(fsys, "kvm_amd", "enable_ipiv")
	}
	return h
}

func hostKind(fsys fs.FS) HostKind {
	intel, amd := module(fsys, "kvm_intel"), module(fsys, "kvm_amd")
	switch {
	case module(fsys, "kvm_pvm"): // loads only where no vendor's module took KVM
		return HostPVM
	case intel && amd:
		return vendorKind(fsys)
	case intel:
		return HostVMX
	case amd:
		return HostSVM
	case module(fsys, "kvm"):
		return HostUnknown
	}
	return HostNone
}

// vendorKind tells the vendor by the CPU's flags.
func vendorKind(fsys fs.FS) HostKind {
	cpuinfo, err := fs.ReadFile(fsys, "proc/cpuinfo")
	if err != nil {
		return HostUnknown
	}
	for line := range strings.Lines(string(cpuinfo)) {
		key, flags, _ := strings.Cut(line, ":")
		if strings.TrimSpace(key) != "flags" {
			continue
		}
		for flag := range strings.FieldsSeq(flags) {
			switch flag {
			case "vmx":
				return HostVMX
			case "svm":
				return HostSVM
			}
		}
		break
	}
	return HostUnknown
}

func module(fsys fs.FS, name string) bool {
	info, err := fs.Stat(fsys, path.Join("sys/module", name))
	return err == nil && info.IsDir()
}

// parameter reads a boolean module parameter: "Y" or, in older kernels, "1".
func parameter(fsys fs.FS, module, name string) bool {
	b, err := fs.ReadFile(fsys, path.Join("sys/module", module, "parameters", name))
	if err != nil {
		return false
	}
	v := strings.TrimSpace(string(b))
	return v == "Y" || v == "1"
}
