package vmm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/guests"
	"gvmm/iommu/spec"
)

// headersEnv are the headers of GVMM_LINUX's kernel (…/linux-headers-VERSION, beside it -common and what they link to): the driver of user interrupts
// is built for it.
const headersEnv = "GVMM_LINUX_HEADERS"

// uintrModule builds the driver of user interrupts; a test that needs it skips where it cannot be built.
func uintrModule(t *testing.T) string {
	t.Helper()
	headers := os.Getenv(headersEnv)
	if headers == "" {
		t.Skip("no headers of the kernel in ", headersEnv)
	}
	dir := filepath.Join(t.TempDir(), "uintr")
	require.NoError(t, os.CopyFS(dir, os.DirFS("../guests/linux/uintr")))
	text, err := exec.Command("make", "-C", dir, "KDIR="+headers).CombinedOutput()
	require.NoError(t, err, string(text))
	module := filepath.Join(dir, "uintr.ko")
	if strip, err := exec.LookPath("strip"); err == nil {
		text, err = exec.Command(strip, "--strip-debug", module).CombinedOutput()
		require.NoError(t, err, string(text))
	}
	return module
}

// linuxStorageStart gives the second disk to vfio.
const linuxStorageStart = linuxStart + `
device=0000:00:02.0
bus=/sys/bus/pci
echo $device > $bus/devices/$device/driver/unbind
echo vfio-pci > $bus/devices/$device/driver_override
echo $device > $bus/drivers_probe
group=$(basename $(readlink $bus/devices/$device/iommu_group))
`

// linuxStorageEnd says whether the kernel complained.
const linuxStorageEnd = `
dmesg | grep -e DMAR: -e uintr: | sed 's/^[^]]*] /kernel: /'
echo "warnings $(dmesg | grep -c -e WARNING -e BUG: -e 'Call Trace' -e 'DRHD: handling fault')"
poweroff -f
`

// storageArchive is an initial RAM disk with what a program needs that owns a disk.
func storageArchive(t *testing.T) (a *archive, modules string) {
	t.Helper()
	program, err := guests.BuildLinux(t.TempDir(), guests.VFIOBlk)
	if err != nil {
		t.Skip(err)
	}
	a, modules = newArchive(t, append(linuxModules[:len(linuxModules):len(linuxModules)], vfioModules...))
	a.file(t, "bin/vfioblk", program)
	return a, modules
}

// userCounts is what vfioblk counted of one run.
type userCounts struct {
	completions, interrupts, doorbells, blocked, polls, switches, queues int
	ring, posts                                                          string
}

var userLines = regexp.MustCompile(`vfio (?:completions|written) (\d+) interrupts (\d+)\nvfio doorbells (\d+) blocked (\d+) polls (\d+) switches (\d+) queues (\d+) (\w+) posts (\w+)\n`)

// userRuns are the runs of vfioblk in what a guest said, in order.
func userRuns(t *testing.T, out string) (runs []userCounts) {
	t.Helper()
	for _, m := range userLines.FindAllStringSubmatch(out, -1) {
		var n [7]int
		for i := range n {
			var err error
			n[i], err = strconv.Atoi(m[i+1])
			require.NoError(t, err)
		}
		runs = append(runs, userCounts{n[0], n[1], n[2], n[3], n[4], n[5], n[6], m[8], m[9]})
	}
	return runs
}

func TestAUserProgramOwnsADisk(t *testing.T) {
	kernel := linuxKernel(t)
	ways := []struct {
		words string
		judge func(t *testing.T, c userCounts)
	}{
		{"depth=1", func(t *testing.T, c userCounts) {
			require.Equal(t, "packed", c.ring)
			require.Equal(t, c.completions, c.doorbells)
		}},
		{"split depth=16 batch=8 wait=8", func(t *testing.T, c userCounts) {
			require.Equal(t, "split", c.ring)
			require.LessOrEqual(t, c.doorbells, c.completions/8+8, "a doorbell for a batch")
			require.LessOrEqual(t, c.interrupts, c.completions/8+8, "an interrupt for a batch")
		}},
		{"depth=16 batch=16 wait=16", func(t *testing.T, c userCounts) {
			require.LessOrEqual(t, c.doorbells, c.completions/16+8)
		}},
		{"split plain depth=32", func(t *testing.T, c userCounts) { require.NotZero(t, c.completions) }},
		{"queues=2 depth=8 batch=4", func(t *testing.T, c userCounts) { require.Equal(t, 2, c.queues) }},
		{"poll depth=8", func(t *testing.T, c userCounts) {
			require.Zero(t, c.interrupts, "the disk is told not to interrupt whom it need not")
			require.Zero(t, c.blocked)
			require.Equal(t, c.completions, c.polls)
		}},
	}
	script := linuxStorageStart + "head -c 1048576 /dev/urandom > /new\nvfioblk $group $device write /new batch=8\necho \"new $(sha256sum < /new)\"\n"
	for _, w := range ways {
		script += "vfioblk $group $device /copy " + w.words + "\necho \"copy $(sha256sum < /copy)\"\n"
	}
	a, modules := storageArchive(t)
	initrd := a.write(t, fmt.Sprintf(script+linuxStorageEnd, modules))
	kernels, _ := newDisk(t, 1<<20)
	for _, cpus := range []int{1, 2} {
		t.Run(fmt.Sprint(cpus, " processors"), func(t *testing.T) {
			users, _ := newDisk(t, 1<<20)
			m, out := runLinux(t, kernel, Config{
				Initrd: initrd, Command: "intel_iommu=on", CPUs: cpus, Queues: 2, IOMMU: true, Disks: []Disk{{Path: kernels, ReadOnly: true}, {Path: users}},
			})
			require.Contains(t, out, "warnings 0\n", out)
			sums := regexp.MustCompile(`(?:new|copy) (\w+)  -\n`).FindAllStringSubmatch(out, -1)
			require.Len(t, sums, len(ways)+1, out)
			for _, s := range sums {
				require.Equal(t, sums[0][1], s[1], out)
			}
			runs := userRuns(t, out)
			require.Len(t, runs, len(ways)+1, out)
			for i, w := range ways {
				require.Equal(t, 256, runs[i+1].completions, out)
				require.Equal(t, "no", runs[i+1].posts)
				w.judge(t, runs[i+1])
			}
			require.Empty(t, m.iommu.Faults())
		})
	}
}

// TestADiskPostsToItsUser compares a program to which its disk posts with one that the kernel wakes by an eventfd.
func TestADiskPostsToItsUser(t *testing.T) {
	kernel := linuxKernel(t)
	module := uintrModule(t)
	a, modules := storageArchive(t)
	a.file(t, "modules/uintr.ko", module)
	const script = linuxStorageStart + `
insmod /modules/uintr.ko
count() { awk -v d="$device" '/vfio-msix/ { for (i = 2; i <= NF && $i ~ /^[0-9]+$/; i++) n += $i } END { print n + 0 }' /proc/interrupts; }
vfioblk $group $device /copy posted depth=8
echo "copy $(sha256sum < /copy)"
vfioblk $group $device /copy posted depth=16 batch=8 wait=8 queues=2
echo "copy $(sha256sum < /copy)"
vfioblk $group $device /copy depth=8
echo "copy $(sha256sum < /copy)"
rmmod uintr && echo unloaded
`
	initrd := a.write(t, fmt.Sprintf(script+linuxStorageEnd, modules))
	kernels, _ := newDisk(t, 1<<20)
	users, sum := newDisk(t, 1<<20)
	for _, cpus := range []int{1, 2} {
		t.Run(fmt.Sprint(cpus, " processors"), func(t *testing.T) {
			m, out := runLinux(t, kernel, Config{
				Initrd: initrd, Command: "intel_iommu=on pti=off", CPUs: cpus, Queues: 2, IOMMU: true, UINTR: true,
				Disks: []Disk{{Path: kernels, ReadOnly: true}, {Path: users, ReadOnly: true}},
			})
			t.Log(out)
			require.Contains(t, out, "warnings 0\n", out)
			require.Contains(t, out, "kernel: uintr: devices can post to users\n", out)
			require.Contains(t, out, "unloaded\n", out)
			require.Equal(t, 3, strings.Count(out, "copy "+sum), out)
			runs := userRuns(t, out)
			require.Len(t, runs, 3, out)
			s := m.requester(m.devices[1].requester)
			t.Logf("%+v\n%+v", runs, s)
			for i, posts := range []string{"device", "device", "no"} {
				require.Equal(t, posts, runs[i].posts, out)
				require.Equal(t, 256, runs[i].completions)
				require.NotZero(t, runs[i].interrupts)
			}
			require.NotZero(t, s.UserPosted)
			require.Empty(t, m.iommu.Faults())
			require.Zero(t, s.Faults[spec.PoolDenied])
		})
	}
}
