package vmm

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/guests"
)

// linuxSettled is a guest that changes what a machine consists of while it runs: processors and drivers go and come.
const linuxSettled = linuxStart + `
sum() { sha256sum < /dev/vda; }
virtio=$(basename $(readlink -f /sys/block/vda/device))
function=$(basename $(readlink -f /sys/bus/virtio/devices/$virtio/..))
for round in 1 2 3; do
	echo 0 > /sys/devices/system/cpu/cpu1/online
	echo "$round online $(cat /sys/devices/system/cpu/online)"
	echo "$round offline $(sum)"
	echo 1 > /sys/devices/system/cpu/cpu1/online
	echo "$round online $(cat /sys/devices/system/cpu/online)"
	echo $virtio > /sys/bus/virtio/drivers/virtio_blk/unbind
	[ -e /dev/vda ] || echo "$round unbound"
	echo $virtio > /sys/bus/virtio/drivers/virtio_blk/bind
	echo "$round rebound $(sum)"
	echo $function > /sys/bus/pci/drivers/virtio-pci/unbind
	echo $function > /sys/bus/pci/drivers/virtio-pci/bind
	echo "$round probed $(sum)"
done
` + linuxEnd

func TestLinuxLosesAndFindsProcessorsAndDrivers(t *testing.T) {
	kernel := linuxKernel(t)
	disk, sum := newDisk(t, 2<<20)
	a, modules := newArchive(t, linuxModules)
	_, out := runLinux(t, kernel, Config{
		Initrd: a.write(t, strings.Replace(linuxSettled, "%s", modules, 1)), CPUs: 2, Disks: []Disk{{Path: disk, ReadOnly: true}},
	})
	for round := range 3 {
		n := strconv.Itoa(round + 1)
		for _, line := range []string{
			" online 0", " offline " + sum, " online 0-1", " unbound", " rebound " + sum, " probed " + sum,
		} {
			require.Contains(t, out, n+line)
		}
	}
	require.Contains(t, out, "warnings 0\n")
}

// linuxAgain is a guest that runs a second kernel in its place, which then resets the machine; the third powers off.
const linuxAgain = linuxStart + `
state=$(dd if=/dev/vda bs=1 count=1 2>/dev/null)
echo "start $state $(sha256sum < /dev/vdb) $(grep -o second /proc/cmdline)"
next() { printf "$1" | dd of=/dev/vda conv=notrunc,fsync 2>/dev/null; }
case $state in
0) next 1; kexec /kernel /initrd "console=ttyS0 quiet cryptomgr.notests second" ;;
1) next 2; reboot -f ;;
esac
` + linuxEnd

func TestLinuxGoesOnAfterKexecAndReset(t *testing.T) {
	kernel := linuxKernel(t)
	program, err := guests.BuildLinux(t.TempDir(), guests.Kexec)
	if err != nil {
		t.Skip(err)
	}
	state := t.TempDir() + "/state"
	require.NoError(t, os.WriteFile(state, append([]byte("0"), make([]byte, 4095)...), 0o600))
	disk, sum := newDisk(t, 2<<20)
	a, modules := newArchive(t, linuxModules)
	init := strings.Replace(linuxAgain, "%s", modules, 1)
	a.file(t, "bin/kexec", program)
	second, _ := newArchive(t, linuxModules)
	a.file(t, "initrd", second.write(t, init))
	a.file(t, "kernel", kernel)
	m, out := runLinux(t, kernel, Config{
		Initrd: a.write(t, init), CPUs: 2, Memory: 1024 * MiB, Disks: []Disk{{Path: state}, {Path: disk, ReadOnly: true}},
	})
	require.Contains(t, out, "start 0 "+sum)
	require.Contains(t, out, "start 1 "+sum+"  - second", "by kexec")
	require.Contains(t, out, "start 2 "+sum+"  - \n", "after a reset")
	require.Equal(t, 1, m.Report().Resets)
}

func TestLinuxBootsEachTime(t *testing.T) {
	kernel := linuxKernel(t)
	boots := 3
	if long {
		boots = 100
	}
	disk, sum := newDisk(t, 64<<10)
	a, modules := newArchive(t, linuxModules)
	initrd := a.write(t, strings.Replace(linuxStart+"\necho \"disk $(sha256sum < /dev/vda)\"\n"+linuxEnd, "%s", modules, 1))
	for i := range boots {
		_, out := runLinux(t, kernel, Config{Initrd: initrd, CPUs: 1 + i%4, Disks: []Disk{{Path: disk, ReadOnly: true}}})
		require.Contains(t, out, "disk "+sum)
		require.Contains(t, out, "warnings 0\n")
	}
}
