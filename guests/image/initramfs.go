package image

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/u-root/u-root/pkg/cpio"

	"gvmm/guests/linux"
)

// Drivers that may stand between a machine and its root file system, or that a run wants
// at once. Those that are required must be the kernel's, as modules or built in.
var (
	requiredDrivers = []string{"virtio_pci", "virtio_blk", "ext4"}
	otherDrivers    = []string{"virtio_net", "virtio_scsi", "virtio_console", "virtio-rng", "sd_mod", "ahci", "nvme", "pvpanic-mmio", "pvpanic-pci"}
)

// initramfsApplets are what the initial RAM disk's init calls of busybox.
var initramfsApplets = []string{
	"awk", "cttyhack", "dmesg", "findfs", "grep", "insmod", "ls", "lsmod", "modprobe", "mount", "poweroff", "reboot", "sh", "sleep", "switch_root", "cat",
}

// initramfs makes the initial RAM disk: busybox, the drivers with their dependencies, and
// guests/linux's init. It is not compressed: the guest would pay for that at each boot, and
// it is a few MiB.
func initramfs(t *tree, kernel string, m *modules) ([]byte, error) {
	drivers := slices.Clone(requiredDrivers)
	for _, d := range otherDrivers {
		if _, there := m.byName[moduleName(d)]; there {
			drivers = append(drivers, d)
		}
	}
	load, err := m.wanted(drivers...)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{"bin/gvmm-exit": linux.ExitProgram()}
	if files["init"], err = linux.InitramfsInit(); err != nil {
		return nil, err
	}
	if files["bin/busybox"], err = t.read("bin/busybox"); err != nil {
		return nil, err
	}
	base := "lib/modules/" + kernel + "/"
	for _, o := range load {
		if files[base+o.path], err = t.read("usr/" + base + o.path); err != nil {
			return nil, err
		}
	}
	if files[base+"modules.dep"], err = m.dep(load); err != nil {
		return nil, err
	}
	files[base+"modules.alias"] = alias(load)
	return newc(files, initramfsApplets)
}

// newc is an archive in cpio's "newc" format, which kernels unpack.
func newc(files map[string][]byte, applets []string) ([]byte, error) {
	const directory, device = 0o755, 0o600
	records := []cpio.Record{
		cpio.Directory("dev", directory), cpio.CharDev("dev/console", device, 5, 1), cpio.CharDev("dev/null", 0o666, 1, 3),
		cpio.Directory("proc", directory), cpio.Directory("root", directory), cpio.Directory("sys", directory), cpio.Symlink("sbin", "bin"),
	}
	made := make(map[string]bool)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		var above []string
		for d := path.Dir(name); d != "." && !made[d]; d = path.Dir(d) {
			made[d] = true
			above = append(above, d)
		}
		for _, d := range slices.Backward(above) {
			records = append(records, cpio.Directory(d, directory))
		}
		mode := uint64(0o644)
		if path.Dir(name) == "bin" || name == "init" {
			mode = 0o755
		}
		records = append(records, cpio.StaticFile(name, string(files[name]), mode))
	}
	for _, a := range applets {
		records = append(records, cpio.Symlink("bin/"+a, "busybox"))
	}
	cpio.MakeAllReproducible(records)
	var b bytes.Buffer
	w := cpio.Newc.Writer(&b)
	if err := errors.Join(cpio.WriteRecords(w, records), cpio.WriteTrailer(w)); err != nil {
		return nil, fmt.Errorf("image: initial RAM disk: %w", err)
	}
	return b.Bytes(), nil
}
