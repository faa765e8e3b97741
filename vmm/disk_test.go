package vmm

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu"
	"gvmm/virtio/blk"
	"gvmm/vmm/disk"
)

// A guest sees the same disk, however the host has it.
func TestDisksHoweverTheHostHasThem(t *testing.T) {
	image := guestImage(t, "guest")
	path, sum := newDisk(t, 1<<20+1536)
	qcow2 := func(t *testing.T) string {
		tool, err := exec.LookPath("qemu-img")
		if err != nil {
			t.Skip("no qemu-img on this host")
		}
		to := filepath.Join(t.TempDir(), "disk.qcow2")
		out, err := exec.Command(tool, "convert", "-c", "-O", "qcow2", path, to).CombinedOutput()
		require.NoError(t, err, "%s", out)
		return to
	}
	for name, d := range map[string]Disk{
		"overlay":       {DiskOptions: DiskOptions{Overlay: true}},
		"threads":       {DiskOptions: DiskOptions{Engine: disk.EngineThreads}},
		"sync":          {ReadOnly: true, DiskOptions: DiskOptions{Engine: disk.EngineSync}},
		"direct":        {ReadOnly: true, DiskOptions: DiskOptions{Direct: true}},
		"limits":        {ReadOnly: true, DiskOptions: DiskOptions{Limits: blk.Limits{BytesPerSecond: 8 << 20, OpsPerSecond: 1e6}}},
		"qcow2":         {ReadOnly: true, DiskOptions: DiskOptions{Format: disk.FormatQCOW2}},
		"qcow2 overlay": {DiskOptions: DiskOptions{Format: disk.FormatQCOW2, Overlay: true}},
	} {
		t.Run(name, func(t *testing.T) {
			d.Path = path
			if d.Format == disk.FormatQCOW2 {
				d.Path = qcow2(t)
			}
			_, serial, status := runGuest(t, Config{Image: image, Accel: vcpu.AccelSoft, UINTR: true, Posted: true, Command: "depth=32", Disks: []Disk{d}, Queues: 2})
			require.Zero(t, status, serial)
			require.Contains(t, serial, "sha256 "+sum)
		})
	}
}

func TestDiskThatCannotBeHadSaysWhy(t *testing.T) {
	image := guestImage(t, "guest")
	path, _ := newDisk(t, 4096)
	vmdk := filepath.Join(t.TempDir(), "x.vmdk")
	require.NoError(t, os.WriteFile(vmdk, append([]byte("KDMV"), make([]byte, 508)...), 0o600))
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{Disks: []Disk{{Path: path}, {Path: path}}}, "it cannot be written to"},
		{Config{Disks: []Disk{{Path: path}, {Path: path, ReadOnly: true}}}, "writes to " + path},
		{Config{Disks: []Disk{{Path: vmdk}}}, "looks like VMDK"},
		{Config{ICount: 1, Disks: []Disk{{Path: path, DiskOptions: DiskOptions{Engine: disk.EngineThreads}}}}, "engine threads with counted instructions"},
		{Config{ICount: 1, Disks: []Disk{{Path: path, DiskOptions: DiskOptions{Limits: blk.Limits{OpsPerSecond: 1}}}}}, "time is virtual"},
	} {
		c.config.Image, c.config.Accel = image, vcpu.AccelSoft
		_, err := New(c.config)
		require.ErrorContains(t, err, c.want)
		require.NotContains(t, err.Error(), "\n")
	}
}
