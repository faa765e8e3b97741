package vmm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/u-root/u-root/pkg/cpio"

	"gvmm/vcpu"
)

// What the Linux tests need of a distribution: GVMM_LINUX is a bzImage or vmlinux,
// GVMM_LINUX_MODULES its modules' directory (…/lib/modules/VERSION), without which no
// disk is read. A static busybox is looked for on PATH.
const (
	linuxEnv   = "GVMM_LINUX"
	modulesEnv = "GVMM_LINUX_MODULES"
)

// linuxModules are virtio-blk's, in the order that they are loaded in.
var linuxModules = []string{
	"virtio/virtio_ring", "virtio/virtio", "virtio/virtio_pci_modern_dev", "virtio/virtio_pci_legacy_dev", "virtio/virtio_pci", "block/virtio_blk",
}

// linuxMounts is what every init does first.
const linuxMounts = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
`

const linuxInit = linuxMounts + `echo "uptime $(cut -d ' ' -f 1 /proc/uptime)"
echo "processors $(grep -c ^processor /proc/cpuinfo)"
echo "blob $(sha256sum < /blob)"
dd if=/dev/zero bs=64k count=16 2>/dev/null | sha256sum | sed 's/^/zeroes /'
for m in %s; do insmod /modules/$m.ko; done
[ -e /dev/vda ] && echo "disk $(sha256sum < /dev/vda)"
echo "msi $(grep -c PCI-MSI /proc/interrupts)"
echo "warnings $(dmesg | grep -c -e WARNING -e BUG -e 'Call Trace' -e 'ACPI.*Error' -e 'ACPI.*Warning')"
poweroff -f
`

// archive is an initial RAM disk: cpio's "newc" format.
type archive struct{ bytes.Buffer }

func (a *archive) add(name string, mode int, data []byte) {
	// A buffer takes everything.
	_ = cpio.Newc.Writer(&a.Buffer).WriteRecord(cpio.StaticRecord(data, cpio.Info{Name: name, Mode: uint64(mode), NLink: 1}))
}

// linuxInitrd makes the initial RAM disk, with blob in it, and tells whether it can read disks.
func linuxInitrd(t *testing.T, blob []byte) (path string, disks bool) {
	t.Helper()
	a, modules := newArchive(t, linuxModules)
	a.add("blob", archiveProgram, blob)
	return a.write(t, fmt.Sprintf(linuxInit, modules)), modules != ""
}

// Modes of what is in an archive.
const archiveDirectory, archiveProgram = 0o040755, 0o100755

// newArchive is an initial RAM disk with busybox and the modules, whose names it lists as a shell does: none without their directory.
func newArchive(t *testing.T, modules []string) (a *archive, names string) {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("no busybox on PATH (Debian: busybox-static): ", err)
	}
	a = new(archive)
	for _, d := range []string{"bin", "modules", "dev"} {
		a.add(d, archiveDirectory, nil)
	}
	a.file(t, "bin/busybox", busybox)
	dir := os.Getenv(modulesEnv)
	if dir == "" {
		return a, ""
	}
	var list []string
	for _, m := range modules {
		a.file(t, "modules/"+filepath.Base(m)+".ko", filepath.Join(dir, "kernel/drivers", m+".ko"))
		list = append(list, filepath.Base(m))
	}
	return a, strings.Join(list, " ")
}

// file adds a file of the host's.
func (a *archive) file(t *testing.T, name, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	a.add(name, archiveProgram, b)
}

// write completes the archive with what runs first, and returns its path.
func (a *archive) write(t *testing.T, init string) string {
	t.Helper()
	a.add("init", archiveProgram, []byte(init))
	a.add("TRAILER!!!", 0, nil)
	path := filepath.Join(t.TempDir(), "initrd")
	require.NoError(t, os.WriteFile(path, a.Bytes(), 0o600))
	return path
}

func TestLinuxBootsWorksAndPowersOff(t *testing.T) {
	kernel := os.Getenv(linuxEnv)
	if kernel == "" {
		t.Skip("no kernel in ", linuxEnv)
	}
	blob := bytes.Repeat([]byte("what the initial RAM disk holds "), 30000)
	initrd, disks := linuxInitrd(t, blob)
	disk, diskSum := newDisk(t, 2<<20)
	for _, cpus := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(cpus, " processors"), func(t *testing.T) {
			var out bytes.Buffer
			c := Config{
				Image: kernel, Initrd: initrd, Command: "console=ttyS0 cryptomgr.notests panic=-1", Memory: 512 * MiB, CPUs: cpus,
				Accel: vcpu.AccelSoft, Serial: &out, Posted: true,
			}
			want := []string{
				fmt.Sprintf("processors %d\r\n", cpus),
				fmt.Sprintf("blob %x", sha256.Sum256(blob)),
				fmt.Sprintf("zeroes %x", sha256.Sum256(make([]byte, 1<<20))),
				"warnings 0\r\n",
			}
			if disks {
				c.Disks = []Disk{{Path: disk, ReadOnly: true}}
				want = append(want, "disk "+diskSum, "msi 2\r\n")
			}
			m := newMachine(t, c)
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			defer cancel()
			status, err := m.Run(ctx)
			require.NoError(t, err, out.String())
			require.Zero(t, status)
			for _, w := range want {
				require.Contains(t, out.String(), w)
			}
			_, up, _ := strings.Cut(out.String(), "uptime ")
			up, _, _ = strings.Cut(up, "\r")
			t.Logf("init ran %s s after the kernel began", up)
		})
	}
}
