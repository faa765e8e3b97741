package vmm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/guests"
	"gvmm/iommu"
	"gvmm/iommu/spec"
	"gvmm/vcpu"
	"gvmm/vmm/pci"
)

// linuxStart loads modules, %s, after linuxMounts.
const linuxStart = linuxMounts + `for m in %s; do insmod /modules/$m.ko; done
`

// linuxEnd says whether the kernel complained, and ends.
const linuxEnd = `
dmesg | grep -e DMAR -e x2apic -e xapic | sed 's/^[^]]*] /kernel: /'
grep -e IO-APIC -e PCI-MSI /proc/interrupts
echo "warnings $(dmesg | grep -c -e WARNING -e BUG: -e 'Call Trace' -e 'ACPI.*Error' -e 'ACPI.*Warning' -e 'firmware' -e 'DRHD: handling fault')"
poweroff -f
`

const linuxIOMMUInit = linuxStart + `
echo "disk $(sha256sum < /dev/vda)"
dd if=/dev/vda of=/dev/vdb bs=64k conv=fsync 2>/dev/null
echo 3 > /proc/sys/vm/drop_caches
echo "copy $(sha256sum < /dev/vdb)"
for f in /sys/kernel/iommu_groups/*; do echo "group $(cat $f/type) $(echo $f/devices/*)"; done
` + linuxEnd

// runLinux boots a kernel and returns what it said.
func runLinux(t *testing.T, kernel string, c Config) (*Machine, string) {
	t.Helper()
	var out bytes.Buffer
	c.Image, c.Accel, c.Serial, c.Posted, c.Memory = kernel, vcpu.AccelSoft, &out, true, 512*MiB
	c.Command = "console=ttyS0 quiet cryptomgr.notests panic=-1 " + c.Command
	m := newMachine(t, c)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	status, err := m.Run(ctx)
	require.NoError(t, err, out.String())
	require.Zero(t, status, out.String())
	return m, strings.ReplaceAll(out.String(), "\r", "")
}

// linuxKernel is the kernel of the environment, whose modules are there too.
func linuxKernel(t *testing.T) string {
	t.Helper()
	kernel := os.Getenv(linuxEnv)
	if kernel == "" || os.Getenv(modulesEnv) == "" {
		t.Skipf("no kernel in %s, or no modules in %s", linuxEnv, modulesEnv)
	}
	return kernel
}

// requester is what the unit counted of a requester.
func (m *Machine) requester(rid pci.RequesterID) iommu.RequesterStats {
	for _, s := range m.iommu.Stats() {
		if s.Requester == rid {
			return s
		}
	}
	return iommu.RequesterStats{}
}

func TestLinuxBehindTheIOMMU(t *testing.T) {
	kernel := linuxKernel(t)
	a, modules := newArchive(t, linuxModules)
	initrd := a.write(t, fmt.Sprintf(linuxIOMMUInit, modules))
	disk, sum := newDisk(t, 2<<20)
	for _, c := range []struct {
		cpus         int
		command      string
		domain, mode string
	}{
		{1, "iommu.strict=1", "DMA", "x2apic"},
		{4, "iommu.strict=1", "DMA", "x2apic"},
		{1, "iommu.strict=0", "DMA-FQ", "x2apic"},
		{4, "iommu.strict=0", "DMA-FQ", "x2apic"},
		{4, "iommu.passthrough=1", "identity", "x2apic"},
		{2, "iommu.strict=1 nox2apic", "DMA", "xapic"},
	} {
		t.Run(fmt.Sprint(c.cpus, " ", c.command), func(t *testing.T) {
			second, _ := newDisk(t, 2<<20)
			m, out := runLinux(t, kernel, Config{
				Initrd: initrd, Command: "intel_iommu=on intremap=on " + c.command, CPUs: c.cpus, Queues: c.cpus, IOMMU: true,
				Disks: []Disk{{Path: disk, ReadOnly: true}, {Path: second}},
			})
			for _, want := range []string{
				"disk " + sum, "copy " + sum, "warnings 0\n",
				"kernel: DMAR: Host address width 46\n", "kernel: DMAR: DRHD base: 0x000000fed90000 flags: 0x1\n",
				"kernel: DMAR-IR: IOAPIC id 0 under DRHD base  0xfed90000 IOMMU 0\n",
				"kernel: DMAR-IR: Enabled IRQ remapping in " + c.mode + " mode\n",
				"kernel: DMAR: dmar0: Using Queued invalidation\n",
				"kernel: DMAR: Intel(R) Virtualization Technology for Directed I/O\n",
				"group " + c.domain + " /sys/kernel/iommu_groups/1/devices/0000:00:01.0\n",
				"group " + c.domain + " /sys/kernel/iommu_groups/2/devices/0000:00:02.0\n",
			} {
				require.Contains(t, out, want, out)
			}
			require.Regexp(t, regexp.MustCompile(`IR-IO-APIC +4-edge +ttyS0`), out)
			require.Regexp(t, regexp.MustCompile(`IR-PCI-MSI .*virtio1-req`), out)
			require.NotRegexp(t, regexp.MustCompile(`  (IO-APIC|PCI-MSI) `), out, "every interrupt is remapped")
			require.Empty(t, m.iommu.Faults())
			require.Zero(t, m.iommu.Queue().Errors)
			require.NotZero(t, m.requester(ioapicRID).Remapped, "the serial line's interrupts")
			first := m.requester(m.devices[0].requester)
			require.NotZero(t, first.Remapped)
			require.Zero(t, first.Passed)
			require.Equal(t, c.domain != "identity", first.Misses > 0)
		})
	}
}

// vfioModules come behind linuxModules.
var vfioModules = []string{
	"../virt/lib/irqbypass", "vfio/vfio", "vfio/vfio_virqfd", "vfio/vfio_iommu_type1", "vfio/pci/vfio-pci-core", "vfio/pci/vfio-pci",
}

const linuxVFIOInit = linuxStart + `
device=0000:00:02.0
bus=/sys/bus/pci
echo $device > $bus/devices/$device/driver/unbind
echo vfio-pci > $bus/devices/$device/driver_override
echo $device > $bus/drivers_probe
group=$(basename $(readlink $bus/devices/$device/iommu_group))
vfioblk $group $device /copy
echo "user $(sha256sum < /copy)"
echo "disk $(sha256sum < /dev/vda)"
vfioblk $group $device stray
dmesg | sed -n 's/^.*DMAR: \[/kernel: [/p'
poweroff -f
`

// TestAUserProgramDrivesADiskThroughVFIO is what completions that are posted to a program are compared with: the kernel takes each interrupt and
// wakes the program.
func TestAUserProgramDrivesADiskThroughVFIO(t *testing.T) {
	kernel := linuxKernel(t)
	program, err := guests.BuildLinux(t.TempDir(), guests.VFIOBlk)
	if err != nil {
		t.Skip(err)
	}
	a, modules := newArchive(t, append(linuxModules[:len(linuxModules):len(linuxModules)], vfioModules...))
	a.file(t, "bin/vfioblk", program)
	initrd := a.write(t, fmt.Sprintf(linuxVFIOInit, modules))
	kernels, kernelsSum := newDisk(t, 1<<20)
	users, usersSum := newDisk(t, 2<<20)
	for _, cpus := range []int{1, 4} {
		t.Run(fmt.Sprint(cpus, " processors"), func(t *testing.T) {
			m, out := runLinux(t, kernel, Config{
				Initrd: initrd, Command: "intel_iommu=on", CPUs: cpus, IOMMU: true,
				Disks: []Disk{{Path: kernels, ReadOnly: true}, {Path: users, ReadOnly: true}},
			})
			require.Contains(t, out, "user "+usersSum, out)
			require.Contains(t, out, "disk "+kernelsSum, out)
			require.Contains(t, out, "vfio completions 512 interrupts ", out)
			require.NotContains(t, out, "interrupts 0\n", out)
			// What the program did not map is out of its disk's reach; kernel and program are told.
			require.Contains(t, out, "vfio stray used 0 status needs reset", out)
			require.Contains(t, out, "kernel: [DMA Write NO_PASID] Request device [00:02.0] fault addr 0x1204000000 [fault reason 0x05] PTE Write access is not set", out)
			user := m.devices[1].requester
			require.Equal(t, []iommu.Fault{{Requester: user, Address: 0x12_0400_0000, Write: true, Reason: spec.WriteDenied, Recorded: true}}, m.iommu.Faults())
			require.NotZero(t, m.requester(user).Remapped)
			require.NotZero(t, m.requester(user).Domain, "also when its driver has gone")
		})
	}
}

// postedEnv is a kernel of Linux 6.10 or newer that posts its own interrupts: no distribution builds one. It has CONFIG_X86_POSTED_MSI and, built in,
// PVH, INTEL_IOMMU, IRQ_REMAP, VIRTIO_PCI, VIRTIO_BLK, SERIAL_8250_CONSOLE, DEVTMPFS, BLK_DEV_INITRD, BINFMT_SCRIPT, PROC_FS and SYSFS.
const postedEnv = "GVMM_LINUX_POSTED_MSI"

const linuxPostedInit = linuxStart + `
echo "disk $(sha256sum < /dev/vda)"
grep PMN /proc/interrupts
` + linuxEnd

// TestLinuxPostsInterruptsToItself has unmodified Linux keep a posted-interrupt descriptor for each processor, and have devices post to it.
func TestLinuxPostsInterruptsToItself(t *testing.T) {
	kernel := os.Getenv(postedEnv)
	if kernel == "" {
		t.Skip("no kernel with CONFIG_X86_POSTED_MSI in ", postedEnv)
	}
	a, _ := newArchive(t, nil)
	initrd := a.write(t, fmt.Sprintf(linuxPostedInit, ""))
	disk, sum := newDisk(t, 4<<20)
	for _, cpus := range []int{1, 4} {
		t.Run(fmt.Sprint(cpus, " processors"), func(t *testing.T) {
			m, out := runLinux(t, kernel, Config{
				Initrd: initrd, Command: "intel_iommu=on intremap=posted_msi", CPUs: cpus, Queues: cpus, IOMMU: true,
				Disks: []Disk{{Path: disk, ReadOnly: true}},
			})
			require.Contains(t, out, "disk "+sum, out)
			require.Contains(t, out, "warnings 0\n", out)
			require.Contains(t, out, "kernel: DMAR-IR: Enabled IRQ remapping in x2apic mode\n", out)
			s := m.requester(m.devices[0].requester)
			require.NotZero(t, s.Posted)
			require.Zero(t, s.UserPosted)
			require.Zero(t, s.Remapped, "every message of the disk is posted")
			require.Equal(t, s.Posted, s.Notified+s.Coalesced+s.Suppressed)
			require.Equal(t, s.Notified, notifications(t, out), "what the kernel counts as notifications")
			require.Empty(t, m.iommu.Faults())
		})
	}
}

// notifications is the sum of the kernel's PMN counters.
func notifications(t *testing.T, out string) (n uint64) {
	t.Helper()
	line := regexp.MustCompile(`PMN: ([ 0-9]+)`).FindStringSubmatch(out)
	require.NotNil(t, line, out)
	for _, f := range strings.Fields(line[1]) {
		v, err := strconv.ParseUint(f, 10, 64)
		require.NoError(t, err)
		n += v
	}
	return n
}
