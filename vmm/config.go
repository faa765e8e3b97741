package vmm

import (
	"errors"
	"fmt"
	"io"
	"net"

	"gvmm/kvm"
	"gvmm/vcpu"
	"gvmm/vcpu/hw"
	"gvmm/vcpu/trace"
	"gvmm/vmm/boot"
)

// ErrConfig wraps what a machine cannot be built from.
var ErrConfig = errors.New("vmm: configuration")

// Config is what a machine is built from. Image is required.
type Config struct {
	Image    string // path of a kernel image, or of a disk, which is then the first one, /dev/vda, and booted from
	Initrd   string // path of an initial RAM disk; "" is none
	Command  string // its command line
	Memory   uint64 // bytes of RAM [512 MiB for a Linux kernel, 64 MiB for others]
	CPUs     int    // [1]
	Disks    []Disk
	Queues   int // request queues of each disk [1]
	Networks []Network

	// Boot is how the kernel is entered; boot.WayAuto takes the fastest way that it offers.
	Boot boot.Way
	// Kernel and Initrds, if given, are used instead of the files at Image, which then only names the kernel in reports,
	// and at Initrd: what was found in a disk. Found is the command line that was found with them. Who made the
	// machine closes them after it.
	Kernel  *boot.Source
	Initrds []boot.Source
	Found   string
	// WriteImage lets the guest write to an Image that is a raw disk. Booting, if set, is told what is booted from an
	// Image that is a disk, in one line.
	WriteImage bool
	Booting    func(what string)
	// Defaults completes a Linux kernel's command line: what came with it, then the words of
	// LinuxDefaults, then Command. Without it Command is all.
	Defaults bool

	// UINTR offers user interrupts by Way; WayNone has Probe choose. Probe is what is known of this host; nil finds out.
	UINTR bool
	Way   vcpu.Way
	Probe *hw.Probe
	// Posted lets the remapping unit post to UPIDs; without it a completion is
	// remapped to the guest kernel, as in a machine without posted interrupts.
	Posted bool
	// Kick notifies by a kick that rewrites the processor's registers instead of an interrupt, for comparison.
	Kick bool
	// IOMMU puts every device behind the remapping unit for DMA too: drivers must accept ACCESS_PLATFORM.
	IOMMU bool
	// Entropy says whether there is a virtio-rng device; Console, if set, adds a virtio console.
	Entropy Entropy
	Console *Console
	// Edu adds the edu device.
	Edu bool
	// DoorbellExits leaves doorbells to user-space exits instead of ioeventfds.
	DoorbellExits bool

	// Accel is the engine. AccelAuto takes KVM where it suits the image, else the software CPU.
	Accel vcpu.Accel
	// Chosen, if set, is told what AccelAuto became and why, in one line.
	Chosen func(accel vcpu.Accel, why string)

	// GDB is where a debugger connects: the machine waits for one before its first instruction. Run closes it.
	GDB net.Listener

	// Trace, if set, is written while the machine runs; whoever made it flushes it.
	Trace *trace.Log

	// ICount makes guest time virtual: each instruction takes so many nanoseconds, processors run in turn on one
	// goroutine and devices inside their doorbells, so that a run repeats. Seed is what random numbers come from.
	ICount uint64
	Seed   uint64

	// JIT is the software CPU's translator; JITAuto translates where the host can and time is not virtual.
	JIT vcpu.JIT

	Serial io.Writer // of COM1; nil discards
	Input  io.Reader // what arrives at COM1, read while the machine runs; nil is nothing
	// NoReset has a reset by the guest end the machine, with ErrReset.
	NoReset bool
	KVM     string // path of the device ["/dev/kvm"]
}

// Disk is a host file as a virtio-blk device.
type Disk struct {
	Path     string
	ReadOnly bool
	DiskOptions
}

// Guest-physical layout. RAM is below boot.LowLimit and from boot.HighBase on.
const (
	MiB = 1 << 20

	ecamBase     = 0xD000_0000
	ecamBytes    = 1 << 20 // bus 0
	barBase      = 0xE000_0000
	doorbellBase = 0xFEB0_0000 // one page a processor
	iommuBase    = 0xFED9_0000
	iommuBytes   = 4096
)

// Limits of a Config.
const (
	MaxCPUs  = 64
	maxDisks = 16
	// maxMemory keeps what the VMM has for each page within reason.
	maxMemory = 256 << 30
	// defaultMemory is enough for a freestanding guest, linuxMemory for a distribution's kernel.
	defaultMemory = 64 * MiB
	linuxMemory   = 512 * MiB
	// maxICount keeps virtual time far from its end.
	maxICount = 1_000_000
)

func (c *Config) kvmPath() string {
	if c.KVM == "" {
		return kvm.DefaultPath
	}
	return c.KVM
}

func (c *Config) queues() int { return max(1, c.Queues) }

// check fills defaults in and judges the rest.
func (c *Config) check() error {
	if c.CPUs == 0 {
		c.CPUs = 1
	}
	if c.Serial == nil {
		c.Serial = io.Discard
	}
	switch {
	case c.Image == "" && c.Kernel == nil:
		return fmt.Errorf("%w: no image", ErrConfig)
	case c.CPUs < 1 || c.CPUs > MaxCPUs:
		return fmt.Errorf("%w: %d CPUs; 1 to %d can be had", ErrConfig, c.CPUs, MaxCPUs)
	case c.Memory%MiB != 0 || c.Memory > maxMemory:
		return fmt.Errorf("%w: memory of %d bytes; give whole MiB from 1 to %d", ErrConfig, c.Memory, maxMemory/MiB)
	case len(c.Disks) > maxDisks:
		return fmt.Errorf("%w: %d disks; %d can be had", ErrConfig, len(c.Disks), maxDisks)
	case len(c.Command) > boot.MaxCommandLine:
		return fmt.Errorf("%w: command line of %d bytes; %d is the longest", ErrConfig, len(c.Command), boot.MaxCommandLine)
	case c.ICount > maxICount:
		return fmt.Errorf("%w: %d ns an instruction; 1 to %d can be had", ErrConfig, c.ICount, maxICount)
	case c.ICount > 0 && c.Accel == vcpu.AccelKVM:
		return fmt.Errorf("%w: KVM cannot count a guest's instructions; --accel soft can", ErrConfig)
	case c.queues() > 16:
		return fmt.Errorf("%w: %d queues a disk; 16 can be had", ErrConfig, c.Queues)
	}
	return c.checkNetworks()
}
