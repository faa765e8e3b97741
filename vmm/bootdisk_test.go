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

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/partition/gpt"
	"github.com/stretchr/testify/require"

	"gvmm/vcpu"
	"gvmm/vmm/boot"
	"gvmm/vmm/disk/bootable"
)

const diskInit = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /mnt
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for m in %s; do insmod /modules/$m.ko; done
echo "told $(cat /proc/cmdline)"
root=$(sed 's/.*root=//; s/ .*//' /proc/cmdline)
mount -t ext4 $root /mnt && echo "before $(cat /mnt/state)"
echo written > /mnt/state
dd if=/dev/urandom of=/mnt/file bs=64k count=40 2>/dev/null
sync; a=$(sha256sum < /mnt/file)
umount /mnt; echo 3 > /proc/sys/vm/drop_caches
mount -t ext4 $root /mnt && echo "after $(cat /mnt/state)"
[ "$a" = "$(sha256sum < /mnt/file)" ] && echo "the file is what was written"
umount /mnt
echo "warnings $(dmesg | grep -c -e WARNING -e BUG -e 'Call Trace' -e 'I/O error' -e 'EXT4-fs error')"
poweroff -f
`

// linuxDisk is a disk as distributions make one: a GPT, an ext4 with kernel,
// initial RAM disk and GRUB's configuration.
func linuxDisk(t *testing.T) string {
	kernel := os.Getenv(linuxEnv)
	if kernel == "" || os.Getenv(modulesEnv) == "" {
		t.Skip("no kernel in ", linuxEnv, " or no modules in ", modulesEnv)
	}
	mke2fs, err := exec.LookPath("mke2fs")
	if err != nil {
		t.Skip("no mke2fs on PATH: ", err)
	}
	root, dir := t.TempDir(), t.TempDir()
	write := func(name string, content []byte) {
		at := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(at), 0o755))
		require.NoError(t, os.WriteFile(at, content, 0o644))
	}
	content, err := os.ReadFile(kernel)
	require.NoError(t, err)
	write("boot/vmlinuz-6.1.0-test", content)
	a, modules := newArchive(t, linuxModules)
	content, err = os.ReadFile(a.write(t, fmt.Sprintf(diskInit, modules)))
	require.NoError(t, err)
	write("boot/initrd.img-6.1.0-test", content)
	write("sbin/init", nil)
	write("state", []byte("as made\n"))
	write("boot/grub/grub.cfg", []byte("menuentry 'Debian GNU/Linux' {\n\tlinux /boot/vmlinuz-6.1.0-test root=/dev/vda1 ro quiet\n"+
		"\tinitrd /boot/initrd.img-6.1.0-test\n}\n"))
	const size, start = 64 << 20, 1 << 20
	part, path := filepath.Join(dir, "part"), filepath.Join(dir, "disk.img")
	out, err := exec.Command(mke2fs, "-q", "-F", "-t", "ext4", "-d", root, part, "64M").CombinedOutput()
	require.NoError(t, err, "%s", out)
	content, err = os.ReadFile(part)
	require.NoError(t, err)
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Truncate(size+2*start))
	_, err = f.WriteAt(content, start)
	require.NoError(t, err)
	w, err := file.New(f, false).Writable()
	require.NoError(t, err)
	table := gpt.Table{LogicalSectorSize: 512, PhysicalSectorSize: 512, ProtectiveMBR: true, Partitions: []*gpt.Partition{
		{Index: 1, Start: start / 512, End: (start+size)/512 - 1, Type: gpt.LinuxFilesystem},
	}}
	require.NoError(t, table.Write(w, size+2*start))
	return path
}

func sumOf(t *testing.T, path string) string {
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

// A disk image is all that it takes to boot; unless it is to be written, it is
// the same afterwards.
func TestLinuxBootsFromADisk(t *testing.T) {
	raw := linuxDisk(t)
	for _, c := range []struct {
		name  string
		write bool
		qcow2 bool
	}{{name: "raw"}, {name: "qcow2", qcow2: true}, {name: "raw, written", write: true}} {
		t.Run(c.name, func(t *testing.T) {
			path := raw
			if c.qcow2 {
				tool, err := exec.LookPath("qemu-img")
				if err != nil {
					t.Skip("no qemu-img on PATH: ", err)
				}
				path = filepath.Join(t.TempDir(), "disk.qcow2")
				out, err := exec.Command(tool, "convert", "-c", "-O", "qcow2", raw, path).CombinedOutput()
				require.NoError(t, err, "%s", out)
			}
			before := sumOf(t, path)
			var out bytes.Buffer
			booting := ""
			m := newMachine(t, Config{
				Image: path, Accel: vcpu.AccelSoft, Serial: &out, Posted: true, Defaults: true, WriteImage: c.write, CPUs: 2,
				Booting: func(what string) { booting = what },
			})
			require.Contains(t, booting, "/boot/vmlinuz-6.1.0-test in partition 1 (ext4), by the first entry in /boot/grub/grub.cfg")
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			defer cancel()
			status, err := m.Run(ctx)
			require.NoError(t, err, out.String())
			require.Zero(t, status)
			for _, want := range []string{
				"told root=/dev/vda1 ro quiet console=ttyS0", "before as made\r\n", "after written\r\n", "the file is what was written\r\n", "warnings 0\r\n",
			} {
				require.Contains(t, out.String(), want)
			}
			require.Equal(t, !c.write, before == sumOf(t, path), "the image stays unless it is to be written")
		})
	}
}

func TestDiskWithoutAKernelSaysWhatWasLookedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.img")
	b := make([]byte, 1<<20)
	copy(b, "XFSB")
	require.NoError(t, os.WriteFile(path, b, 0o600))
	_, err := New(Config{Image: path, Accel: vcpu.AccelSoft})
	require.ErrorIs(t, err, bootable.ErrNone)
	require.ErrorIs(t, err, boot.ErrImage)
	require.ErrorContains(t, err, path+": bootable: no kernel in the disk: no ext2, ext3, ext4 or FAT file system is in it; not read: the disk (XFS)")
	require.False(t, strings.Contains(err.Error(), "\n"))
}

func TestOnlyADiskCanBeWritten(t *testing.T) {
	_, err := New(Config{Image: guestImage(t, "guest"), WriteImage: true, Accel: vcpu.AccelSoft})
	require.ErrorIs(t, err, ErrConfig)
	require.ErrorContains(t, err, "is ELF executable, and only a raw disk is written to")
}
