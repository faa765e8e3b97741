package vmm

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/guests"
	"gvmm/iommu"
	"gvmm/vcpu"
)

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
echo "warnings $(dmesg | grep -c -e WARNING -e BUG: -e 'Call Trace')"
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
			require.NotZero(t, c.polls)
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

// postedArchive is storageArchive with the driver of user interrupts, for a guest of such processors.
func postedArchive(t *testing.T) (a *archive, modules string) {
	t.Helper()
	headers := os.Getenv(headersEnv)
	if headers == "" {
		t.Skip("no kernel headers in ", headersEnv)
	}
	dir := buildUintr(t, headers)
	a, modules = storageArchive(t)
	a.file(t, "modules/uintr.ko", filepath.Join(dir, "uintr.ko"))
	return a, modules
}

// snapshot is what was counted when a guest said "mark NAME".
type snapshot struct {
	name   string
	counts *counts
	kernel iommu.RequesterStats // of the first disk
	user   iommu.RequesterStats // of the second
	pools  int
}

// marks is a serial line that takes snapshots: the guest stands still meanwhile.
type marks struct {
	bytes.Buffer
	machine *Machine
	at      int // of the line that is being written
	taken   []snapshot
}

func (s *marks) Write(p []byte) (int, error) {
	for _, b := range p {
		s.WriteByte(b)
		if b != '\n' {
			continue
		}
		line := strings.TrimSpace(string(s.Bytes()[s.at:]))
		s.at = s.Len()
		if name, ok := strings.CutPrefix(line, "mark "); ok {
			m := s.machine
			s.taken = append(s.taken, snapshot{
				name, m.count(), m.requester(m.devices[0].requester), m.requester(m.devices[1].requester), len(m.iommu.Pools()),
			})
		}
	}
	return len(p), nil
}

// runStorage boots a guest whose second disk a program may own, and returns what it said and the snapshots.
func runStorage(t *testing.T, kernel string, cpus int, initrd string, disks ...Disk) (m *Machine, out string, taken []snapshot) {
	t.Helper()
	serial := new(marks)
	m = newMachine(t, Config{
		Image: kernel, Initrd: initrd, Command: "console=ttyS0 quiet cryptomgr.notests panic=-1 intel_iommu=on pti=off", CPUs: cpus, Queues: 2,
		IOMMU: true, UINTR: true, Posted: true, Disks: disks, Accel: vcpu.AccelSoft, Memory: 512 * MiB, Serial: serial,
	})
	serial.machine = m
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	status, err := m.Run(ctx)
	out = strings.ReplaceAll(serial.String(), "\r", "")
	require.NoError(t, err, out)
	require.Zero(t, status, out)
	require.Contains(t, out, "warnings 0\n", out)
	require.Contains(t, out, "kernel: uintr: devices can post to users\n", out)
	return m, out, serial.taken
}

func TestADiskPostsToItsUser(t *testing.T) {
	kernel := linuxKernel(t)
	a, modules := postedArchive(t)
	const script = linuxStorageStart + `
insmod /modules/uintr.ko
vfioblk $group $device /copy posted depth=8
echo "copy $(sha256sum < /copy)"
vfioblk $group $device /copy posted busy split depth=16 batch=8 wait=8 queues=2
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
			m, out, _ := runStorage(t, kernel, cpus, initrd, Disk{Path: kernels, ReadOnly: true}, Disk{Path: users, ReadOnly: true})
			require.Contains(t, out, "unloaded\n", out)
			require.Equal(t, 3, strings.Count(out, "copy "+sum), out)
			runs := userRuns(t, out)
			require.Len(t, runs, 3, out)
			interrupts := 0
			for i, posts := range []string{"device", "device", "no"} {
				require.Equal(t, posts, runs[i].posts, out)
				require.Equal(t, 256, runs[i].completions)
				require.NotZero(t, runs[i].interrupts)
				if posts == "device" {
					interrupts += runs[i].interrupts
				}
			}
			s := m.requester(m.devices[1].requester)
			require.NotZero(t, s.UserPosted)
			require.LessOrEqual(t, uint64(interrupts), s.UserPosted, "a handler for a post at most")
			require.Equal(t, s.Posted, s.UserPosted, "none was taken for a virtual processor's")
			require.Empty(t, m.iommu.Pools(), "every program took its own back")
			require.Empty(t, m.iommu.Faults())
		})
	}
}

// TestADiskPostsToNobodyOnceItsUserIsKilled kills programs whose disk is at work.
func TestADiskPostsToNobodyOnceItsUserIsKilled(t *testing.T) {
	kernel := linuxKernel(t)
	a, modules := postedArchive(t)
	const script = linuxStorageStart + `
insmod /modules/uintr.ko
for how in "posted depth=32" "posted busy depth=4" "depth=32" "posted queues=2 depth=64 batch=16" "poll depth=64"; do
	vfioblk $group $device forever mark $how &
	sleep 1
	kill -9 $!
	wait $!
	echo "mark killed"
	sleep 0.3
	echo "mark later"
done
vfioblk $group $device /copy posted
echo "copy $(sha256sum < /copy)"
rmmod uintr && echo unloaded
`
	const kills = 5
	initrd := a.write(t, fmt.Sprintf(script+linuxStorageEnd, modules))
	kernels, _ := newDisk(t, 1<<20)
	users, sum := newDisk(t, 1<<20)
	for _, cpus := range []int{1, 2} {
		t.Run(fmt.Sprint(cpus, " processors"), func(t *testing.T) {
			m, out, taken := runStorage(t, kernel, cpus, initrd, Disk{Path: kernels, ReadOnly: true}, Disk{Path: users, ReadOnly: true})
			require.Contains(t, out, "unloaded\n", out)
			require.Contains(t, out, "copy "+sum, out)
			require.Len(t, taken, 3*kills, out)
			for i := 0; i < len(taken); i += 3 {
				begin, killed, later := taken[i], taken[i+1], taken[i+2]
				require.Equal(t, []string{"begin", "killed", "later"}, []string{begin.name, killed.name, later.name})
				require.Greater(t, killed.counts.completions, begin.counts.completions+32, "the disk was at work")
				require.Zero(t, killed.pools, "what was posted to is no pool any more")
				require.Equal(t, killed.user.Posted, later.user.Posted, "no post after its receiver")
			}
			user := m.devices[1].requester
			for _, f := range m.iommu.Faults() {
				require.Equal(t, user, f.Requester)
				require.True(t, f.Reason.DMA(), "%+v: a message that was sent too late", f)
			}
			t.Logf("faults: %+v; %+v", m.Report().Faults, m.requester(user))
		})
	}
}

// TestPostedCompletionsCostNoExits has a processor that never idles, and counts its exits for a completion in one run: a program to which its disk posts,
// one that the kernel wakes, and one that reads through the kernel's driver.
func TestPostedCompletionsCostNoExits(t *testing.T) {
	kernel := linuxKernel(t)
	a, modules := postedArchive(t)
	const script = linuxStorageStart + `
insmod /modules/uintr.ko
nice -n 19 sh -c 'while :; do :; done' &
vfioblk $group $device /dev/null posted busy depth=1 mark
vfioblk $group $device /dev/null depth=1 mark
echo "mark begin"
dd if=/dev/vda of=/dev/null bs=4k iflag=direct 2>/dev/null
echo "mark end"
kill -9 $!
`
	initrd := a.write(t, fmt.Sprintf(script+linuxStorageEnd, modules))
	const blocks = 2048
	kernels, _ := newDisk(t, blocks*4096)
	m, out, taken := runStorage(t, kernel, 1, initrd, Disk{Path: kernels, ReadOnly: true}, Disk{Path: kernels, ReadOnly: true})
	require.Len(t, taken, 6, out)
	for i, c := range []struct {
		way      string
		stats    func(snapshot) iommu.RequesterStats
		remapped bool // to the kernel
	}{
		{"posted to the program", func(s snapshot) iommu.RequesterStats { return s.user }, false},
		{"eventfd", func(s snapshot) iommu.RequesterStats { return s.user }, true},
		{"the kernel's driver", func(s snapshot) iommu.RequesterStats { return s.kernel }, true},
	} {
		begin, end := taken[2*i], taken[2*i+1]
		completions := end.counts.completions - begin.counts.completions
		require.GreaterOrEqual(t, completions, uint64(blocks), out)
		each := make(map[string]float64)
		rest := 0.0
		for name, n := range m.engine.exits(begin.counts, end.counts) {
			each[name] = float64(n) / float64(completions)
			rest += each[name]
		}
		// Besides doorbells, and the serial line on which the marks were written.
		rest -= each["soft.mmio_write"] + each["soft.port_read"] + each["soft.port_write"]
		before, after := c.stats(begin), c.stats(end)
		remapped, posted := after.Remapped-before.Remapped, after.UserPosted-before.UserPosted
		t.Logf("%s: %d completions, %d interrupts of the kernel, %d posts; exits for each: %s", c.way, completions, remapped, posted, thousandths(each))
		if c.remapped {
			require.NotZero(t, remapped)
			require.Zero(t, posted)
			continue
		}
		require.Zero(t, remapped, "the kernel takes no interrupt")
		require.NotZero(t, posted)
		require.Zero(t, rest, "no exit but for the doorbell")
		require.LessOrEqual(t, each["soft.mmio_write"], 1.0, "a doorbell for a request")
	}
}

// thousandths prints counts to be read.
func thousandths(counts map[string]float64) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, fmt.Sprintf("%s %.3f", name, counts[name]))
	}
	return strings.Join(list, ", ")
}
